"""Joins the mentions of one entity in a text, by rules on their names."""

import re
import unicodedata
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple


# A span of characters, [start, end).
Span = tuple[int, int]

_WORD = re.compile(r"\w+")
_ARTICLES = frozenset({"the", "a", "an"})
# Words that name nobody, alone.
_TITLES = frozenset({"mr", "mrs", "ms", "dr", "sir", "lord", "lady", "st", "king", "queen", "prince", "princess"})
# Words that an acronym leaves out.
_SMALL_WORDS = frozenset({"of", "the", "and", "for", "in", "on", "de", "la", "du", "des", "et", "to", "at", "a"})
# Types whose names are only the same if they are spelled alike: a year is no short form of a date.
_EXACT_TYPES = frozenset({"TIME", "NUM", "DATE", "CARDINAL", "ORDINAL", "QUANTITY", "PERCENT", "MONEY", "NUMBER"})
_PERSON_TYPES = frozenset({"PER", "PERSON"})
_PLACE_TYPES = frozenset({"LOC", "GPE", "NORP", "LOCATION"})

# Between a name and another of the same thing: "Metsähallitus (Finnish: ", "Bono (born ", "The Music Factory (".
_OPENING = re.compile(r"\s*\(\s*(\w+\s*[:,]\s*|\w+\s+)?[\"'“‘]?\s*")


class Name(NamedTuple):
    """
    A distinct name of a type.

    Args:
        kind (`str`): The type.
        words (`tuple[str, ...]`): Its words, without case and accents.
    """

    kind: str
    words: tuple[str, ...]


