"""Identity of a bulk extraction, so that no folder mixes two of them."""

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from types import CodeType
from typing import Any

import torch
from accelerate.utils.modeling import get_state_dict_offloaded_model
from datasets import Dataset
from transformers import PreTrainedModel

from ..documents import DocumentError, is_raw_text, name_of
from ..entity_finding import EntityFinder, name_of_callable
from ..mention_extraction import TokenClassificationExtractor
from ..mention_formats import read_mentions
from ..processing_docre_ii import DocREIIProcessor
from ..quoting import quote
from .exported_model import ExportedModel


# Origin and loading options of a model, which do not change its predictions. Weights are digested with their dtype.
_PROVENANCE = {
    "_name_or_path",
    "architectures",
    "auto_map",
    "custom_pipelines",
    "dtype",
    "processor_class",
    "transformers_version",
}


@dataclass(frozen=True)
class ExtractionRun:
    """
    Description of a bulk extraction, the same for all shards of a folder.

    Args:
        model (`str`): Digest of weights, configuration and processor.
        documents (`str`): Fingerprint of the documents.
        num_documents (`int`): Number of documents.
        documents_per_shard (`int`): Number of documents of a shard; the last may have fewer.
        bf16 (`bool`): Whether the model runs under autocast to bfloat16.
        bf16_requested (`bool`): Whether this was requested. On a CPU, bf16 can be requested and not used.
        evidence (`str`): Where the evidence of the triples comes from.
        entities (`str`, *optional*): Digest of what finds the entities of raw texts. `None` if there are none.
    """

    model: str
    documents: str
    num_documents: int
    documents_per_shard: int
    bf16: bool
    bf16_requested: bool
    evidence: str
    entities: str | None = None

    @property
    def num_shards(self) -> int:
        """Number of shards when all documents are finished."""
        return -(-self.num_documents // self.documents_per_shard)

    @property
    def key(self) -> str:
        """Digest of all but the precision, which is decided later."""
        described = {name: value for name, value in asdict(self).items() if name != "bf16"}
        return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:16]

    def describe_shard(self, shard: int) -> dict[str, int]:
        """Returns which documents a shard holds."""
        documents = self.documents_of(shard)
        return {"first_document": documents.start, "documents_in_shard": len(documents)}

    def documents_of(self, shard: int) -> range:
        """Returns the indices of the documents of a shard."""
        start = shard * self.documents_per_shard
        return range(start, min(start + self.documents_per_shard, self.num_documents))


def describe_run(
    model: PreTrainedModel | ExportedModel,
    processor: DocREIIProcessor,
    documents: Sequence[Mapping[str, Any]],
    documents_per_shard: int,
    bf16: bool = False,
    evidence: str = "rule",
    entities: str | None = None,
) -> ExtractionRun:
    """
    Describes a bulk extraction, the same in every process and at every start.

    Args:
        model, processor, documents, documents_per_shard, bf16:
            As for [`extract_to_parquet`].
        evidence (`str`, *optional*, defaults to `"rule"`):
            Where the evidence of the triples comes from.
        entities (`str`, *optional*):
            Digest of what finds the entities, from [`digest_of_finder`]. Defaults to documents that have theirs.

    Returns:
        [`ExtractionRun`]: with `bf16` as requested, which [`settle_precision`] may change.
    """
    return ExtractionRun(
        model=_digest_of_model(model, processor),
        documents=_fingerprint_of(documents),
        num_documents=len(documents),
        documents_per_shard=documents_per_shard,
        bf16=bf16,
        bf16_requested=bf16,
        evidence=evidence,
        entities=entities,
    )


def has_raw_texts(documents: Sequence[Mapping[str, Any]]) -> bool:
    """Returns whether there are texts without entities."""
    if not isinstance(documents, Dataset):
        return any(map(is_raw_text, documents))
    columns = documents.column_names  # the rows need not be read
    return "text" in columns and ("entities" not in columns or documents.data.column("entities").null_count > 0)


