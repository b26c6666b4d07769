"""The report of predictions: every document with its triples, as one HTML page."""

import math
import numbers
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..documents import check_document
from ..utils.atomic_write import atomic_write
from ..visualization.pages import entities_data, entity_types, fill_page
from .matching import PredictionError, gold_facts, ignored_pairs, match_predictions, quote
from .scores import micro_scores


TEMPLATE = Path(__file__).with_name("error_report.html")
# Groups by rank mean the same for 80 documents and for 100,000. The ten most frequent relations of DocRED have 60% of
# its facts.
FREQUENCY_GROUPS = {"10 most frequent": 10, "rank 11 to 30": 30, "from rank 31": float("inf")}

# Index of the document, head, tail, relation.
CorpusFact = tuple[int, int, int, str]


class _Prediction(NamedTuple):
    score: float | None
    evidence: list[int]


class _Facts(NamedTuple):
    """
    The facts of all documents.

    Args:
        gold: Gold facts and their evidence.
        predicted: For each iteration, predicted facts, their scores and their evidence.
        uncounted: Document, head and tail of the pairs that do not count; `None` if no document lists such pairs.
        has_gold: Whether any document has labels.
    """

    gold: dict[CorpusFact, list[int]]
    predicted: list[dict[CorpusFact, _Prediction]]
    uncounted: set[tuple[int, int, int]] | None
    has_gold: bool


def write_error_report(
    path: str | Path,
    documents: Iterable[Mapping[str, Any]],
    predictions: Mapping[str, Iterable[Mapping[str, Any]]],
    relation_names: Mapping[str, str],
    train_documents: Iterable[Mapping[str, Any]] = (),
    heading: str | None = None,
) -> None:
    """
    Writes an HTML page with all documents and predictions, to read offline.

    Documents with labels show correct, wrong and missed triples. Without labels, it shows the predictions.

    Args:
        path (`str` or `Path`):
            The HTML file. Its folder is created.
        documents, predictions, relation_names, train_documents, heading:
            See [`report_data`].

    Raises:
        [`DocumentError`], [`PredictionError`], `ValueError`: see [`report_data`]. Then no file is written.
    """
    data = report_data(documents, predictions, relation_names, train_documents, heading)
    page = fill_page(TEMPLATE, data)
    with atomic_write(path) as partial:
        partial.write_text(page, encoding="utf-8")


def report_data(
    documents: Iterable[Mapping[str, Any]],
    predictions: Mapping[str, Iterable[Mapping[str, Any]]],
    relation_names: Mapping[str, str],
    train_documents: Iterable[Mapping[str, Any]] = (),
    heading: str | None = None,
) -> dict[str, Any]:
    """
    Returns the content of the report: documents, triples and summary tables.

    A triple is `correct`, `wrong`, `missed`, `not counted` (predicted on a pair that the benchmark leaves out) or
    `removed` (predicted wrongly in an earlier iteration, not in the result). It is inter-sentence if and only if no
    sentence contains a mention of both its entities. Scores are in percent, micro-averaged over all facts, as in
    [`score_facts`].

    If no document has labels, a triple is `predicted` or `removed`, and the tables count predictions.

    Args:
        documents (`Iterable[dict]`):
            Documents in DocRED's form, with unique titles. With `uncounted`, a list of pairs (`h`, `t`), every score
            is given twice: over all pairs, and as `filtered` without the facts on those pairs.
        predictions (`dict[str, Iterable[dict]]`):
            Predictions of `base`, `iteration_1` and so on, in order; the last are the result. They have DocRED's
            submission form and optionally a `score`, see [`to_submission`].
        relation_names (`dict[str, str]`):
            Relation id -> readable name.
        train_documents (`Iterable[dict]`, *optional*):
            Training documents, to count the relations in. Defaults to the documents themselves.
        heading (`str`, *optional*):
            Heading of the page.

    Returns:
        `dict`: `heading`, `iterations` (names), `relations`, `types`, `documents` with their `triples` by descending
        score, `summary` with the rows of four tables, `frequency_source`, `has_gold` and `has_uncounted`. JSON can
        represent all of it.

    Raises:
        [`DocumentError`]: A document is not in DocRED's form.
        [`PredictionError`]: Two documents have the same title, or a prediction is on an unknown title or entity, or
            not in submission form.
        `ValueError`: There are no predictions.
    """
    documents = list(documents)
    if not predictions:
        raise ValueError("`predictions` must hold at least the predictions of `base`")
    iterations = [name.replace("_", " ") for name in predictions]
    facts = _read_facts(documents, predictions.values())
    frequencies = _relation_frequencies(train_documents)
    source = "training" if frequencies else "gold"
    frequencies = frequencies or _relation_frequencies(documents)
    is_inter = _inter_sentence_test(documents)
    triples = defaultdict(list)
    for fact in sorted(set(facts.gold).union(*facts.predicted)):
        triples[fact[0]].append(_triple(fact, facts, iterations, is_inter(fact)))
    used = {triple["r"] for rows in triples.values() for triple in rows}
    groups = _frequency_groups(used, frequencies, source)
    return {
        "heading": heading or ("What the model got right and wrong" if facts.has_gold else "What the model predicts"),
        "iterations": iterations,
        "has_gold": facts.has_gold,
        "has_uncounted": facts.uncounted is not None,
        "frequency_source": source,
        "relations": {
            id_: {"name": relation_names.get(id_, id_), "frequency": frequencies[id_], "group": group}
            for id_, group in groups.items()
        },
        "types": entity_types(documents),
        "documents": [_document(document, triples[index]) for index, document in enumerate(documents)],
        "summary": {
            "iterations": _iteration_table(facts, iterations),
            "distance": _table(facts, ["intra", "inter"], lambda fact: "inter" if is_inter(fact) else "intra"),
            "frequency": _table(facts, list(dict.fromkeys(groups.values())), lambda fact: groups[fact[3]]),
            "relations": _table(facts, list(groups), lambda fact: fact[3]),
        },
    }


