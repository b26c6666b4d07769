import copy
import json
from pathlib import Path

import pytest

from modeling_docre_ii.documents import (
    CorpusCounts,
    DocumentError,
    check_document,
    count_documents,
    with_relation_ids,
)


ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "examples" / "re_docred_sample"
SHARED_DATA = ROOT.parent / "shared" / "data"

DOCUMENT = {
    "title": "Skai TV",
    "sents": [["Skai", "TV", "is", "Greek", "."], [], ["It", "is", "in", "\xa0", "Piraeus", "."]],
    "vertexSet": [
        [
            {"name": "Skai TV", "sent_id": 0, "pos": [0, 2], "type": "ORG"},
            {"name": "It", "sent_id": 2, "pos": [0, 1], "type": "ORG", "kb_id": "Q1"},
        ],
        [{"name": "Piraeus", "sent_id": 2, "pos": [4, 5], "type": "LOC"}],
    ],
    "labels": [{"h": 0, "t": 1, "r": "P159", "evidence": [0, 2]}],
}


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def broken(*path, value):
    """A copy of `DOCUMENT` whose field at `path` is `value`, or is taken out if `value` is `...`."""
    document = copy.deepcopy(DOCUMENT)
    parent = document
    for key in path[:-1]:
        parent = parent[key]
    if value is ...:
        del parent[path[-1]]
    else:
        parent[path[-1]] = value
    return document


def message_of(document, relations=None):
    with pytest.raises(DocumentError) as error:
        check_document(document, relations)
    return str(error.value)


MENTION = ("vertexSet", 0, 1)
LABEL = ("labels", 0)
IN_MENTION = "document 'Skai TV', entity 0, mention 1 ('It'): "
IN_LABEL = "document 'Skai TV', label 0: "


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("title",), ..., "document without a title: 'title' is missing, expected a non-empty string"),
        (("title",), " ", "document without a title: 'title' is ' ', expected a non-empty string"),
        (("title",), 7, "document without a title: 'title' is 7, expected a non-empty string"),
        (("sents",), ..., "document 'Skai TV': 'sents' is missing, expected a list of sentences"),
        (("sents",), "Skai", "document 'Skai TV': 'sents' is 'Skai', expected a list of sentences"),
        (("sents",), [], "document 'Skai TV': 'sents' is [], expected at least one token"),
        (("sents",), [[], []], "document 'Skai TV': 'sents' is [[], []], expected at least one token"),
        (("sents", 1), "It", "document 'Skai TV', sentence 1: found 'It', expected a list of tokens"),
        (("sents", 0, 3), None, "document 'Skai TV', sentence 0, token 3: found None, expected a string"),
        (("vertexSet",), ..., "document 'Skai TV': 'vertexSet' is missing, expected a list of entities"),
        (("vertexSet",), {}, "document 'Skai TV': 'vertexSet' is {}, expected a list of entities"),
        (("vertexSet", 1), [], "document 'Skai TV', entity 1: found [], expected a non-empty list of mentions"),
        (("vertexSet", 1), None, "document 'Skai TV', entity 1: found None, expected a non-empty list of mentions"),
        (MENTION, "It", "document 'Skai TV', entity 0, mention 1: found 'It', expected a mapping"),
        ((*MENTION, "name"), ..., "document 'Skai TV', entity 0, mention 1: 'name' is missing, expected a string"),
        ((*MENTION, "type"), ..., IN_MENTION + "'type' is missing, expected a string"),
        ((*MENTION, "type"), 3, IN_MENTION + "'type' is 3, expected a string"),
        ((*MENTION, "sent_id"), ..., IN_MENTION + "'sent_id' is missing, expected a sentence index from 0 to 2"),
        ((*MENTION, "sent_id"), 3, IN_MENTION + "'sent_id' is 3, expected a sentence index from 0 to 2"),
        ((*MENTION, "sent_id"), -1, IN_MENTION + "'sent_id' is -1, expected a sentence index from 0 to 2"),
        ((*MENTION, "sent_id"), True, IN_MENTION + "'sent_id' is True, expected a sentence index from 0 to 2"),
        ((*MENTION, "pos"), ..., IN_MENTION + "'pos' is missing, expected [start, end), two integers"),
        ((*MENTION, "pos"), [0], IN_MENTION + "'pos' is [0], expected [start, end), two integers"),
        ((*MENTION, "pos"), [0, 1.0], IN_MENTION + "'pos' is [0, 1.0], expected [start, end), two integers"),
        ((*MENTION, "pos"), [False, 1], IN_MENTION + "'pos' is [False, 1], expected [start, end), two integers"),
        ((*MENTION, "pos"), [4, 4], IN_MENTION + "'pos' is [4, 4], expected [start, end) with 0 <= start < end <= 6"),
        ((*MENTION, "pos"), [5, 7], IN_MENTION + "'pos' is [5, 7], expected [start, end) with 0 <= start < end <= 6"),
        ((*MENTION, "pos"), [-1, 1], IN_MENTION + "'pos' is [-1, 1], expected [start, end) with 0 <= start"),
        ((*MENTION, "kb_id"), 5, IN_MENTION + "'kb_id' is 5, expected a string"),
        (("labels",), {}, "document 'Skai TV': 'labels' is {}, expected a list of facts"),
        (LABEL, [0, 1, "P159"], IN_LABEL + "found [0, 1, 'P159'], expected a mapping"),
        ((*LABEL, "h"), ..., IN_LABEL + "'h' is missing, expected an entity index from 0 to 1"),
        ((*LABEL, "h"), 2, IN_LABEL + "'h' is 2, expected an entity index from 0 to 1"),
        ((*LABEL, "t"), -1, IN_LABEL + "'t' is -1, expected an entity index from 0 to 1"),
        ((*LABEL, "t"), True, IN_LABEL + "'t' is True, expected an entity index from 0 to 1"),
        ((*LABEL, "t"), 0, IN_LABEL + "'t' is 0, expected an entity other than the head 'h'"),
        ((*LABEL, "r"), ..., IN_LABEL + "'r' is missing, expected a relation id, a string"),
        ((*LABEL, "r"), 29, IN_LABEL + "'r' is 29, expected a relation id, a string"),
        (
            (*LABEL, "r"),
            "Na",
            IN_LABEL + "'r' is 'Na', expected a relation: 'Na' is the class of pairs without a fact",
        ),
        ((*LABEL, "evidence"), 0, IN_LABEL + "'evidence' is 0, expected a list of sentence indices"),
        ((*LABEL, "evidence"), [0, 3], IN_LABEL + "'evidence' is [0, 3], expected sentence indices from 0 to 2"),
        (("uncounted",), {}, "document 'Skai TV': 'uncounted' is {}, expected a list of pairs"),
        (("uncounted",), [[1, 0]], "document 'Skai TV', uncounted pair 0: found [1, 0], expected a mapping"),
        (("uncounted",), [{"h": 1}], "document 'Skai TV', uncounted pair 0: 't' is missing, expected an entity index"),
        (("uncounted",), [{"h": 1, "t": 2}], "document 'Skai TV', uncounted pair 0: 't' is 2, expected an entity"),
        (
            ("uncounted",),
            [{"h": 1, "t": 1}],
            "document 'Skai TV', uncounted pair 0: 't' is 1, expected an entity other",
        ),
        (
            ("uncounted",),
            [{"h": 1, "t": 0}, {"h": 0, "t": 1}],
            "document 'Skai TV', uncounted pair 1: found {'h': 0, 't': 1}, expected a pair without a fact",
        ),
        ((*LABEL, "evidence"), [True], IN_LABEL + "'evidence' is [True], expected sentence indices from 0 to 2"),
    ],
)
def test_a_broken_document_is_named_with_the_place_and_the_expectation(path, value, message):
    assert message_of(broken(*path, value=value)).startswith(message)


