"""Abstracts in the PubTator format, and their conversion to documents."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from dataset_scripts.corpus_builder import open_text
from modeling_docre_ii.documents import DocumentError
from modeling_docre_ii.quoting import quote
from modeling_docre_ii.text_documents import document_from_text


UNGROUNDED = "-1"


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
    """

    pmid: str
    place: str
    title: str
    abstract: str | None
    annotations: list[Annotation] = field(default_factory=list)
    facts: list[tuple[str, str, str, str]] = field(default_factory=list)

    @property
    def text(self) -> str:
        """`str`: the text that offsets refer to."""
        return f"{self.title} {self.abstract}"


def read_pubtator(path: str, types: Sequence[str], relation: str) -> Iterator[Abstract]:
    """
    Reads a file in the PubTator format.

    An abstract has a title line `PMID|t|...`, an abstract line `PMID|a|...`, mention lines `PMID start end text type
    ids [names]` and relation lines `PMID relation head tail`, both separated by tabs, and an empty line after them.

    Args:
        path (`str`):
            The file, plain or gzipped.
        types (`Sequence[str]`):
            Types that mentions may have.
        relation (`str`):
            The only relation.

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
                abstract = Abstract(*_read_text_line(line, "t", place), abstract=None)
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


def _read_text_line(line: str, kind: str, place: str, pmid: str | None = None) -> tuple[str, str, str]:
    found_pmid, _, rest = line.partition("|")
    found_kind, separator, text = rest.partition("|")
    if not separator or found_kind != kind or (found_pmid != pmid if pmid else not is_number(found_pmid)):
        name = {"t": "title", "a": "abstract"}[kind]
        fail(place, f"found {line[:40]!r}, expected the {name} line {pmid or 'PMID'}|{kind}|...")
    return found_pmid, place, text


def _read_annotation_line(
    fields: list[str], place: str, abstract: Abstract, types: Sequence[str], relation: str
) -> None:
    if fields[0] != abstract.pmid:
        fail(
            place,
            f"PMID {quote(fields[0], 60)}, expected {abstract.pmid!r}, or an empty line before the next abstract",
        )
    if len(fields) in (6, 7):
        abstract.annotations.append(read_annotation(fields, place, abstract, types))
    elif len(fields) == 4:
        _, found_relation, head, tail = fields
        if found_relation != relation:
            fail(place, f"abstract {abstract.pmid}: relation {quote(found_relation)}, expected {relation!r}")
        abstract.facts.append((place, found_relation, head, tail))
    else:
        fail(
            place,
            f"abstract {abstract.pmid}: {len(fields)} fields, expected 6 or 7 of a mention (PMID, start, end, text, "
            "type, ids, names) or 4 of a relation (PMID, relation, head, tail), separated by tabs",
        )


def read_annotation(fields: Sequence[str], place: str, abstract: Abstract, types: Collection[str]) -> Annotation:
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
    if mention != mention.strip():
        fail(place, f"{place_in}: expected no white space at its start and end")
    if mention_type not in types:
        fail(place, f"{place_in}: type {quote(mention_type)}, expected {' or '.join(types)}")
    parts = identifiers.strip().split("|")
    if not all(parts):
        fail(place, f"{place_in}: ids {quote(identifiers)}, expected {UNGROUNDED} or one id or several, joined by '|'")
    # An identifier can be repeated, but gives only one mention.
    ids = tuple(part for part in dict.fromkeys(parts) if part != UNGROUNDED)
    return Annotation(place, start, end, mention, mention_type, ids)


def to_document(abstract: Abstract, head_type: str, tail_type: str) -> dict[str, Any]:
    """
    Makes a document of an abstract, with the PMID as its title.

    Entities are told apart by type and identifier, and ordered by their first mention. A mention with several
    identifiers belongs to several entities, an ungrounded mention to none. A sentence ends where the title ends.

    Args:
        abstract ([`Abstract`]):
            The abstract.
        head_type (`str`), tail_type (`str`):
            Types of the arguments of its facts.

    Raises:
        [`DocumentError`]: a fact names an identifier without a mention of its type, or is repeated.
    """
    # Spans are keys, because mentions with several identifiers can repeat them.
    spans: dict[tuple[str, str], dict[tuple[int, int], None]] = {}
    for annotation in sorted(abstract.annotations, key=lambda annotation: (annotation.start, annotation.end)):
        for identifier in annotation.ids:
            spans.setdefault((annotation.type, identifier), {})[annotation.start, annotation.end] = None
    entities = [
        {"mentions": list(mentions), "type": kind, "kb_id": kb_id} for (kind, kb_id), mentions in spans.items()
    ]
    document = document_from_text(abstract.pmid, abstract.text, entities, breaks=[len(abstract.title) + 1])
    index = {entity: position for position, entity in enumerate(spans)}
    facts: dict[tuple[int, int, str], None] = {}
    for place, relation, head, tail in abstract.facts:
        for kind, identifier in ((head_type, head), (tail_type, tail)):
            if (kind, identifier) not in index:
                fail(
                    place, f"abstract {abstract.pmid}: {relation} of {kind} {quote(identifier)}, which has no mention"
                )
        fact = (index[head_type, head], index[tail_type, tail], relation)
        if fact in facts:
            fail(place, f"abstract {abstract.pmid}: {relation} of {head[:40]} and {tail[:40]} is repeated")
        facts[fact] = None
    document["labels"] = [{"h": head, "t": tail, "r": relation, "evidence": []} for head, tail, relation in facts]
    return document


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


def fail(place: str, message: str) -> NoReturn:
    """Raises a [`DocumentError`] whose message starts with the place."""
    raise DocumentError(f"{place}: {message}")
