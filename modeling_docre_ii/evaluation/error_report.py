"""What a model got right and wrong, as one HTML file: every document with its triples, and summaries."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..documents import DocumentError, check_document
from ..utils.atomic_write import atomic_write
from .submission import check_prediction


TEMPLATE = Path(__file__).with_name("error_report.html")
PLACEHOLDER = "__REPORT_DATA__"
# The order of the outcomes of one pair. "removed" is wrong in an earlier iteration and not in the result.
OUTCOMES = ("correct", "wrong", "missed", "not counted", "removed")
# Ranks, not numbers of facts, so that the groups mean the same for 80 documents and for 100,000. The ten most frequent
# relations of DocRED hold 60% of its facts.
FREQUENCY_GROUPS = {"10 most frequent": 10, "rank 11 to 30": 30, "rank 31 and on": float("inf")}

# Index of the document, head, tail, relation.
Fact = tuple[int, int, int, str]


class _Facts(NamedTuple):
    """
    Gold facts with their evidence, the facts of each iteration with their scores, and the pairs not to count, `None`
    if the corpus has no such thing.
    """

    gold: dict[Fact, list[int]]
    predicted: list[dict[Fact, float | None]]
    uncounted: set[tuple[int, int, int]] | None


def write_error_report(
    path: str | Path,
    documents: Iterable[Mapping[str, Any]],
    predictions: Mapping[str, Iterable[Mapping[str, Any]]],
    relation_names: Mapping[str, str],
    train_documents: Iterable[Mapping[str, Any]] = (),
    heading: str = "What the model got right and wrong",
) -> None:
    """
    Writes a page with all documents and predictions, that any browser opens without network.

    Args:
        path (`str` or `Path`):
            The HTML file. Its folder is made.
        documents, predictions, relation_names, train_documents, heading:
            See [`report_data`].

    Raises:
        [`DocumentError`]: see [`report_data`]. Nothing is written then.
    """
    data = report_data(documents, predictions, relation_names, train_documents, heading)
    before, _, after = TEMPLATE.read_text(encoding="utf-8").partition(PLACEHOLDER)
    # In JSON `<` is only ever part of a string. Without it no text ends the script element, or opens a comment in it.
    page = before + json.dumps(data, allow_nan=False).replace("<", "\\u003c") + after
    with atomic_write(path) as partial:
        partial.write_text(page, encoding="utf-8")


def report_data(
    documents: Iterable[Mapping[str, Any]],
    predictions: Mapping[str, Iterable[Mapping[str, Any]]],
    relation_names: Mapping[str, str],
    train_documents: Iterable[Mapping[str, Any]] = (),
    heading: str = "What the model got right and wrong",
) -> dict[str, Any]:
    """
    Compares predictions with the gold documents.

    A triple is `correct`, `wrong`, `missed`, `not counted` (predicted on a pair that the benchmark leaves out) or
    `removed` (wrong in an earlier iteration, not in the result). It is inter-sentence if and only if no sentence
    contains a mention of both its entities. Scores are in percent, micro over all facts, as in [`score_facts`].

    Args:
        documents (`Iterable[dict]`):
            The gold documents in DocRED's form, of different titles. With `uncounted`, a list of pairs (`h`, `t`),
            every score is given twice: over all pairs, and as `filtered` without the facts on those pairs.
        predictions (`dict[str, Iterable[dict]]`):
            The predictions of `base`, `iteration_1` and so on, in order; the last are the result. Each has `title`,
            `h_idx`, `t_idx`, `r` and, if known, `score`.
        relation_names (`dict[str, str]`):
            Relation id -> readable name.
        train_documents (`Iterable[dict]`, *optional*):
            Training documents, which say how frequent a relation is. Without them the gold documents do.
        heading (`str`, *optional*):
            Heading of the page.

    Returns:
        `dict`: `heading`, `iterations` (names), `relations`, `types`, `documents` with their `triples`, `summary`
        with the rows of four tables, `frequency_source` and `has_uncounted`. All of it can be written as JSON.

    Raises:
        [`DocumentError`]: a document is not in DocRED's form, two have one title, or a prediction is on an unknown
            title or entity, or not in submission form.
        `ValueError`: there is no list of predictions.
    """
    documents = list(documents)
    if not predictions:
        raise ValueError("`predictions` has to hold at least the predictions of `base`")
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
    types = Counter(mention["type"] for doc in documents for mentions in doc["vertexSet"] for mention in mentions)
    return {
        "heading": heading,
        "iterations": iterations,
        "has_uncounted": facts.uncounted is not None,
        "frequency_source": source,
        "relations": {
            id_: {"name": relation_names.get(id_, id_), "frequency": frequencies[id_], "group": group}
            for id_, group in groups.items()
        },
        "types": [name for name, _ in types.most_common()],
        "documents": [_document(document, triples[index]) for index, document in enumerate(documents)],
        "summary": {
            "iterations": _iteration_table(facts, iterations),
            "distance": _table(facts, ["intra", "inter"], lambda fact: "inter" if is_inter(fact) else "intra"),
            "frequency": _table(facts, list(dict.fromkeys(groups.values())), lambda fact: groups[fact[3]]),
            "relations": _table(facts, list(groups), lambda fact: fact[3]),
        },
    }


def _read_facts(documents, predictions) -> _Facts:
    index_of = {}
    for index, document in enumerate(documents):
        check_document(document)
        if document["title"] in index_of:
            raise DocumentError(f"document {document['title']!r} is there twice: predictions go by title")
        index_of[document["title"]] = index
    gold: dict[Fact, list[int]] = {}
    for index, document in enumerate(documents):
        for label in document.get("labels") or ():
            evidence = gold.setdefault((index, label["h"], label["t"], label["r"]), [])
            evidence[:] = sorted({*evidence, *(label.get("evidence") or ())})
    pairs = ((index, pair) for index, document in enumerate(documents) for pair in document.get("uncounted") or ())
    uncounted = {(index, pair["h"], pair["t"]) for index, pair in pairs}
    if all(document.get("uncounted") is None for document in documents):
        uncounted = None
    return _Facts(gold, [_read_predictions(rows, documents, index_of) for rows in predictions], uncounted)


def _read_predictions(predictions, documents, index_of) -> dict[Fact, float | None]:
    """What is predicted twice is one fact; it keeps the first score."""
    facts = {}
    for place, row in enumerate(predictions):
        check_prediction(row, place)
        title, head, tail, relation = row["title"], row["h_idx"], row["t_idx"], row["r"]
        if title not in index_of:
            raise DocumentError(f"document {title!r}: predicted {(head, tail, relation)}, but no gold document has it")
        size = len(documents[index_of[title]]["vertexSet"])
        if not (0 <= head < size and 0 <= tail < size):
            raise DocumentError(f"document {title!r}: predicted {(head, tail, relation)}, but it has {size} entities")
        score = row.get("score")
        facts.setdefault((index_of[title], head, tail, relation), None if score is None else round(float(score), 4))
    return facts


def _relation_frequencies(documents) -> Counter:
    return Counter(
        relation
        for document in documents
        for _, _, relation in {(label["h"], label["t"], label["r"]) for label in document.get("labels") or ()}
    )


def _frequency_groups(relations: set[str], frequencies: Counter, source: str) -> dict[str, str]:
    """The group of each relation, the most frequent first. Equally frequent ones are ranked by their id."""
    ranked = sorted(relations | set(frequencies), key=lambda relation: (-frequencies[relation], relation))
    groups = {}
    for rank, relation in enumerate(ranked, start=1):
        group = next(name for name, last in FREQUENCY_GROUPS.items() if rank <= last)
        groups[relation] = group if frequencies[relation] else f"not in {source}"
    return {relation: group for relation, group in groups.items() if relation in relations}


def _inter_sentence_test(documents) -> Callable[[Fact], bool]:
    sentences = [
        [{mention["sent_id"] for mention in mentions} for mentions in document["vertexSet"]] for document in documents
    ]
    return lambda fact: sentences[fact[0]][fact[1]].isdisjoint(sentences[fact[0]][fact[2]])


def _triple(fact: Fact, facts: _Facts, iterations: Sequence[str], is_inter: bool) -> dict[str, Any]:
    found = [index for index, predicted in enumerate(facts.predicted) if fact in predicted]
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
        # Of the last iteration that predicted it.
        "score": facts.predicted[found[-1]][fact] if found else None,
        "evidence": facts.gold.get(fact, []),
    }


def _outcome(fact: Fact, facts: _Facts) -> str:
    is_result = fact in facts.predicted[-1]
    if fact in facts.gold:
        return "correct" if is_result else "missed"
    if not is_result:
        return "removed"
    return "not counted" if facts.uncounted and fact[:3] in facts.uncounted else "wrong"


def _history(found: Sequence[int], iterations: Sequence[str]) -> str:
    """For example "found by base, lost in iteration 2"."""
    events = []
    for index, name in enumerate(iterations):
        if index in found and index - 1 not in found:
            events.append(f"back in {name}" if events else f"found {'in' if index else 'by'} {name}")
        elif index not in found and index - 1 in found:
            events.append(f"lost in {name}")
    return ", ".join(events)


def _document(document: Mapping[str, Any], triples: list[dict[str, Any]]) -> dict[str, Any]:
    entities = [
        {
            "name": mentions[0]["name"],
            "type": mentions[0]["type"],
            "kb_id": mentions[0].get("kb_id"),
            "mentions": [[mention["sent_id"], *mention["pos"], mention["type"]] for mention in mentions],
        }
        for mentions in document["vertexSet"]
    ]
    triples.sort(key=lambda triple: (triple["h"], triple["t"], OUTCOMES.index(triple["outcome"]), triple["r"]))
    sentences = [list(sentence) for sentence in document["sents"]]
    return {"title": document["title"], "sents": sentences, "entities": entities, "triples": triples}


def _iteration_table(facts: _Facts, iterations: Sequence[str]) -> list[dict[str, Any]]:
    """Scores of each iteration, and what it changed against the one before. The base has changed nothing."""
    rows = []
    for index, label in enumerate(iterations):
        row = {"label": label, **_scores(facts.predicted[index], facts.gold, facts.uncounted), "changes": None}
        if index:
            before, after = facts.predicted[index - 1].keys(), facts.predicted[index].keys()
            added, removed, gold = after - before, before - after, facts.gold.keys()
            row["changes"] = {
                "correct gained": len(added & gold),
                "correct lost": len(removed & gold),
                "wrong added": len(added - gold),
                "wrong removed": len(removed - gold),
            }
        rows.append(row)
    return rows


def _table(facts: _Facts, labels: Sequence[str], label_of: Callable[[Fact], str]) -> list[dict[str, Any]]:
    """Scores of the result by the label of a fact, and the F1 of each iteration."""
    gold, predicted = _grouped(facts.gold, label_of), [_grouped(rows, label_of) for rows in facts.predicted]
    rows = []
    for label in labels:
        scores = [_scores(part[label], gold[label], facts.uncounted) for part in predicted]
        rows.append({"label": label, **scores[-1], "f1_by_iteration": [score["f1"] for score in scores]})
    return rows


def _grouped(facts: Iterable[Fact], label_of: Callable[[Fact], str]) -> dict[str, set[Fact]]:
    groups = defaultdict(set)
    for fact in facts:
        groups[label_of(fact)].add(fact)
    return groups


def _scores(predicted: Iterable[Fact], gold: Iterable[Fact], uncounted: set | None) -> dict[str, Any]:
    """Every number of every table: counts, and scores in percent; a quotient of zeros is 0."""
    predicted, gold = set(predicted), set(gold)
    scores = _ratios(len(predicted & gold), len(predicted), len(gold))
    if uncounted is not None:
        predicted, gold = ({fact for fact in facts if fact[:3] not in uncounted} for facts in (predicted, gold))
        scores["filtered"] = _ratios(len(predicted & gold), len(predicted), len(gold))
    return scores


def _ratios(correct: int, predicted: int, gold: int) -> dict[str, Any]:
    precision, recall = (100 * correct / whole if whole else 0.0 for whole in (predicted, gold))
    f1 = 2 * precision * recall / (precision + recall) if correct else 0.0
    counts = {"correct": correct, "predicted": predicted, "gold": gold}
    return {**counts, "precision": precision, "recall": recall, "f1": f1}
