"""Names of one entity are joined, by hand-made cases and by properties of any text."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeling_docre_ii.entity_linking import link_mentions


SAMPLE = Path(__file__).parents[2] / "examples" / "re_docred_sample" / "dev.json"


def place(text, *mentions):
    """Finds `(name, type)` in a text, each after the one before."""
    found, end = [], 0
    for name, kind in mentions:
        start = text.index(name, end)
        end = start + len(name)
        found.append({"start": start, "end": end, "type": kind})
    return found


def linked(text, *mentions):
    """The entities of a text as names."""
    return [
        [text[start:end] for start, end in entity["mentions"]]
        for entity in link_mentions(text, place(text, *mentions))
    ]


def names(kind, *mentions):
    """A text of names of one type, and its entities."""
    text = ", ".join(mentions)
    return linked(text, *((name, kind) for name in mentions))


@pytest.mark.parametrize(
    "mentions",
    [
        ("Paris", "PARIS", "paris"),
        ("Émile", "Emile", "E\u0301mile"),
        ("The Beatles", "Beatles"),
        ("Babbage's", "Babbage", "Babbage’s"),
        ("Courier-Journal", "Courier - Journal", "Courier Journal"),
        ("U.S.", "US", "U. S."),
        ("ＵＮ", "UN"),
        ("Straße", "STRASSE"),
        ("...", "..."),
    ],
)
def test_the_same_name_in_other_letters(mentions):
    assert names("MISC", *mentions) == [list(mentions)]


@pytest.mark.parametrize(
    ("kind", "long", "short"),
    [
        ("ORG", "United Nations", "UN"),
        ("ORG", "World Health Organization", "WHO"),
        ("MISC", "Order of the British Empire", "OBE"),
        ("ORG", "Bank of America", "BoA"),
        ("LOC", "United States", "US"),
        ("PER", "Charles Babbage", "Babbage"),
        ("PER", "Charles Babbage", "Charles"),
        ("PER", "Joanne Kathleen Rowling", "J. K. Rowling"),
        ("PER", "John F. Kennedy", "John Fitzgerald Kennedy"),
        ("PER", "Franklin Delano Roosevelt", "Franklin Roosevelt"),
        ("PER", "Prince Charles", "Charles"),
    ],
)
@pytest.mark.parametrize("is_reversed", [False, True])
def test_short_forms(kind, long, short, is_reversed):
    mentions = [short, long] if is_reversed else [long, short]
    assert names(kind, *mentions) == [mentions]


@pytest.mark.parametrize(
    ("kind", "mentions"),
    [
        ("PER", ("Charles Babbage", "Charles Darwin")),
        ("PER", ("John Smith", "Smith John")),
        ("PER", ("Prince Charles", "Prince William", "Prince")),
        ("PER", ("J. Smith", "J. Doe", "J.")),
        ("LOC", ("New York City", "New York")),
        ("LOC", ("France", "French")),
        ("ORG", ("Oxford University", "University")),
        ("TIME", ("2002", "October 2002")),
        ("NUM", ("two", "two hundred")),
        ("MISC", ("United Nations", "UNO")),
        ("MISC", ("A", "A B")),
    ],
)
def test_different_names_stay_apart(kind, mentions):
    assert names(kind, *mentions) == [[mention] for mention in mentions]


def test_other_types_stay_apart():
    text = "Washington went to Washington."
    assert linked(text, ("Washington", "PER"), ("Washington", "LOC")) == [["Washington"], ["Washington"]]


def test_the_name_mentioned_last_is_meant():
    smiths = ("John Smith", "Mary Smith", "Smith")
    assert names("PER", *smiths) == [["John Smith"], ["Mary Smith", "Smith"]]
    assert names("PER", "Smith", "John Smith", "Mary Smith") == [["Smith", "John Smith"], ["Mary Smith"]]
    again = ("Mary Smith", "John Smith", "Mary Smith", "Smith")
    assert names("PER", *again) == [["Mary Smith", "Mary Smith", "Smith"], ["John Smith"]]


def test_short_forms_of_short_forms():
    assert names("PER", "John Adam Smith", "John Smith", "Smith") == [["John Adam Smith", "John Smith", "Smith"]]


@pytest.mark.parametrize(
    ("text", "kind", "is_joined"),
    [
        ("Metsähallitus ( Finnish : Forest Service )", "ORG", True),
        ("Metsähallitus (Finnish: Forest Service)", "ORG", True),
        ('Metsähallitus ("Forest Service")', "ORG", True),
        ("Metsähallitus (or Forest Service)", "ORG", True),
        ("Metsähallitus, the Forest Service", "ORG", False),
        ("Metsähallitus (a part of the Forest Service)", "ORG", False),
        ("Metsähallitus (Forest Service)", "LOC", False),
        ("Metsähallitus (Forest Service)", "TIME", False),
    ],
)
def test_names_in_parentheses(text, kind, is_joined):
    expected = [["Metsähallitus", "Forest Service"]] if is_joined else [["Metsähallitus"], ["Forest Service"]]
    assert linked(text, ("Metsähallitus", kind), ("Forest Service", kind)) == expected


def test_mentions_that_share_a_span_count_once():
    twice = [{"start": 0, "end": 5, "type": "LOC"}, {"start": 0, "end": 5, "type": "ORG"}]
    assert link_mentions("Paris", twice) == [{"type": "LOC", "mentions": [[0, 5]]}]


def test_no_mentions():
    assert link_mentions("", []) == []


@st.composite
def texts(draw):
    words = st.sampled_from(
        ["John", "J", "Smith", "Mary", "UN", "United", "Nations", "the", "(", "2002", "Émile", "."]
    )
    drawn = draw(
        st.lists(st.tuples(words, st.sampled_from(["PER", "ORG", "LOC", "TIME"]), st.integers(1, 3)), max_size=12)
    )
    text, mentions = "", []
    for word, kind, length in drawn:
        name = " ".join([word] * length) if length < 3 else f"John {word} Smith"
        mentions.append({"start": len(text), "end": len(text) + len(name), "type": kind})
        text += name + " "
    return text, mentions, draw(st.permutations(mentions))


@given(texts())
def test_every_mention_is_in_one_entity_whatever_the_order(drawn):
    text, mentions, shuffled = drawn
    entities = link_mentions(text, mentions)

    spans = [tuple(span) for entity in entities for span in entity["mentions"]]
    assert sorted(spans) == sorted((mention["start"], mention["end"]) for mention in mentions)
    assert len(set(spans)) == len(spans)
    assert link_mentions(text, shuffled) == entities
    assert [entity["mentions"] for entity in entities] == sorted(entity["mentions"] for entity in entities)
    kinds = {(mention["start"], mention["end"]): mention["type"] for mention in mentions}
    for entity in entities:
        assert {kinds[tuple(span)] for span in entity["mentions"]} == {entity["type"]}
        assert entity["mentions"] == sorted(entity["mentions"])


def test_real_documents_are_linked_well():
    """Gold mentions of the sample: exact entities, F1 by hand."""
    right = predicted = gold = 0
    for document in json.loads(SAMPLE.read_text(encoding="utf-8")):
        text, offsets = "", []
        for sentence in document["sents"]:
            offsets.append([])
            for token in sentence:
                offsets[-1].append((len(text), len(text) + len(token)))
                text += token + " "
        mentions, expected = [], set()
        for entity in document["vertexSet"]:
            spans = [
                (offsets[m["sent_id"]][m["pos"][0]][0], offsets[m["sent_id"]][m["pos"][1] - 1][1]) for m in entity
            ]
            expected.add(frozenset(spans))
            mentions += [{"start": start, "end": end, "type": entity[0]["type"]} for start, end in spans]
        found = {frozenset(map(tuple, entity["mentions"])) for entity in link_mentions(text, mentions)}
        right, predicted, gold = right + len(found & expected), predicted + len(found), gold + len(expected)

    assert 2 * right / (predicted + gold) > 0.88


def test_many_mentions_are_linked_in_a_moment():
    """Linear: 20,000 mentions of persons who share their first names would take minutes, pair by pair."""
    mentions, text = [], ""
    for number in range(20_000):
        name = f"John X{number}" if number % 2 else f"John{number % 3}"
        mentions.append({"start": len(text), "end": len(text) + len(name), "type": "PER"})
        text += name + " "

    assert len(link_mentions(text, mentions)) == 10_003
