"""What the metrics of `evaluate` take: documents with keys beyond the declared ones, and without some of these."""

import reprlib
from collections.abc import Mapping
from typing import Any

import datasets

from ..documents import DocumentError


class DocumentInputs:
    """
    Lets a metric take any document, to be named before [`evaluate.Metric`] among its bases. evaluate alone fails on a
    mapping that has not just the declared keys.
    """

    def add_batch(self, *, predictions=None, references=None):
        """Adds documents: a list of predictions and a reference for each."""
        predictions = [declared_fields(self.features["predictions"], facts) for facts in predictions]
        references = [declared_fields(self.features["references"], document) for document in references]
        super().add_batch(predictions=predictions, references=references)

    def add(self, *, prediction=None, reference=None):
        """Adds one document: its list of predictions and its reference."""
        self.add_batch(predictions=[prediction], references=[reference])


def declared_fields(feature: Any, value: Any) -> Any:
    """
    Brings a value into the form of a feature, at every level.

    Args:
        feature (`dict`, `datasets.List` or `datasets.Value`):
            What is declared.
        value (`dict`, `list` or a plain value):
            What is given.

    Returns:
        `dict`, `list` or a plain value: the value with just the declared keys. A list that it has not is empty, as
            evaluate takes no `None` for a list of mappings; other values are `None`.

    Raises:
        [`DocumentError`]: The value has something else where a mapping is declared.
    """
    if isinstance(feature, dict):
        if not isinstance(value, Mapping):
            raise DocumentError(f"found {reprlib.repr(value)}, expected a mapping with {', '.join(feature)}")
        return {name: declared_fields(of_name, value.get(name)) for name, of_name in feature.items()}
    if isinstance(feature, datasets.List):
        return [] if value is None else [declared_fields(feature.feature, item) for item in value]
    return value
