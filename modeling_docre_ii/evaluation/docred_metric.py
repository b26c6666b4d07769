"""The scores of DocRED as an `evaluate` metric."""

from typing import Any

import datasets
import evaluate

# `evaluate.load` copies the siblings that this file imports, but not what they import in turn: whatever they need must
# be imported here too, and from this folder. It takes a comment on an import line for a URL.
from .matching import PredictionError
from .metric_inputs import DocumentInputs, with_titles
from .scores import DOCRED_CITATION, NamedFact, score_facts


_DESCRIPTION = """\
Micro F1, precision and recall of document-level relation extraction, as DocRED's official script computes them, with
Ign F1 and evidence F1, and those of intra-sentence, inter-sentence and inferred facts, as the literature defines them.
"""


class DocREDMetric(DocumentInputs, evaluate.Metric):
    """
    Computes the scores of [`score_facts`] with `evaluate`.

    It takes a list of predictions and one reference for each document.

    A prediction has `h_idx`, `t_idx`, `r` and, optionally, `evidence`. A reference is the gold document: `title`,
    `vertexSet` with the `name` and, optionally, the `sent_id` of each mention, and `labels` with `h`, `t`, `r` and,
    optionally, `evidence`. Other keys are ignored. Titles must differ. `compute` takes `train_facts` and
    `distant_facts`, as [`score_facts`] does.

    Example:

    ```python
    >>> metric = DocREDMetric()
    >>> metric.compute(
    ...     predictions=[[{"h_idx": 0, "t_idx": 1, "r": "P17"}]],
    ...     references=[document],
    ...     train_facts=named_facts(train_documents),
    ... )
    {'f1': 100.0, 'precision': 100.0, 'recall': 100.0, 'ign_f1': 100.0, ...}
    ```
    """

    def _info(self) -> evaluate.MetricInfo:
        index, name, indices = (
            datasets.Value("int32"),
            datasets.Value("string"),
            datasets.List(datasets.Value("int32")),
        )
        fact = {"h_idx": index, "t_idx": index, "r": name, "evidence": indices}
        reference = {
            "title": name,
            "vertexSet": datasets.List(datasets.List({"name": name, "sent_id": index})),
            "labels": datasets.List({"h": index, "t": index, "r": name, "evidence": indices}),
        }
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=DOCRED_CITATION,
            features=datasets.Features({"predictions": datasets.List(fact), "references": reference}),
            reference_urls=["https://github.com/thunlp/DocRED/blob/master/code/evaluation.py"],
        )

    def _compute(
        self,
        predictions: list[list[dict[str, Any]]],
        references: list[dict[str, Any]],
        train_facts: set[NamedFact] | None = None,
        distant_facts: set[NamedFact] | None = None,
    ) -> dict[str, float]:
        return score_facts(with_titles(predictions, references), references, train_facts, distant_facts)


__all__ = ["DocREDMetric", "PredictionError"]
