"""Scores of extraction from raw text: mentions, entities and relations."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from .extractions import Extraction, place_of, read_gold, read_prediction
from .matching import UNKNOWN_TITLES, PredictionError, check_titles, quote
from .scores import micro_scores


# The shares of gold facts that a perfect relation model could find.
SHARES = ("facts_found", "relaxed_facts_found")

_NOTHING = Extraction("", [], set())


def count_extractions(
    predictions: Iterable[Mapping[str, Any]], documents: Iterable[Mapping[str, Any]], unknown_titles: str = "error"
) -> dict[str, np.ndarray]:
    r"""
    Counts what [`score_extractions`] scores, document by document.

    All scores are about sets: repetitions count once. JEREX (Eberts and Ulges 2021, `joint_evaluator.py`) defines
    these, all but `typed_mention_f1`:

    - `mention_f1`: spans of mentions. A span is right if a gold mention has it exactly.
    - `typed_mention_f1`: spans with their types.
    - `cluster_f1`: entities. An entity is right if its set of mention spans is exactly that of a gold entity.
    - `typed_cluster_f1`: entities with their types. The type of a gold entity is that of its first mention.
    - `relation_f1`: facts, strictly. A fact is right if a gold fact has its relation, and its head and its tail are
      both right as in `cluster_f1`.
    - `typed_relation_f1`: the same with the types of head and tail, as in `typed_cluster_f1`.

    JEREX has no relaxed score. The one here is ours:

    - `relaxed_relation_f1`: facts, if head and tail are found by any mention. Each predicted entity stands for the
      gold entity with which it shares the most mention spans, of several the one with the fewest others, and for none
      if it shares no span. A fact is right if gold has the fact between the entities that its head and tail stand for.
      Gold entities with the same spans, as of the composite mentions of CDR, are one entity here, and facts that
      become the same count once.

    Two shares say how many gold facts a perfect relation model would find with these entities:

    - `facts_found`: facts whose head and tail are both right as in `cluster_f1`.
    - `relaxed_facts_found`: facts for whose head and tail some predicted entity stands.

    Args:
        predictions (`Iterable[dict]`):
            One for each document: `title`, `text`, `entities` and `triples`, as [`read_prediction`] takes them.
        documents (`Iterable[dict]`):
            The gold documents, with labels: in DocRED's form, or plain texts with `text` and `entities`. Texts may
            differ in white space, so the text of a prediction may be the tokens joined by a space.
        unknown_titles (`str`, *optional*, defaults to `"error"`):
            What to do with a prediction on a title that no document has: `"error"` raises, `"wrong"` counts all that
            was found there as wrong.

    Returns:
        `dict[str, np.ndarray]`: by name, integers of shape `(num_documents, 4)`: correct, predicted, gold and 0, the
        arguments of [`micro_scores`]. For the shares, predicted is 0. With `unknown_titles="wrong"` a last row counts
        the predictions on unknown titles.

    Raises:
        [`PredictionError`]: Two documents or two predictions have the same title, a document has no prediction, a
            prediction is malformed, is on another text than the document or, with `"error"`, on an unknown title.
        `ValueError`: `unknown_titles` is neither `"error"` nor `"wrong"`.
    """
    if unknown_titles not in UNKNOWN_TITLES:
        raise ValueError(f"`unknown_titles` must be one of {UNKNOWN_TITLES}, got {unknown_titles!r}")
    documents, predictions = list(documents), list(predictions)
    places = [place_of(prediction) for prediction in predictions]
    check_titles(document["title"] for document in documents)
    check_titles(prediction["title"] for prediction in predictions)
    of_title = {prediction["title"]: prediction for prediction in predictions}
    known = {document["title"] for document in documents}
    unknown = [prediction for prediction in predictions if prediction["title"] not in known]
    if unknown and unknown_titles == "error":
        place = places[predictions.index(unknown[0])]
        raise PredictionError(f"{place}: there is a prediction, but no gold document has this title")
    rows = [_count_document(document, of_title) for document in documents]
    if unknown_titles == "wrong":
        wrong = [_counts(read_prediction(prediction), _NOTHING) for prediction in unknown]
        rows.append({name: np.sum([row[name] for row in wrong], axis=0) for name in wrong[0]} if wrong else {})
    names = list(_counts(_NOTHING, _NOTHING))
    none = [0, 0, 0, 0]
    return {name: np.array([row.get(name, none) for row in rows], dtype=np.int64).reshape(-1, 4) for name in names}


def score_extractions(
    predictions: Iterable[Mapping[str, Any]], documents: Iterable[Mapping[str, Any]], unknown_titles: str = "error"
) -> dict[str, float]:
    """
    Scores extraction from raw text, in percent, micro-averaged over all documents.

    Args:
        predictions, documents, unknown_titles: As for [`count_extractions`], which defines the scores.

    Returns:
        `dict[str, float]`: `mention_f1`, `mention_precision`, `mention_recall`, the same three for `typed_mention`,
        `cluster`, `typed_cluster`, `relation`, `typed_relation` and `relaxed_relation`; `facts_found` and
        `relaxed_facts_found`.

    Raises:
        [`PredictionError`], `ValueError`: As [`count_extractions`].
    """
    scores: dict[str, float] = {}
    for name, counts in count_extractions(predictions, documents, unknown_titles).items():
        f1, precision, recall = map(float, micro_scores(*counts.sum(axis=0)))
        if name in SHARES:
            scores[name] = recall
        else:
            kind = name.removesuffix("f1")
            scores |= {f"{kind}f1": f1, f"{kind}precision": precision, f"{kind}recall": recall}
    return scores


def _count_document(document: Mapping[str, Any], predictions: Mapping[str, Mapping[str, Any]]) -> dict[str, list[int]]:
    place = place_of(document)
    if document["title"] not in predictions:
        raise PredictionError(f"{place}: there is no prediction for it, expected one for each gold document")
    predicted, gold = read_prediction(predictions[document["title"]]), read_gold(document)
    if predicted.text != gold.text:
        raise PredictionError(f"{place}: 'text' is not that of the gold document: {_difference(predicted, gold)}")
    return _counts(predicted, gold)


def _difference(predicted: Extraction, gold: Extraction) -> str:
    """Shows where two texts begin to differ."""
    pairs = enumerate(zip(predicted.text, gold.text))
    start = next((index for index, (one, other) in pairs if one != other), min(len(predicted.text), len(gold.text)))
    found, expected = (quote(extraction.text[start : start + 20]) for extraction in (predicted, gold))
    return f"after {start:,} characters that are not white space it has {found}, expected {expected}"


def _counts(predicted: Extraction, gold: Extraction) -> dict[str, list[int]]:
    """Counts correct, predicted and gold items of one document, by the name of the score."""
    pairs = {
        "mention_f1": [_mentions(extraction) for extraction in (predicted, gold)],
        "typed_mention_f1": [_typed_mentions(extraction) for extraction in (predicted, gold)],
        "cluster_f1": [set(extraction.clusters) for extraction in (predicted, gold)],
        "typed_cluster_f1": [set(_typed_clusters(extraction)) for extraction in (predicted, gold)],
        "relation_f1": [_facts(extraction, extraction.clusters) for extraction in (predicted, gold)],
        "typed_relation_f1": [_facts(extraction, _typed_clusters(extraction)) for extraction in (predicted, gold)],
    }
    meant, same = _meant_entities(predicted, gold), [gold.clusters.index(cluster) for cluster in gold.clusters]
    # Entities that stand for none are all different, and different from every gold entity.
    stand_ins = [-1 - index if entity is None else entity for index, entity in enumerate(meant)]
    pairs["relaxed_relation_f1"] = [_facts(predicted, stand_ins), _facts(gold, same)]
    counts = {name: [len(found & true), len(found), len(true), 0] for name, (found, true) in pairs.items()}
    exact = [cluster in pairs["cluster_f1"][0] for cluster in gold.clusters]
    relaxed = [index in meant for index in same]
    for name, is_found in zip(SHARES, (exact, relaxed)):
        counts[name] = [sum(is_found[head] and is_found[tail] for head, tail, _ in gold.facts), 0, len(gold.facts), 0]
    return counts


def _mentions(extraction: Extraction) -> set[Any]:
    return {span for mentions in extraction.entities for span in mentions}


def _typed_mentions(extraction: Extraction) -> set[Any]:
    return {mention for mentions in extraction.entities for mention in mentions.items()}


def _typed_clusters(extraction: Extraction) -> list[Any]:
    return list(zip(extraction.clusters, extraction.types))


def _facts(extraction: Extraction, entities: Sequence[Any]) -> set[Any]:
    """Returns the facts with each entity as it is compared."""
    return {(entities[head], entities[tail], relation) for head, tail, relation in extraction.facts}


def _meant_entities(predicted: Extraction, gold: Extraction) -> list[int | None]:
    """
    Returns for each predicted entity the gold entity with the most of its mentions.

    Of several it is the one with the fewest others, and the first of those with the same mentions.
    """
    gold_entities: dict[Any, list[int]] = {}
    for index, mentions in enumerate(gold.entities):
        for span in mentions:
            gold_entities.setdefault(span, []).append(index)
    meant: list[int | None] = []
    for mentions in predicted.entities:
        shared = Counter(index for span in mentions for index in gold_entities.get(span, ()))
        by_fit = min(shared, key=lambda index: (-shared[index], len(gold.entities[index]), index), default=None)
        meant.append(by_fit)
    return meant
