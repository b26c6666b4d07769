"""A baseline that never reads the text: the relations frequent for a pair of entity types."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


class TypePairBaseline:
    """
    Predicts for every pair of entities the relations that hold often enough between entities of their types.

    What a model scores above this, it has from the text. The share of pairs from which on a relation is predicted is
    the one with the best F1 on the training documents themselves.

    Args:
        documents (`Sequence[dict]`):
            Training documents in DocRED's form, with labels.
    """

    def __init__(self, documents: Sequence[Mapping[str, Any]]):
        pairs: Counter = Counter()
        facts: Counter = Counter()
        for document in documents:
            types = _types(document)
            pairs.update(
                (types[head], types[tail]) for head in range(len(types)) for tail in range(len(types)) if head != tail
            )
            for head, tail, relation in {(label["h"], label["t"], label["r"]) for label in document["labels"]}:
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


def _types(document) -> list[str]:
    return [mentions[0]["type"] for mentions in document["vertexSet"]]


def _best_cut(rules, facts, pairs) -> int:
    """Number of rules, the most precise first, that give the best F1 on the training documents."""
    best_f1, best_cut, correct, predicted, gold = 0.0, 0, 0, 0, sum(facts.values())
    for cut, rule in enumerate(rules, start=1):
        correct += facts[rule]
        predicted += pairs[rule[:2]]
        f1 = 2 * correct / (predicted + gold)
        if f1 > best_f1:
            best_f1, best_cut = f1, cut
    return best_cut
