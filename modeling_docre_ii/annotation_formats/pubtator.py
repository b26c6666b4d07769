"""The PubTator format: titles and abstracts with mentions and relations."""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from ..quoting import quote
from .annotated_text import AnnotatedText, Node, Relation, Report
from .source_files import ENDINGS, fail, list_files, open_text


UNGROUNDED = "-1"

# Values of identifiers that say that there is none.
_NO_IDENTIFIER = ("", "-", UNGROUNDED)

# Variants are written with bars, `p|SUB|V|600|E` or `p|FS,FSX|G|46|`, and tmVar adds what it knows:
# `tmVar:p|Allele|V|158;VariantGroup:0;CorrespondingGene:1312`.
_VARIANT = re.compile(r"tmVar:|[a-z]\|[A-Za-z][^|]*\||\|[A-Z]+\|")

# Messages and titles repeat the name of a document.
_LONGEST_NAME = 80

_SEPARATORS = re.compile(r"[|;,]")


@dataclass(frozen=True, slots=True)
class Annotation:
    """
    A mention as PubTator writes it.

    Args:
        place (`str`): File and line, for errors.
        start (`int`), end (`int`): Characters [start, end) of title, one space and abstract.
        text (`str`): The text of the mention.
        type (`str`): Type of its entities.
        ids (`tuple[str]`): Identifiers of its entities; none if it is ungrounded.
    """

    place: str
    start: int
    end: int
    text: str
    type: str
    ids: tuple[str, ...]


@dataclass
class Abstract:
    """
    An abstract with its annotations.

    Args:
        pmid (`str`): PubMed identifier.
        place (`str`): File and line, for errors.
        title (`str`), abstract (`str`): The text. `abstract` is `None` until its line is read.
        annotations (`list[Annotation]`): The mentions.
        facts (`list[tuple[str, str, str, str]]`): Place, relation, head identifier and tail identifier of each fact.
        num_further (`int`): Number of facts with one more field, which is not read.
    """

    pmid: str
    place: str
    title: str
    abstract: str | None
    annotations: list[Annotation] = field(default_factory=list)
    facts: list[tuple[str, str, str, str]] = field(default_factory=list)
    num_further: int = 0

    @property
    def text(self) -> str:
        """`str`: the text that offsets refer to."""
        return f"{self.title} {self.abstract}"


def read_pubtator(path: str, types: Sequence[str] | None = None, relation: str | None = None) -> Iterator[Abstract]:
    """
    Reads a file in the PubTator format.

    An abstract has a title line `PMID|t|...`, an abstract line `PMID|a|...`, mention lines `PMID start end text type
    ids [names]` and relation lines `PMID relation head tail`, both separated by tabs, and an empty line after them.

    Without `types`, the file may be of any tool: documents can have any name, a mention no identifier, and a relation
    one more field (BioRED's novelty). Identifiers may also be separated by semicolons and commas, and the text of a
    mention may begin or end with white space.

    Args:
        path (`str`):
            The file, plain or gzipped.
        types (`Sequence[str]`, *optional*):
            Types that mentions may have. Defaults to all.
        relation (`str`, *optional*):
            The only relation. Defaults to any.

    Yields:
        [`Abstract`]: text, mentions and facts.

    Raises:
        [`DocumentError`]: a line is not in the format, a PMID is repeated, or the file is empty. The message names
            file, line and field.
    """
    abstract = None
    place_of_pmid: dict[str, str] = {}
    with open_text(path) as stream:
        for number, line in enumerate(stream, start=1):
            place, line = f"{path}, line {number}", line.rstrip("\r\n")
            if not line.strip():
                if abstract is not None:
                    yield _complete(abstract)
                abstract = None
            elif abstract is None:
                abstract = Abstract(*_read_text_line(line, "t", place, any_name=types is None), abstract=None)
                add_once(abstract.pmid, place, place_of_pmid)
            elif abstract.abstract is None:
                abstract.abstract = _read_text_line(line, "a", place, abstract.pmid)[-1]
            else:
                _read_annotation_line(line.split("\t"), place, abstract, types, relation)
    if abstract is not None:
        yield _complete(abstract)
    if not place_of_pmid:
        fail(path, "the file has no abstract")


