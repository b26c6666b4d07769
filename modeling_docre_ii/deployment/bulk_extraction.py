"""Bulk extraction: triples of a corpus of any size as Parquet files, resumable."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from datasets import Dataset
from transformers import PreTrainedModel
from transformers.utils import logging

from ..documents import DocumentError, check_document
from ..entity_linking import Linker
from ..evidence import evidence_source
from ..loaded_weights import device_to_run_on
from ..pipeline_docre_ii import DocumentRelationExtractionPipeline, EncodedDocument, read_document
from ..processing_docre_ii import DocREIIProcessor
from ..quoting import quote
from ..text_documents import check_given, check_is_no_table
from ..utils.cpu_bf16 import try_bf16, try_bf16_in_all_processes
from ..utils.wording import counted
from .exported_model import ExportedModel
from .extraction_lock import lock_shards
from .extraction_precision import settle_precision
from .extraction_run import ExtractionRun, describe_run, digest_of_finder, has_raw_texts
from .extraction_shards import description_of_a_shard, finished_shards, shard_name, write_shard


logger = logging.get_logger(__name__)


@dataclass
class ExtractedTriples:
    """
    Contents of a folder of triples.

    Args:
        num_documents (`int`): Number of finished documents, including those without a triple.
        num_triples (`int`): Number of triples.
        num_shards (`int`): Number of complete files.
        expected_shards (`int`): Number of files when all documents are finished.
    """

    num_documents: int
    num_triples: int
    num_shards: int
    expected_shards: int

    @property
    def is_complete(self) -> bool:
        """Whether all documents are finished."""
        return self.num_shards == self.expected_shards

    def __str__(self) -> str:
        rest = "" if self.is_complete else ", the rest is left to other processes"
        shards = f"{self.num_shards} of {self.expected_shards} shards"
        return f"{counted(self.num_triples, 'triple')} of {counted(self.num_documents, 'document')} in {shards}{rest}"


def extract_to_parquet(
    model: PreTrainedModel | ExportedModel,
    processor: DocREIIProcessor,
    documents: Sequence[Mapping[str, Any]],
    folder: str | Path,
    documents_per_shard: int = 500,
    batch_size: int = 8,
    bf16: bool = False,
    evidence: str | None = None,
    mention_extractor: Any = None,
    linker: Linker | None = None,
    type_map: Mapping[str, str | None] | None = None,
    process_index: int | None = None,
    num_processes: int | None = None,
) -> ExtractedTriples:
    """
    Extracts triples from any number of documents and writes them as Parquet files.

    Each file, such as `triples-00012-of-00040.parquet`, holds a shard of `documents_per_shard` consecutive documents.
    `datasets.load_dataset("parquet", data_dir=folder)` reads them. Only the documents of one shard are in memory at a
    time. Files are written atomically. To resume a run, start it again with the same arguments: it repeats only
    unfinished and damaged shards. Every file has a checksum, for which each start reads all files once.

    Process i of n writes the shards i, i + n, ... and n may differ when the run is resumed. Processes do not
    communicate: on several nodes, a shared folder is all they need.

    Args:
        model ([`DocREIIForRelationExtraction`] or [`ExportedModel`]):
            The model, on the device to run on, or an exported one.
        processor ([`DocREIIProcessor`]):
            Its processor.
        documents (`Sequence[dict]`):
            Documents as for the pipeline: in DocRED's form, or plain texts, with entities unless the checkpoint has a
            mention model. Labels are ignored. Use a
            `datasets.Dataset`, which reads from disk, for a corpus that does not fit in memory.
        folder (`str` or `Path`):
            Folder of the files. It is created if necessary.
        documents_per_shard (`int`, *optional*, defaults to 500):
            Number of documents per file. A killed process loses at most that many.
        batch_size (`int`, *optional*, defaults to 8):
            Number of documents that go through the model at once. The documents of a shard are batched by length.
        bf16 (`bool`, *optional*, defaults to `False`):
            Whether the model runs under autocast to bfloat16. On a CPU it does only if bf16 works there and is faster
            than float32. The first process decides for all shards.
        evidence (`str`, *optional*):
            Where the evidence of a triple comes from: the `"model"`, a `"rule"` or `"none"`. Defaults to the model if
            it was trained with an `evidence_loss_weight`, and to the rule otherwise.
        mention_extractor, linker, type_map (*optional*):
            What finds the entities of raw texts, as for [`DocumentRelationExtractionPipeline`]. It runs on the texts
            of a shard before the model does. Defaults to the mention model of the checkpoint.
        process_index, num_processes (`int`, *optional*):
            Index of this process and number of processes, as in a job array. Default to those of accelerate.

    Returns:
        [`ExtractedTriples`]: the contents of the folder when this process has finished. Others may still be running.

    Raises:
        [`DocumentError`]: a document is malformed. The message has its index and title. The shards before it are
            written.
        `FileExistsError`: the folder holds triples of other documents, of another model, of shards of another size or
            with another `bf16`, `evidence` or mention extractor, copies of shards, or was started in bf16, which this
            CPU cannot run.
        [`FolderInUseError`]: another extraction is writing into the folder.
        [`NonFiniteLogitsError`]: the model gives NaN or infinite logits. The message names the document.
        `OSError`: a file cannot be read or written. The message names it.
        `ValueError`: there are no documents, only one, or a generator of them, the processor is of another model, a
            number is out of range, there is no such evidence, only one of `process_index` and `num_processes` is
            given, or `bf16` with an exported model.

    Example:

    ```python
    >>> documents = datasets.load_dataset("org/corpus", split="test")
    >>> model.to("cuda")
    >>> extract_to_parquet(model, processor, documents, "triples")
    >>> triples = datasets.load_dataset("parquet", data_dir="triples", split="train")
    ```
    """
    is_launched = process_index is None and num_processes is None
    if is_launched:
        state = PartialState()
        process_index, num_processes = state.process_index, state.num_processes
    if process_index is None or num_processes is None or not 0 <= process_index < num_processes:
        raise ValueError(
            f"expected both 0 <= `process_index` < `num_processes`, got {process_index} and {num_processes}"
        )
    if not all(isinstance(size, Integral) and size >= 1 for size in (documents_per_shard, batch_size)):
        raise ValueError(f"expected integers of at least 1, got {documents_per_shard=} and {batch_size=}")
    if not isinstance(documents, Dataset):
        check_is_no_table(documents)
    if hasattr(documents, "iloc"):  # a pandas Series, whose index need not count its rows
        documents = list(documents)
    if isinstance(documents, (Mapping, str)):
        raise ValueError(f"expected a list of documents or a `datasets.Dataset`, found one {type(documents).__name__}")
    if not hasattr(documents, "__len__"):
        raise ValueError(
            f"expected a list of documents or a `datasets.Dataset`, found {quote(documents)}: "
            "`datasets.Dataset.from_generator` writes documents to the disk that are read one by one"
        )
    if not len(documents):
        raise ValueError("there are no documents to extract triples from")
    if bf16 and isinstance(model, ExportedModel):
        raise ValueError("`bf16` has no effect on an exported model: its graphs have their own precision")
    extractor = DocumentRelationExtractionPipeline(
        model=model,
        processor=processor,
        device=device_to_run_on(model),
        mention_extractor=mention_extractor,
        linker=linker,
        type_map=type_map,
    )
    folder, source = Path(folder), evidence_source(evidence, model.config)
    trial = None
    if bf16 and extractor.device.type == "cpu":
        # All processes of a launch must take part, so this comes before the folder is read.
        trial = try_bf16_in_all_processes() if is_launched else try_bf16()
    entities = digest_of_finder(extractor.entity_finder) if has_raw_texts(documents) else None
    run = describe_run(model, processor, documents, documents_per_shard, bf16, source, entities)
    with lock_shards(folder, run, process_index, num_processes):
        should_log = process_index == 0
        run = settle_precision(run, folder, description_of_a_shard(folder), trial, should_log)
        finished = finished_shards(folder, run)
        mine = range(process_index, run.num_shards, num_processes)
        model.eval()
        with logging.tqdm(
            total=sum(len(run.documents_of(shard)) for shard in mine),
            initial=sum(len(run.documents_of(shard)) for shard in mine if shard in finished),
            desc="Extracting triples",
            unit=" documents",
            disable=not should_log,
        ) as progress:
            for shard in [shard for shard in mine if shard not in finished]:
                indices = run.documents_of(shard)
                read = _read(extractor, documents, indices)
                with torch.autocast(extractor.device.type, torch.bfloat16, enabled=run.bf16):
                    triples = _predict(extractor, read, indices, batch_size, source)
                finished[shard] = _write_shard(folder, run, shard, read, triples)
                progress.update(len(indices))
        there = finished_shards(folder, run, known=finished)
    return ExtractedTriples(
        num_documents=sum(len(run.documents_of(shard)) for shard in there),
        num_triples=sum(there.values()),
        num_shards=len(there),
        expected_shards=run.num_shards,
    )


def _read(
    extractor: DocumentRelationExtractionPipeline, documents: Sequence[Mapping[str, Any]], indices: Sequence[int]
) -> list[EncodedDocument]:
    """Reads the documents of a shard, and finds the entities of raw texts."""
    given = [documents[index] for index in indices]
    for index, document in zip(indices, given):
        _named(check_given, document, index)
    found = extractor.add_entities(given, indices[0])
    return [_named(read_document, document, index) for index, document in zip(indices, found)]


def _named(function: Callable[[Any], Any], document: Any, index: int) -> Any:
    try:
        return function(document)
    except DocumentError as error:
        raise DocumentError(f"documents[{index}]: {error}") from None


def _predict(
    extractor: DocumentRelationExtractionPipeline,
    documents: list[EncodedDocument],
    indices: Sequence[int],
    batch_size: int,
    evidence: str,
) -> list[list[dict[str, Any]]]:
    """Predicts triples of documents, encoded together and batched by length."""
    try:
        encoded = extractor.processor([read.document for read in documents])
    except DocumentError:
        # The processor has named the title. Documents of this run also have an index.
        for read, index in zip(documents, indices):
            _named(check_document, read.document, index)
        raise
    features = [dict(zip(encoded, values)) for values in zip(*encoded.values())]
    # The longest first: documents that are too long for the memory of the device fail at once.
    order = sorted(range(len(features)), key=lambda index: -len(features[index]["input_ids"]))
    triples: list[list[dict[str, Any]]] = [[] for _ in documents]
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        inputs = [replace(documents[index], features=features[index]) for index in batch]
        for index, rows in zip(batch, extractor.forward({"encoded": inputs}, evidence=evidence)["triples"]):
            triples[index] = rows
    return triples


def _write_shard(
    folder: Path,
    run: ExtractionRun,
    shard: int,
    documents: list[EncodedDocument],
    triples: list[list[dict[str, Any]]],
) -> int:
    indices = run.documents_of(shard)
    rows = [
        {
            "document": index,
            "title": read.document["title"],
            "head": triple["head"]["entity"],
            "head_name": triple["head"]["name"],
            "head_type": triple["head"]["type"],
            "head_kb_id": triple["head"].get("kb_id"),
            "relation": triple["relation"],
            "relation_name": triple["relation_name"],
            "tail": triple["tail"]["entity"],
            "tail_name": triple["tail"]["name"],
            "tail_type": triple["tail"]["type"],
            "tail_kb_id": triple["tail"].get("kb_id"),
            "score": triple["score"],
            "evidence": triple["evidence"],
            "evidence_spans": triple.get("evidence_spans"),
        }
        for index, read, triples_of_document in zip(indices, documents, triples)
        for triple in triples_of_document
    ]
    write_shard(folder, run, shard, rows)
    logger.info(f"{folder / shard_name(shard, run.num_shards)}: {len(rows)} triples of {len(indices)} documents")
    return len(rows)


__all__ = ["ExtractedTriples", "extract_to_parquet"]