def _read_facts(documents: Sequence[Mapping[str, Any]], predictions: Iterable[Iterable[Mapping[str, Any]]]) -> _Facts:
    for document in documents:
        check_document(document)
    predicted = []
    for rows in predictions:
        by_document = match_predictions(rows, documents).by_document
        predicted.append(
            {
                (index, *fact): _prediction(row, documents[index]["title"])
                for index, facts in enumerate(by_document)
                for fact, row in facts.items()
            }
        )
    gold = {
        (index, *fact): sorted({sentence for label in labels for sentence in label.get("evidence") or ()})
        for index, document in enumerate(documents)
        for fact, labels in gold_facts(document).items()
    }
    uncounted = None
    if any(document.get("uncounted") is not None for document in documents):
        uncounted = ignored_pairs(documents)
    return _Facts(gold, predicted, uncounted, has_gold=bool(gold))


def _prediction(row: Mapping[str, Any], title: str) -> _Prediction:
    score = row.get("score")
    if score is not None and (not isinstance(score, numbers.Real) or not math.isfinite(score)):
        fact = (row["h_idx"], row["t_idx"], row["r"])
        raise PredictionError(
            f"document {quote(title, 80)}: 'score' of {quote(fact)} is {quote(score)}, expected a finite number"
        )
    return _Prediction(None if score is None else round(float(score), 4), sorted({*(row.get("evidence") or ())}))


def _relation_frequencies(documents: Iterable[Mapping[str, Any]]) -> Counter[str]:
    return Counter(
        relation
        for document in documents
        for _, _, relation in {(label["h"], label["t"], label["r"]) for label in document.get("labels") or ()}
    )


def _frequency_groups(relations: set[str], frequencies: Counter[str], source: str) -> dict[str, str]:
    """Returns the group of each relation, most frequent first, ties by id."""
    ranked = sorted(relations | set(frequencies), key=lambda relation: (-frequencies[relation], relation))
    groups = {}
    for rank, relation in enumerate(ranked, start=1):
        group = next(name for name, last in FREQUENCY_GROUPS.items() if rank <= last)
        groups[relation] = group if frequencies[relation] else f"not in {source}"
    return {relation: group for relation, group in groups.items() if relation in relations}


def _inter_sentence_test(documents: Sequence[Mapping[str, Any]]) -> Callable[[CorpusFact], bool]:
    sentences = [
        [{mention["sent_id"] for mention in mentions} for mentions in document["vertexSet"]] for document in documents
    ]
    return lambda fact: sentences[fact[0]][fact[1]].isdisjoint(sentences[fact[0]][fact[2]])