def digest_of_finder(finder: EntityFinder) -> str:
    """
    Returns a digest of what finds the entities of raw texts.

    A token-classification model is known by its weights, its labels and its tokenizer, and a spaCy `Language` by all
    that it would save but its vectors. Of any other mention extractor and the linker, the name and the code of the
    function itself are known, or of `__call__`: not what that calls, such as another model.

    Args:
        finder ([`EntityFinder`]):
            The mention extractor, the linker and the map of types.
    """
    extractor, described = finder.extractor, [_described(finder.linker), finder.types.given]
    if isinstance(extractor, TokenClassificationExtractor):
        windows = extractor.windows
        return _digest([extractor.labels, windows.max_length, *described], windows.tokenizer, extractor.model)
    # spaCy's `meta` is data for people, of which these say what a pipeline computes. The vocabulary grows with use.
    meta = getattr(extractor, "meta", None) or {}
    found_by = [meta.get(field) for field in ("lang", "name", "version", "components")]
    if hasattr(extractor, "pipe") and hasattr(extractor, "to_bytes"):
        found_by.append(hashlib.sha256(extractor.to_bytes(exclude=["vocab"])).hexdigest())
    return _digest([_described(extractor), *found_by, *described])


def _described(function: Any) -> list[Any]:
    """Describes a callable, the same in every process."""
    named = function.func if isinstance(function, functools.partial) else function
    code = getattr(named, "__code__", None) or getattr(type(named).__call__, "__code__", None)
    return [name_of_callable(function), _described_code(code) if code is not None else None]


def _described_code(code: CodeType) -> list[Any]:
    constants = [
        _described_code(value) if isinstance(value, CodeType) else _constant(value) for value in code.co_consts
    ]
    return [code.co_code.hex(), code.co_names, code.co_varnames, constants]


def _constant(value: Any) -> Any:
    # A set has another order in every process.
    return sorted(map(repr, value)) if isinstance(value, frozenset) else repr(value)


def _digest_of_model(model: PreTrainedModel | ExportedModel, processor: DocREIIProcessor) -> str:
    settings = [_without_provenance(part.to_dict()) for part in (model.config, processor)]
    return _digest(settings, processor.tokenizer, model)


def _digest(settings: list[Any], tokenizer: Any = None, model: PreTrainedModel | ExportedModel | None = None) -> str:
    if tokenizer is not None:
        described = json.loads(tokenizer.backend_tokenizer.to_str())
        # Truncation and padding are state of the last call.
        settings = settings + [{k: value for k, value in described.items() if k not in ("truncation", "padding")}]
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    if isinstance(model, ExportedModel):
        digest.update(model.digest.encode())
    elif model is not None:
        for name, tensor in sorted(_weights_of(model).items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


def _weights_of(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    weights = model.state_dict()
    if any(tensor.is_meta for tensor in weights.values()):  # a device map keeps them on the disk
        weights |= get_state_dict_offloaded_model(model)
    return weights


def _without_provenance(config: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in config.items() if name not in _PROVENANCE}
    return {name: _without_provenance(value) if isinstance(value, dict) else value for name, value in kept.items()}


def _fingerprint_of(documents: Sequence[Mapping[str, Any]]) -> str:
    if isinstance(documents, Dataset):
        # It depends on the content of the dataset's files, but does not read them.
        return documents._fingerprint
    digest = hashlib.sha256()
    for index, document in enumerate(documents):
        try:
            content = json.dumps(document, sort_keys=True, default=_as_json)
        # Keys of several types, integers of over 4,300 digits, and lists that are nested too deep.
        except (TypeError, ValueError, RecursionError) as error:
            name = name_of(document) if isinstance(document, Mapping) else quote(document)
            raise DocumentError(f"documents[{index}]: {name} cannot be written as JSON: {error}") from None
        digest.update(content.encode() + b"\n")
    return digest.hexdigest()[:16]


def _as_json(value: Any) -> Any:
    """Returns what a spaCy `Doc` says of its text, which its `str` leaves out, and the `str` of anything else."""
    if not hasattr(value, "ents"):
        return str(value)
    found = read_mentions(value, value.text, "mentions", value)
    return [value.text, found.mentions, found.clusters]
