"""Runs an exported model with OpenVINO, in float32 or int8, also in the pipeline."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .exported_model import (
    ENCODER_FILE,
    INT8_ENCODER_FILES,
    RELATIONS_FILE,
    ExportedModel,
    Graph,
    digest_of,
    load_exported_config,
    require,
    require_files,
)


if TYPE_CHECKING:
    from openvino import CompiledModel


class DocREIIOpenVINOModel(ExportedModel):
    """
    A model exported by [`export_onnx`], for inference with OpenVINO.

    Calls are those of [`ExportedModel`], whose inputs and outputs are those of [`DocREIIForRelationExtraction`].

    Example:

    ```python
    >>> from transformers import AutoProcessor, pipeline
    >>> from modeling_docre_ii import DocREIIOpenVINOModel

    >>> model = DocREIIOpenVINOModel.from_pretrained("exported")
    >>> processor = AutoProcessor.from_pretrained("exported")
    >>> extractor = pipeline("document-relation-extraction", model=model, processor=processor)
    ```
    """

    @classmethod
    def from_pretrained(
        cls, folder: str | os.PathLike, int8: bool | None = None, **properties: Any
    ) -> "DocREIIOpenVINOModel":
        r"""
        Loads an exported model.

        Args:
            folder (`str` or `os.PathLike`):
                Folder written by [`export_onnx`].
            int8 (`bool`, *optional*):
                Whether the encoder runs in int8, for which [`quantize_openvino`] has written a graph. Defaults to
                whether there is one.
            properties:
                Properties of OpenVINO's CPU plugin, such as `INFERENCE_NUM_THREADS`. Without
                `INFERENCE_PRECISION_HINT` everything that is not in int8 is computed in float32.

        Raises:
            `ImportError`: openvino is not installed.
            `FileNotFoundError`: the folder holds no exported model, or with `int8=True` no encoder in int8.
        """
        require("openvino", "openvino")
        from openvino import Core

        folder = Path(folder)
        if int8 is None:
            int8 = (folder / INT8_ENCODER_FILES[0]).is_file()
        names = (INT8_ENCODER_FILES[0] if int8 else ENCODER_FILE, RELATIONS_FILE)
        require_files(folder, *names)
        core, properties = Core(), {"INFERENCE_PRECISION_HINT": "f32"} | properties
        encoder, relations = (_graph(core.compile_model(folder / name, "CPU", properties)) for name in names)
        files = [path for name in names for path in folder.glob(f"{Path(name).stem}.*")]
        runtime = f"openvino, {properties['INFERENCE_PRECISION_HINT']}"
        return cls(encoder, relations, load_exported_config(folder), digest_of(runtime, files))


def _graph(compiled: "CompiledModel") -> Graph:
    request = compiled.create_infer_request()

    def run(inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        # Results are views of memory that the next call writes again.
        return [np.array(array) for array in request.infer(dict(inputs), share_inputs=True).values()]

    return run


__all__ = ["DocREIIOpenVINOModel"]
