"""The linker: which names are one entity, against cases by hand and a search over all pairs of names."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_docre_ii import document_from_text
from modeling_docre_ii.entity_linking import _asked_keys, _offered_keys, _read_name, link_mentions


def text_of(names, between=" and then "):
    """A text with these names, and the span of each."""
    text, spans = "", []
    for name in names:
        spans.append((len(text), len(text) + len(name)))
        text += name + between
    return text, spans


def linked(*names, kind="PER", between=" and then "):
    """The names of each entity of a text in which these names are mentioned in this order."""
    kinds = [kind] * len(names) if isinstance(kind, str) else kind
    text, spans = text_of(names, between)
    mentions = [{"start": start, "end": end, "type": kind} for (start, end), kind in zip(spans, kinds)]
    return [[text[start:end] for start, end in entity["mentions"]] for entity in link_mentions(text, mentions)]


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("LOC", ["Zürich", "ZURICH", "Zurich's", "Zurich’s"]),
        ("ORG", ["the United  Nations", "United\nNations", "United Nations"]),
        ("ORG", ["United Nations", "UN", "U.N."]),
        ("LOC", ["US", "United States", "U. S.", "U.S."]),
        ("ORG", ["Navy, Army and Air Force Institutes", "NAAFI"]),
        ("ORG", ["Council on Foreign Relations", "CFR"]),
        ("MISC", ["communications-based train control", "CBTC"]),
        ("ORG", ["Epic", "Epic Records"]),
        ("ORG", ["Siemens AG", "Siemens"]),
        ("PER", ["Joanne Rowling", "Rowling", "J. K. Rowling", "JK Rowling", "J. Rowling"]),
        ("PER", ["N. C. Wyeth", "Newell Convers Wyeth", "Wyeth", "N. Wyeth"]),
        ("PER", ["Joanne", "Joanne Rowling", "Ms. Rowling"]),
        ("person", ["Vincent van Gogh", "van Gogh", "Gogh"]),
        ("PER", ["Howard Wolfe Smith Jr.", "Howard Smith", "Smith"]),
        ("PER", ["Dr. Watson", "Watson"]),
        ("PER", ["Watson", "Sir Watson", "Watson's"]),
        ("PER", ["Martin Luther King", "Martin Luther King Jr.", "King"]),
        ("PER", ["Jane Doe", "Prof. Dr. Jane Doe", "Dr. Doe"]),
        ("PER", ["\ufeffCharles Babbage", "Charles Bab\u00adbage\u200b", "Charles\u200e Babbage"]),
        ("TIME", ["1815\u200b", "1815"]),
        ("PER", ["Wałęsa", "Lech Wałęsa"]),
        ("PER", ["Ali Kuli Khan Khattak", "Kuli"]),
        ("TIME", ["June 5, 2006", "june 5 , 2006"]),
        ("NUM", ["Nine", "nine"]),
        ("Gene", ["TNF-alpha", "TNF alpha"]),
        ("LOC", ["京都", "京都"]),
    ],
)
def test_names_of_one_entity(kind, names):
    assert linked(*names, kind=kind) == [names]


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("PER", ["J. K. Smith", "J. R. Smith"]),
        ("PER", ["J. K. Rowling", "Joanne Mary Rowling"]),
        ("PER", ["Li Yuan", "Laura Yuan"]),
        ("PER", ["Henry V", "Henry VI", "Henry"]),
        ("PER", ["Mr. Watson", "Mrs. Watson"]),
        ("PER", ["Anna Smith", "Bert Smith"]),
        ("LOC", ["France", "French"]),
        ("LOC", ["New York", "York", "New"]),
        ("MISC", ["C", "C++", "C#"]),
        ("MISC", ["Galaxy S9", "Galaxy S9 +"]),
        ("ORG", ["House of Commons", "House"]),
        ("NUM", ["1.5", "15", "-15", "15%", "$15"]),
        ("DATE", ["2006", "June 2006", "the 2006"]),
        ("LOC", ["ガ", "カ"]),
        ("ORG", ["Natural Language Processing", "NLPs"]),
        ("MISC", ["?!", "!!"]),
    ],
)
def test_names_of_different_entities(kind, names):
    assert linked(*names, kind=kind) == [[name] for name in names]


def test_entities_have_one_type():
    assert linked("Washington", "Washington", "washington", kind=["PER", "LOC", "PER"]) == [
        ["Washington", "washington"],
        ["Washington"],
    ]


def test_short_name_of_several_persons_is_the_first_one_before_it():
    assert linked("Anna Smith", "Bert Smith", "Smith") == [["Anna Smith", "Smith"], ["Bert Smith"]]
    assert linked("Smith", "Anna Smith", "Bert Smith") == [["Smith"], ["Anna Smith"], ["Bert Smith"]]
    assert linked("Smith", "Anna Smith") == [["Smith", "Anna Smith"]]


@pytest.mark.parametrize(
    ("kind", "between", "expected"),
    [
        ("ORG", " (", 1),
        ("Chemical", " (", 1),
        ("LOC", " (", 2),
        ("PER", " (", 2),
        ("LOC", " (formerly ", 1),
        ("LOC", ", also known as ", 1),
        ("PER", " (born ", 1),
        ("MISC", ", commonly referred to as the ", 1),
        ("ORG", ", originally known as ", 1),
        ("LOC", " (formerly known as the ", 1),
        ("LOC", " (now ", 1),
        ("ORG", " (or ", 1),
        ("LOC", " a.k.a. ", 1),
        ("ORG", " or ", 2),
        ("LOC", ", now ", 2),
        ("ORG", ", ", 2),
        ("TIME", " (", 2),
        ("NUM", " (also ", 2),
        ("ORG", ", which is not at all what anyone ever called, also known as ", 2),
    ],
)
def test_names_that_the_text_equates(kind, between, expected):
    text = f"Aba{between}Xoxo) and so on"
    start = len("Aba" + between)
    mentions = [{"start": 0, "end": 3, "type": kind}, {"start": start, "end": start + 4, "type": kind}]
    assert len(link_mentions(text, mentions)) == expected


def test_entities_are_what_a_document_takes():
    text = "The United Nations met in Paris. The UN voted."
    mentions = [
        {"start": 37, "end": 39, "type": "ORG", "score": 0.9},
        {"start": 26, "end": 31, "type": "LOC"},
        {"start": 4, "end": 18, "type": "ORG"},
    ]
    entities = link_mentions(text, mentions)
    assert entities == [
        {"type": "ORG", "mentions": [[4, 18], [37, 39]]},
        {"type": "LOC", "mentions": [[26, 31]]},
    ]
    document = document_from_text("UN", text, entities)
    assert [[mention["name"] for mention in entity] for entity in document["vertexSet"]] == [
        ["United Nations", "UN"],
        ["Paris"],
    ]


def test_spans_count_once_and_may_overlap():
    mentions = [
        {"start": 0, "end": 8, "type": "LOC"},
        {"start": 0, "end": 8, "type": "ORG"},
        {"start": 4, "end": 8, "type": "LOC"},
        {"start": 0, "end": 8, "type": "LOC"},
    ]
    assert link_mentions("New York", mentions) == [
        {"type": "LOC", "mentions": [[0, 8]]},
        {"type": "LOC", "mentions": [[4, 8]]},
    ]
    assert link_mentions("New York", []) == []


words = st.sampled_from(["Ann", "Bo", "J.", "K.", "Smith", "Records", "the", "of", "AB", "BS", "Jr.", "'s", "(", "5"])
names = st.lists(st.lists(words, min_size=1, max_size=4).map(" ".join), max_size=12)
kinds = st.sampled_from(["PER", "ORG", "MISC", "TIME"])


def joined_pair_by_pair(names):
    """The sets of equal numbers from the same keys, by looking at every pair of names."""
    group = list(range(len(names)))
    for index, name in enumerate(names):
        for key in _asked_keys(name):
            others = [
                other
                for other, long in enumerate(names)
                if other != index and long.type == name.type and key in set(_offered_keys(long))
            ]
            if others and (len(others) == 1 or others[0] < index):
                old, new = group[index], group[others[0]]
                group = [new if member == old else member for member in group]
                break
    return group


@given(st.lists(st.tuples(names, kinds), max_size=3))
@settings(max_examples=150, deadline=None)
def test_index_finds_what_a_search_over_all_pairs_finds(given_names):
    written = [(name, kind) for of_kind, kind in given_names for name in of_kind]
    distinct = {}
    for name, kind in written:
        read = _read_name(name, kind)
        distinct.setdefault((read.words, read.type), read)
    group = joined_pair_by_pair(list(distinct.values()))
    number = {key: group[index] for index, key in enumerate(distinct)}
    expected = {}
    for index, (name, kind) in enumerate(written):
        expected.setdefault(number[_read_name(name, kind).words, kind], []).append(index)
    # A gap of this length equates nothing.
    text, spans = text_of([name for name, _ in written], between=" " * 50)
    mentions = [{"start": start, "end": end, "type": kind} for (start, end), (_, kind) in zip(spans, written)]
    found = [[spans.index(tuple(span)) for span in entity["mentions"]] for entity in link_mentions(text, mentions)]
    assert sorted(found) == sorted(expected.values())


@given(
    st.text("Ab c.(,)'éß", max_size=60),
    st.lists(st.tuples(st.integers(0, 59), st.integers(1, 12), kinds), max_size=15),
    st.randoms(use_true_random=False),
)
@settings(max_examples=150, deadline=None)
def test_every_mention_is_in_one_entity_whatever_their_order(text, drawn, random):
    types = {(start, min(start + length, len(text))): kind for start, length, kind in drawn if start < len(text)}
    mentions = [{"start": start, "end": end, "type": kind} for (start, end), kind in types.items()]
    entities = link_mentions(text, mentions)
    found = [tuple(span) for entity in entities for span in entity["mentions"]]
    assert sorted(found) == sorted(types)
    assert all(types[tuple(span)] == entity["type"] for entity in entities for span in entity["mentions"])
    assert all(entity["mentions"] == sorted(entity["mentions"]) for entity in entities)
    assert entities == sorted(entities, key=lambda entity: entity["mentions"][0])
    random.shuffle(mentions)
    assert link_mentions(text, mentions) == entities


@pytest.mark.parametrize(
    ("name", "kind"),
    [("{} Smith", "PER"), ("J. {} Smith", "PER"), ("Smith", "PER"), ("Name {} Corp", "ORG"), ("A B", "MISC")],
)
def test_twenty_thousand_mentions_take_seconds(name, kind):
    text, spans = text_of([name.format(number) for number in range(20_000)], between=" (")
    mentions = [{"start": start, "end": end, "type": kind} for start, end in spans]
    started = time.process_time()
    entities = link_mentions(text, mentions)
    assert time.process_time() - started < 8
    assert sum(len(entity["mentions"]) for entity in entities) == 20_000
