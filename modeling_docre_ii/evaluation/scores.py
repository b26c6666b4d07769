"""Scores: F1, Ign F1 and the other scores of DocRED, CDR, GDA and their papers."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .matching import Fact, PredictionError, gold_facts, match_predictions, quote


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

_EVIDENCE_SCORES = ("evidence_f1", "correct_evidence_f1")

# Head name, tail name and relation: what makes a fact "seen in training".
NamedFact = tuple[str, str, str]


def named_facts(documents: Iterable[Mapping[str, Any]]) -> set[NamedFact]:
    """
    Returns facts as triples of names, over all pairs of mentions.

    Args:
        documents (`Iterable[dict]`):
            Documents in DocRED's form, with labels: the training set, for Ign F1.

    Returns:
        `set[tuple[str, str, str]]`: (name of a head mention, name of a tail mention, relation).

    Raises:
        [`PredictionError`]: A label is malformed, or on an entity that the document does not have.
    """
    return {
        named
        for document in documents
        for fact in gold_facts(document)
        for named in _names_of(document["vertexSet"], *fact)
    }


def micro_scores(
    correct: ArrayLike, predicted: ArrayLike, gold: ArrayLike, in_train: ArrayLike = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    r"""
    Computes F1, precision and recall from counts, in percent:

        P = (correct - in_train) / (predicted - in_train),    R = correct / gold,    F1 = 2 P R / (P + R)

    With `in_train` these are the precision and F1 of Ign F1, which keeps the plain recall. A quotient by zero is 0;
    the 1e-5 that some scripts add to the denominator is left out. F1 takes a single division of integers, so that
    counts with the same F1 give the same float, and a search for the best F1 finds ties.

    Every F1 in this package comes from here.

    Args:
        correct, predicted, gold, in_train (`int` or integer `np.ndarray`):
            Number of correct, predicted and gold facts, and of correct ones that the training set has. Arrays are
            broadcast, so that many counts are scored at once.

    Returns:
        `tuple[np.ndarray, np.ndarray, np.ndarray]`: F1, precision and recall, each of the broadcast shape.
    """
    correct, predicted, gold, in_train = np.broadcast_arrays(correct, predicted, gold, in_train)
    new_correct, new_predicted = correct - in_train, predicted - in_train
    f1 = _percent(2 * correct * new_correct, gold * new_correct + correct * new_predicted)
    return f1, _percent(new_correct, new_predicted), _percent(correct, gold)


def count_facts(
    predictions: Iterable[Mapping[str, Any]],
    documents: Iterable[Mapping[str, Any]],
    train_facts: set[NamedFact] | None = None,
    distant_facts: set[NamedFact] | None = None,
    unknown_titles: str = "error",
) -> dict[str, np.ndarray]:
    r"""
    Counts the facts behind the scores of [`score_facts`], document by document.

    Every score is a function of sums over documents, [`micro_scores`], so resampled documents need no second count.

    Predictions and gold facts are sets over (title, head, tail, relation): repetitions count once. The scores differ
    in which facts count, gold and predicted alike:

    - `f1`: all.
    - `ign_f1`, `ign_distant_f1` (with `train_facts`, with `distant_facts`): all, and how many correct ones are in the
      training set, by any pair of names of their entities.
    - `intra_f1`, `inter_f1` (if mentions have a `sent_id`): facts whose entities have, or do not have, mentions in the
      same sentence.
    - `infer_f1` (if there is such a gold fact): facts on pairs (h, t) for which gold has (h, r1, o) and (o, r2, t)
      with an o other than h and t. Papers define the gold facts like this (GAIN, SIRE) and do not define the
      predictions: here a prediction counts if its pair is such a pair, whether or not it is a gold pair.
    - `evidence_f1` (if a gold fact and a prediction have evidence): evidence sentences instead of facts, as the
      official script counts them: all that is predicted counts, also for a wrong fact; a correct sentence is in the
      evidence of the same gold fact. Of a repeated prediction, the first counts. Of a repeated label, the sentences of
      both count as gold, and those of the last one are correct.
    - `correct_evidence_f1` (if a correct prediction has gold evidence, and a prediction has evidence): evidence
      sentences of the correctly predicted facts that have gold evidence. A fact without gold evidence was not
      annotated, so its evidence is neither right nor wrong. Of a repeated label, the sentences of both are gold.
    - `filtered_f1`, `filtered_intra_f1`, `filtered_inter_f1` (if a document has the key `uncounted`): facts that are
      not on a pair of `uncounted`. In CDR these are the pairs that papers leave out by MeSH's hypernyms.

    With `unknown_titles="wrong"`, predictions on titles that no document has are counted as DocRED's official script
    counts them: predicted, never correct, in `f1`, the Ign scores and `filtered_f1`; their evidence does not count.
    They have no entities, so they are neither intra- nor inter-sentence nor inferred.

    Args:
        predictions (`Iterable[dict]`):
            Predictions in DocRED's submission form: `title`, `h_idx`, `t_idx`, `r` and, optionally, `evidence`.
        documents (`Iterable[dict]`):
            The gold documents, with labels and, optionally, `uncounted`: a list of `{"h": int, "t": int}`.
        train_facts (`set[tuple[str, str, str]]`, *optional*):
            Facts of the training set from [`named_facts`]. Papers take DocRED's annotated training set.
        distant_facts (`set[tuple[str, str, str]]`, *optional*):
            The same of the distantly supervised training set.
        unknown_titles (`str`, *optional*, defaults to `"error"`):
            What to do with a prediction on a title that no document has: `"error"` or `"wrong"`.

    Returns:
        `dict[str, np.ndarray]`: by the name of the F1, integers of shape `(num_documents, 4)`: correct, predicted,
        gold and in train, the arguments of [`micro_scores`]; in train is 0 except for the Ign scores. With
        `unknown_titles="wrong"` the shape is `(num_documents + 1, 4)`: the last row counts the predictions on unknown
        titles.

    Raises:
        [`PredictionError`]: Two documents have the same title, a prediction is not in submission form or, with
            `"error"`, on an unknown title, a prediction or label is on an unknown entity, the relation of a label is
            no string, or only some mentions have a `sent_id`.
        `ValueError`: `unknown_titles` is neither `"error"` nor `"wrong"`, or facts are no set.
    """
    documents = list(documents)
    for name, facts in (("train_facts", train_facts), ("distant_facts", distant_facts)):
        if facts is not None and not isinstance(facts, (set, frozenset)):
            raise ValueError(
                f"`{name}` is a {type(facts).__name__}, expected a set of facts: `named_facts(documents)` makes it"
            )
    predicted, unknown = match_predictions(predictions, documents, unknown_titles)
    known = {"ign_f1": train_facts, "ign_distant_f1": distant_facts}
    seen = {name: facts for name, facts in known.items() if facts is not None}
    has_sentences = any(
        mention.get("sent_id") is not None
        for document in documents
        for mentions in document["vertexSet"]
        for mention in mentions
    )
    rows = [_count_document(document, facts, seen, has_sentences) for document, facts in zip(documents, predicted)]
    names = list(rows[0]) if rows else ["f1", *seen]
    if unknown_titles == "wrong":
        of_all_facts = {"f1", "filtered_f1", *seen}
        rows.append({name: [0, len(unknown) if name in of_all_facts else 0, 0, 0] for name in names})
    counts = {name: np.array([row[name] for row in rows], dtype=np.int64).reshape(-1, 4) for name in names}
    is_filtered = any(document.get("uncounted") is not None for document in documents)
    return {
        name: rows_of_name
        for name, rows_of_name in counts.items()
        if (is_filtered or not name.startswith("filtered_"))
        and (name not in ("infer_f1", *_EVIDENCE_SCORES) or rows_of_name[:, 2].any())
        # A system that predicts no evidence has no score for it.
        and (name not in _EVIDENCE_SCORES or counts["evidence_f1"][:, 1].any())
    }


def score_facts(
    predictions: Iterable[Mapping[str, Any]],
    documents: Iterable[Mapping[str, Any]],
    train_facts: set[NamedFact] | None = None,
    distant_facts: set[NamedFact] | None = None,
    unknown_titles: str = "error",
) -> dict[str, float]:
    """
    Scores predictions, in percent, micro-averaged over all facts of all documents.

    [`count_facts`] names and defines the scores; `f1`, `precision`, `recall` and the Ign scores are those of DocRED's
    official `evaluation.py`.

    Args:
        predictions, documents, train_facts, distant_facts, unknown_titles: As for [`count_facts`].

    Returns:
        `dict[str, float]`: `f1`, `precision`, `recall`, and for the other names of [`count_facts`] the same three with
        the name before them: `intra_f1`, `intra_precision`, `intra_recall` and so on. Ign scores have the plain
        recall, which is not repeated.

    Raises:
        [`PredictionError`], `ValueError`: As [`count_facts`].
    """
    scores: dict[str, float] = {}
    for name, counts in count_facts(predictions, documents, train_facts, distant_facts, unknown_titles).items():
        f1, precision, recall = map(float, micro_scores(*counts.sum(axis=0)))
        prefix = name.removesuffix("f1")
        scores |= {f"{prefix}f1": f1, f"{prefix}precision": precision}
        if not prefix.startswith("ign_"):
            scores[f"{prefix}recall"] = recall
    return scores


def score_relations(
    predictions: Iterable[Mapping[str, Any]], documents: Iterable[Mapping[str, Any]], unknown_titles: str = "error"
) -> list[dict[str, Any]]:
    """
    Scores every relation by itself, in percent.

    Args:
        predictions, documents, unknown_titles: As for [`count_facts`].

    Returns:
        `list[dict]` with `relation`, `f1`, `precision`, `recall` and the counts `correct`, `predicted` and `gold`, for
        every relation that is gold or predicted: the most frequent gold one first, equally frequent ones by name.

    Raises:
        [`PredictionError`], `ValueError`: As [`count_facts`].
    """
    documents = list(documents)
    by_document, unknown = match_predictions(predictions, documents, unknown_titles)
    correct: Counter[str] = Counter()
    predicted = Counter(prediction["r"] for prediction in unknown)
    gold: Counter[str] = Counter()
    for document, facts in zip(documents, by_document):
        labeled = gold_facts(document)
        correct.update(relation for _, _, relation in facts.keys() & labeled.keys())
        predicted.update(relation for _, _, relation in facts)
        gold.update(relation for _, _, relation in labeled)
    rows = []
    for relation in sorted(predicted.keys() | gold.keys(), key=lambda name: (-gold[name], name)):
        counts = {"correct": correct[relation], "predicted": predicted[relation], "gold": gold[relation]}
        f1, precision, recall = map(float, micro_scores(**counts))
        rows.append({"relation": relation, "f1": f1, "precision": precision, "recall": recall, **counts})
    return rows


def _count_document(
    document: Mapping[str, Any],
    predicted: Mapping[Fact, Mapping[str, Any]],
    seen: Mapping[str, set[NamedFact]],
    has_sentences: bool,
) -> dict[str, list[int]]:
    """Counts correct, predicted, gold and in train of one document, by F1."""
    gold = gold_facts(document)
    correct = predicted.keys() & gold.keys()
    counts = {"f1": [len(correct), len(predicted), len(gold), 0]}
    for name, known in seen.items():
        in_train = sum(not known.isdisjoint(_names_of(document["vertexSet"], *fact)) for fact in correct)
        counts[name] = [*counts["f1"][:3], in_train]
    pairs = {fact[:2] for facts in (predicted, gold) for fact in facts}
    kinds = {"f1": pairs}
    if has_sentences:
        kinds["intra_f1"] = _intra_pairs(document, pairs)
        kinds["inter_f1"] = pairs - kinds["intra_f1"]
    counted = pairs - {(pair["h"], pair["t"]) for pair in document.get("uncounted") or ()}
    filtered = {f"filtered_{name}": kind & counted for name, kind in kinds.items()}
    for name, kept in (kinds | {"infer_f1": _inferred_pairs(gold, pairs)} | filtered).items():
        counts[name] = [sum(fact[:2] in kept for fact in facts) for facts in (correct, predicted, gold)] + [0]
    counts["evidence_f1"] = [
        sum(len({*_evidence(gold[fact][-1])} & {*_evidence(predicted[fact])}) for fact in correct),
        sum(len({*_evidence(prediction)}) for prediction in predicted.values()),
        sum(len(_evidence(label)) for labels in gold.values() for label in labels),
        0,
    ]
    annotated = {fact: {*chain.from_iterable(map(_evidence, gold[fact]))} for fact in correct}
    of_annotated = [(sentences, {*_evidence(predicted[fact])}) for fact, sentences in annotated.items() if sentences]
    counts["correct_evidence_f1"] = [
        sum(len(sentences & found) for sentences, found in of_annotated),
        sum(len(found) for _, found in of_annotated),
        sum(len(sentences) for sentences, _ in of_annotated),
        0,
    ]
    return counts


def _evidence(fact: Mapping[str, Any]) -> Sequence[int]:
    return fact.get("evidence") or ()


def _intra_pairs(document: Mapping[str, Any], pairs: Collection[tuple[int, int]]) -> set[tuple[int, int]]:
    """Returns the pairs whose entities have mentions in the same sentence."""
    sentences = [{mention.get("sent_id") for mention in mentions} for mentions in document["vertexSet"]]
    for entity, found in enumerate(sentences):
        if None in found:
            raise PredictionError(
                f"document {quote(document['title'], 80)}, entity {entity}: a mention has no 'sent_id', but others "
                "have one"
            )
    return {(head, tail) for head, tail in pairs if not sentences[head].isdisjoint(sentences[tail])}


def _inferred_pairs(gold: Iterable[Fact], pairs: Collection[tuple[int, int]]) -> set[tuple[int, int]]:
    """Returns the pairs (h, t) with gold (h, r1, o), (o, r2, t), o not h or t."""
    tails: defaultdict[int, set[int]] = defaultdict(set)
    heads: defaultdict[int, set[int]] = defaultdict(set)
    for head, tail, _ in gold:
        tails[head].add(tail)
        heads[tail].add(head)
    return {(head, tail) for head, tail in pairs if (tails[head] & heads[tail]) - {head, tail}}


def _names_of(entities: Sequence[Sequence[Mapping[str, Any]]], head: int, tail: int, relation: str) -> set[NamedFact]:
    return {
        (head_mention["name"], tail_mention["name"], relation)
        for head_mention in entities[head]
        for tail_mention in entities[tail]
    }


def _percent(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(100 * part, whole, out=np.zeros(whole.shape), where=whole != 0)
