"""Inputs of the `evaluate` metrics: whole documents and their predictions."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import datasets

from .matching import PredictionError, check_prediction, labels_of, quote


if TYPE_CHECKING:
    from evaluate import Metric
else:
    # `evaluate.load` would take a second metric class in a file for the one to load.
    Metric = object


class DocumentInputs(Metric):
    """
    Lets a metric take whole documents, with more or fewer fields than declared.

    `evaluate` alone rejects such mappings. List this class before [`evaluate.Metric`] among the bases.
    """

    def add_batch(self, *, predictions: Iterable[Any], references: Iterable[Mapping[str, Any]]) -> None:
        """Adds documents: what is predicted for each, and a reference for each."""
        gold = [declared_fields(self.features["references"], document) for document in references]
        for document in gold:
            # `evaluate` would refuse a relation that is no string as well, but not say where it is.
            labels_of(document)
        found = [self.read_prediction(predicted) for predicted in predictions]
        facts = (fact for predicted in found if isinstance(predicted, list) for fact in predicted)
        for index, fact in enumerate(facts):
            # `datasets` would make 0 of -0.9.
            check_prediction({**fact, "title": ""}, index)
        super().add_batch(predictions=found, references=gold)

    def read_prediction(self, predicted: Any) -> Any:
        """Keeps what the metric declares of the prediction for a document."""
        return declared_fields(self.features["predictions"], predicted)

    def add(
        self, *, prediction: Any = None, reference: Any = None, predictions: Any = None, references: Any = None
    ) -> None:
        """
        Adds one document: what is predicted for it and its reference.

        `evaluate.combine` passes them as `predictions` and `references`.
        """
        self.add_batch(
            predictions=[predictions if prediction is None else prediction],
            references=[references if reference is None else reference],
        )


def declared_fields(feature: Any, value: Any) -> Any:
    """
    Keeps the declared keys of a value, at every level.

    Args:
        feature (`dict`, `datasets.List` or `datasets.Value`):
            What the metric declares.
        value (`dict`, `list` or a plain value):
            What the user passes.

    Returns:
        `dict`, `list` or a plain value: the value with exactly the declared keys. A missing list is empty, because
        `evaluate` takes no `None` for a list of mappings; any other missing value is `None`.

    Raises:
        [`PredictionError`]: The value has something else where the metric declares a mapping.
    """
    if isinstance(feature, dict):
        if not isinstance(value, Mapping):
            raise PredictionError(f"found {quote(value)}, expected a mapping with {', '.join(feature)}")
        return {name: declared_fields(of_name, value.get(name)) for name, of_name in feature.items()}
    if isinstance(feature, datasets.List):
        return [] if value is None else [declared_fields(feature.feature, item) for item in value]
    return value


def with_titles(
    predictions: Iterable[Iterable[Mapping[str, Any]]], references: Iterable[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """
    Returns predictions by document as one list in DocRED's submission form.

    Args:
        predictions (`Iterable[Iterable[dict]]`):
            For each document, predictions with `h_idx`, `t_idx`, `r` and, optionally, `evidence`.
        references (`Iterable[dict]`):
            As many documents. Only `title` is read.

    Returns:
        `list[dict]`: each prediction with the title of its document, in the same order.
    """
    return [
        {**fact, "title": document["title"]}
        for facts, document in zip(predictions, references, strict=True)
        for fact in facts
    ]