def _complete(abstract: Abstract) -> Abstract:
    if abstract.abstract is None:
        fail(abstract.place, f"abstract {abstract.pmid} has a title but no line {abstract.pmid}|a|...")
    if not abstract.text.strip():
        fail(abstract.place, f"abstract {abstract.pmid} has neither a title nor a text")
    return abstract


def _read_text_line(
    line: str, kind: str, place: str, pmid: str | None = None, any_name: bool = False
) -> tuple[str, str, str]:
    found_pmid, _, rest = line.partition("|")
    found_kind, separator, text = rest.partition("|")
    is_name = (
        found_pmid == pmid
        if pmid
        else is_number(found_pmid) or (any_name and 0 < len(found_pmid.strip()) <= _LONGEST_NAME)
    )
    if not separator or found_kind != kind or not is_name:
        name = {"t": "title", "a": "abstract"}[kind]
        fail(place, f"found {line[:40]!r}, expected the {name} line {pmid or 'PMID'}|{kind}|...")
    return found_pmid, place, text


def _read_annotation_line(
    fields: list[str], place: str, abstract: Abstract, types: Sequence[str] | None, relation: str | None
) -> None:
    if fields[0] != abstract.pmid:
        fail(
            place,
            f"PMID {quote(fields[0], 60)}, expected {abstract.pmid!r}, or an empty line before the next abstract",
        )
    if types is None and len(fields) == 5 and is_number(fields[1]) and is_number(fields[2]):
        fields = [*fields, UNGROUNDED]
    elif types is None and len(fields) == 5:
        abstract.num_further += 1
        fields = fields[:4]
    if len(fields) in (6, 7):
        abstract.annotations.append(read_annotation(fields, place, abstract, types))
    elif len(fields) == 4:
        _, found_relation, head, tail = fields
        if relation is not None and found_relation != relation:
            fail(place, f"abstract {abstract.pmid}: relation {quote(found_relation)}, expected {relation!r}")
        abstract.facts.append((place, found_relation, head, tail))
    else:
        fail(
            place,
            f"abstract {abstract.pmid}: {len(fields)} fields, expected 6 or 7 of a mention (PMID, start, end, text, "
            "type, ids, names) or 4 of a relation (PMID, relation, head, tail), separated by tabs",
        )


def read_annotation(
    fields: Sequence[str], place: str, abstract: Abstract, types: Collection[str] | None
) -> Annotation:
    """
    Reads the fields of a mention line.

    Raises:
        [`DocumentError`]: a field is malformed. The message names place and field.
    """
    _, first, last, mention, mention_type, identifiers = fields[:6]
    text = abstract.text
    place_in = f"abstract {abstract.pmid}, mention {quote(mention, 80)}"
    if not (is_number(first) and is_number(last)):
        fail(
            place, f"{place_in}: start {quote(first)} and end {quote(last)}, expected the positions of two characters"
        )
    start, end = int(first), int(last)
    if not start < end <= len(text):
        expected = f"start < end <= {len(text)}, the length of title and abstract"
        fail(place, f"{place_in}: [{start}, {end}), expected {expected}")
    if text[start:end] != mention:
        fail(place, f"{place_in}: the text from {start} to {end} is {quote(text[start:end], 80)}")
    if types is not None and mention != mention.strip():
        fail(place, f"{place_in}: expected no white space at its start and end")
    if types is not None and mention_type not in types:
        fail(place, f"{place_in}: type {quote(mention_type)}, expected {' or '.join(types)}")
    parts = split_identifiers(identifiers) if types is None else identifiers.strip().split("|")
    if not all(parts):
        fail(place, f"{place_in}: ids {quote(identifiers)}, expected {UNGROUNDED} or one id or several, joined by '|'")
    # An identifier can be repeated, but gives only one mention.
    ids = tuple(part for part in dict.fromkeys(parts) if part != UNGROUNDED)
    return Annotation(place, start, end, mention, mention_type, ids)


