"""`render`: what the page says against hand counts, hostile text, and errors that name document, triple and field."""

import copy
from html.parser import HTMLParser

import pytest
from transformers import pipeline

import modeling_docre_ii
from modeling_docre_ii import DocumentError, render
from modeling_docre_ii.utils.atomic_write import FileWriteError
from modeling_docre_ii.visualization.pages import PARTS
from tests.html_page import HOSTILE, Page, references_of
from tests.hub_model import save_checkpoint
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


def test_the_same_input_gives_the_same_page():
    assert render(TEXT_DOCUMENT, TRIPLES) == render(copy.deepcopy(TEXT_DOCUMENT), copy.deepcopy(TRIPLES))


@pytest.fixture(scope="module")
def extractor(tmp_path_factory):
    return pipeline("document-relation-extraction", model=save_checkpoint(tmp_path_factory.mktemp("checkpoint")))


@pytest.mark.parametrize("document", [TEXT_DOCUMENT, TOKEN_DOCUMENT], ids=["text", "tokens"])
def test_what_the_pipeline_returns_is_drawn(extractor, document):
    triples = extractor(document, threshold=0.3, explain=True)
    (shown,) = Page(render(document, triples)).data["documents"]

    assert len(shown["triples"]) == len(triples) > 0
    for row, original in zip(shown["triples"], triples):
        assert [shown["entities"][row[side]]["name"] for side in "ht"] == [
            original[side]["name"] for side in ("head", "tail")
        ]
        assert row["iteration"] == original["iteration"]
        assert [pair["names"] for pair in row["support"]] == [pair["relation_names"] for pair in original["support"]]
        if "text" in document:
            quoted = [document["text"][start:end] for start, end in original["evidence_spans"]]
            assert [shown["sents"][sentence] for sentence in row["evidence"]] == quoted


def test_hostile_text_stays_text():
    entities = [{"type": HOSTILE, "mentions": [[0, len(HOSTILE)]], "kb_id": HOSTILE}]
    document = {"title": HOSTILE, "text": HOSTILE + " Paris.", "entities": entities}
    surrogate = HOSTILE + "\ud83d"
    head = {"entity": 0, "name": HOSTILE}
    pair = {"head": head, "tail": head, "relation_names": [surrogate], "weight": 1.0}
    hostile_triple = {
        **{"head": head, "tail": head, "relation": surrogate, "relation_name": surrogate, "score": 1, "evidence": []},
        **{"iteration": 1, "support": [pair]},
    }
    page = render(document, [hostile_triple])
    hostile, harmless = Page(page), Page(render(TEXT_DOCUMENT, []))

    (shown,) = hostile.data["documents"]
    assert shown["title"] == HOSTILE and "".join(shown["sents"]).startswith(HOSTILE)
    assert shown["entities"][0]["type"] == shown["entities"][0]["kb_id"] == HOSTILE
    assert shown["triples"][0]["name"] == surrogate and shown["triples"][0]["support"][0]["names"] == [surrogate]
    assert hostile.tags == harmless.tags
    assert hostile.scripts[1:] == harmless.scripts[1:]
    assert "<" not in hostile.raw_data and hostile.raw_data.isascii()
    page.encode()


def test_the_page_asks_for_nothing_outside():
    page = render(TEXT_DOCUMENT, TRIPLES)

    assert list(references_of(page)) == []
    (policy,) = [attributes for tag, attributes in Page(page).tags if "http-equiv" in attributes]
    assert policy["content"] == "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def test_report_and_picture_are_built_of_the_same_parts(tmp_path):
    modeling_docre_ii.write_error_report(tmp_path / "report.html", [TOKEN_DOCUMENT], {"base": []}, {})
    report, picture = (tmp_path / "report.html").read_text(encoding="utf-8"), render(TOKEN_DOCUMENT, [])

    assert "/* include" not in report + picture
    parts = {path.name: path.read_text(encoding="utf-8") for path in PARTS.iterdir()}
    shared = {"page.css", "table.css", "text.css", "elements.js", "table.js", "text.js"}
    assert {name for name, part in parts.items() if part in picture} == set(parts)
    assert {name for name, part in parts.items() if part in report} == shared


class Frames(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


def test_a_notebook_shows_the_page_in_a_frame_of_its_own():
    page = render({**TEXT_DOCUMENT, "title": HOSTILE}, TRIPLES)
    ((tag, attributes),) = Frames(page._repr_html_()).found

    assert tag == "iframe" and attributes["srcdoc"] == page
    assert attributes["sandbox"] == "allow-scripts"
    assert repr(page) == f"<RenderedDocument of {len(page):,} characters, which .save(path) writes>"


def test_the_page_is_saved_as_a_whole(tmp_path):
    page = render(TEXT_DOCUMENT, TRIPLES)

    assert page.save(tmp_path / "new" / "ada.html") == tmp_path / "new" / "ada.html"
    assert (tmp_path / "new" / "ada.html").read_text(encoding="utf-8") == page
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(FileWriteError, match="folder.html cannot be written"):
        page.save(tmp_path / "folder.html")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["ada.html", "folder.html", "new"]


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
