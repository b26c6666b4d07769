"""The scores of relation extraction from documents: DocRED's official ones and those of the literature."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..documents import DocumentError
from .submission import check_prediction


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
# Head, tail and relation: a fact of one document.
Fact = tuple[int, int, str]


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


def count_facts(
    predictions: Iterable[Mapping[str, Any]],
    documents: Iterable[Mapping[str, Any]],
    train_facts: set[NamedFact] | None = None,
    distant_facts: set[NamedFact] | None = None,
) -> dict[str, np.ndarray]:
    r"""
    Counts, document by document, what the scores of [`score_facts`] are made of. Every score is a function of sums
    over documents, [`micro_scores`], so that a resampling of documents needs no second count.

    Predictions and gold facts are sets over (title, head, tail, relation): what is said twice counts once. The scores
    differ in which facts count, gold and predicted alike:

    - `f1`: all.
    - `ign_f1`, `ign_distant_f1` (with `train_facts`, with `distant_facts`): all; what is correct and in the training
      set, by some pair of names of its entities, is counted for itself.
    - `intra_f1`, `inter_f1` (if mentions have a `sent_id`): facts whose entities have, or do not have, mentions in one
      sentence.
    - `infer_f1` (if there is such a gold fact): facts on pairs (h, t) for which gold has (h, r1, o) and (o, r2, t)
      with an o other than h and t. Papers define the gold facts so (GAIN, SIRE) and leave the predictions open: here a
      prediction counts if its pair is such a pair, whether or not it is a gold pair.
    - `evidence_f1` (if a gold fact has evidence): sentences of evidence instead of facts, as the official script: all
      that is predicted, also for a wrong fact, counts; what is correct is in the evidence of the same gold fact. Of
      a prediction that is there twice, the first counts. Of a label that is there twice, the sentences of both are to
      be found, and those of the last are correct.
    - `filtered_f1`, `filtered_intra_f1`, `filtered_inter_f1` (if some document has the key `uncounted`): facts that
      are not on a pair of `uncounted`. There CDR has the pairs that papers leave out by MeSH's hypernyms.

    Args:
        predictions (`Iterable[dict]`):
            Predictions in DocRED's submission form: `title`, `h_idx`, `t_idx`, `r`, and perhaps `evidence`.
        documents (`Iterable[dict]`):
            The gold documents, with labels, and perhaps `uncounted`: a list of `{"h": int, "t": int}`.
        train_facts (`set[tuple[str, str, str]]`, *optional*):
            Facts of the training set from [`named_facts`]. Papers take DocRED's annotated training set.
        distant_facts (`set[tuple[str, str, str]]`, *optional*):
            The same of the distantly supervised training set.

    Returns:
        `dict[str, np.ndarray]`: by the name of the F1, integers of shape `(num_documents, 4)`: correct, predicted,
        gold, and in train, which is 0 for all but `ign_f1` and `ign_distant_f1`.

    Raises:
        [`DocumentError`]: two documents have one title, a prediction is not in submission form or on an unknown title,
            a prediction or label is on an unknown entity, or some mentions have a `sent_id` and others have not.
    """
    documents = list(documents)
    predicted = _predicted_by_document(predictions, documents)
    seen = {"ign_f1": train_facts, "ign_distant_f1": distant_facts}
    seen = {name: facts for name, facts in seen.items() if facts is not None}
    has_sentences = any(
        mention.get("sent_id") is not None
        for document in documents
        for mentions in document["vertexSet"]
        for mention in mentions
    )
    rows = [_count_document(document, facts, seen, has_sentences) for document, facts in zip(documents, predicted)]
    names = list(rows[0]) if rows else ["f1", *seen]
    counts = {name: np.array([row[name] for row in rows], dtype=np.int64).reshape(-1, 4) for name in names}
    is_filtered = any(document.get("uncounted") is not None for document in documents)
    return {
        name: rows_of_name
        for name, rows_of_name in counts.items()
        if (is_filtered or not name.startswith("filtered_"))
        and (name not in ("infer_f1", "evidence_f1") or rows_of_name[:, 2].any())
    }


def micro_scores(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    r"""
    Scores from sums of counts, in percent:

        P = (correct - in_train) / (predicted - in_train),    R = correct / gold,    F1 = 2 P R / (P + R)

    That is the plain precision where nothing is counted as in train, and else the one of Ign F1, with the plain
    recall, and without the 1e-5 that other scripts add to the denominator. A quotient by zero is 0.

    Args:
        counts (`np.ndarray` of shape `(..., 4)`):
            Correct, predicted, gold, in train: rows of [`count_facts`], summed.

    Returns:
        `tuple[np.ndarray, np.ndarray, np.ndarray]`: F1, precision and recall, each of shape `(...)`.
    """
    correct, predicted, gold, in_train = np.moveaxis(counts, -1, 0)
    precision = 100 * _quotient(correct - in_train, predicted - in_train)
    recall = 100 * _quotient(correct, gold)
    return _quotient(2 * precision * recall, precision + recall), precision, recall


def score_facts(
    predictions: Iterable[Mapping[str, Any]],
    documents: Iterable[Mapping[str, Any]],
    train_facts: set[NamedFact] | None = None,
    distant_facts: set[NamedFact] | None = None,
) -> dict[str, float]:
    """
    Scores predictions, in percent, micro-averaged over all facts of all documents. The scores are named and defined in
    [`count_facts`]; `f1`, `precision`, `recall` and the Ign scores are those of DocRED's official `evaluation.py`.

    Args:
        predictions, documents, train_facts, distant_facts: As for [`count_facts`].

    Returns:
        `dict[str, float]`: `f1`, `precision`, `recall`, and for the other names of [`count_facts`] the same three with
        the name before them: `intra_f1`, `intra_precision`, `intra_recall` and so on. Ign scores have the plain
        recall, which is not repeated.

    Raises:
        [`DocumentError`]: As [`count_facts`].
    """
    scores = {}
    for name, counts in count_facts(predictions, documents, train_facts, distant_facts).items():
        f1, precision, recall = map(float, micro_scores(counts.sum(axis=0)))
        prefix = name.removesuffix("f1")
        scores |= {f"{prefix}f1": f1, f"{prefix}precision": precision}
        if not prefix.startswith("ign_"):
            scores[f"{prefix}recall"] = recall
    return scores


def score_relations(
    predictions: Iterable[Mapping[str, Any]], documents: Iterable[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """
    Scores every relation for itself, in percent.

    Args:
        predictions, documents: As for [`count_facts`].

    Returns:
        `list[dict]` with `relation`, `f1`, `precision`, `recall` and the counts `correct`, `predicted` and `gold`, for
        every relation that is gold or predicted: the most frequent gold one first, equally frequent ones by name.

    Raises:
        [`DocumentError`]: As [`count_facts`].
    """
    documents = list(documents)
    correct, predicted, gold = Counter(), Counter(), Counter()
    for document, facts in zip(documents, _predicted_by_document(predictions, documents)):
        gold_facts = _gold_facts(document)
        correct.update(relation for _, _, relation in facts.keys() & gold_facts.keys())
        predicted.update(relation for _, _, relation in facts)
        gold.update(relation for _, _, relation in gold_facts)
    rows = []
    for relation in sorted(predicted.keys() | gold.keys(), key=lambda name: (-gold[name], name)):
        counts = {"correct": correct[relation], "predicted": predicted[relation], "gold": gold[relation]}
        f1, precision, recall = map(float, micro_scores(np.array([*counts.values(), 0])))
        rows.append({"relation": relation, "f1": f1, "precision": precision, "recall": recall, **counts})
    return rows


def _predicted_by_document(predictions, documents) -> list[dict[Fact, Sequence[int]]]:
    """The predicted facts of each document, and the evidence of each."""
    of_title = {}
    for document in documents:
        if document["title"] in of_title:
            raise DocumentError(f"document {document['title']!r} is there twice: predictions go by title")
        of_title[document["title"]] = document, {}
    for index, prediction in enumerate(predictions):
        check_prediction(prediction, index)
        title, fact = prediction["title"], (prediction["h_idx"], prediction["t_idx"], prediction["r"])
        if title not in of_title:
            raise DocumentError(f"document {title!r}: predicted {fact}, but no gold document has it")
        document, facts = of_title[title]
        _check_entities(document, fact, "predicted")
        facts.setdefault(fact, prediction.get("evidence") or ())
    return [facts for _, facts in of_title.values()]


def _gold_facts(document) -> dict[Fact, Sequence[int]]:
    """The facts of a document, and the evidence of each."""
    facts = {
        (label["h"], label["t"], label["r"]): label.get("evidence") or () for label in document.get("labels") or ()
    }
    for fact in facts:
        _check_entities(document, fact, "labelled")
    return facts


def _check_entities(document, fact: Fact, what: str) -> None:
    size = len(document["vertexSet"])
    if not (0 <= fact[0] < size and 0 <= fact[1] < size):
        raise DocumentError(f"document {document['title']!r}: {what} {fact}, but it has {size} entities")


def _count_document(document, predicted, seen, has_sentences: bool) -> dict[str, list[int]]:
    """Correct, predicted, gold and in train of one document, by the name of the F1."""
    gold = _gold_facts(document)
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
        sum(len({*gold[fact]} & {*predicted[fact]}) for fact in correct),
        sum(len({*evidence}) for evidence in predicted.values()),
        sum(len(label.get("evidence") or ()) for label in document.get("labels") or ()),
        0,
    ]
    return counts


def _intra_pairs(document, pairs) -> set[tuple[int, int]]:
    """Those of the pairs whose entities have mentions in one sentence."""
    sentences = [{mention.get("sent_id") for mention in mentions} for mentions in document["vertexSet"]]
    for entity, found in enumerate(sentences):
        if None in found:
            raise DocumentError(
                f"document {document['title']!r}, entity {entity}: a mention has no 'sent_id', which others have"
            )
    return {(head, tail) for head, tail in pairs if not sentences[head].isdisjoint(sentences[tail])}


def _inferred_pairs(gold, pairs) -> set[tuple[int, int]]:
    """Those of the pairs (h, t) with gold facts (h, r1, o) and (o, r2, t), o neither h nor t."""
    tails, heads = defaultdict(set), defaultdict(set)
    for head, tail, _ in gold:
        tails[head].add(tail)
        heads[tail].add(head)
    return {(head, tail) for head, tail in pairs if (tails[head] & heads[tail]) - {head, tail}}


def _names_of(entities, head, tail, relation) -> set[NamedFact]:
    return {
        (head_mention["name"], tail_mention["name"], relation)
        for head_mention in entities[head]
        for tail_mention in entities[tail]
    }


def _quotient(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.zeros(np.shape(whole)), where=whole != 0)
