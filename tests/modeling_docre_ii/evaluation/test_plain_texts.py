"""Documents become plain text with spans, and back."""

import pytest

from modeling_docre_ii.documents import DocumentError
from modeling_docre_ii.evaluation.plain_texts import plain_text_of
from modeling_docre_ii.text_documents import document_from_text


@pytest.mark.parametrize("spaced", [False, True])
def test_mentions_of_the_text_are_those_of_the_document(spaced, sample_documents):
    for document in sample_documents["dev"]:
        plain = plain_text_of(document, spaced)
        text = plain["text"]

        assert (plain["title"], plain["labels"]) == (document["title"], document["labels"])
        assert spaced == (text == " ".join(token for tokens in document["sents"] for token in tokens))
        for entity, mentions in zip(plain["entities"], document["vertexSet"]):
            assert entity["type"] == mentions[0]["type"]
            tokens = [document["sents"][row["sent_id"]][slice(*row["pos"])] for row in mentions]
            found = [text[start:end] for start, end in entity["mentions"]]
            assert ["".join(name.split()) for name in found] == ["".join("".join(name).split()) for name in tokens]
            assert all(name == name.strip() for name in found)
        # It is what the helper for plain text takes.
        entities = document_from_text("1", text, plain["entities"])["vertexSet"]
        assert [len(mentions) for mentions in entities] == [len(mentions) for mentions in document["vertexSet"]]


def test_white_space_is_no_mention():
    document = {"title": "T", "sents": [["a", "\xa0", "b"]], "labels": []}
    entity = [{"name": "", "sent_id": 0, "type": "X", "pos": pos} for pos in ([1, 2], [0, 2], [1, 3])]

    assert plain_text_of(document | {"vertexSet": [entity]}) == {
        "title": "T",
        "text": "a\xa0b",
        "entities": [{"type": "X", "mentions": [[0, 1], [2, 3]]}],
        "labels": [],
    }


def test_identifiers_and_uncounted_pairs_stay():
    """An entity of a text has one identifier: the first, as in triples."""
    entities = [
        {"type": "PER", "mentions": [[0, 3]], "kb_id": "Q7259"},
        {"type": "LOC", "mentions": [[10, 16], [18, 20]]},
    ]
    document = document_from_text("T", "Ada is in London. It", entities)
    document |= {"labels": [{"h": 0, "t": 1, "r": "P551"}], "uncounted": [{"h": 1, "t": 0}]}
    expected = {name: document[name] for name in ("title", "labels", "uncounted")}

    assert plain_text_of(document) == {**expected, "text": "Ada is in London. It", "entities": entities}
    for mention, identifier in zip(document["vertexSet"][1], (None, "Q84")):
        mention["kb_id"] = identifier
    assert [entity.get("kb_id") for entity in plain_text_of(document)["entities"]] == ["Q7259", "Q84"]
    document["vertexSet"][1][0]["kb_id"] = ""
    assert plain_text_of(document)["entities"][1]["kb_id"] == "Q84"


def test_plain_texts_stay_and_are_checked():
    plain = {"title": "T", "text": "Ada", "entities": [{"type": "PER", "mentions": [[0, 3]]}]}

    assert plain_text_of(plain) == plain
    with pytest.raises(DocumentError, match=r"document 'T', entity 0, mention 0: the span is \[0, 4\]"):
        plain_text_of(plain | {"entities": [{"type": "PER", "mentions": [[0, 4]]}]})
    with pytest.raises(DocumentError, match="document 'T': 'vertexSet' is missing"):
        plain_text_of({"title": "T", "sents": [["Ada"]]})


def test_mentions_of_white_space_are_left_out():
    mention = {"name": "\xa0", "sent_id": 0, "pos": [1, 2], "type": "X"}
    document = {"title": "T", "sents": [["Ada", "\xa0", "is"]], "vertexSet": [[mention]]}

    assert plain_text_of(document)["entities"] == [{"type": "X", "mentions": []}]
    document["vertexSet"][0].append({"name": "Ada", "sent_id": 0, "pos": [0, 1], "type": "X"})
    assert plain_text_of(document)["entities"][0]["mentions"] == [[0, 3]]
