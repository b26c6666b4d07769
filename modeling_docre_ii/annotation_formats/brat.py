"""brat's standoff format: a .txt file and an .ann file for each document."""

import codecs
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ..quoting import quote
from .annotated_text import AnnotatedText, Node, Relation, Report, check_span
from .source_files import ENDINGS, fail, list_files, open_text


# What a line begins with, and what an import counts and leaves out.
_ATTRIBUTES = {"A": "attribute", "M": "attribute", "#": "note"}

_ID = re.compile(r"[TREAMN#]\d{1,18}\S{0,20}|\*")
_SPANS = re.compile(r"\d{1,18} \d{1,18}(;\d{1,18} \d{1,18})*")
# A byte order mark is no character of the text, but some tools count it.
_WHITE_SPACE = re.compile(r"[\s\ufeff]")
_ARGUMENT = re.compile(r"([^\s:]+):([A-Z]\S*)")


def read_brat(path: str, report: Report) -> Iterator[AnnotatedText]:
    """
    Reads a folder of brat, or one of its files.

    Equivalences (`*`) join mentions to one entity, and so do two normalizations (`N`) of one type with the same
    reference. `Arg1` of a relation is its head, `Arg2` its tail.

    Args:
        path (`str`):
            A folder, with the folders below it, or an `.ann` or `.txt` file.
        report ([`Report`]):
            Counts the attributes, notes, events and texts without annotations, which are left out, and what names
            them.

    Yields:
        [`AnnotatedText`]: a document, with its path in the folder as the title.

    Raises:
        [`DocumentError`]: a line is malformed. The message names file, line and field.
    """
    is_folder = Path(path).is_dir()
    files = list_files(path, ENDINGS["brat"])
    if is_folder:
        texts = {file.with_suffix("") for file in list_files(path, (".txt",))}
        report.skip("text", " without an .ann file", len(texts - {file.with_suffix("") for file in files}))
    for file in files:
        name = file.relative_to(path) if is_folder else Path(file.name)
        yield _Document(file.with_suffix(".ann"), name.with_suffix("").as_posix(), report).read()


@dataclass(frozen=True)
class _Line:
    """An annotation: its place, its id, its type with what follows, and the text of a mention."""

    place: str
    id: str
    kind: str
    rest: str
    text: str | None

    @property
    def pieces(self) -> list[list[int]]:
        """`list[list[int]]`: [start, end) of each piece of a mention."""
        return [[int(offset) for offset in piece.split()] for piece in self.rest.split(";")]