def link_mentions(text: str, mentions: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """
    Joins the mentions of one entity by their names.

    Mentions of the same type are joined if

    - their names are the same but for case, accents, punctuation, a leading article and a possessive 's;
    - one is an acronym of the other: "UN" and "United Nations";
    - one is a part of the other, of a person: any of its names or initials, "Babbage" and "J. K. Rowling". Of several
      longer names, the one that was mentioned last is meant;
    - one follows the other in parentheses, but of a place: "Metsähallitus (Finnish: Administration of Forests)".

    Dates and numbers are joined only if they are the same. So are a place and a shorter name that its name begins or
    ends with, and a state and its adjective: on Re-DocRED, joining those did more harm than good.

    Args:
        text (`str`):
            The text.
        mentions (`Iterable[dict]`):
            The mentions, each with `start` and `end` in characters, `end` not included, and `type`. Of mentions that
            share a span, the first counts.

    Returns:
        `list[dict]`: the entities in the order of their first mention, each with `type` and `mentions`, a list of
        [start, end) in the order of the text.

    Example:

    ```python
    >>> text = "Charles Babbage lived in London. Babbage died there."
    >>> persons = [{"start": 0, "end": 15, "type": "PER"}, {"start": 33, "end": 40, "type": "PER"}]
    >>> link_mentions(text, persons)
    [{'type': 'PER', 'mentions': [[0, 15], [33, 40]]}]
    ```
    """
    kind_of: dict[Span, str] = {}
    for mention in mentions:
        kind_of.setdefault((mention["start"], mention["end"]), mention["type"])
    name_of = {span: read_name(text[slice(*span)], kind_of[span]) for span in sorted(kind_of)}
    spans_of: dict[Name, list[Span]] = defaultdict(list)
    for span, name in name_of.items():
        spans_of[name].append(span)
    groups = _Groups(spans_of)
    for kind in sorted(set(kind_of.values()) - _EXACT_TYPES):
        _join_names({name: spans for name, spans in spans_of.items() if name.kind == kind}, groups)
    _join_parentheses(text, name_of, groups)
    spans_of_group: dict[Name, list[Span]] = defaultdict(list)
    for span, name in name_of.items():
        spans_of_group[groups[name]].append(span)
    return [{"type": name.kind, "mentions": [*map(list, spans)]} for name, spans in spans_of_group.items()]


def join_clusters(
    entities: Sequence[Mapping[str, Any]], mentions: Iterable[Mapping[str, Any]], clusters: Iterable[Sequence[Span]]
) -> list[dict[str, Any]]:
    """
    Joins the entities that the clusters of a coreference model say are one.

    A span of a cluster is a mention if it is one, or ends with one: "the mathematician Charles Babbage" is "Charles
    Babbage". The other spans, such as pronouns, become mentions of the entity. A cluster without a mention is no
    entity.

    Args:
        entities (`list[dict]`):
            The entities from the linker.
        mentions (`list[dict]`):
            The mentions with their types.
        clusters (`list[list[tuple[int, int]]]`):
            The clusters, in characters.

    Returns:
        `list[dict]`: the entities, each with the most frequent type of its mentions, in the order of their first
        mention.
    """
    kinds = {(mention["start"], mention["end"]): mention["type"] for mention in mentions}
    group_of = {tuple(span): index for index, entity in enumerate(entities) for span in entity["mentions"]}
    groups = [{tuple(span) for span in entity["mentions"]} for entity in entities]
    ending_at: dict[int, list[Span]] = {}
    for span in group_of:
        ending_at.setdefault(span[1], []).append(span)
    for cluster in clusters:
        found = [_mention_of((span[0], span[1]), ending_at) for span in cluster]
        joined = {group_of[span] for span in found if span is not None}
        if not joined:
            continue
        target = min(joined)
        new = {tuple(span) for span, mention in zip(cluster, found) if mention is None} - set(group_of)
        groups[target] |= new.union(*(groups[index] for index in joined))
        for index in joined - {target}:
            groups[index] = set()
        group_of.update((span, target) for span in groups[target])
    joined_entities = [
        {"type": _most_frequent(kinds[span] for span in spans if span in kinds), "mentions": [*map(list, spans)]}
        for spans in map(sorted, groups)
        if spans
    ]
    return sorted(joined_entities, key=lambda entity: entity["mentions"])


def read_name(mention: str, kind: str) -> Name:
    """
    Reads the name in a mention.

    Args:
        mention (`str`):
            The words of the mention.
        kind (`str`):
            Its type.

    Returns:
        [`Name`]: without case and accents, punctuation, a leading article and a possessive 's. A mention without
        letters and digits is its own name.
    """
    decomposed = unicodedata.normalize("NFKD", re.sub(r"['’]s$", "", mention.strip()))
    plain = "".join(letter for letter in decomposed if not unicodedata.combining(letter)).casefold()
    words = _WORD.findall(plain)
    if len(words) > 1 and words[0] in _ARTICLES:
        words = words[1:]
    return Name(kind, tuple(words) or (mention,))


class _Groups:
    """Names that mean the same: a union-find, which returns the first name of each group."""

    def __init__(self, names: Iterable[Name]):
        self.order = {name: index for index, name in enumerate(names)}
        self.parent = {name: name for name in self.order}

    def __getitem__(self, name: Name) -> Name:
        while self.parent[name] != name:
            self.parent[name] = self.parent[self.parent[name]]
            name = self.parent[name]
        return name

    def join(self, one: Name, other: Name) -> None:
        first, second = sorted((self[one], self[other]), key=self.order.__getitem__)
        self.parent[second] = first


def _join_names(spans_of: Mapping[Name, Sequence[Span]], groups: _Groups) -> None:
    """Joins names of one type with the longer names that they stand for."""
    with_word: dict[str, list[Name]] = defaultdict(list)
    with_initials: dict[str, list[Name]] = defaultdict(list)
    for name in spans_of:
        for word in set(name.words):
            with_word[word].append(name)
        for initials in _initials(name.words):
            with_initials[initials].append(name)
    for name, spans in spans_of.items():
        longer = [*with_initials.get("".join(name.words), ())]
        if name.kind in _PERSON_TYPES:
            sharing = _with_rarest_word(name, with_word)
            longer += [other for other in sharing if _is_part_of(name.words, other.words)]
        if longer := [other for other in longer if other != name]:
            groups.join(name, _mentioned_last(longer, spans_of, spans[0]))


def _join_parentheses(text: str, name_of: Mapping[Span, Name], groups: _Groups) -> None:
    """Joins names with another name in parentheses after them. Those of places are the places where they are."""
    for (before, name), (after, other) in pairwise(name_of.items()):
        is_alike = name.kind == other.kind and name.kind not in _EXACT_TYPES | _PLACE_TYPES
        if is_alike and _OPENING.fullmatch(text, before[1], after[0]):
            groups.join(name, other)


def _initials(words: Sequence[str]) -> set[str]:
    """Returns the acronyms of a name of several words, with and without its small words."""
    if len(words) == 1:
        return set()
    return {
        "".join(word[0] for word in words),
        "".join(word[0] for word in words if word not in _SMALL_WORDS),
    }


def _with_rarest_word(name: Name, with_word: Mapping[str, Sequence[Name]]) -> Sequence[Name]:
    """Returns the names that share the rarest word of a name. Initials and titles name nobody."""
    words = [word for word in name.words if len(word) > 1 and word not in _TITLES]
    return min((with_word[word] for word in words), key=len, default=())


def _is_part_of(short: Sequence[str], long: Sequence[str]) -> bool:
    """Returns whether the words of a name are among those of a longer one, in order. Initials stand for words."""
    if len(short) > len(long):
        return False
    rest = iter(long)
    return all(any(word == other or _is_initial_of(word, other) for other in rest) for word in short)


def _is_initial_of(one: str, other: str) -> bool:
    return one[0] == other[0] and 1 in (len(one), len(other))


def _mentioned_last(names: Sequence[Name], spans_of: Mapping[Name, Sequence[Span]], span: Span) -> Name:
    """Returns the name that was mentioned last before a span, or else first after it."""

    def distance(name: Name) -> tuple[bool, int]:
        spans = spans_of[name]
        before = bisect_left(spans, span)
        return (False, span[0] - spans[before - 1][0]) if before else (True, spans[0][0])

    return min(names, key=distance)


def _mention_of(span: Span, ending_at: Mapping[int, Sequence[Span]]) -> Span | None:
    """Returns the longest mention that a span ends with."""
    return min((mention for mention in ending_at.get(span[1], ()) if mention[0] >= span[0]), default=None)


def _most_frequent(kinds: Iterable[str]) -> str:
    return Counter(kinds).most_common(1)[0][0]


__all__ = ["join_clusters", "link_mentions"]