def test_what_is_no_mapping_is_no_document():
    assert message_of(["Skai TV"]) == "document without a title: found ['Skai TV'], expected a mapping"


def test_a_fact_in_a_document_without_entities_is_an_error():
    document = {**DOCUMENT, "vertexSet": []}
    assert message_of(document) == IN_LABEL + "'h' is 0, expected no fact without an entity"


def test_relations_are_a_closed_list_when_given():
    check_document(DOCUMENT, ["Na", "P159"])
    message = message_of(broken(*LABEL, "r", value="P1559"), ["Na", "P159", "P17"])
    assert message == IN_LABEL + "'r' is 'P1559', expected one of the 2 relations of the corpus; did you mean 'P159'?"
    message = message_of(broken(*LABEL, "r", value="country"), {"Na", "P159"})
    assert message == IN_LABEL + "'r' is 'country', expected one of the 1 relations of the corpus"
    assert "'Na' is the class of pairs" in message_of(broken(*LABEL, "r", value="Na"), ["Na", "P159"])


@pytest.mark.parametrize(
    "document",
    [
        DOCUMENT,
        broken("labels", value=...),
        broken("labels", value=None),
        broken("labels", value=[]),
        broken(*LABEL, "evidence", value=...),
        broken(*LABEL, "evidence", value=None),
        broken(*MENTION, "kb_id", value=None),
        broken(*MENTION, "pos", value=(0, 1)),
        {**DOCUMENT, "vertexSet": [], "labels": []},
        {**DOCUMENT, "source": "a key beyond the schema"},
    ],
)
def test_what_the_schema_leaves_open_is_accepted_and_left_as_it_was(document):
    before = copy.deepcopy(document)
    check_document(document)
    assert document == before


def test_a_long_field_does_not_flood_the_message():
    assert len(message_of(broken("sents", value="x" * 100_000))) < 200


