"""Plain text with character spans as a document: no character is lost, and every mention is whole tokens."""

import re

import numpy as np
import pytest
from transformers.utils import logging

from modeling_docre_ii.documents import DocumentError, check_document
from modeling_docre_ii.text_documents import document_from_text, document_of, text_of_document


TITLE = "Clonidine-induced sedation."
BODY = "Naloxone (0.2 mg/kg) didn't reverse clonidine's effects, e.g. sedation. It was not-significant."
TEXT = f"{TITLE} {BODY}"


def span_of(part, text=TEXT, nth=0):
    """Characters of the `nth` occurrence of a part."""
    match = list(re.finditer(re.escape(part), text))[nth]
    return [match.start(), match.end()]


def entity(*spans, kind="Thing", **more):
    return {"mentions": list(spans), "type": kind, **more}


def token_spans(document, text):
    """Characters of each token of each sentence, by walking along the text."""
    spans, position = [], 0
    for sentence in document["sents"]:
        spans.append([])
        for token in sentence:
            position += len(text[position:]) - len(text[position:].lstrip())
            assert text.startswith(token, position)
            spans[-1].append((position, position + len(token)))
            position += len(token)
    assert not text[position:].strip()
    return spans


def mention_spans(document, text):
    """Characters of each mention of each entity, found by its tokens."""
    tokens = token_spans(document, text)
    found = []
    for mentions in document["vertexSet"]:
        inside = [tokens[mention["sent_id"]][slice(*mention["pos"])] for mention in mentions]
        found.append([[chosen[0][0], chosen[-1][1]] for chosen in inside])
    return found


def test_sentences_and_words_of_a_text():
    document = document_from_text("1", TEXT, [])
    assert document == {
        "title": "1",
        "sents": [
            ["Clonidine", "-", "induced", "sedation", "."],
            ["Naloxone", "(", "0.2", "mg/kg", ")", "did", "n't", "reverse", "clonidine", "'s", "effects", ","]
            + ["e.g", ".", "sedation", "."],
            ["It", "was", "not", "-", "significant", "."],
        ],
        "vertexSet": [],
        "labels": [],
    }


def test_mentions_are_named_and_placed_and_entities_keep_their_order():
    sedation = entity(span_of("sedation"), span_of("sedation", nth=1), kind="Disease", kb_id="D1")
    drug = entity(span_of("Naloxone"), kind="Chemical")
    document = document_from_text("1", TEXT, [sedation, drug])
    assert document["vertexSet"] == [
        [
            {"name": "sedation", "sent_id": 0, "pos": [3, 4], "type": "Disease", "kb_id": "D1"},
            {"name": "sedation", "sent_id": 1, "pos": [14, 15], "type": "Disease", "kb_id": "D1"},
        ],
        [{"name": "Naloxone", "sent_id": 1, "pos": [0, 1], "type": "Chemical"}],
    ]
    check_document(document)


def test_a_mention_inside_a_word_cuts_it_into_tokens():
    text = "Pseudohypertension was seen."
    document = document_from_text("1", text, [entity(span_of("hyper", text)), entity(span_of("hypertension", text))])
    assert document["sents"] == [["Pseudo", "hyper", "tension", "was", "seen", "."]]
    assert [mentions[0]["pos"] for mentions in document["vertexSet"]] == [[1, 2], [1, 3]]


def test_sentences_are_joined_where_a_mention_reaches_across():
    text = "It was St. Louis encephalitis. He left. Nothing followed."
    apart = document_from_text("1", text, [])["sents"]
    joined = document_from_text("1", text, [entity(span_of("encephalitis. He", text))])
    assert len(apart) == 3 and joined["sents"] == [apart[0] + apart[1], apart[2]]
    assert joined["vertexSet"][0][0]["pos"] == [len(apart[0]) - 2, len(apart[0]) + 1]


def test_a_break_begins_a_sentence_unless_a_mention_reaches_over_it():
    text = "Effects of lithium A case report"
    (start, end) = span_of("A case", text)
    whole, apart = (document_from_text("1", text, [], breaks=breaks)["sents"] for breaks in ([], [start]))
    assert len(whole) == 1 and apart == [["Effects", "of", "lithium"], ["A", "case", "report"]]
    over = document_from_text("1", text, [entity([start - 8, end])], breaks=[start])
    assert over["sents"] == whole and over["vertexSet"][0][0]["pos"] == [2, 5]
    for outside in ([0], [len(text)]):
        assert document_from_text("1", text, [], breaks=outside)["sents"] == whole


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        "  leading and trailing  \n\n\n a second paragraph. And\ta third sentence\r\n",
        "10(-8) to 10(-5) M [3H]-naloxone; i.v. ...and so on!!! (p<0.05) -- end",
        "\u200bzero\u200bwidth \xa0no-break\u2028line, na\u00efve \u03b1-synuclein 5\u2032-UTR",
        "\U0001d6c3-cells e\u0301 \u00ad",
        "can't won't IL-2-mediated_under_score A|B 1,3-dichloro http://a.b/c?d=e",
        "?", "...", "- - -", "'t", "",
    ],
)  # fmt: skip
def test_no_character_is_lost_but_white_space(text):
    entities = [entity([match.start(), match.start() + 1]) for match in list(re.finditer(r"\S", text))[::5]]
    document = document_from_text("1", text, entities)
    assert "".join(token for sentence in document["sents"] for token in sentence) == "".join(text.split())
    assert all(token and not re.search(r"\s", token) for sentence in document["sents"] for token in sentence)
    assert mention_spans(document, text) == [list(mentioned["mentions"]) for mentioned in entities]