def _triple(fact: CorpusFact, facts: _Facts, iterations: Sequence[str], is_inter: bool) -> dict[str, Any]:
    found = [index for index, predicted in enumerate(facts.predicted) if fact in predicted]
    # Of the last iteration that predicted it.
    score, evidence = facts.predicted[found[-1]][fact] if found else (None, [])
    return {
        "h": fact[1],
        "t": fact[2],
        "r": fact[3],
        "outcome": _outcome(fact, facts),
        "found": found,
        "first": found[0] if found else None,
        "vanished": any(index + 1 not in found for index in found if index + 1 < len(iterations)),
        "history": _history(found, iterations),
        "inter": is_inter,
        "score": score,
        "evidence": facts.gold.get(fact, []),
        "predicted_evidence": evidence,
    }


def _outcome(fact: CorpusFact, facts: _Facts) -> str:
    is_result = fact in facts.predicted[-1]
    if fact in facts.gold:
        return "correct" if is_result else "missed"
    if not is_result:
        return "removed"
    if not facts.has_gold:
        return "predicted"
    return "not counted" if facts.uncounted and fact[:3] in facts.uncounted else "wrong"


def _history(found: Sequence[int], iterations: Sequence[str]) -> str:
    """Returns for example "found by base, lost in iteration 2"."""
    events: list[str] = []
    for index, name in enumerate(iterations):
        if index in found and index - 1 not in found:
            events.append(f"back in {name}" if events else f"found {'in' if index else 'by'} {name}")
        elif index not in found and index - 1 in found:
            events.append(f"lost in {name}")
    return ", ".join(events)


def _document(document: Mapping[str, Any], triples: list[dict[str, Any]]) -> dict[str, Any]:
    # Triples that were never predicted have no score and come last.
    triples.sort(key=lambda triple: (triple["score"] is None, -(triple["score"] or 0.0)))
    sentences = [list(sentence) for sentence in document["sents"]]
    return {"title": document["title"], "sents": sentences, "entities": entities_data(document), "triples": triples}


def _iteration_table(facts: _Facts, iterations: Sequence[str]) -> list[dict[str, Any]]:
    """Returns the scores of each iteration and its changes to the one before."""
    rows = []
    for index, label in enumerate(iterations):
        changes = None
        if index:
            before, after = facts.predicted[index - 1].keys(), facts.predicted[index].keys()
            added, removed, gold = after - before, before - after, facts.gold.keys()
            changes = {"added": len(added), "removed": len(removed)}
            if facts.has_gold:
                changes = {
                    "correct gained": len(added & gold),
                    "correct lost": len(removed & gold),
                    "wrong added": len(added - gold),
                    "wrong removed": len(removed - gold),
                }
        rows.append({"label": label, **_scores(facts.predicted[index], facts.gold, facts), "changes": changes})
    return rows


def _table(facts: _Facts, labels: Sequence[str], label_of: Callable[[CorpusFact], str]) -> list[dict[str, Any]]:
    """Returns the scores, or without gold facts the counts, of each label."""
    gold, predicted = _grouped(facts.gold, label_of), [_grouped(rows, label_of) for rows in facts.predicted]
    rows = []
    for label in labels:
        scores = [_scores(part[label], gold[label], facts) for part in predicted]
        name = "f1" if facts.has_gold else "predicted"
        rows.append({"label": label, **scores[-1], f"{name}_by_iteration": [score[name] for score in scores]})
    return rows


def _grouped(facts: Iterable[CorpusFact], label_of: Callable[[CorpusFact], str]) -> dict[str, set[CorpusFact]]:
    groups = defaultdict(set)
    for fact in facts:
        groups[label_of(fact)].add(fact)
    return groups


def _scores(predicted: Iterable[CorpusFact], gold: Iterable[CorpusFact], facts: _Facts) -> dict[str, Any]:
    """Returns the scores of facts, also `filtered` without the uncounted pairs."""
    predicted, gold, uncounted = set(predicted), set(gold), facts.uncounted
    if not facts.has_gold:
        return {"predicted": len(predicted)}
    scores = _counts_and_scores(predicted, gold)
    if uncounted is not None:
        scores["filtered"] = _counts_and_scores(
            *({fact for fact in group if fact[:3] not in uncounted} for group in (predicted, gold))
        )
    return scores


def _counts_and_scores(predicted: set[CorpusFact], gold: set[CorpusFact]) -> dict[str, Any]:
    counts = {"correct": len(predicted & gold), "predicted": len(predicted), "gold": len(gold)}
    f1, precision, recall = map(float, micro_scores(**counts))
    return {**counts, "precision": precision, "recall": recall, "f1": f1}
