"""Exports a model to ONNX, for [`DocREIIONNXModel`]."""

import os
import shutil
import warnings
from pathlib import Path

import torch
from torch import nn
from transformers.utils import CONFIG_NAME

from ..document_encoding import DocumentEncoding, encode_window, pool_attention
from ..entity_finding import MENTION_MODEL_FOLDER
from ..entity_pairs import EntityPairs
from ..loaded_weights import check_weights
from ..modeling_docre_ii import DocREIIForRelationExtraction
from ..processing_docre_ii import DocREIIProcessor
from ..utils.atomic_write import flush_to_disk, named_in_errors
from .exported_model import ENCODER_FILE, INT8_ENCODER_FILES, RELATIONS_FILE, require


# The dynamic axes of the files, by input.
BATCH, LENGTH, MENTIONS, ENTITIES = "batch_size", "sequence_length", "num_mentions", "num_entities"
AXES = {
    "input_ids": {0: BATCH, 1: LENGTH},
    "attention_mask": {0: BATCH, 1: LENGTH},
    "mention_positions": {0: BATCH, 1: MENTIONS},
    "mention_entities": {0: BATCH, 1: MENTIONS},
    "pair_mask": {0: BATCH, 1: ENTITIES, 2: ENTITIES},
    "last_hidden_state": {0: BATCH, 1: LENGTH},
    "mention_attention": {0: BATCH, 2: MENTIONS, 3: LENGTH},
    "entity_attention": {0: BATCH, 2: ENTITIES, 3: LENGTH},
}


class EncoderGraph(nn.Module):
    """
    The text encoder.

    Takes a window of token ids and the mentions in it. Returns hidden states and the attention of the mentions.
    """

    inputs = ("input_ids", "attention_mask", "mention_positions")
    outputs = ("last_hidden_state", "mention_attention")

    def __init__(self, model: DocREIIForRelationExtraction):
        super().__init__()
        self.encoder = model.docre_ii.encoder

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, mention_positions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        window = {"input_ids": input_ids, "attention_mask": attention_mask}
        output, attention = encode_window(self.encoder, window, mention_positions.clamp(min=0))
        return output.last_hidden_state, attention


class RelationsGraph(nn.Module):
    """
    Everything after the encoder.

    Takes hidden states and the attention of entities. Returns logits of the base module and, of shape
    `(num_iterations, batch_size, num_entities, num_entities, num_labels)`, of all iterations.
    """

    inputs = ("last_hidden_state", "entity_attention", "mention_positions", "mention_entities", "pair_mask")

    def __init__(self, model: DocREIIForRelationExtraction):
        super().__init__()
        self.model = model
        self.outputs = ("base_logits", "iteration_logits") if model.config.num_iterations else ("base_logits",)

    def forward(
        self,
        last_hidden_state: torch.Tensor,
        entity_attention: torch.Tensor,
        mention_positions: torch.Tensor,
        mention_entities: torch.Tensor,
        pair_mask: torch.Tensor,
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        pairs = EntityPairs.from_mask(pair_mask)
        encoding = DocumentEncoding(last_hidden_state, entity_attention)
        rows = self.model.docre_ii.encode_pairs(encoding, mention_positions, mention_entities, pairs)
        output = self.model.infer(*rows, pairs)
        if "iteration_logits" not in output:
            return output["base_logits"]
        return output["base_logits"], torch.stack(output["iteration_logits"])


def export_onnx(model: DocREIIForRelationExtraction, processor: DocREIIProcessor, folder: str | os.PathLike) -> None:
    r"""
    Exports a model and its processor for onnxruntime.

    It writes `encoder.onnx`, `relations.onnx` with everything after the encoder, the configuration and the processor.
    Batch size, length, number of mentions and number of entities are dynamic. The encoder is a separate file because a
    long document goes through it in several windows.

    Args:
        model ([`DocREIIForRelationExtraction`]):
            The model, in float32. It is set to evaluation mode.
        processor ([`DocREIIProcessor`]):
            Its processor.
        folder (`str` or `os.PathLike`):
            Folder to write, for [`DocREIIONNXModel.from_pretrained`].

    Raises:
        [`FileWriteError`]: the folder cannot be written.
        `ImportError`: onnx or onnxscript is not installed.
        `ValueError`: the model is not in float32, or [`check_weights`] refuses its weights.

    Example:

    ```python
    >>> export_onnx(model, processor, "exported")
    ```
    """
    require("onnx", "onnx", "onnxscript")
    if model.dtype != torch.float32:
        raise ValueError(f"the model is in {model.dtype}: load it with `dtype=torch.float32` to export it")
    check_weights(model)
    model.eval()
    folder = Path(os.path.realpath(folder))
    inputs = _example(model)
    encoder = EncoderGraph(model)
    with torch.no_grad():
        states, attention = encoder(*(inputs[name] for name in encoder.inputs))
    encoded = {
        "last_hidden_state": states,
        "entity_attention": pool_attention(attention, inputs["mention_entities"], inputs["pair_mask"].shape[1]),
    }
    partial = folder.with_name(f"{folder.name}.{os.getpid()}.partial")
    try:
        with named_in_errors(folder):
            partial.mkdir(parents=True)
            _write(encoder, inputs, partial / ENCODER_FILE)
            _write(RelationsGraph(model), inputs | encoded, partial / RELATIONS_FILE)
            model.config.save_pretrained(partial)
            processor.save_pretrained(partial)
            _move_files(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _move_files(source: Path, target: Path) -> None:
    """Moves files into a folder, whose model does not load before the last one, its configuration, is there."""
    target.mkdir(exist_ok=True)
    for name in (CONFIG_NAME, *INT8_ENCODER_FILES):  # the encoder in int8 is of another model
        (target / name).unlink(missing_ok=True)
    shutil.rmtree(target / MENTION_MODEL_FOLDER, ignore_errors=True)  # so is the mention model
    for path in sorted(source.iterdir(), key=lambda path: path.name == CONFIG_NAME):
        flush_to_disk(path)
        path.replace(target / path.name)


def _example(model: DocREIIForRelationExtraction) -> dict[str, torch.Tensor]:
    """
    Returns a batch to export with.

    Its sizes differ and are above 1, because the exporter takes 0 and 1 as fixed.
    """
    batch_size, length, entities, mentions = 2, min(16, model.config.max_window_size), 3, 4
    inputs = {
        "input_ids": torch.ones(batch_size, length, dtype=torch.long),
        "attention_mask": torch.ones(batch_size, length, dtype=torch.long),
        "mention_positions": torch.arange(mentions).repeat(batch_size, 1) % length,
        "mention_entities": torch.arange(mentions).repeat(batch_size, 1) % entities,
        "pair_mask": ~torch.eye(entities, dtype=torch.bool).repeat(batch_size, 1, 1),
    }
    return {name: value.to(model.device) for name, value in inputs.items()}


def _write(graph: nn.Module, inputs: dict[str, torch.Tensor], path: Path) -> None:
    with torch.no_grad(), warnings.catch_warnings():
        # Two inputs share an axis, as they must.
        warnings.filterwarnings("ignore", message=".*shares the same shape constraints")
        warnings.filterwarnings("ignore", category=FutureWarning)  # of torch's exporter about torch
        torch.onnx.export(
            graph.eval(),
            tuple(inputs[name] for name in graph.inputs),
            path,
            input_names=graph.inputs,
            output_names=graph.outputs,
            dynamic_shapes=tuple(AXES[name] for name in graph.inputs),
            dynamo=True,
            verbose=False,
        )


__all__ = ["export_onnx"]