def split_identifiers(value: str) -> list[str]:
    """
    Splits the identifiers of a mention of several entities.

    Args:
        value (`str`):
            Identifiers, separated by bars, semicolons or commas. A variant (`p|SUB|V|600|E`, `tmVar:...`) is one
            identifier.

    Returns:
        `list[str]`: the identifiers. There is none if the value is empty, `-` or `-1`.
    """
    parts = [value] if _VARIANT.match(value.strip()) else _SEPARATORS.split(value)
    return [part for part in dict.fromkeys(map(str.strip, parts)) if part not in _NO_IDENTIFIER]


def read_pubtator_texts(path: str, report: Report) -> Iterator[AnnotatedText]:
    """
    Reads files in the PubTator format, of any types and relations.

    Mentions of one type with the same identifier are one entity, as in [`~dataset_scripts.cdr.CDR`]. The title of the
    text is a paragraph of its own.

    Args:
        path (`str`):
            A file, or a folder of files that end in `.txt`, `.pubtator` or either with `.gz`.
        report ([`Report`]):
            Counts the mentions without an identifier, which belong to no entity.

    Yields:
        [`AnnotatedText`]: an abstract, with its PMID as the title.

    Raises:
        [`DocumentError`]: as for [`read_pubtator`], or a relation names an identifier without a mention, or with
            mentions of several types.
    """
    for file in list_files(path, ENDINGS["pubtator"]):
        for abstract in read_pubtator(str(file)):
            report.skip("further field", " of relations", abstract.num_further)
            yield _annotated(abstract, report)


def _annotated(abstract: Abstract, report: Report) -> AnnotatedText:
    assert abstract.abstract is not None
    sections = [section for section in (abstract.title, abstract.abstract) if section.strip()]
    annotated = AnnotatedText(abstract.pmid, abstract.place, "\n\n".join(sections))
    # Between title and abstract, offsets count one character. An empty line ends a sentence, and has two.
    shift = 1 if len(sections) == 2 else len(sections[0]) - len(abstract.text)
    types: dict[str, dict[str, None]] = {}
    for mention in abstract.annotations:
        report.skip("mention", " without an identifier", not mention.ids)
        nodes: tuple[Node, ...] = tuple((mention.type, identifier) for identifier in mention.ids)
        for kind, identifier in nodes:
            types.setdefault(identifier, {})[kind] = None
        span = [offset + shift if offset > len(abstract.title) else offset for offset in (mention.start, mention.end)]
        if nodes:
            annotated.add_mention(mention.place, (span[0], span[1]), mention.type, nodes, report)
    for place, name, *identifiers in abstract.facts:
        for identifier in identifiers:
            found = list(types.get(identifier, ()))
            if len(found) != 1:
                state = f"has mentions of several types, {quote(found, 60)}" if found else "has no mention"
                fail(place, f"abstract {abstract.pmid}: {quote(name, 60)} of {quote(identifier)}, which {state}")
        head, tail = ((next(iter(types[identifier])), identifier) for identifier in identifiers)
        annotated.relations.append(Relation(place, name, (head,), (tail,)))
    return annotated


def is_number(field: str) -> bool:
    """Returns whether a field is a PMID or a position, of at most 19 digits."""
    # Python reads no number of over 4,300 digits, and messages quote PMIDs.
    return field.isdecimal() and len(field) < 20


def add_once(pmid: str, place: str, place_of_pmid: dict[str, str]) -> None:
    """
    Records the place of an abstract by its PMID.

    Raises:
        [`DocumentError`]: the PMID is repeated.
    """
    if pmid in place_of_pmid:
        fail(place, f"abstract {pmid} repeats that at {place_of_pmid[pmid]}")
    place_of_pmid[pmid] = place


__all__ = [
    "UNGROUNDED",
    "Abstract",
    "Annotation",
    "add_once",
    "is_number",
    "read_annotation",
    "read_pubtator",
    "read_pubtator_texts",
    "split_identifiers",
]
