"""Predictions are matched with documents by title, and checked."""

import pytest

from modeling_docre_ii import DocumentError, PredictionError, check_document, named_facts, score_facts
from modeling_docre_ii.evaluation.extractions import read_gold
from modeling_docre_ii.evaluation.matching import gold_facts, ignored_pairs, match_predictions
from modeling_docre_ii.evaluation.type_baseline import TypePairBaseline


def document_of(title, size, *facts):
    labels = [{"h": head, "t": tail, "r": relation, "evidence": evidence} for head, tail, relation, evidence in facts]
    return {"title": title, "vertexSet": [[{"name": f"entity {index}"}] for index in range(size)], "labels": labels}


def row(title, head, tail, relation, **others):
    return {"title": title, "h_idx": head, "t_idx": tail, "r": relation, **others}


DOCUMENTS = [document_of("A", 3), document_of("B", 2), document_of("C", 1)]


def test_predictions_go_to_the_document_of_their_title_whatever_their_order():
    rows = [
        row("B", 0, 1, "P1", score=0.9),
        row("A", 2, 0, "P1"),
        row("B", 1, 0, "P2"),
        row("B", 0, 1, "P1", score=0.4),
    ]
    matched = match_predictions(iter(rows), DOCUMENTS)
    assert matched.by_document == [{(2, 0, "P1"): rows[1]}, {(0, 1, "P1"): rows[0], (1, 0, "P2"): rows[2]}, {}]
    assert matched.unknown == []


def test_predictions_on_unknown_titles_are_kept_apart_each_fact_once():
    rows = [
        row("X", 0, 9, "P1", score=0.9),
        row("A", 0, 1, "P1"),
        row("X", 0, 9, "P1", score=0.2),
        row("Y", 0, 9, "P1"),
    ]
    matched = match_predictions(rows, DOCUMENTS, unknown_titles="wrong")
    assert matched.by_document == [{(0, 1, "P1"): rows[1]}, {}, {}]
    assert matched.unknown == [rows[0], rows[3]]


@pytest.mark.parametrize(
    ("rows", "documents", "message"),
    [
        (
            [row("X", 0, 1, "P1")],
            DOCUMENTS,
            "document 'X': predicted .0, 1, 'P1'., but no gold document has this title",
        ),
        ([row("B", 0, 2, "P1")], DOCUMENTS, "document 'B': predicted .0, 2, 'P1'., but it has 2 entities"),
        ([row("B", 0, -1, "P1")], DOCUMENTS, "document 'B': predicted .0, -1, 'P1'., but it has 2 entities"),
        ([row("B", 0, 1, "P1"), row("B", 0, 1, 7)], DOCUMENTS, "item 1: 'r' is 7, expected a relation id"),
        ([], [*DOCUMENTS, DOCUMENTS[1]], "two documents have the title 'B'"),
    ],
)
def test_what_cannot_be_matched_is_an_error(rows, documents, message):
    with pytest.raises(PredictionError, match=message):
        match_predictions(rows, documents)


def test_gold_facts_have_all_their_labels():
    document = document_of("A", 3, (0, 1, "P1", [0]), (2, 1, "P1", []), (0, 1, "P1", [2]), (0, 1, "P2", None))
    first, second, again, other = document["labels"]
    assert gold_facts(document) == {(0, 1, "P1"): [first, again], (2, 1, "P1"): [second], (0, 1, "P2"): [other]}
    assert gold_facts({"title": "A", "vertexSet": [], "labels": None}) == {}


def test_a_label_on_an_unknown_entity_is_an_error():
    with pytest.raises(PredictionError, match="document 'A': labeled .0, 3, 'P1'., but it has 3 entities"):
        gold_facts(document_of("A", 3, (0, 3, "P1", [])))


@pytest.mark.parametrize(
    "function",
    [gold_facts, lambda document: named_facts([document]), read_gold, lambda document: score_facts([], [document])],
    ids=["gold_facts", "named_facts", "read_gold", "score_facts"],
)
def test_a_class_id_in_place_of_a_relation_is_an_error(function):
    """A row of a builder has class ids, which match no prediction: its F1 would be 0."""
    document = document_of("A", 2, (0, 1, "P1", []), (1, 0, 1, []))
    mention = {"name": "x", "sent_id": 0, "pos": [0, 1], "type": "X"}
    document = {**document, "sents": [["x"]], "vertexSet": [[mention]] * 2}
    with pytest.raises(PredictionError, match=r"^document 'A', label 1: 'r' is 1, expected a rel.*ClassLabel.int2str"):
        function(document)


@pytest.mark.parametrize(
    "function",
    [
        gold_facts,
        lambda document: named_facts([document]),
        read_gold,
        lambda document: score_facts([], [document]),
        lambda document: TypePairBaseline([document]),
    ],
    ids=["gold_facts", "named_facts", "read_gold", "score_facts", "TypePairBaseline"],
)
@pytest.mark.parametrize(
    ("label", "message"),
    [
        ({"t": 1, "r": "P1"}, "label 1: 'h' is missing, expected an entity index, an integer"),
        ({"h": 0, "t": "1", "r": "P1"}, "label 1: 't' is '1', expected an entity"),
        ({"h": 0.0, "t": 1, "r": "P1"}, "label 1: 'h' is 0.0"),
        ({"h": True, "t": 0, "r": "P1"}, "label 1: 'h' is True"),
        ({"h": 0, "t": -1, "r": "P1"}, ""),
        ({"h": 2, "t": 0, "r": "P1"}, ""),
        ([0, 1, "P1"], r"label 1: found \[0, 1, 'P1'\], expected a mapping"),
    ],
)
def test_a_malformed_label_is_named(function, label, message):
    mention = {"name": "x", "sent_id": 0, "pos": [0, 1], "type": "X"}
    document = {"title": "A", "sents": [["x"]], "vertexSet": [[mention]] * 2}
    document["labels"] = [{"h": 0, "t": 1, "r": "P1"}, label]
    with pytest.raises(PredictionError, match=f"^document 'A'.*{message}"):
        function(document)
    for nothing in (None, []):
        function({**document, "labels": nothing})


def test_the_hint_at_class_ids_is_that_of_the_document_checks():
    mention = {"name": "x", "sent_id": 0, "pos": [0, 1], "type": "X"}
    document = document_of("A", 0, (0, 1, 1, [])) | {"sents": [["x"]], "vertexSet": [[mention], [mention]]}
    with pytest.raises(DocumentError) as of_the_check:
        check_document(document)
    with pytest.raises(PredictionError) as of_the_scores:
        gold_facts(document)
    assert str(of_the_check.value) == str(of_the_scores.value)


def test_ignored_pairs_are_those_of_the_documents():
    documents = [
        {"uncounted": [{"h": 0, "t": 2}, {"h": 1, "t": 0}]},
        {},
        {"uncounted": None},
        {"uncounted": [{"h": 0, "t": 2}]},
    ]
    assert ignored_pairs(documents) == {(0, 0, 2), (0, 1, 0), (3, 0, 2)}
