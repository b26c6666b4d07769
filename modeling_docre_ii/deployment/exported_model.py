"""An exported model: two graphs that a runtime runs, in place of PyTorch's model."""

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from transformers.utils import CONFIG_NAME

from ..configuration_docre_ii import DocREIIConfig
from ..document_encoding import MentionAttention, check_token_ids, encode_documents
from ..entity_pairs import require_pair_inputs
from ..evidence import sentence_shares, should_output_evidence
from ..model_outputs import DocREIIOutput


# The files of an exported model: the text encoder, and everything after it.
ENCODER_FILE, RELATIONS_FILE = "encoder.onnx", "relations.onnx"
# What `quantize_openvino` writes beside them: the graph of the encoder in int8, and its weights.
INT8_ENCODER_FILES = ("encoder_int8.xml", "encoder_int8.bin")

# Runs a graph: inputs by name -> outputs in their order.
Graph = Callable[[Mapping[str, np.ndarray]], list[np.ndarray]]


class ExportedModel:
    """
    A model exported by [`export_onnx`], whatever runs its graphs.

    It takes the inputs of [`DocREIIForRelationExtraction`], as tensors on the CPU, reads long documents through the
    same windows, and returns a [`DocREIIOutput`] with `logits`, `base_logits`, `iteration_logits` and
    `sentence_shares`.

    Args:
        encoder, relations (`Callable`):
            The two graphs: each takes arrays by name and returns its outputs.
        config ([`DocREIIConfig`]):
            Configuration of the exported model.
        digest (`str`):
            Digest of what the graphs compute, see [`digest_of`].
    """

    device = torch.device("cpu")
    dtype = torch.float32
    input_modalities = ("text",)
    # Without it, a pipeline would move the model and its inputs to a GPU.
    hf_device_map = {"": device}

    def __init__(self, encoder: Graph, relations: Graph, config: DocREIIConfig, digest: str):
        self.encoder = _Encoder(encoder, config)
        self.relations = relations
        self.config = config
        self.digest = digest

    def eval(self) -> "ExportedModel":
        """Returns the model, which knows no training."""
        return self

    def save_pretrained(self, *args: Any, **kwargs: Any) -> None:
        """
        Refuses to save, which a pipeline of the model would ask for.

        Raises:
            `ValueError`: always.
        """
        raise ValueError("an exported model is its folder: copy that, or save the checkpoint that it was made of")

    def can_generate(self) -> bool:
        """Returns `False`. Pipelines ask."""
        return False

    def __call__(
        self,
        input_ids: torch.LongTensor,
        attention_mask: torch.LongTensor | None = None,
        mention_positions: torch.LongTensor | None = None,
        mention_entities: torch.LongTensor | None = None,
        pair_mask: torch.BoolTensor | None = None,
        output_attentions: bool = False,
        sentence_ids: torch.LongTensor | None = None,
        output_evidence: bool | None = None,
    ) -> DocREIIOutput:
        r"""
        Runs the exported graphs.

        Args:
            input_ids, attention_mask, mention_positions, mention_entities, pair_mask, sentence_ids, output_evidence:
                See [`DocREIIForRelationExtraction`].
            output_attentions (`bool`, *optional*, defaults to `False`):
                Must be `False`: the exported graphs return none.

        Returns:
            [`DocREIIOutput`]

        Raises:
            `ValueError`: an input is missing, `output_attentions` is set, or `output_evidence` without `sentence_ids`.
        """
        if output_attentions:
            raise ValueError(
                "an exported model returns no attentions and cannot explain its triples: load the original checkpoint"
            )
        mention_positions, mention_entities, pair_mask = require_pair_inputs(
            mention_positions, mention_entities, pair_mask
        )
        check_token_ids(input_ids, self.config.vocab_size)
        encoding = encode_documents(
            self.encoder,
            input_ids,
            torch.ones_like(input_ids) if attention_mask is None else attention_mask,
            mention_positions,
            mention_entities,
            pair_mask.shape[1],
            **self.config.windows,
        )
        base_logits, *iterations = run(
            self.relations,
            last_hidden_state=encoding.last_hidden_state,
            entity_attention=encoding.entity_attention,
            mention_positions=mention_positions,
            mention_entities=mention_entities,
            pair_mask=pair_mask.bool(),
        )
        shares = None
        if should_output_evidence(output_evidence, sentence_ids, self.config):
            # The exported encoder returns the attention that evidence is read from.
            shares = sentence_shares(encoding.entity_attention, sentence_ids)
        if not iterations:
            return DocREIIOutput(logits=base_logits, base_logits=base_logits, sentence_shares=shares)
        iteration_logits = tuple(iterations[0])
        return DocREIIOutput(
            logits=iteration_logits[-1],
            base_logits=base_logits,
            iteration_logits=iteration_logits,
            sentence_shares=shares,
        )