# Counted by a script that shares nothing with the library.
SAMPLE_COUNTS = {
    "train.json": CorpusCounts(80, 1573, 2178, 2731, 32654, 1),
    "dev.json": CorpusCounts(20, 370, 513, 793, 6908, 0),
}
SHARED_COUNTS = {
    "re-docred/train.json": CorpusCounts(400, 7765, 10609, 13949, 155564, 1),
    "re-docred/dev.json": CorpusCounts(100, 1919, 2580, 3335, 37668, 0),
    "docred/test.json": CorpusCounts(1000, 19539, 26704, 0, 392158, 1000),
}


@pytest.mark.parametrize("name", SAMPLE_COUNTS)
def test_the_sample_is_well_formed_and_has_its_known_counts(name):
    documents = read(SAMPLE / name)
    for document in documents:
        check_document(document)
    assert count_documents(documents) == SAMPLE_COUNTS[name]


@pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="the corpora are not beside the checkout")
@pytest.mark.parametrize("name", SHARED_COUNTS)
def test_the_published_files_are_well_formed_and_have_their_known_counts(name):
    documents = read(SHARED_DATA / name)
    relations = read(SHARED_DATA / "docred" / "rel2id.json")
    for document in documents:
        check_document(document, relations)
    assert count_documents(documents) == SHARED_COUNTS[name]


def test_counts_add_up_and_read_as_one_line():
    counts = sum(SAMPLE_COUNTS.values(), CorpusCounts())
    assert counts == CorpusCounts(100, 1943, 2691, 3524, 39562, 1)
    expected = "100 documents, 1,943 entities, 2,691 mentions, 3,524 facts, 39,562 pairs, 1 document without label"
    assert str(counts) == expected
    assert count_documents(iter([])) == CorpusCounts()


def test_one_of_a_kind_is_singular():
    expected = "1 document, 1 entity, 2 mentions, 1 fact, 1 pair, 0 documents without label"
    assert str(CorpusCounts(1, 1, 2, 1, 1, 0)) == expected


def test_plain_text_is_told_how_to_become_a_document():
    expected = "is a plain text, expected one in DocRED's form with 'sents' and 'vertexSet': convert it with"
    assert message_of({"text": "Paris."}).startswith(f"document without a title {expected}")
    assert message_of({"title": "T", "text": "Paris.", "entities": []}).startswith(f"document 'T' {expected}")


@pytest.mark.parametrize(
    ("path", "place"),
    [
        (("title",), r"document 'a\ud83d': 'title' is"),
        (("sents", 2, 1), "document 'Skai TV', sentence 2, token 1: found"),
        ((*MENTION, "name"), r"document 'Skai TV', entity 0, mention 1 ('a\ud83d'): 'name' is"),
        ((*MENTION, "type"), IN_MENTION + "'type' is"),
        ((*MENTION, "kb_id"), IN_MENTION + "'kb_id' is"),
        ((*LABEL, "r"), IN_LABEL + "'r' is"),
    ],
)
def test_a_lone_surrogate_is_named(path, place):
    expected = r"expected text that UTF-8 can encode, without the lone surrogate '\ud83d' at character 1"
    assert message_of(broken(*path, value="a\ud83d")) == rf"{place} 'a\ud83d', {expected}"
    check_document(broken(*path, value="a\U0001f600"))
    check_document({**DOCUMENT, "source \ud83d": "\ud83d"})


@pytest.mark.parametrize("value", [10**5_000, -(10**100_000), [[[[[[[[]]]]]]]], [10**5_000]], ids=["a", "b", "c", "d"])
@pytest.mark.parametrize(
    "path", [(*MENTION, "sent_id"), (*MENTION, "pos"), (*LABEL, "h"), (*LABEL, "evidence"), ("title",)]
)
def test_a_number_or_list_of_any_size_is_named(path, value):
    message = message_of(broken(*path, value=value))
    assert f"{path[-1]!r} is " in message and len(message) < 200


def test_long_titles_and_names_are_shortened():
    document = broken(*MENTION, "sent_id", value=7)
    document["title"] = document["vertexSet"][0][1]["name"] = "long " * 1_000
    assert len(message_of(document)) < 300


def test_a_document_with_entities_in_docreds_form_may_have_a_text():
    check_document({**DOCUMENT, "text": "Skai TV is Greek. It is in Piraeus."})
    check_document({**DOCUMENT, "text": None})


@pytest.mark.parametrize("index", [-1, 2])
def test_class_that_is_none_is_refused(index):
    row = {"title": "a", "labels": [{"h": 0, "t": 1, "r": 1}, {"h": 1, "t": 0, "r": index}]}
    with pytest.raises(DocumentError, match=f"document 'a', label 1: 'r' is {index}, expected a class from 0 to 1"):
        with_relation_ids(row, ["Na", "P17"])
