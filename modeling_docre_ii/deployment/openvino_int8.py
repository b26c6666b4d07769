"""Quantizes the encoder of an exported model to int8, for OpenVINO."""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from transformers.utils import logging

from ..processing_docre_ii import DocREIIProcessor
from ..utils.atomic_write import flush_to_disk, named_in_errors
from .exported_model import ENCODER_FILE, INT8_ENCODER_FILES, RELATIONS_FILE, Graph, require, require_files
from .openvino_model import DocREIIOpenVINOModel


def quantize_openvino(folder: str | os.PathLike, documents: Sequence[Mapping[str, Any]]) -> None:
    r"""
    Quantizes the encoder of an exported model to int8, for OpenVINO.

    Weights and activations become int8. The ranges of the activations are those that the given documents show
    (post-training quantization of nncf), so they should be like the documents to extract from. Labels are not read.
    Everything after the encoder stays in float32.

    It writes `encoder_int8.xml` and `encoder_int8.bin` into the folder.

    Args:
        folder (`str` or `os.PathLike`):
            Folder written by [`export_onnx`].
        documents (`list[dict]`):
            Documents with entities, some tens of them (docs/performance.md has scores with 40).

    Raises:
        [`DocumentError`]: a document is malformed.
        `FileNotFoundError`: the folder holds no exported model.
        [`FileWriteError`]: the folder cannot be written.
        `ImportError`: openvino or nncf is not installed.
        `ValueError`: there are no documents.

    Example:

    ```python
    >>> quantize_openvino("exported", train_documents[:40])
    >>> model = DocREIIOpenVINOModel.from_pretrained("exported")
    ```
    """
    require("openvino", "openvino", "nncf")
    import nncf
    from openvino import Core, save_model

    if not documents:
        raise ValueError("there are no documents to calibrate with")
    folder = Path(folder)
    require_files(folder, ENCODER_FILE, RELATIONS_FILE)
    windows = _encoder_inputs(folder, documents)
    quantized = nncf.quantize(
        Core().read_model(folder / ENCODER_FILE),
        nncf.Dataset(windows),
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(windows),
        # CPUs without VNNI add products of whole bytes in 16 bits, which overflow: weights take half of their range.
        advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.ENABLE),
    )
    graph, weights = INT8_ENCODER_FILES
    partial = folder / f"int8.{os.getpid()}.partial"
    try:
        with named_in_errors(folder):
            partial.mkdir()
            save_model(quantized, partial / graph, compress_to_fp16=False)
            (folder / graph).unlink(missing_ok=True)
            for name in (weights, graph):  # the graph last: without it, nobody looks for the weights
                flush_to_disk(partial / name)
                (partial / name).replace(folder / name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


class _Recorder:
    """A graph that keeps what it was given."""

    def __init__(self, graph: Graph):
        self.graph = graph
        self.inputs: list[dict[str, np.ndarray]] = []

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        self.inputs.append({name: np.array(array) for name, array in inputs.items()})
        return self.graph(inputs)


def _encoder_inputs(folder: Path, documents: Sequence[Mapping[str, Any]]) -> list[dict[str, np.ndarray]]:
    """Returns what the encoder reads of the documents: their windows, as the model makes them."""
    model = DocREIIOpenVINOModel.from_pretrained(folder, int8=False)
    processor = DocREIIProcessor.from_pretrained(folder)
    recorder = _Recorder(model.encoder.graph)
    model.encoder.graph = recorder
    for document in logging.tqdm(documents, desc="Reading documents", unit=" documents", delay=2):
        model(**processor([document], return_tensors="pt"))
    return recorder.inputs


__all__ = ["quantize_openvino"]
