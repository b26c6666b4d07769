"""What other tools print, as their documentation shows it, and spans that are wrong."""

from types import SimpleNamespace

import numpy as np
import pytest

from modeling_docre_ii import DocumentError
from modeling_docre_ii.mention_formats import read_mentions


TEXT = "Charles Babbage was born in London. He designed the Analytical Engine."
BABBAGE = {"start": 0, "end": 15, "type": "PER"}
LONDON = {"start": 28, "end": 34, "type": "LOC"}
CLUSTERS = [[(0, 15), (36, 38)]]


def read(found, clusters=None):
    return read_mentions(found, TEXT, "document 'Babbage': the test", clusters)


class Underscore(SimpleNamespace):
    """`doc._`: attributes of extensions."""


def spacy_span(start, end, label="", kb_id=""):
    return SimpleNamespace(start_char=start, end_char=end, label_=label, kb_id_=kb_id)


def spacy_doc(text=TEXT, spans=None, **extensions):
    """What spaCy's `Doc` has, without spaCy; test_spacy_component.py uses the real one."""
    return SimpleNamespace(
        text=text,
        ents=(spacy_span(0, 15, "PER"), spacy_span(28, 34, "LOC")),
        spans=spans or {},
        _=Underscore(**extensions),
        has_extension=lambda name: name in extensions,
    )


@pytest.mark.parametrize(
    "rows",
    [
        [BABBAGE, LONDON],
        # transformers, aggregated
        [
            {"entity_group": "PER", "score": np.float32(0.5), "word": "Charles Babbage", "start": 0, "end": 15},
            {"entity_group": "LOC", "score": np.float32(0.5), "word": "London", "start": 28, "end": 34},
        ],
        # GLiNER
        [
            {"start": 0, "end": 15, "text": "Charles Babbage", "label": "PER", "score": 0.5},
            {"start": 28, "end": 34, "text": "London", "label": "LOC", "score": 0.5},
        ],
        # SpanMarker
        [
            {"span": "Charles Babbage", "label": "PER", "score": 0.5, "char_start_index": 0, "char_end_index": 15},
            {"span": "London", "label": "LOC", "score": 0.5, "char_start_index": 28, "char_end_index": 34},
        ],
        {"mentions": [BABBAGE, LONDON]},
        spacy_doc(),
        tuple([BABBAGE, LONDON]),
    ],
)
def test_rows_of_every_tool_are_the_same_mentions(rows):
    mentions = read(rows).mentions

    assert [{**mention, "score": None} for mention in mentions] == [
        {**BABBAGE, "score": None},
        {**LONDON, "score": None},
    ]
    assert {mention["score"] for mention in mentions if "score" in mention} <= {0.5}


def test_scores_are_kept():
    assert read([{**BABBAGE, "score": np.float32(0.5)}]).mentions == [{**BABBAGE, "score": 0.5}]


def test_identifiers_are_kept():
    assert read([{**BABBAGE, "kb_id": "Q46633"}, {**LONDON, "kb_id": None}]).mentions == [
        {**BABBAGE, "kb_id": "Q46633"},
        LONDON,
    ]
    doc = spacy_doc()
    doc.ents = (spacy_span(0, 15, "PER", "Q46633"), spacy_span(28, 34, "LOC", "NIL"))
    assert read(doc).mentions == [{**BABBAGE, "kb_id": "Q46633"}, LONDON]


def test_numpy_offsets_become_integers():
    (mention,) = read([{"start": np.int64(0), "end": np.int64(15), "label": "PER"}]).mentions

    assert type(mention["start"]) is type(mention["end"]) is int


def test_white_space_at_the_ends_is_left_out():
    # Pieces of byte-level tokenizers begin with the space before them.
    assert read([{"start": 27, "end": 34, "entity_group": "LOC"}]).mentions == [LONDON]


