"""Runs an exported model with onnxruntime, also in the pipeline."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .exported_model import (
    ENCODER_FILE,
    RELATIONS_FILE,
    ExportedModel,
    Graph,
    digest_of,
    load_exported_config,
    require,
    require_files,
)


if TYPE_CHECKING:
    from onnxruntime import InferenceSession


class DocREIIONNXModel(ExportedModel):
    """
    A model exported by [`export_onnx`], for inference with onnxruntime.

    Calls are those of [`ExportedModel`], whose inputs and outputs are those of [`DocREIIForRelationExtraction`].

    Example:

    ```python
    >>> from transformers import AutoProcessor, pipeline
    >>> from modeling_docre_ii import DocREIIONNXModel

    >>> model = DocREIIONNXModel.from_pretrained("exported")
    >>> processor = AutoProcessor.from_pretrained("exported")
    >>> extractor = pipeline("document-relation-extraction", model=model, processor=processor)
    ```
    """

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike, **session_options: Any) -> "DocREIIONNXModel":
        r"""
        Loads an exported model.

        Args:
            folder (`str` or `os.PathLike`):
                Folder written by [`export_onnx`].
            session_options:
                Arguments of `onnxruntime.InferenceSession`, such as `providers` or `sess_options`.

        Raises:
            `ImportError`: onnxruntime is not installed.
            `FileNotFoundError`: the folder holds no exported model.
        """
        require("onnx", "onnxruntime")
        from onnxruntime import InferenceSession

        require_files(folder, ENCODER_FILE, RELATIONS_FILE)
        encoder, relations = (
            _graph(InferenceSession(Path(folder) / name, **session_options)) for name in (ENCODER_FILE, RELATIONS_FILE)
        )
        digest = digest_of("onnxruntime", Path(folder).glob("*.onnx*"))
        return cls(encoder, relations, load_exported_config(folder), digest)


def _graph(session: "InferenceSession") -> Graph:
    def run(inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        return session.run(None, dict(inputs))

    return run


__all__ = ["DocREIIONNXModel"]
