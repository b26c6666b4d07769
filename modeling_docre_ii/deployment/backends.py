"""Loads a model for PyTorch, onnxruntime or OpenVINO."""

from typing import Any

from ..modeling_docre_ii import DocREIIForRelationExtraction
from .exported_model import ExportedModel
from .onnx_model import DocREIIONNXModel
from .openvino_model import DocREIIOpenVINOModel


# What runs a model, by the name that a user gives. The first one is the default.
BACKENDS: dict[str, Any] = {
    "torch": DocREIIForRelationExtraction,
    "onnx": DocREIIONNXModel,
    "openvino": DocREIIOpenVINOModel,
}


def load_model(name_or_path: str, backend: str, **kwargs: Any) -> DocREIIForRelationExtraction | ExportedModel:
    """
    Loads a model for inference.

    Args:
        name_or_path (`str`):
            A checkpoint, or for `"onnx"` and `"openvino"` a folder written by [`export_onnx`].
        backend (`str`):
            What runs it: a key of `BACKENDS`.
        kwargs:
            Further arguments of `from_pretrained` of that class.

    Raises:
        `FileNotFoundError`: the folder holds no exported model.
        `ImportError`: the backend is not installed.
    """
    return BACKENDS[backend].from_pretrained(name_or_path, **kwargs)


__all__ = ["BACKENDS", "load_model"]