@dataclass
class _Document:
    path: Path
    title: str
    report: Report
    left_out: set[str] = field(default_factory=set)

    def read(self) -> AnnotatedText:
        text_file = self.path.with_suffix(".txt")
        if not text_file.is_file():
            fail(str(self.path), f"there is no {text_file.name} beside it, expected the text")
        with open_text(text_file, newline="") as stream:
            text = stream.read()
        lines = list(self._lines())
        # Some versions of brat count a line end of Windows as one character, and some tools a byte order mark.
        forms = [text, text.replace("\r\n", "\n")]
        if text_file.read_bytes().startswith(codecs.BOM_UTF8):
            forms += [f" {form}" for form in forms]
        fitting = (form for form in forms if all(self._fits(line, form) for line in lines))
        self.text = AnnotatedText(self.title, str(text_file), next(fitting, text))
        self.nodes: dict[str, tuple[Node, ...]] = {}
        self.types: dict[str, str] = {}
        if any(line.id[0] == "E" for line in lines):
            self._leave_out_events([line for line in lines if line.id[0] == "E"])
        readers = {"T": self._read_mention, "R": self._read_relation, "*": self._read_equivalence}
        readers |= {"N": self._read_normalization}
        # Other lines can come before the mentions that they name.
        for line in sorted(lines, key=lambda line: line.id[0] != "T"):
            initial = line.id[0]
            if initial in _ATTRIBUTES:
                self.report.skip(_ATTRIBUTES[initial])
            elif initial in readers:
                readers[initial](line)
        return self.text

    def _lines(self) -> Iterator[_Line]:
        place_of_id: dict[str, str] = {}
        with open_text(self.path) as stream:
            for number, content in enumerate(stream, start=1):
                content, place = content.rstrip("\n"), f"{self.path}, line {number}"
                if not content.strip():
                    continue
                fields = content.split("\t")
                kind, _, rest = fields[1].partition(" ") if len(fields) > 1 else ("", "", "")
                if not fields[0] or not kind:
                    fail(place, f"found {quote(content, 60)}, expected an id, a tab, a type and its arguments")
                if not _ID.fullmatch(fields[0]):
                    expected = "T, R, E, A, M, N or # with a number, or *"
                    fail(place, f"the id is {quote(fields[0])}, expected {expected}")
                if fields[0] in place_of_id:
                    fail(place, f"the id {quote(fields[0])} repeats that at {place_of_id[fields[0]]}")
                if fields[0] != "*":
                    place_of_id[fields[0]] = place
                yield _Line(place, fields[0], kind, rest, "\t".join(fields[2:]) if len(fields) > 2 else None)

    def _read_mention(self, line: _Line) -> None:
        place = f"{line.place}, {line.id}"
        if line.id in self.left_out:
            return
        if not _SPANS.fullmatch(line.rest):
            fail(place, f"the span is {quote(line.rest)}, expected start and end, two numbers, after the type")
        if line.text is None:
            fail(place, "the text of the mention is missing, expected it after a second tab")
        text, pieces = self.text.text, line.pieces
        for start, end in pieces:
            check_span(place, (start, end), len(text))
        if not self._fits(line, text):
            found = " ".join(text[start:end] for start, end in pieces)
            fail(place, f"the text at {line.rest} is {quote(found, 60)}, expected {quote(line.text, 60)}")
        gaps = "".join(text[end:start] for (_, end), (start, _) in zip(pieces, pieces[1:]))
        if gaps.strip() or any(start < end for (_, end), (start, _) in zip(pieces, pieces[1:])):
            message = f"the mention {quote(line.text, 60)} consists of {len(pieces)} pieces"
            self.report.refuse("discontinuous", place, message, "discontinuous mention")
            self.left_out.add(line.id)
            return
        # brat cuts a mention in pieces where its line ends.
        node = (line.id,)
        self.nodes[line.id], self.types[line.id] = (node,), line.kind
        self.text.add_mention(place, (pieces[0][0], pieces[-1][1]), line.kind, (node,), self.report)

    def _fits(self, line: _Line, text: str) -> bool:
        """Returns whether a mention has its text at its offsets. brat writes a space for a line break."""
        if line.id[0] != "T" or line.text is None or not _SPANS.fullmatch(line.rest):
            return True
        found = " ".join(text[start:end] for start, end in line.pieces)
        return _WHITE_SPACE.sub(" ", found) == _WHITE_SPACE.sub(" ", line.text)

    def _read_relation(self, line: _Line) -> None:
        place = f"{line.place}, {line.id}"
        arguments = line.rest.split()
        matches = [_ARGUMENT.fullmatch(argument) for argument in arguments]
        if len(arguments) < 2 or not all(matches):
            fail(place, f"the arguments are {quote(line.rest, 60)}, expected two, such as 'Arg1:T1 Arg2:T2'")
        by_role = {match[1]: match[2] for match in matches if match}
        if len(arguments) > 2:
            self.report.refuse("n_ary", place, f"{quote(line.kind)} has {len(arguments)} arguments", "n-ary relation")
        elif any(target[0] == "R" for target in by_role.values()):
            self.report.refuse("n_ary", place, f"{quote(line.kind)} is one of relations", "relation of relations")
        elif not self._names_left_out(by_role.values()):
            # Roles have other names in some corpora. Then the order counts.
            ordered = (
                [by_role["Arg1"], by_role["Arg2"]] if set(by_role) == {"Arg1", "Arg2"} else list(by_role.values())
            )
            if len(by_role) != 2:
                fail(place, f"the arguments are {quote(line.rest, 60)}, expected two different roles")
            head, tail = (self._mention(target, place) for target in ordered)
            self.text.relations.append(Relation(place, line.kind, head, tail))

    def _read_equivalence(self, line: _Line) -> None:
        targets = line.rest.split()
        if len(targets) < 2:
            fail(line.place, f"the equivalence names {quote(line.rest)}, expected two or more mentions")
        kept = [target for target in targets if target not in self.left_out]
        self.report.skip("equivalence", " of what was left out", len(kept) < 2)
        nodes = [self._mention(target, line.place)[0] for target in kept]
        self.text.links += zip(nodes, nodes[1:])

    def _read_normalization(self, line: _Line) -> None:
        place = f"{line.place}, {line.id}"
        target, _, reference = line.rest.partition(" ")
        if not reference.strip():
            fail(place, f"found {quote(line.rest, 60)}, expected a mention and a reference, such as 'T1 Wikipedia:12'")
        if target in self.left_out:
            self.report.skip("normalization", " of what was left out")
            return
        (node,) = self._mention(target, place)
        self.text.links.append((node, (self.types[target], reference.strip())))

    def _leave_out_events(self, events: list[_Line]) -> None:
        """Leaves out events and the mentions that trigger them."""
        for event in events:
            message = f"{event.id} is an event, {quote(event.kind)}"
            self.report.refuse("events", event.place, message, "event")
            trigger = event.kind.rpartition(":")[2]
            self.left_out |= {event.id, trigger}

    def _names_left_out(self, targets: Collection[str]) -> bool:
        if self.left_out.isdisjoint(targets):
            return False
        self.report.skip("relation", " of what was left out")
        return True

    def _mention(self, target: str, place: str) -> tuple[Node, ...]:
        if target not in self.nodes:
            fail(place, f"there is no mention {quote(target)}, expected the id of a T line")
        return self.nodes[target]


__all__ = ["read_brat"]
