"""A text as an annotation tool exports it, and the document that it becomes."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from ..documents import NO_RELATION, DocumentError
from ..quoting import quote
from ..text_documents import check_text
from ..utils.suggestions import check_names
from ..utils.wording import counted
from .source_files import fail


# What an entity is known by: `(mention id,)`, or `(type, identifier)` of a knowledge base.
Node = tuple[str, ...]

# What documents cannot hold, and an import refuses unless it is told to leave it out.
REFUSED = {
    "discontinuous": "mentions of several pieces of text",
    "events": "events and other annotations with roles",
    "n_ary": "relations of more than two mentions, or of other relations",
    "unlabelled": "mentions and relations without a label",
}


@dataclass
class Report:
    """
    What an import left out or changed.

    Args:
        leave_out (`Collection[str]`, *optional*): The keys of [`REFUSED`] that are left out instead of refused.
        left_out (`Counter`): How often what was left out: a noun, and what follows it.
        changed (`Counter`): How often what was changed, in the same form.
    """

    leave_out: Collection[str] = ()
    left_out: Counter[tuple[str, str]] = field(default_factory=Counter)
    changed: Counter[tuple[str, str]] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        check_names("`leave_out`", self.leave_out, REFUSED)

    def skip(self, noun: str, rest: str = "", count: int = 1) -> None:
        """Counts what is left out."""
        if count:
            self.left_out[noun, rest] += count

    def refuse(self, kind: str, place: str, message: str, noun: str, rest: str = "") -> None:
        """
        Counts what a document cannot hold, if the user wants it left out.

        Args:
            kind (`str`):
                A key of [`REFUSED`].
            place (`str`):
                Where it is, for the message.
            message (`str`):
                What it is.
            noun (`str`), rest (`str`, *optional*):
                As for [`Report.skip`].

        Raises:
            [`DocumentError`]: the user did not ask for that.
        """
        if kind not in self.leave_out:
            fail(place, f"{message}, which a document cannot hold: set `leave_out` to {kind} to import the rest")
        self.skip(noun, rest)

    def lines(self) -> list[str]:
        """Returns a line each for what was left out and for what was changed."""
        return [
            f"{title}: {', '.join(counted(count, noun) + rest for (noun, rest), count in sorted(counts.items()))}"
            for title, counts in (("left out", self.left_out), ("changed", self.changed))
            if counts
        ]


@dataclass(frozen=True)
class Mention:
    """
    A mention.

    Args:
        start (`int`), end (`int`): Characters [start, end) of the text.
        type (`str`): Its label.
        nodes (`tuple[Node]`): The entities that it belongs to, usually one.
    """

    start: int
    end: int
    type: str
    nodes: tuple[Node, ...]


@dataclass(frozen=True)
class Relation:
    """
    A relation between two mentions, or between two identifiers.

    Args:
        place (`str`): Where it was read, for errors.
        name (`str`): Its label.
        head (`tuple[Node]`), tail (`tuple[Node]`): The entities of its arguments.
    """

    place: str
    name: str
    head: tuple[Node, ...]
    tail: tuple[Node, ...]


@dataclass
class AnnotatedText:
    """
    A text with mentions, relations and links.

    Args:
        title (`str`): Name of the document.
        place (`str`): Where it was read, for errors.
        text (`str`): The text.
        mentions (`list[Mention]`): The mentions.
        relations (`list[Relation]`): The relations, which may be those of coreference.
        links (`list[tuple[Node, Node]]`): Pairs of nodes that are one entity.
    """

    title: str
    place: str
    text: str
    mentions: list[Mention] = field(default_factory=list)
    relations: list[Relation] = field(default_factory=list)
    links: list[tuple[Node, Node]] = field(default_factory=list)

    def add_mention(
        self, place: str, span: tuple[int, int], kind: str, nodes: tuple[Node, ...], report: Report
    ) -> tuple[int, int]:
        """
        Adds a mention, without the white space at its ends.

        Args:
            place (`str`):
                Where it is, for errors.
            span (`tuple[int, int]`):
                Its characters, [start, end).
            kind (`str`):
                Its type.
            nodes (`tuple[Node]`):
                The entities that it belongs to.
            report ([`Report`]):
                Counts the mentions that were changed.

        Returns:
            `tuple[int, int]`: its characters, as they were added.

        Raises:
            [`DocumentError`]: the span is outside the text, or has no word.
        """
        start, end = check_span(place, span, len(self.text))
        mention = self.text[start:end]
        if not mention.strip():
            fail(place, f"the span [{start}, {end}] is {quote(mention)}, expected at least one word")
        if mention != mention.strip():
            report.changed["mention", ", white space at the ends cut off"] += 1
            start, end = end - len(mention.lstrip()), start + len(mention.rstrip())
        self.mentions.append(Mention(start, end, kind, nodes))
        return start, end


def check_span(place: str, span: tuple[Any, Any], length: int) -> tuple[int, int]:
    """
    Checks that a span is inside a text of some length, and returns it.

    Raises:
        [`DocumentError`]: it is not.
    """
    start, end = span
    if type(start) is not int or type(end) is not int or not 0 <= start < end <= length:
        expected = f"[start, end) with 0 <= start < end <= {length}, the length of the text"
        fail(place, f"the span is [{quote(start)}, {quote(end)}], expected {expected}")
    return start, end


def utf16_positions(text: str) -> list[int] | range:
    """
    Maps offsets in UTF-16, as Java and JavaScript count, to characters.

    Args:
        text (`str`):
            The text.

    Returns:
        `list[int]`: the character at each offset, -1 inside of a character, and at the end the length of the text.
    """
    if text.isascii() or max(text) <= "\uffff":
        return range(len(text) + 1)
    positions: list[int] = []
    for position, character in enumerate(text):
        positions += [position] if character <= "\uffff" else [position, -1]
    return [*positions, len(text)]


def to_document(annotated: AnnotatedText, coreference: Collection[str], report: Report) -> dict[str, Any]:
    """
    Makes a document of an annotated text.

    Mentions that share a node, or whose nodes are linked, are one entity. So are the mentions of a relation of
    coreference. Any other relation is a fact between the entities of its arguments.

    Args:
        annotated ([`AnnotatedText`]):
            The text.
        coreference (`Collection[str]`):
            The names of the relations of coreference.
        report ([`Report`]):
            Counts what was left out and changed.

    Returns:
        `dict`: a plain text with `title`, `text`, `entities` (in the order of their first mentions) and `labels`.

    Raises:
        [`DocumentError`]: an argument of a relation has no mention, its name is that of the class without a relation,
            or the text or the title is malformed.
    """
    groups = _Groups()
    mentions = sorted(annotated.mentions, key=lambda mention: (mention.start, mention.end))
    for mention in mentions:
        for node in mention.nodes:
            groups.find(node)
    for first, second in annotated.links:
        groups.join(first, second)
    for relation in annotated.relations:
        if relation.name in coreference:
            _join_arguments(relation, groups)
    of_entity: dict[Node, list[Mention]] = {}
    for mention in mentions:
        for root in dict.fromkeys(map(groups.find, mention.nodes)):
            of_entity.setdefault(root, []).append(mention)
    identifiers = groups.identifiers()
    entities = [_entity(of_entity[root], identifiers.get(root, []), report) for root in of_entity]
    index = {root: position for position, root in enumerate(of_entity)}
    facts: dict[tuple[int, int, str], None] = {}
    for relation in annotated.relations:
        if relation.name not in coreference:
            _add_facts(relation, groups, index, facts, report)
    try:
        check_text(annotated.title, annotated.text, entities)
    except DocumentError as error:
        fail(annotated.place, str(error))
    return {
        "title": annotated.title,
        "text": annotated.text,
        "entities": entities,
        "labels": [{"h": head, "t": tail, "r": relation} for head, tail, relation in facts],
    }


class _Groups:
    """Nodes that are joined to entities (a union-find)."""

    def __init__(self) -> None:
        self.parents: dict[Node, Node] = {}

    def find(self, node: Node) -> Node:
        self.parents.setdefault(node, node)
        while (parent := self.parents[node]) != node:
            self.parents[node] = self.parents[parent]
            node = parent
        return node

    def join(self, first: Node, second: Node) -> None:
        self.parents[self.find(second)] = self.find(first)

    def identifiers(self) -> dict[Node, list[str]]:
        """Returns the identifiers of every entity, in the order in which they were seen."""
        found: dict[Node, list[str]] = {}
        for node in self.parents:
            if len(node) == 2:
                found.setdefault(self.find(node), []).append(node[1])
        return found


def _join_arguments(relation: Relation, groups: _Groups) -> None:
    if len(relation.head) != 1 or len(relation.tail) != 1:
        fail(relation.place, f"{quote(relation.name)} names a mention of several entities, expected one")
    groups.join(relation.head[0], relation.tail[0])


def _entity(mentions: Sequence[Mention], identifiers: list[str], report: Report) -> dict[str, Any]:
    types = Counter(mention.type for mention in mentions)
    kind, count = types.most_common(1)[0]
    if count < types.total():
        report.changed["mention", ", given the type of most mentions of their entity"] += types.total() - count
    report.skip("further identifier", " of entities", len(set(identifiers)) - 1 if identifiers else 0)
    spans = dict.fromkeys((mention.start, mention.end) for mention in mentions)
    entity = {"type": kind, "mentions": [list(span) for span in spans]}
    return {**entity, "kb_id": identifiers[0]} if identifiers else entity


def _add_facts(
    relation: Relation,
    groups: _Groups,
    index: dict[Node, int],
    facts: dict[tuple[int, int, str], None],
    report: Report,
) -> None:
    if relation.name == NO_RELATION:
        fail(relation.place, f"{NO_RELATION!r} is the class of pairs without a relation: give this one another name")
    for head, tail in product(relation.head, relation.tail):
        for node in (head, tail):
            if groups.find(node) not in index:
                fail(relation.place, f"{quote(relation.name)} of {quote(node[-1], 60)}, which has no mention")
        fact = (index[groups.find(head)], index[groups.find(tail)], relation.name)
        if fact[0] == fact[1]:
            report.skip("relation", " between mentions of one entity")
        elif fact in facts:
            report.skip("repeated relation")
        else:
            facts[fact] = None


__all__ = [
    "REFUSED",
    "AnnotatedText",
    "Mention",
    "Node",
    "Relation",
    "Report",
    "check_span",
    "to_document",
    "utf16_positions",
]
