"""The scores of extraction from raw text as an `evaluate` metric."""

from collections.abc import Iterable, Mapping
from typing import Any

import datasets
import evaluate

# All that the siblings need, used here or not, for `evaluate.load`: see `docred_metric`.
from .extractions import read_prediction
from .matching import PredictionError
from .mention_scores import score_extractions
from .metric_inputs import DocumentInputs
from .scores import micro_scores


_DESCRIPTION = """\
Micro F1, precision and recall of mentions, of their clusters and of relations between clusters, all found in raw text,
as JEREX defines them; the same of relations whose entities are found by any mention; and the share of gold facts whose
entities are both found.
"""

_CITATION = """\
@inproceedings{eberts-ulges-2021-end,
    title = "An End-to-end Model for Entity-level Relation Extraction using Multi-instance Learning",
    author = "Eberts, Markus and Ulges, Adrian",
    booktitle = "Proceedings of the 16th Conference of the European Chapter of the Association for Computational
      Linguistics: Main Volume",
    year = "2021",
    pages = "3650--3660",
}
"""


class MentionMetric(DocumentInputs, evaluate.Metric):
    """
    Computes the scores of [`score_extractions`] with `evaluate`.

    It takes a prediction and a reference for each document. A prediction has the `text`, its `entities`, each with a
    `type` and `mentions`, [start, end) in characters, and `triples`, as the pipeline returns them for plain text: a
    `relation`, and a `head` and a `tail`, whose `mentions` have `start` and `end`, and which may have a `type`. A
    reference is the gold document, in DocRED's form (`title`, `sents`, `vertexSet`, `labels`) or as plain text
    (`title`, `text`, `entities`, `labels`). Texts may differ in white space. Other keys are ignored. Titles must
    differ.

    Example:

    ```python
    >>> metric = MentionMetric()
    >>> entities = [{"type": "PER", "mentions": [[0, 3]]}, {"type": "LOC", "mentions": [[14, 19]]}]
    >>> prediction = {"text": "Ada is from Paris.", "entities": entities, "triples": []}
    >>> metric.compute(predictions=[prediction], references=[document])
    {'mention_f1': 100.0, 'mention_precision': 100.0, 'mention_recall': 100.0, 'typed_mention_f1': 100.0, ...}
    ```
    """

    def _info(self) -> evaluate.MetricInfo:
        index, name = datasets.Value("int32"), datasets.Value("string")
        entities = datasets.List({"type": name, "mentions": datasets.List(datasets.List(index))})
        argument = {"type": name, "mentions": datasets.List({"start": index, "end": index})}
        mention = {"sent_id": index, "pos": datasets.List(index), "type": name}
        prediction = {
            "text": name,
            "entities": entities,
            "triples": datasets.List({"head": argument, "tail": argument, "relation": name}),
        }
        reference = {
            "title": name,
            "text": name,
            "entities": entities,
            "sents": datasets.List(datasets.List(name)),
            "vertexSet": datasets.List(datasets.List(mention)),
            "labels": datasets.List({"h": index, "t": index, "r": name}),
        }
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            features=datasets.Features({"predictions": prediction, "references": reference}),
            reference_urls=["https://aclanthology.org/2021.eacl-main.319/"],
        )

    def add_batch(self, *, predictions: Iterable[Any], references: Iterable[Mapping[str, Any]]) -> None:
        """Adds documents: a prediction and a reference for each."""
        # `evaluate` takes no `None` for a string, and no gold document has an empty text.
        given = ({**document, "text": document.get("text") or ""} for document in references)
        super().add_batch(predictions=predictions, references=given)

    def read_prediction(self, predicted: Any) -> Any:
        """Keeps what the metric declares of the prediction for a document."""
        found = super().read_prediction(predicted)
        for triple in found["triples"]:
            for side in ("head", "tail"):
                triple[side]["type"] = triple[side]["type"] or ""
        return found

    def _compute(self, predictions: list[dict[str, Any]], references: list[dict[str, Any]]) -> dict[str, float]:
        titled = [
            {**prediction, "title": document["title"]}
            for prediction, document in zip(predictions, references, strict=True)
        ]
        return score_extractions(titled, references)


__all__ = ["MentionMetric", "PredictionError"]
