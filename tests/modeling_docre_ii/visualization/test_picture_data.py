"""What a picture says, against hand counts, and errors that name document, triple and field."""

import copy

import pytest

from modeling_docre_ii import DocumentError, render
from tests.html_page import Page
from tests.modeling_docre_ii.visualization.documents import (
    NAMES,
    TEXT_DOCUMENT,
    TOKEN_DOCUMENT,
    TRIPLES,
    support,
    triple,
)


EXPECTED_TRIPLES = [
    {
        "h": 0,
        "t": 1,
        "r": "P-place of birth",
        "name": "place of birth",
        "score": 0.9124,
        "evidence": [0],
        "iteration": 0,
        "support": [],
    },
    {
        "h": 0,
        "t": 2,
        "r": "P-citizenship",
        "name": "citizenship",
        "score": 0.9124,
        "evidence": [0, 1],
        "iteration": 2,
        "support": [
            {"h": 0, "t": 1, "names": ["birth"], "weight": 0.25},
            {"h": 1, "t": 2, "names": ["a", "b"], "weight": 0.25},
        ],
    },
]


@pytest.mark.parametrize(
    ("document", "sentences", "mentions"),
    [
        (
            TEXT_DOCUMENT,
            ["🎈 Ada was born in Paris.", "Paris is in France."],
            [[[0, 2, 5, "PER"]], [[0, 18, 23, "LOC"], [1, 0, 5, "LOC"]], [[1, 12, 18, "LOC"]]],
        ),
        (
            TOKEN_DOCUMENT,
            TOKEN_DOCUMENT["sents"],
            [[[0, 0, 1, "PER"]], [[0, 4, 5, "LOC"], [1, 0, 1, "LOC"]], [[1, 3, 4, "LOC"]]],
        ),
    ],
    ids=["text", "tokens"],
)
def test_the_page_says_what_is_in_document_and_triples(document, sentences, mentions):
    given, triples = copy.deepcopy(document), copy.deepcopy(TRIPLES)
    data = Page(render(given, triples)).data

    assert data["types"] == ["LOC", "PER"]
    (shown,) = data["documents"]
    assert shown["title"] == "Ada" and shown["sents"] == sentences
    assert shown["entities"] == [
        {"name": name, "type": of_entity[0][3], "kb_id": "Q90" if name == "Paris" else None, "mentions": of_entity}
        for name, of_entity in zip(NAMES, mentions)
    ]
    assert shown["triples"] == EXPECTED_TRIPLES
    assert (given, triples) == (document, TRIPLES)  # unchanged


def test_a_triple_without_explanation_has_no_iteration():
    (shown,) = Page(render(TEXT_DOCUMENT, [triple(0, 1)])).data["documents"][0]["triples"]

    assert shown["iteration"] is None and shown["support"] == []


def test_several_documents_are_on_one_page():
    data = Page(render([TEXT_DOCUMENT, TOKEN_DOCUMENT], [TRIPLES, []])).data

    assert [document["title"] for document in data["documents"]] == ["Ada", "Ada"]
    assert [len(document["triples"]) for document in data["documents"]] == [2, 0]
    assert data["types"] == ["LOC", "PER"]
    assert Page(render([], [])).data == {"types": [], "documents": []}


def changed(**changes):
    return [TRIPLES[0], {**TRIPLES[1], **changes}]


def without(field):
    return [{name: value for name, value in TRIPLES[0].items() if name != field}]


ANYTHING = {"entity": 3, "name": "Eve"}


@pytest.mark.parametrize(
    ("triples", "message"),
    [
        (changed(evidence=[2]), r"triple 1: 'evidence' is \[2\], expected sentence indices from 0 to 1"),
        (changed(evidence=[True]), r"triple 1: 'evidence' is \[True\], expected sentence indices"),
        (without("evidence"), "triple 0: 'evidence' is missing"),
        (without("head"), "triple 0: 'head' is missing, expected a mapping with 'entity' and 'name'"),
        (changed(tail=ANYTHING), "triple 1, tail: 'entity' is 3, expected an entity index from 0 to 2"),
        (
            changed(head={"entity": 1, "name": "Rome"}),
            "triple 1, head: 'name' is 'Rome', expected 'Paris', entity 1: pass the document that the triples",
        ),
        (changed(relation_name=None), "triple 1: 'relation_name' is None, expected a string"),
        (without("relation"), "triple 0: 'relation' is missing, expected a string"),
        (changed(score=float("nan")), "triple 1: 'score' is nan, expected a finite number"),
        (changed(score="high"), "triple 1: 'score' is 'high', expected a finite number"),
        (changed(iteration=-1), "triple 1: 'iteration' is -1, expected the number of an iteration"),
        (changed(support=None), "triple 1: 'support' is None, expected a list of pairs"),
        (changed(support=[{**support(0, 1), "weight": None}]), "triple 1, support 0: 'weight' is None"),
        (
            changed(support=[{**support(0, 1), "relation_names": "P17"}]),
            "triple 1, support 0: 'relation_names' is 'P17'",
        ),
        (changed(support=[{**support(0, 1), "head": ANYTHING}]), "triple 1, support 0, head: 'entity' is 3"),
        (["x"], "triple 0: found 'x', expected a triple of the pipeline"),
        (TRIPLES[0], "the triples are {.*}, expected a list of them"),
        (None, "the triples are None, expected a list of them"),
    ],
)
@pytest.mark.parametrize("document", [TEXT_DOCUMENT, TOKEN_DOCUMENT], ids=["text", "tokens"])
def test_errors_name_document_triple_and_field(document, triples, message):
    with pytest.raises(DocumentError, match=f"^document 'Ada'(, |: ){message}"):
        render(document, triples)


def test_evidence_of_another_text_is_refused():
    with pytest.raises(
        DocumentError, match=r"triple 0: 'evidence_spans' is \[\[0, 9\]\], expected \[\[0, 24\]\], the char"
    ):
        render(TEXT_DOCUMENT, [triple(0, 1, evidence_spans=[[0, 9]])])
    render(TEXT_DOCUMENT, [triple(0, 1, evidence_spans=[[0, 24]])])


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("Ada was born.", "document 'Ada was born.': 'entities' is missing: call `document = extractor.find_entities"),
        ({"title": "T", "text": "Ada"}, "document 'T': 'entities' is missing"),
        (
            {**TEXT_DOCUMENT, "entities": [{"type": "PER", "mentions": [[2, 99]]}]},
            "document 'Ada', entity 0, mention 0",
        ),
        ({**TEXT_DOCUMENT, "title": "\ud83d"}, "the lone surrogate"),
        ({**TOKEN_DOCUMENT, "sents": None}, "document 'Ada': 'sents' is None"),
        ({"name": "x"}, "document without a title has the keys"),
    ],
)
def test_malformed_documents_are_named(document, message):
    with pytest.raises(DocumentError, match=message):
        render(document, [])
    with pytest.raises(DocumentError, match=rf"^documents\[1\]: .*{message}"):
        render([TEXT_DOCUMENT, document], [[], []])


def test_as_many_lists_of_triples_as_documents():
    with pytest.raises(ValueError, match="`triples` has 1 lists for 2 documents, expected one for each"):
        render([TEXT_DOCUMENT, TOKEN_DOCUMENT], [TRIPLES])
