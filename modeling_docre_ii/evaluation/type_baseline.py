"""A baseline that reads entity types, not text."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from .matching import gold_facts
from .scores import micro_scores


class TypePairBaseline:
    """
    Predicts the relations that are frequent between two entity types.

    Any gain over this baseline comes from the text. A relation is predicted if it holds for a large enough share of
    the pairs of these types: the share with the best F1 on the training documents.

    Args:
        documents (`Iterable[dict]`):
            Training documents in DocRED's form, with labels.

    Raises:
        [`PredictionError`]: A label is malformed, or on an entity that the document does not have.
    """

    def __init__(self, documents: Iterable[Mapping[str, Any]]):
        pairs: Counter[tuple[str, str]] = Counter()
        facts: Counter[tuple[str, str, str]] = Counter()
        for document in documents:
            types = _types(document)
            pairs.update(
                (types[head], types[tail]) for head in range(len(types)) for tail in range(len(types)) if head != tail
            )
            for head, tail, relation in gold_facts(document):
                facts[types[head], types[tail], relation] += 1
        rules = sorted(facts, key=lambda rule: (-facts[rule] / pairs[rule[:2]], rule))
        self.relations: dict[tuple[str, str], list[str]] = {}
        for head_type, tail_type, relation in rules[: _best_cut(rules, facts, pairs)]:
            self.relations.setdefault((head_type, tail_type), []).append(relation)

    def predict(self, documents: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """
        Args:
            documents (`Iterable[dict]`):
                Documents in DocRED's form.

        Returns:
            `list[dict]`: predictions in DocRED's submission form: `title`, `h_idx`, `t_idx`, `r`.
        """
        return [
            {"title": document["title"], "h_idx": head, "t_idx": tail, "r": relation}
            for document in documents
            for head, head_type in enumerate(_types(document))
            for tail, tail_type in enumerate(_types(document))
            if head != tail
            for relation in self.relations.get((head_type, tail_type), ())
        ]


def _types(document: Mapping[str, Any]) -> list[str]:
    return [mentions[0]["type"] for mentions in document["vertexSet"]]


def _best_cut(
    rules: Sequence[tuple[str, str, str]], facts: Counter[tuple[str, str, str]], pairs: Counter[tuple[str, str]]
) -> int:
    """Returns how many of the rules, most precise first, give the best F1."""
    if not rules:
        return 0
    correct = np.cumsum([facts[rule] for rule in rules])
    predicted = np.cumsum([pairs[rule[:2]] for rule in rules])
    f1, _, _ = micro_scores(correct, predicted, facts.total())
    return int(f1.argmax()) + 1