def load_exported_config(folder: str | os.PathLike) -> DocREIIConfig:
    """
    Loads the configuration of an exported model.

    Args:
        folder (`str` or `os.PathLike`):
            Its folder, by which a pipeline finds the mention model in it.
    """
    config = DocREIIConfig.from_pretrained(folder)
    config._name_or_path = os.fspath(folder)
    return config


class _Encoder:
    """The exported encoder, as [`encode_documents`] calls an encoder that runs sdpa."""

    def __init__(self, graph: Graph, config: DocREIIConfig):
        self.graph = graph
        self.config = SimpleNamespace(
            _attn_implementation="sdpa", pad_token_id=getattr(config.encoder_config, "pad_token_id", None)
        )

    def __call__(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        mention_attention: MentionAttention,
        output_attentions: bool,
        return_dict: bool,
    ) -> SimpleNamespace:
        states, mention_attention.probabilities = run(
            self.graph,
            input_ids=input_ids,
            attention_mask=attention_mask,
            mention_positions=mention_attention.rows,
        )
        return SimpleNamespace(last_hidden_state=states, hidden_states=None)


def run(graph: Graph, **inputs: torch.Tensor) -> list[torch.Tensor]:
    """Runs an exported graph on tensors."""
    outputs = graph({name: value.contiguous().numpy() for name, value in inputs.items()})
    return [torch.from_numpy(array) for array in outputs]


def require_files(folder: str | os.PathLike, *names: str) -> None:
    """
    Checks that a folder holds an exported model.

    Args:
        folder (`str` or `os.PathLike`):
            The folder.
        names (`str`):
            Names of the files of the graphs.

    Raises:
        `FileNotFoundError`: the configuration or a graph is missing.
    """
    for path in (Path(folder) / name for name in (CONFIG_NAME, *names)):
        if not path.is_file():
            raise FileNotFoundError(
                f"{str(path)!r} is missing: export a model to this folder, with `docre-ii export` or `export_onnx`"
            )


def digest_of(runtime: str, files: Iterable[Path]) -> str:
    """
    Digests the graphs of an exported model, for [`extract_to_parquet`].

    Args:
        runtime (`str`):
            What runs them: two runtimes round differently.
        files (`Iterable[Path]`):
            The files of the graphs, with their weights.

    Returns:
        `str`: SHA-256 in hexadecimal.
    """
    digest = hashlib.sha256(runtime.encode())
    for path in sorted(files):
        digest.update(path.name.encode())
        with path.open("rb") as file:
            digest.update(file.read())
    return digest.hexdigest()


def require(extra: str, *packages: str) -> None:
    """
    Checks that packages are installed.

    Args:
        extra (`str`):
            The extra of this package that installs them.
        packages (`str`):
            Their names.

    Raises:
        `ImportError`: one of the packages is not installed.
    """
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise ImportError(f"{missing[0]!r} is not installed: `pip install docre-ii[{extra}]`")
