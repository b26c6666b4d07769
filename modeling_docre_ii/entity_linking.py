"""Joins the mentions of one entity in a text by their names."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple


# What stands for a mention extractor's types in the rules below. The names are those of DocRED, spaCy and GLiNER.
_PERSON = {"PER", "PERSON"}
_PLACE = {"LOC", "LOCATION", "GPE", "NORP"}
_ORGANIZATION = {"ORG", "ORGANIZATION", "ORGANISATION", "COMPANY"}
EXACT_TYPES = {"TIME", "DATE", "NUM", "CARDINAL", "ORDINAL", "QUANTITY", "PERCENT", "MONEY"}

_ACCENTS = re.compile("[\u0300-\u036f]")
_POSSESSIVE = re.compile("['’]s?$")
# Other signs tell names apart, as in C, C++ and C#.
_SEPARATORS = re.compile(r"[\s.,;:'’‘`\"“”„«»()\[\]{}_/!?‐-―-]+")
_FUNCTION_WORDS = frozenset("a an and at de del der des du et for in la le of on the to und y".split())
_TITLES = frozenset("dr mr mrs ms prof professor sir".split())
_GENERATIONS = frozenset("jr sr i ii iii iv v vi".split())
# The last word of an organization's name that texts drop after its first use.
_DROPPED_ENDS = frozenset("ag co company corp corporation gmbh group inc llc ltd plc records sa university".split())
# Longest part of a person's name that stands for the person, in words, and most initials before a surname.
_LONGEST_PART = 4
_MOST_INITIALS = 3

# What joins the two names in "New Amsterdam (now New York)" and "Queenstown, also known as Cobh".
_LONGEST_GAP = 40
_BRACKET_OPENS = re.compile(r"[\s\"“”']*[(\[][\s\"“”']*")
_BRACKET_CLOSES = re.compile(r"[\s\"“”']*[)\]]")
_ALSO_KNOWN_AS = re.compile(
    r"""[\s"“”',;(\[]*
    (?:(?:also|best|better|commonly|later|often|previously|professionally|simply|sometimes)\s+)*
    (?:(?:(?:formerly|originally)\s+)?(?:known|referred\s+to|abbreviated|titled)(?:\s+simply)?(?:\s+as)?
        |formerly|originally|born|née|literally|short\s+for|or\s+simply|a\.?\s?k\.?\s?a\.?|(?<=[(\[])\s*(?:or|also|now))
    (?:\s+the)?[\s"“”']*""",
    re.VERBOSE | re.IGNORECASE,
)

# Names are compared by key: what the longer one offers, and the shorter one asks for.
_Key = tuple[str, Any]


class _Name(NamedTuple):
    """A name of the text with its type, as first written."""

    words: tuple[str, ...]
    type: str
    written: str


class _Groups:
    """Disjoint sets of the integers below a number."""

    def __init__(self, size: int):
        self.parents = list(range(size))

    def first(self, member: int) -> int:
        """Returns the smallest member of a set."""
        while self.parents[member] != member:
            self.parents[member] = self.parents[self.parents[member]]
            member = self.parents[member]
        return member

    def join(self, member: int, other: int) -> None:
        member, other = self.first(member), self.first(other)
        self.parents[max(member, other)] = min(member, other)


def link_mentions(text: str, mentions: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """
    Joins the mentions of one entity, by rules over their names.

    Mentions are joined if they have the same type and

    - the same name, without case, accents, punctuation, invisible characters, a leading "the" and a possessive "'s";
    - an acronym and its long form: "UN" and "United Nations";
    - for persons, a name and a part of it, "Rowling" and "Joanne Rowling", or its initials, "J. K. Rowling", with or
      without a title such as "Dr.";
    - for organizations, a name with and without its last word if that says little: "Epic" and "Epic Records";
    - names that the text equates: "Queenstown, also known as Cobh", and for types other than persons and places
      "renin inhibitor (aliskiren)".

    A short name that fits several long ones goes to the first of the text, if that comes before it. Times and numbers
    are joined only if they are written alike, apart from case, white space and invisible characters. Adjectives such
    as "French" are not joined with their country: Re-DocRED's annotators did so about one time in three.

    The time grows linearly with the number of mentions, apart from sorting them. The order of the mentions does not
    matter, unless a span is given twice: it counts once, with its first type.

    Args:
        text (`str`):
            The text.
        mentions (`Iterable[dict]`):
            Its mentions, each with `start` and `end`, [start, end) in characters, and `type`. Other keys are ignored.

    Returns:
        `list[dict]`: the entities, each with a `type` and `mentions`, a list of [start, end), as
        [`document_from_text`] takes them: entities in the order of their first mention, mentions in that of the text.

    Example:

    ```python
    >>> text = "The United Nations met in Paris. The UN voted."
    >>> spans = [(4, 18, "ORG"), (26, 31, "LOC"), (37, 39, "ORG")]
    >>> link_mentions(text, [{"start": start, "end": end, "type": kind} for start, end, kind in spans])
    [{'type': 'ORG', 'mentions': [[4, 18], [37, 39]]}, {'type': 'LOC', 'mentions': [[26, 31]]}]
    ```
    """
    types: dict[tuple[int, int], str] = {}
    for mention in mentions:
        types.setdefault((int(mention["start"]), int(mention["end"])), mention["type"])
    spans = sorted(types)
    name_of_key: dict[Any, int] = {}
    names: list[_Name] = []
    name_of_span: list[int] = []
    for start, end in spans:
        name = _read_name(text[start:end], types[start, end])
        index = name_of_key.setdefault((name.words, name.type), len(names))
        if index == len(names):
            names.append(name)
        name_of_span.append(index)
    groups = _Groups(len(names))
    _join_short_names(names, groups)
    _join_equated_names(text, spans, names, name_of_span, groups)
    entities: dict[int, dict[str, Any]] = {}
    for span, index in zip(spans, name_of_span):
        entity = entities.setdefault(groups.first(index), {"type": names[index].type, "mentions": []})
        entity["mentions"].append(list(span))
    return list(entities.values())


def normalized_name(written: str, kind: str) -> str:
    """
    Normalizes a name, so that equal results mean the same name.

    Args:
        written (`str`):
            The name as a text writes it.
        kind (`str`):
            The type of the entity.

    Returns:
        `str`: the name without case, accents, punctuation, invisible characters, a leading "the" and a possessive
        "'s"; of times and numbers only without case, white space and invisible characters. See [`link_mentions`].
    """
    return unicodedata.normalize("NFC", " ".join(_read_name(written, kind).words))


def _read_name(written: str, kind: str) -> _Name:
    visible = "".join(letter for letter in written if unicodedata.category(letter) != "Cf")
    folded = _ACCENTS.sub("", unicodedata.normalize("NFKD", visible)).casefold()
    if kind.upper() in EXACT_TYPES:
        return _Name(("".join(folded.split()),), kind, written)
    words = [word for word in _SEPARATORS.split(_POSSESSIVE.sub("", folded)) if word]
    if len(words) > 1 and words[0] == "the":
        del words[0]
    return _Name(tuple(_with_joined_letters(words)) or (folded,), kind, written)


def _with_joined_letters(words: Sequence[str]) -> list[str]:
    """Joins letters that stand alone, so that "U.S." and "J. K." become "us" and "jk"."""
    joined: list[str] = []
    after_letter = False
    for word in words:
        is_letter = len(word) == 1 and word.isalpha()
        if is_letter and after_letter:
            joined[-1] += word
        else:
            joined.append(word)
        after_letter = is_letter
    return joined


def _join_short_names(names: Sequence[_Name], groups: _Groups) -> None:
    """Joins every short name with the first long one of the text that offers one of its keys."""
    # The first two that offer a key, so that a name finds another than itself, and whether there is a third.
    offers: dict[tuple[str, _Key], list[int]] = {}
    for index, name in enumerate(names):
        for key in set(_offered_keys(name)):
            known = offers.setdefault((name.type, key), [])
            if len(known) < 3:
                known.append(index)
    for index, name in enumerate(names):
        for key in _asked_keys(name):
            others = [other for other in offers.get((name.type, key), ()) if other != index]
            if others and (len(others) == 1 or others[0] < index):
                groups.join(index, others[0])
                break


def _offered_keys(name: _Name) -> Iterator[_Key]:
    kind, words = name.type.upper(), name.words
    if len(words) == 1:
        return
    for kept in (words, [word for word in words if word not in _FUNCTION_WORDS]):
        yield "acronym", "".join(word[0] for word in kept)
    bare = _bare_name(words)
    # The kings "Henry V" and "Henry VI" do not both go by "Henry".
    if kind in _PERSON and bare != words and (len(bare) > 1 or words[-1] not in _GENERATIONS):
        yield "bare", bare
    if kind in _PERSON and len(words := bare) > 1:
        yield from (("part", (word,)) for word in words if len(word) > 1)
        yield from (("part", words[-length:]) for length in range(2, min(len(words), _LONGEST_PART + 1)))
        yield "part", (words[0], words[-1])
        if not _begins_with_initials(name.written, words):
            yield "first initial", (words[0][0], words[-1])
            yield "all initials", ("".join(word[0] for word in words[:-1]), words[-1])
    if kind in _ORGANIZATION and words[-1] in _DROPPED_ENDS:
        yield "beginning", words[:-1]


def _asked_keys(name: _Name) -> Iterator[_Key]:
    kind, words = name.type.upper(), name.words
    if kind in EXACT_TYPES:
        return
    if len(words) == 1 and sum(map(str.isupper, name.written)) > 1:
        yield "acronym", words[0]
    if kind in _PERSON:
        if words == (bare := _bare_name(words)):
            yield "bare", words
        yield "part", (words := bare)
        if len(words) > 1 and _begins_with_initials(name.written, words):
            initials, last = words[0], words[-1]
            if len(initials) == 1:
                yield "first initial", (initials, last)
            else:
                yield "all initials", (initials, last)
                # "J. K. Rowling" is "Joanne Rowling", but not "Joanne Mary Rowling".
                yield "all initials", (initials[0], last)
    if kind in _ORGANIZATION:
        yield "beginning", words


def _bare_name(words: tuple[str, ...]) -> tuple[str, ...]:
    """Leaves out the "Mr." before a person's name and the "Jr." or "III" after it."""
    while len(words) > 1 and words[0] in _TITLES:
        words = words[1:]
    while len(words) > 1 and words[-1] in _GENERATIONS:
        words = words[:-1]
    return words


def _begins_with_initials(written: str, words: Sequence[str]) -> bool:
    """Returns whether the first word is up to three capital letters: "J.", "J. K." or "JK", not "Li" or "Jo"."""
    letters = [letter for letter in written if letter.isalpha()][: len(words[0])]
    return len(words[0]) <= _MOST_INITIALS and all(map(str.isupper, letters))


def _join_equated_names(
    text: str,
    spans: Sequence[tuple[int, int]],
    names: Sequence[_Name],
    name_of_span: Sequence[int],
    groups: _Groups,
) -> None:
    """Joins the names of neighboring mentions that the text equates."""
    for (_, end), (start, next_end), index, next_index in zip(spans, spans[1:], name_of_span, name_of_span[1:]):
        kind = names[index].type
        if kind != names[next_index].type or kind.upper() in EXACT_TYPES or not end <= start <= end + _LONGEST_GAP:
            continue
        gap = text[end:start]
        is_bracketed = _BRACKET_OPENS.fullmatch(gap) and _BRACKET_CLOSES.match(text, next_end)
        if _ALSO_KNOWN_AS.fullmatch(gap) or (is_bracketed and kind.upper() not in _PERSON | _PLACE):
            groups.join(index, next_index)


# Joins the mentions of a text to entities.
Linker = Callable[[str, list[dict[str, Any]]], list[dict[str, Any]]]

__all__ = ["EXACT_TYPES", "Linker", "link_mentions", "normalized_name"]
