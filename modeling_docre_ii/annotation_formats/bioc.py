"""BioC, in XML and in JSON: passages with annotations and relations."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..quoting import quote
from .annotated_text import AnnotatedText, Node, Relation, Report, check_span
from .pubtator import split_identifiers
from .source_files import ENDINGS, fail, list_files, read_json
from .xml_elements import Element, read_xml


# The infons of a relation that name its arguments by identifiers: those of BioRED and PubTator 3.
_ARGUMENT_INFONS = (("entity1", "entity2"), ("role1", "role2"))

# The infons with the label of a relation. Converters of brat write `type` = Relation beside `relation type`.
_LABELS = ("relation type", "type", "relation")

# The roles of head and tail. Nodes with other roles are in order.
_ROLES = (("arg1", "arg2"), ("subject", "object"), ("source", "target"), ("head", "tail"))


@dataclass
class _Part:
    """A document, passage, sentence, annotation or relation of a file, in XML or in JSON."""

    place: str
    id: str = ""
    infons: dict[str, Any] = field(default_factory=dict)
    offset: int = 0
    text: str | None = None
    passages: list["_Part"] = field(default_factory=list)
    annotations: list["_Part"] = field(default_factory=list)
    relations: list["_Part"] = field(default_factory=list)
    locations: list[tuple[int, int]] = field(default_factory=list)
    nodes: list[str] = field(default_factory=list)


def read_bioc(path: str, report: Report, identifier: str = "identifier") -> Iterator[AnnotatedText]:
    """
    Reads files in BioC's XML or JSON.

    Annotations of one type with the same identifier are one entity. A relation names two annotations by its nodes, or
    two identifiers by its infons: `entity1` and `entity2`, `role1` and `role2`, or two types of annotations, as in
    CDR. An identifier may have its type with it, as `Gene|3906` or in a JSON object, as in PubTator 3.

    Nodes whose roles say so (`Arg1` and `Arg2`, `subject` and `object`, `source` and `target`, `head` and `tail`) can
    be in any order; otherwise the first is the head. The label is the infon `relation type`, `type` or `relation`.

    Args:
        path (`str`):
            A file, or a folder of files that end in `.xml`, `.json` or either with `.gz`.
        report ([`Report`]):
            Counts the annotations without an identifier that no relation names, and infons of other kinds.
        identifier (`str`, *optional*, defaults to `"identifier"`):
            The infon of an annotation with its identifiers, such as `MESH` in CDR.

    Yields:
        [`AnnotatedText`]: a document, with its id as the title. Passages are paragraphs.

    Raises:
        [`DocumentError`]: a file is malformed. The message names file, document, annotation and field, and in XML the
            line.
    """
    for file in list_files(path, ENDINGS["bioc"]):
        is_json = file.name.removesuffix(".gz").endswith(".json")
        documents = list(_json_documents(file) if is_json else _xml_documents(file))
        if not documents:
            fail(str(file), "the file has no document")
        for document in documents:
            yield _Document(document, identifier, report).read()


class _Document:
    """A document, and what is known of its annotations."""

    def __init__(self, document: _Part, identifier: str, report: Report):
        self.document, self.identifier, self.report = document, identifier, report
        self.annotations: dict[str, tuple[Node, ...]] = {}
        self.types: dict[str, dict[str, None]] = {}
        self.num_annotations = 0
        self.left_out: set[str] = set()
        self.left_out_types: dict[str, dict[str, None]] = {}
        self.kinds: set[str] = set()

    def read(self) -> AnnotatedText:
        parts = [self.document, *self.document.passages]
        # The text of a passage with sentences is that of its sentences.
        sections = [part for part in parts if part.text and part.text.strip()]
        self.sections = [(part.offset, part.text or "", 0) for part in sections]
        starts, texts = 0, []
        for index, (offset, text, _) in enumerate(self.sections):
            self.sections[index] = (offset, text, starts)
            texts.append(text)
            starts += len(text) + 2
        self.text = AnnotatedText(self.document.id, self.document.place, "\n\n".join(texts))
        relations = [relation for part in parts for relation in part.relations]
        by_nodes = [one for one in relations if not any(set(names) <= set(one.infons) for names in _ARGUMENT_INFONS)]
        named = {node for relation in by_nodes for node in relation.nodes}
        for annotation in (annotation for part in parts for annotation in part.annotations):
            self._read_annotation(annotation, named)
        ids = {relation.id for relation in relations if relation.id}
        for relation in relations:
            self._read_relation(relation, ids - set(self.annotations))
        return self.text

    def _read_annotation(self, annotation: _Part, named: set[str]) -> None:
        name, place, infons = annotation.id, annotation.place, annotation.infons
        kind = infons.get("type")
        self.num_annotations += 1
        if name in named and (name in self.annotations or name in self.left_out):
            fail(place, "a relation names this id, which is repeated in its document")
        if not isinstance(kind, str) or not kind.strip():
            self.report.refuse("unlabelled", place, "there is no infon 'type'", "annotation", " without a type")
            self.left_out.add(name)
            return
        self.kinds.add(kind)
        value = infons.get(self.identifier)
        identifiers = _identifiers(value, place)
        if value is not None and not identifiers and name not in named:
            self.report.skip("annotation", " without an identifier")
            self.left_out.add(name)
            return
        if len(annotation.locations) != 1 and not self._is_joined(annotation):
            found = f"it consists of {len(annotation.locations)} pieces"
            self.report.refuse("discontinuous", place, found, "discontinuous annotation")
            self.left_out.add(name)
            for one in identifiers:
                self.left_out_types.setdefault(one, {})[kind] = None
            return
        first, last = annotation.locations[0], annotation.locations[-1]
        span = self._span(place, first[0], last[0] + last[1], annotation.text)
        nodes: tuple[Node, ...] = tuple((kind, one) for one in identifiers) or ((str(self.num_annotations),),)
        for one in identifiers:
            self.types.setdefault(one, {})[kind] = None
        self.annotations[name] = nodes
        self.text.add_mention(place, span, kind, nodes, self.report)

    def _is_joined(self, annotation: _Part) -> bool:
        """Returns whether only white space is between the pieces of an annotation."""
        if not annotation.locations:
            fail(annotation.place, "there is no location, expected one with 'offset' and 'length'")
        ends = [self._span(annotation.place, offset, offset + length, None) for offset, length in annotation.locations]
        gaps = [self.text.text[end:start] for (_, end), (start, _) in zip(ends, ends[1:])]
        return ends == sorted(ends) and not "".join(gaps).strip()

    def _span(self, place: str, start: int, end: int, expected: str | None) -> tuple[int, int]:
        """Finds the characters of the text at an offset, and compares them with the text of an annotation."""
        holding = [section for section in self.sections if section[0] <= start < section[0] + len(section[1])]
        if not holding:
            fail(place, f"there is no text at the offset {start}, expected it in a passage")
        if len(holding) > 1:
            fail(place, f"the offset {start} is in {len(holding)} passages, expected offsets in the whole document")
        ((offset, text, first),) = holding
        span = check_span(place, (start - offset, end - offset), len(text))
        found = text[span[0] : span[1]]
        if expected is not None and found.split() != expected.split():
            fail(place, f"the text from {start} to {end} is {quote(found, 60)}, expected {quote(expected, 60)}")
        return span[0] + first, span[1] + first

    def _read_relation(self, relation: _Part, relations: set[str]) -> None:
        infons, place = dict(relation.infons), relation.place
        label = next((infons.pop(name) for name in _LABELS if infons.get(name)), None)
        if not isinstance(label, str) or not label.strip():
            self.report.refuse("unlabelled", place, "there is no infon 'type'", "relation", " without a type")
            return
        identifiers = self._identifiers(infons)
        nodes = relation.nodes if identifiers is None else []
        if len(nodes) > 2 or relations & set(nodes):
            found = f"has {len(nodes)} nodes" if len(nodes) > 2 else "names another relation"
            self.report.refuse("n_ary", place, f"{quote(label)} {found}", "n-ary relation")
            return
        if identifiers is None and len(nodes) != 2:
            expected = "two nodes, or two identifiers in infons such as 'entity1' and 'entity2'"
            fail(place, f"{quote(label)} has {len(nodes)} nodes, expected {expected}")
        if self.left_out & set(nodes) or any(self._is_left_out(*identifier) for identifier in identifiers or ()):
            self.report.skip("relation", " of what was left out")
            return
        if identifiers is None:
            head, tail = (self._of_annotation(place, node) for node in nodes)
        else:
            head, tail = (self._of_identifier(place, *identifier) for identifier in identifiers)
        self.report.skip("infon", " of relations", len(infons))
        self.text.relations.append(Relation(place, label, head, tail))

    def _identifiers(self, infons: dict[str, Any]) -> list[tuple[str, str]] | None:
        """Takes the arguments of a relation out of its infons, each as identifier and type, if they are there."""
        of_types = tuple(name for name in infons if name in self.kinds)
        for names in (*_ARGUMENT_INFONS, of_types):
            if len(names) == 2 and all(name in infons for name in names):
                values = [infons.pop(name) for name in names]
                if names == of_types:
                    return [(str(value), name) for name, value in zip(names, values)]
                return [self._typed(value) for value in values]
        return None

    def _typed(self, value: Any) -> tuple[str, str]:
        """Returns an identifier and its type, `""` if it has none that annotations have."""
        if isinstance(value, Mapping):
            identifier, kind = str(value.get("identifier")), value.get("type")
        else:
            kind, bar, identifier = str(value).partition("|")
            identifier = identifier if bar and kind in self.kinds else str(value)
        return identifier, kind if isinstance(kind, str) and kind in self.kinds else ""

    def _is_left_out(self, identifier: str, kind: str) -> bool:
        """Returns whether all annotations of an identifier were left out."""
        kept, left_out = (_of_type(types.get(identifier, ()), kind) for types in (self.types, self.left_out_types))
        return not kept and bool(left_out)

    def _of_identifier(self, place: str, identifier: str, kind: str) -> tuple[Node, ...]:
        found = _of_type(self.types.get(identifier, ()), kind)
        if len(found) != 1:
            state = f"has annotations of several types, {quote(found, 60)}" if found else "has no annotation"
            state += f" of type {quote(kind)}" if kind and not found else ""
            fail(place, f"it names the identifier {quote(identifier)}, which {state}")
        return ((found[0], identifier),)

    def _of_annotation(self, place: str, name: str) -> tuple[Node, ...]:
        if name not in self.annotations:
            fail(place, f"there is no annotation {quote(name)}")
        return self.annotations[name]


def _of_type(types: Iterable[str], kind: str) -> list[str]:
    return [one for one in types if kind in ("", one)]


def _xml_documents(file: Path) -> Iterator[_Part]:
    root = read_xml(file)
    if root.tag != "collection":
        fail(f"{file}, line {root.line}", f"the root is {quote(root.tag)}, expected 'collection'")
    for element in root.all("document"):
        name = (element.text_of("id") or "").strip()
        document = _xml_part(element, f"{file}, line {element.line}: document {quote(name, 60)}")
        document.id = name
        for passage in element.all("passage"):
            where = f"{file}, line {passage.line}: document {quote(name, 60)}"
            parts = [_xml_part(one, where) for one in (passage, *passage.all("sentence"))]
            document.passages += _passages(parts)
        yield document


def _xml_part(element: Element, place: str) -> _Part:
    """Reads what documents, passages and sentences have."""
    file, _, rest = place.rpartition(", line ")
    name = rest.partition(": ")[2]

    def at(child: Element, kind: str) -> str:
        return f"{file}, line {child.line}: {name}, {kind} {quote(child.attributes.get('id'))}"

    start = element.text_of("offset")
    part = _Part(place, offset=0 if start is None else _integer(place, "offset", start))
    part.text = element.text_of("text")
    for child in element.all("annotation"):
        where = at(child, "annotation")
        annotation = _Part(where, child.attributes.get("id", ""), _xml_infons(child), text=child.text_of("text"))
        for one in child.all("location"):
            offset, length = (_integer(where, key, one.attributes.get(key)) for key in ("offset", "length"))
            annotation.locations.append((offset, length))
        part.annotations.append(annotation)
    for child in element.all("relation"):
        relation = _Part(at(child, "relation"), child.attributes.get("id", ""), _xml_infons(child))
        relation.nodes = _ordered([node.attributes for node in child.all("node")])
        part.relations.append(relation)
    return part


def _xml_infons(element: Element) -> dict[str, Any]:
    return {infon.attributes.get("key", ""): infon.text for infon in element.all("infon")}


def _json_documents(file: Path) -> Iterator[_Part]:
    content = read_json(file)
    # A collection, PubTator 3's list of documents, or PMC's list of collections.
    collections = content if isinstance(content, list) else [content]
    for collection in collections:
        documents = None
        if isinstance(collection, Mapping):
            documents = [collection] if "passages" in collection else collection.get("documents")
            documents = collection.get("PubTator3") if documents is None else documents
        if not isinstance(documents, list):
            fail(str(file), f"found {quote(collection)}, expected a collection with 'documents'")
        for index, document in enumerate(documents):
            name = document.get("id") if isinstance(document, Mapping) else None
            place = f"{file}: document {quote(str(name), 60)}"
            if not isinstance(document, Mapping) or name is None:
                fail(
                    str(file), f"found the document {quote(document)} at {index}, expected a JSON object with an 'id'"
                )
            part = _json_part(document, place)
            part.id = str(name)
            for passage in _items(document, "passages", place):
                sentences = _items(passage, "sentences", place)
                part.passages += _passages([_json_part(one, place) for one in (passage, *sentences)])
            yield part


def _json_part(given: Mapping[str, Any], place: str) -> _Part:
    part = _Part(place, offset=_integer(place, "offset", given.get("offset", 0)))
    part.text = _text(given, place)
    for child in _items(given, "annotations", place):
        where = f"{place}, annotation {quote(child.get('id'))}"
        annotation = _Part(where, str(child.get("id")), _json_infons(child, where), text=_text(child, where))
        for one in _items(child, "locations", where):
            offset, length = (_integer(where, key, one.get(key)) for key in ("offset", "length"))
            annotation.locations.append((offset, length))
        part.annotations.append(annotation)
    for child in _items(given, "relations", place):
        where = f"{place}, relation {quote(child.get('id'))}"
        relation = _Part(where, str(child.get("id", "")), _json_infons(child, where))
        relation.nodes = _ordered(_items(child, "nodes", where))
        part.relations.append(relation)
    return part


def _ordered(nodes: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns what the nodes of a relation name, the head first."""
    roles = tuple(str(node.get("role")).strip().lower() for node in nodes)
    names = [str(node.get("refid")) for node in nodes]
    return names[::-1] if roles[::-1] in _ROLES else names


