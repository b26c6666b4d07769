"""Serves a checkpoint on Hugging Face Inference Endpoints."""

import reprlib
from collections.abc import Mapping
from typing import Any

from transformers import pipeline


_REQUEST = (
    '{"inputs": "...", "parameters": {}}, or {"inputs": {"text": "...", "entities": [{"mentions": [[0, 5]], "type": '
    '"PER"}]}, "parameters": {}}'
)
_PARAMETERS: dict[str, tuple[type | tuple[type, ...], str]] = {
    "threshold": ((int, float), "a number"),
    "top_k": (int, "a whole number"),
    "explain": (bool, "true or false"),
    "evidence": (str, "'model', 'rule' or 'none'"),
}


class EndpointHandler:
    """
    Answers the requests of an Inference Endpoint with triples.

    An endpoint loads `handler.py` from a repository by its path, so this file imports nothing that lies beside it.

    Args:
        path (`str`):
            Folder of the checkpoint, with model, processor and code.

    Example:

    ```python
    >>> handler = EndpointHandler("outputs/quickstart")
    >>> document = {"text": "Ada was born in London.", "entities": [{"mentions": [[0, 3]], "type": "PER"}]}
    >>> handler({"inputs": document, "parameters": {"threshold": 0.7}})
    []
    ```
    """

    def __init__(self, path: str = ""):
        self.extractor = pipeline("document-relation-extraction", model=path, trust_remote_code=True)

    def __call__(self, data: Mapping[str, Any]) -> list[Any]:
        """
        Extracts the triples of the documents in a request.

        Args:
            data (`dict`):
                The request: `inputs`, a text, a document or a list of them as [`DocumentRelationExtractionPipeline`]
                takes them, and optionally `parameters`, its `threshold`, `top_k`, `explain` and `evidence`. A text
                without entities needs a checkpoint with a mention model.

        Returns:
            `list[dict]` for one document, a list of them for a list.

        Raises:
            `ValueError`: the request is malformed. The endpoint sends the message to the client.
        """
        if not isinstance(data, Mapping) or "inputs" not in data:
            raise ValueError(f"the request is {reprlib.repr(data)}, expected {_REQUEST}")
        unknown = sorted(set(data) - {"inputs", "parameters"})
        if unknown:
            raise ValueError(f"the request has the unknown keys {unknown}, expected {_REQUEST}")
        return self.extractor(data["inputs"], **_read_parameters(data.get("parameters")))


def _read_parameters(parameters: Any) -> dict[str, Any]:
    if parameters is None:
        return {}
    if not isinstance(parameters, Mapping):
        raise ValueError(f"'parameters' is {reprlib.repr(parameters)}, expected an object: {{'threshold': 0.7}}")
    given = {name: value for name, value in parameters.items() if value is not None}
    for name, value in given.items():
        if name not in _PARAMETERS:
            raise ValueError(f"unknown parameter {name!r}, expected some of {', '.join(_PARAMETERS)}")
        kind, expected = _PARAMETERS[name]
        # A bool is an int in Python.
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise ValueError(f"parameter {name!r} is {reprlib.repr(value)}, expected {expected}")
    return given


__all__ = ["EndpointHandler"]
