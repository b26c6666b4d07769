"""Annotated texts: nodes that are one entity, facts between entities, offsets in UTF-16, and the report."""

import random

import pytest

from modeling_docre_ii.annotation_formats.annotated_text import (
    AnnotatedText,
    Relation,
    Report,
    to_document,
    utf16_positions,
)
from modeling_docre_ii.documents import DocumentError


def components(nodes, pairs):
    """Joins nodes by repeated search, as the oracle of the union-find."""
    groups = [{node} for node in nodes]
    for first, second in pairs:
        joined = [group for group in groups if first in group or second in group]
        groups = [group for group in groups if group not in joined] + [set().union(*joined)]
    return groups


@pytest.mark.parametrize("seed", range(20))
def test_links_and_coreference_join_nodes_as_a_naive_search_does(seed):
    drawn = random.Random(seed)
    text = AnnotatedText("t", "file", "abcdefghij klmnopqrst")
    nodes = [(f"T{number}",) for number in range(10)]
    for number, node in enumerate(nodes):
        text.add_mention("file", (number, number + 1), "X", (node,), Report())
    pairs = [tuple(drawn.sample(nodes, 2)) for _ in range(drawn.randint(0, 9))]
    text.links = pairs[::2]
    text.relations = [Relation("file", "same", (first,), (second,)) for first, second in pairs[1::2]]
    facts = [tuple(drawn.sample(nodes, 2)) for _ in range(6)]
    text.relations += [Relation("file", "r", (first,), (second,)) for first, second in facts]
    report = Report()
    document = to_document(text, ["same"], report)

    groups = components(nodes, pairs)
    entities = [{nodes[start] for start, _ in entity["mentions"]} for entity in document["entities"]]
    assert sorted(map(sorted, entities)) == sorted(map(sorted, groups))
    assert [entity["mentions"][0] for entity in document["entities"]] == sorted(
        entity["mentions"][0] for entity in document["entities"]
    )
    where = {node: index for index, entity in enumerate(entities) for node in entity}
    expected = {(where[head], where[tail]) for head, tail in facts if where[head] != where[tail]}
    assert {(fact["h"], fact["t"]) for fact in document["labels"]} == expected
    assert sum(report.left_out.values()) + len(expected) == len(facts)


@pytest.mark.parametrize("text", ["", "plain", "é中", "a🎓b👩‍🔬\ue000c"])
def test_positions_in_utf16_are_those_of_the_encoded_text(text):
    positions = utf16_positions(text)
    for position in range(len(text) + 1):
        assert positions[len(text[:position].encode("utf-16-le")) // 2] == position
    assert len(positions) == len(text.encode("utf-16-le")) // 2 + 1
    assert sum(position == -1 for position in positions) == len(positions) - 1 - len(text)


def test_the_report_counts_and_refuses():
    report = Report(["events"])
    report.skip("note")
    report.skip("note")
    report.skip("task", " without an annotation", 0)
    report.refuse("events", "file", "this is an event", "event", " of a text")
    report.changed["mention", ", cut off"] += 1
    assert report.lines() == ["left out: 1 event of a text, 2 notes", "changed: 1 mention, cut off"]
    with pytest.raises(DocumentError, match="^file: a thing, which a document cannot hold: set `leave_out` to n_ary"):
        report.refuse("n_ary", "file", "a thing", "thing")
    with pytest.raises(ValueError, match="`leave_out`: unknown name 'event', did you mean 'events'"):
        Report(["event"])
