"""The scores of CDR and GDA as an `evaluate` metric."""

from typing import Any

import datasets
import evaluate

# All that the siblings need, for `evaluate.load`: see `docred_metric`.
from .matching import PredictionError
from .metric_inputs import DocumentInputs, with_titles
from .scores import score_facts


_DESCRIPTION = """\
Micro F1, precision and recall of relation extraction from abstracts (CDR, GDA), also of intra-sentence and of
inter-sentence facts alone. Papers on CDR leave out of the scores the pairs of a chemical and a disease that is a
hypernym of a disease that the chemical induces; all scores are given without that filter and with it.
"""

# The paper whose split of GDA and whose filter of CDR the later ones use.
_CITATION = """\
@inproceedings{christopoulou-etal-2019-connecting,
    title = "Connecting the Dots: Document-level Neural Relation Extraction with Edge-oriented Graphs",
    author = "Christopoulou, Fenia and Miwa, Makoto and Ananiadou, Sophia",
    booktitle = "Proceedings of EMNLP-IJCNLP",
    year = "2019",
    pages = "4925--4936",
}
"""

# Neither corpus has evidence, chains of facts or a training set whose facts papers ignore.
_KINDS = ("", "intra_", "inter_", "filtered_", "filtered_intra_", "filtered_inter_")


class BiomedicalMetric(DocumentInputs, evaluate.Metric):
    """
    Computes the scores that papers on CDR and GDA report, with `evaluate`.

    It takes a list of predictions and one reference for each document; see [`score_facts`] for the scores.

    A prediction has `h_idx`, `t_idx` and `r`. A reference is the gold document: `title`, `vertexSet` with the `name`
    and the `sent_id` of each mention, `labels` with `h`, `t` and `r`, and perhaps `uncounted`, the pairs that the
    filter leaves out, each with `h` and `t`. Other keys are ignored. Titles must differ.

    `f1`, `intra_f1` and `inter_f1`, each with its precision and recall, count all predictions. `filtered_f1`,
    `filtered_intra_f1` and `filtered_inter_f1` do not count those on pairs of `uncounted`: what most papers report on
    CDR, and the same as without the filter where no reference has such pairs, as on GDA.

    Example:

    ```python
    >>> metric = BiomedicalMetric()
    >>> metric.compute(predictions=[[{"h_idx": 0, "t_idx": 1, "r": "CID"}]], references=[document])
    {'f1': 100.0, 'precision': 100.0, 'recall': 100.0, 'intra_f1': 100.0, ...}
    ```
    """

    def _info(self) -> evaluate.MetricInfo:
        index, name = datasets.Value("int32"), datasets.Value("string")
        reference = {
            "title": name,
            "vertexSet": datasets.List(datasets.List({"name": name, "sent_id": index})),
            "labels": datasets.List({"h": index, "t": index, "r": name}),
            "uncounted": datasets.List({"h": index, "t": index}),
        }
        fact = {"h_idx": index, "t_idx": index, "r": name}
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            features=datasets.Features({"predictions": datasets.List(fact), "references": reference}),
            reference_urls=["https://aclanthology.org/D19-1498/"],
        )

    def _compute(self, predictions: list[list[dict[str, Any]]], references: list[dict[str, Any]]) -> dict[str, float]:
        scores = score_facts(with_titles(predictions, references), references)
        names = [f"{kind}{score}" for kind in _KINDS for score in ("f1", "precision", "recall")]
        return {name: scores[name] for name in names if name in scores}


__all__ = ["BiomedicalMetric", "PredictionError"]
