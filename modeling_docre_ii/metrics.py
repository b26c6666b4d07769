"""The DocRED scores, as the official evaluation script defines them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import datasets
import evaluate

from .documents import DocumentError


_DESCRIPTION = "F1, precision, recall and Ign F1 of document-level relation extraction, as DocRED's official script."

DOCRED_CITATION = """\
@inproceedings{yao-etal-2019-docred,
    title = "{D}oc{RED}: A Large-Scale Document-Level Relation Extraction Dataset",
    author = "Yao, Yuan and Ye, Deming and Li, Peng and Han, Xu and Lin, Yankai and Liu, Zhenghao and Liu, Zhiyuan and
      Huang, Lixin and Zhou, Jie and Sun, Maosong",
    booktitle = "Proceedings of the 57th Annual Meeting of the Association for Computational Linguistics",
    year = "2019",
    pages = "764--777",
}
"""

# Names of the arguments and the relation: what makes a fact "seen in training".
NamedFact = tuple[str, str, str]


def named_facts(documents: Iterable[Mapping[str, Any]]) -> set[NamedFact]:
    """
    Facts of a training set as triples of names, over all pairs of mentions of their entities.

    Args:
        documents (`Iterable[dict]`):
            Documents in DocRED's form, with labels.

    Returns:
        `set[tuple[str, str, str]]`: (name of a head mention, name of a tail mention, relation).
    """
    return {
        named
        for document in documents
        for label in document.get("labels") or []
        for named in _names_of(document["vertexSet"], label["h"], label["t"], label["r"])
    }


def score_facts(
    predictions: Iterable[Mapping[str, Any]],
    documents: Sequence[Mapping[str, Any]],
    train_facts: set[NamedFact] | None = None,
) -> dict[str, float]:
    r"""
    Scores predictions as DocRED's official `evaluation.py` does, in percent.

    Predictions and gold facts are sets over (title, head, tail, relation): what is said twice counts once. A correct
    prediction is *in train* if some pair of names of its entities has the relation in the training set; then

        P_ign = (correct - in_train) / (predicted - in_train),    Ign F1 = 2 P_ign R / (P_ign + R)

    with the plain recall R. A quotient of zeros is 0, so that no predictions score 0.

    Args:
        predictions (`Iterable[dict]`):
            Predictions in DocRED's submission form: `title`, `h_idx`, `t_idx`, `r`.
        documents (`Sequence[dict]`):
            The gold documents, with labels.
        train_facts (`set[tuple[str, str, str]]`, *optional*):
            Facts of the training set from [`named_facts`]. Without it there is no Ign F1.

    Returns:
        `dict[str, float]`: `f1`, `precision`, `recall`, and with `train_facts` also `ign_f1`.

    Raises:
        [`DocumentError`]: two documents have one title, or a prediction is on an unknown title or entity.
    """
    entities = _entities_by_title(documents)
    gold = {
        (document["title"], label["h"], label["t"], label["r"])
        for document in documents
        for label in document.get("labels") or []
    }
    predicted = {(fact["title"], fact["h_idx"], fact["t_idx"], fact["r"]) for fact in predictions}
    for title, head, tail, relation in predicted:
        if title not in entities:
            raise DocumentError(f"document {title!r}: predicted {(head, tail, relation)}, but no gold document has it")
        if not (0 <= head < len(entities[title]) and 0 <= tail < len(entities[title])):
            raise DocumentError(
                f"document {title!r}: predicted {(head, tail, relation)}, but it has {len(entities[title])} entities"
            )
    correct = predicted & gold
    precision, recall = _ratio(len(correct), len(predicted)), _ratio(len(correct), len(gold))
    scores = {"f1": _f1(precision, recall), "precision": precision, "recall": recall}
    if train_facts is not None:
        in_train = sum(
            not train_facts.isdisjoint(_names_of(entities[title], head, tail, relation))
            for title, head, tail, relation in correct
        )
        ign_precision = _ratio(len(correct) - in_train, len(predicted) - in_train)
        scores["ign_f1"] = _f1(ign_precision, recall)
    return scores


class DocREDMetric(evaluate.Metric):
    """
    [`score_facts`] as an `evaluate` metric: one prediction and one reference a document.

    Example:

    ```python
    >>> metric = DocREDMetric()
    >>> metric.compute(
    ...     predictions=[[{"h_idx": 0, "t_idx": 1, "r": "P17"}]],
    ...     references=[document],
    ...     train_facts=named_facts(train_documents),
    ... )
    {'f1': 100.0, 'precision': 100.0, 'recall': 100.0, 'ign_f1': 100.0}
    ```
    """

    def _info(self):
        fact = {"h_idx": datasets.Value("int32"), "t_idx": datasets.Value("int32"), "r": datasets.Value("string")}
        label = {"h": datasets.Value("int32"), "t": datasets.Value("int32"), "r": datasets.Value("string")}
        reference = {
            "title": datasets.Value("string"),
            "vertexSet": datasets.List(datasets.List({"name": datasets.Value("string")})),
            "labels": datasets.List(label),
        }
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=DOCRED_CITATION,
            features=datasets.Features({"predictions": datasets.List(fact), "references": reference}),
            reference_urls=["https://github.com/thunlp/DocRED/blob/master/code/evaluation.py"],
        )

    def _compute(self, predictions, references, train_facts=None):
        flat = [
            {"title": document["title"], **fact} for facts, document in zip(predictions, references) for fact in facts
        ]
        return score_facts(flat, references, train_facts)


def _entities_by_title(documents):
    entities = {}
    for document in documents:
        if document["title"] in entities:
            raise DocumentError(f"document {document['title']!r} is there twice: predictions go by title")
        entities[document["title"]] = document["vertexSet"]
    return entities


def _names_of(entities, head, tail, relation) -> set[NamedFact]:
    return {
        (head_mention["name"], tail_mention["name"], relation)
        for head_mention in entities[head]
        for tail_mention in entities[tail]
    }


def _ratio(part: int, whole: int) -> float:
    return 100 * part / whole if whole else 0.0


def _f1(precision: float, recall: float) -> float:
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0