def _passages(parts: list[_Part]) -> list[_Part]:
    """Joins a passage with its sentences, which have the text if the passage has none."""
    passage, *sentences = parts
    for sentence in sentences:
        passage.annotations += sentence.annotations
        passage.relations += sentence.relations
    if sentences and not passage.text:
        end = passage.offset = sentences[0].offset
        passage.text = ""
        for sentence in sentences:
            if not 0 <= sentence.offset - end <= 1000:
                fail(sentence.place, f"a sentence has the offset {sentence.offset}, expected {end} or a few more")
            passage.text += " " * (sentence.offset - end) + (sentence.text or "")
            end = passage.offset + len(passage.text)
    return [passage]


def _items(given: Mapping[str, Any], key: str, place: str) -> list[Mapping[str, Any]]:
    items = given.get(key) or []
    if not isinstance(items, list) or not all(isinstance(item, Mapping) for item in items):
        fail(place, f"{key!r} is {quote(items)}, expected a list of JSON objects")
    return items


def _json_infons(given: Mapping[str, Any], place: str) -> dict[str, Any]:
    infons = given.get("infons") or {}
    if not isinstance(infons, Mapping):
        fail(place, f"'infons' is {quote(infons)}, expected a JSON object")
    return dict(infons)


def _text(given: Mapping[str, Any], place: str) -> str | None:
    text = given.get("text")
    if text is not None and not isinstance(text, str):
        fail(place, f"'text' is {quote(text)}, expected a string")
    return text


def _identifiers(value: Any, place: str) -> list[str]:
    """The identifiers of an annotation: in one string, or in a list."""
    values = value if isinstance(value, list) else [] if value is None else [value]
    if not all(isinstance(one, str | int) for one in values):
        fail(place, f"the identifier is {quote(value)}, expected a string, or a list of them")
    return list(dict.fromkeys(part for one in values for part in split_identifiers(str(one))))


def _integer(place: str, key: str, value: Any) -> int:
    if type(value) is int:
        return value
    if not isinstance(value, str) or not value.strip().isdecimal() or len(value) > 18:
        fail(place, f"{key!r} is {quote(value)}, expected a number")
    return int(value)


__all__ = ["read_bioc"]