def test_any_span_of_a_text_is_whole_tokens():
    spans = [
        [start, end]
        for start in range(0, len(TEXT), 3)
        for end in range(start + 1, min(len(TEXT), start + 40))
        if TEXT[start:end] == TEXT[start:end].strip()
    ]
    for span in spans:
        assert mention_spans(document_from_text("1", TEXT, [entity(span)]), TEXT) == [[span]]
    together = document_from_text("1", TEXT, [entity(*spans)])
    assert len(together["sents"]) == 1 and mention_spans(together, TEXT) == [spans]


LENGTH = len(TEXT)


@pytest.mark.parametrize(
    ("span", "message"),
    [
        ([0, LENGTH + 1], rf"the span is \[0, {LENGTH + 1}\], expected \[start, end\) .* <= {LENGTH}, the length"),
        ([4, 4], r"the span is \[4, 4\]"),
        ([5, 4], r"the span is \[5, 4\]"),
        ([-3, 4], r"the span is \[-3, 4\]"),
        ([0, 4, 5], r"the span is \[0, 4, 5\], expected \[start, end\), two integers"),
        ([0.0, 4], r"the span is \[0.0, 4\], expected \[start, end\), two integers"),
        (["0", "15"], r"the span is \['0', '15'\], expected \[start, end\), two integers"),
        ([False, True], r"the span is \[False, True\], expected \[start, end\), two integers"),
        ("04", r"the span is '04', expected \[start, end\), two integers"),
        ([0, 18], r"the span \[0, 18\] is 'Clonidine-induced ', expected no white space at its ends"),
    ],
)
def test_a_wrong_span_is_named(span, message):
    entities = [entity(span_of("sedation")), entity(span_of("Naloxone"), span)]
    with pytest.raises(DocumentError, match=f"^document '7', entity 1, mention 1: {message}"):
        document_from_text("7", TEXT, entities)


@pytest.mark.parametrize(
    "broken", [{"type": "A"}, {"mentions": [], "type": "A"}, {"mentions": [[0, 9]]}, [[0, 9]], entity([0, 9], kind=3)]
)
def test_a_wrong_entity_is_named(broken):
    with pytest.raises(DocumentError, match="^document '7', entity 1: found .*, expected a mapping with 'mentions'"):
        document_from_text("7", TEXT, [entity(span_of("sedation")), broken])


def test_offsets_may_be_numpy_integers():
    spans = np.array([span_of("Naloxone")])
    assert document_from_text("1", TEXT, [entity(*map(list, spans))]) == document_from_text(
        "1", TEXT, [entity(span_of("Naloxone"))]
    )


@pytest.fixture
def warned(monkeypatch, caplog):
    """Reads texts as a corpus does, and returns the warnings."""
    monkeypatch.setattr("modeling_docre_ii.text_documents._warned", set())

    def read(*texts):
        logging.enable_propagation()
        try:
            for number, (text, *spans) in enumerate(texts):
                document_of({"title": f"T{number}", "text": text, "entities": [entity(span) for span in spans]})
        finally:
            logging.disable_propagation()
        return [record.getMessage() for record in caplog.records]

    return read


@pytest.mark.parametrize(
    ("text", "span", "word"),
    [
        ("Charles Babbage was born.", [1, 15], "Charles"),
        ("Charles Babbage was born.", [0, 14], "Babbage"),
        ("born in Lond\u00f3n", [9, 14], "Lond\u00f3n"),
        ("in 1941.", [3, 6], "1941"),
    ],
)
def test_a_mention_that_cuts_a_word_is_named(warned, text, span, word):
    (warning,) = warned((text, [0, len(text.split()[0])], span))
    place = f"document 'T0', entity 1, mention 0: the span {span} is {text[slice(*span)]!r}"
    assert warning.startswith(f"{place} and cuts the word {word!r}, expected [start, end) in characters")


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("Ca2+ and IL-2's role, U.S.-based", [0, 2]),
        ("Ca2+ and IL-2's role, U.S.-based", [9, 13]),
        ("Ca2+ and IL-2's role, U.S.-based", [22, 26]),
        ("\u5f20\u4e09\u51fa\u751f\u5728\u5317\u4eac\u3002", [5, 7]),  # Chinese puts no space between words
        ("\u05e0\u05d5\u05dc\u05d3 \u05d1\u05dc\u05d5\u05e0\u05d3\u05d5\u05df", [6, 12]),  # Hebrew joins "in"
    ],
)  # fmt: skip
def test_mentions_of_whole_words_are_no_reason_to_warn(warned, text, span):
    assert warned((text, span)) == []