@pytest.mark.parametrize(
    "clusters",
    [
        CLUSTERS,
        # fastcoref: ends are not included
        SimpleNamespace(get_clusters=lambda as_strings: [["Charles Babbage", "He"]] if as_strings else CLUSTERS),
        # Maverick: ends are included
        {"clusters_char_offsets": [((0, 14), (36, 37))], "clusters_token_text": [["Charles Babbage", "He"]]},
        spacy_doc(spans={"coref_clusters_1": [spacy_span(0, 15), spacy_span(36, 38)], "ruler": [spacy_span(0, 1)]}),
        spacy_doc(coref_clusters=CLUSTERS),
    ],
)
def test_clusters_of_every_tool_are_the_same_spans(clusters):
    assert read([BABBAGE], clusters).clusters == CLUSTERS


def test_clusters_of_a_doc_or_a_mapping_come_with_its_mentions():
    doc = spacy_doc(coref_clusters=CLUSTERS)

    assert read(doc).clusters == CLUSTERS
    assert read({"mentions": [BABBAGE], "clusters": CLUSTERS}).clusters == CLUSTERS
    assert read({"mentions": doc}).clusters == CLUSTERS
    # Clusters of another tool replace those of the Doc.
    assert read(doc, [[(0, 15)]]).clusters == [[(0, 15)]]
    assert read(spacy_doc(coref_clusters=None)).clusters == []
    assert read(spacy_doc()).clusters == []


def test_nothing_found():
    assert read([]).mentions == []
    assert read([], []).clusters == []


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (None, "found None, expected rows such as"),
        ("PER", "found 'PER', expected rows"),
        ([None], "mention 0: found None, expected rows"),
        ([BABBAGE, {"start": 1, "end": 2}], "mention 1: found .* without a type"),
        ([{**BABBAGE, "type": 3}], "mention 0: found .* without a type"),
        ([{"start": 0, "end": 71, "type": "PER"}], r"mention 0: the span is \[0, 71\], expected .* <= 70, the length"),
        ([{"start": -1, "end": 5, "type": "PER"}], r"mention 0: the span is \[-1, 5\]"),
        ([{"start": 5, "end": 5, "type": "PER"}], r"mention 0: the span is \[5, 5\]"),
        ([{"start": 0.0, "end": 5, "type": "PER"}], r"mention 0: the span is \(0.0, 5\), expected .* two integers"),
        ([{"start": True, "end": 5, "type": "PER"}], "two integers"),
        ([{"end": 5, "type": "PER"}], r"mention 0: the span is \(None, 5\)"),
        ([{"start": 15, "end": 16, "type": "PER"}], r"mention 0: the span \[15, 16\] is ' ', white space"),
        ([{**BABBAGE, "score": "high"}], "mention 0: 'score' is 'high', expected a finite number"),
        ([{**BABBAGE, "score": float("nan")}], "mention 0: 'score' is nan"),
        ([{**BABBAGE, "kb_id": 46633}], "mention 0: 'kb_id' is 46633, expected a string that is not empty"),
        ([{**BABBAGE, "kb_id": ""}], "mention 0: 'kb_id' is '', expected"),
        ([{"entity": "B-PER", "index": 1, "start": 0, "end": 7}], "the label of one token: .*aggregation_strategy"),
        (spacy_doc(text="Another text"), "the spaCy Doc has the text 'Another text', and not 'Charles "),
    ],
)
def test_malformed_mentions_are_refused_with_their_source(found, message):
    with pytest.raises(DocumentError, match=f"^document 'Babbage': the test.*{message}"):
        read(found)


@pytest.mark.parametrize(
    ("clusters", "message"),
    [
        ("He", "the clusters are 'He', expected lists"),
        ([3], r"the clusters are \[3\], expected lists"),
        ([["He"]], "cluster 0, mention 0: the span is 'He', expected"),
        ([[(0, 15), (60, 90)]], r"cluster 0, mention 1: the span is \[60, 90\]"),
        ({"clusters_char_offsets": None}, "the clusters are None"),
        ({"clusters_char_offsets": [((0, 70),)]}, r"cluster 0, mention 0: the span is \[0, 71\]"),
    ],
)
def test_malformed_clusters_are_refused_with_their_source(clusters, message):
    with pytest.raises(DocumentError, match=f"^document 'Babbage': the test.*{message}"):
        read([BABBAGE], clusters)