def test_warnings_of_cut_words_are_one_a_document_and_end(warned):
    text = "Charles Babbage was born."
    warnings = warned(*[(text, [1, 15], [2, 15])] * 12)
    assert len(warnings) == 10
    assert warnings[0].endswith("(2 mentions of this document cut a word)")
    assert warnings[-1].endswith("; further documents are not reported")


def test_a_corpus_that_marks_parts_of_words_on_purpose_is_not_warned_of(warned, caplog):
    """The builders of biomedical corpora call this."""
    warned()
    document_from_text("1", "Pseudohypertension was seen.", [entity([6, 18])])
    assert not caplog.records


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"title": "a\ud83d"},
            r"document 'a\\ud83d': 'title' is 'a\\ud83d', expected text .* '\\ud83d' at character 1",
        ),
        ({"title": ["T"]}, r"document without a title: 'title' is \['T'\], expected a non-empty string"),
        ({"text": "Paris \udc00."}, r"document 'T': 'text' is 'Paris \\udc00.', expected .* '\\udc00' at character 6"),
        (
            {"entities": [entity([0, 5], kind="L\ud83d")]},
            r"document 'T', entity 0: 'type' is 'L\\ud83d', expected text",
        ),
        (
            {"entities": [entity([0, 5], kb_id="\ud83d")]},
            r"document 'T', entity 0: 'kb_id' is '\\ud83d', expected text",
        ),
        ({"entities": [entity([0, 5], kb_id=5)]}, "document 'T', entity 0: 'kb_id' is 5, expected a string"),
        (
            {"entities": [entity([0, 10**5_000])]},
            "entity 0, mention 0: the span is .0, an integer of 16,610 bits., exp",
        ),
    ],
)
def test_what_no_file_can_hold_is_named(changes, message):
    given = {"title": "T", "text": "Paris is old.", "entities": []}
    with pytest.raises(DocumentError, match=message) as error:
        document_of(given | changes)
    assert "\n" not in str(error.value)


def test_a_wrong_span_of_a_long_text_is_quoted_in_part():
    text = " " + "word " * 2_000
    with pytest.raises(DocumentError, match="expected no white space at its ends") as error:
        document_of({"title": "T" * 5_000, "text": text, "entities": [entity([0, 9_000])]})
    assert len(str(error.value)) < 300


def test_a_document_in_docreds_form_keeps_its_text():
    document = document_from_text("1", TEXT, [entity(span_of("Naloxone"))])
    assert document_of(document | {"text": TEXT}) == document | {"text": TEXT}


def test_text_of_a_document_has_its_mentions_where_the_spans_say(sample_documents):
    for document in sample_documents["dev"]:
        plain = text_of_document(document)
        assert plain["text"].split() == [
            word for tokens in document["sents"] for token in tokens for word in token.split()
        ]
        assert plain["labels"] == [{"h": fact["h"], "t": fact["t"], "r": fact["r"]} for fact in document["labels"]]
        for entity, mentions in zip(plain["entities"], document["vertexSet"], strict=True):
            tokens = [document["sents"][mention["sent_id"]][slice(*mention["pos"])] for mention in mentions]
            found = [plain["text"][start:end] for start, end in entity["mentions"]]
            assert found == [" ".join(of_mention).strip() for of_mention in tokens]
            assert entity["type"] == mentions[0]["type"]
        # It is what a document is made from, and a second time nothing changes.
        again = document_from_text(plain["title"], plain["text"], plain["entities"])
        check_document(again)
        assert mention_spans(again, plain["text"]) == [entity["mentions"] for entity in plain["entities"]]


def test_text_of_a_document_with_spaces_as_tokens():
    mention = {"name": "b", "sent_id": 1, "pos": [0, 3], "type": "X"}
    space = {"name": " ", "sent_id": 0, "pos": [1, 2], "type": "Y"}
    document = {"title": "1", "sents": [["a", " "], ["\xa0", "b", " "], []], "vertexSet": [[mention], [space]]}
    assert text_of_document(document) == {
        "title": "1",
        "text": "a   \xa0 b  ",
        "entities": [{"type": "X", "mentions": [[6, 7]]}, {"type": "Y", "mentions": [[2, 3]]}],
        "labels": [],
    }
