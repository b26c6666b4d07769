"""The 17-column format of EoG's preprocessing of CDR and GDA."""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

from modeling_docre_ii.annotation_formats.pubtator import UNGROUNDED, is_number
from modeling_docre_ii.annotation_formats.source_files import fail, open_text
from modeling_docre_ii.quoting import quote


COLUMNS = 17
NO_FACT = "1:NR:2"
NOT_COUNTED = "not_include"


def read_preprocessed(
    path: str, head_type: str, tail_type: str, relation: str
) -> Iterator[tuple[str, dict[str, Any]]]:
    """
    Reads a file in the 17-column format, one document a line.

    A line has the PMID, the sentences (joined by `|`, their tokens by spaces), and 17 columns for each candidate pair,
    all separated by tabs. The first argument of a pair is always the head (chemical, gene). The column `L2R` or `R2L`
    says which of the two the text mentions first, and is not used.

    Args:
        path (`str`):
            The file, plain or gzipped.
        head_type (`str`), tail_type (`str`):
            Types of the arguments.
        relation (`str`):
            The relation, without the `1:` and `:2` of the file.

    Yields:
        `tuple(str, dict)`: place in the file and document, whose entities are those of its pairs.

    Raises:
        [`DocumentError`]: a line is not in the format, or the file is empty. The message names file, line, pair
            and column.
    """
    is_empty = True
    with open_text(path) as stream:
        for number, line in enumerate(stream, start=1):
            if line.strip():
                is_empty = False
                yield f"line {number}", _Line(f"{path}, line {number}", line).read(head_type, tail_type, relation)
    if is_empty:
        fail(path, "the file has no document")


class _Line:
    """One document."""

    def __init__(self, place: str, line: str):
        fields = line.rstrip("\r\n").split("\t")
        if len(fields) < 2 or (len(fields) - 2) % COLUMNS:
            fail(place, f"{len(fields)} fields, expected PMID, sentences, and {COLUMNS} more for every pair")
        self.pmid, sentences, *columns = fields
        self.place = f"{place}: document {self.pmid[:40]}"
        if not self.pmid.strip() or not sentences.strip(" |"):
            fail(place, f"PMID {quote(self.pmid)} and sentences {quote(sentences, 80)}, expected neither to be empty")
        self.sentences = [sentence.split(" ") for sentence in sentences.split("|")]
        self.offsets = [0, *accumulate(map(len, self.sentences))]
        self.pairs = [columns[start : start + COLUMNS] for start in range(0, len(columns), COLUMNS)]
        # By type and identifier: the index of an entity, and the columns of its mentions.
        self.known: dict[tuple[str, str], tuple[int, Sequence[str]]] = {}
        self.entities: list[list[dict[str, Any]]] = []

    def read(self, head_type: str, tail_type: str, relation: str) -> dict[str, Any]:
        labels: list[dict[str, int]] = []
        uncounted: list[dict[str, int]] = []
        known = {NO_FACT: None, NOT_COUNTED: uncounted, f"1:{relation}:2": labels}
        seen = set()
        for number, columns in enumerate(self.pairs, start=1):
            place = f"{self.place}, pair {number}"
            if columns[0] not in known:
                fail(place, f"relation {quote(columns[0])}, expected {', '.join(known)}")
            if columns[1] not in ("L2R", "R2L"):
                fail(place, f"direction {quote(columns[1])}, expected L2R or R2L")
            head = self._read_entity(columns[5:11], head_type, f"{place}, first argument")
            tail = self._read_entity(columns[11:17], tail_type, f"{place}, second argument")
            if head is None or tail is None:
                continue
            if (head, tail) in seen:
                fail(place, f"the pair of {columns[5][:40]} and {columns[11][:40]} is repeated")
            seen.add((head, tail))
            pairs = known[columns[0]]
            if pairs is not None:
                pairs.append({"h": head, "t": tail})
        return {
            "title": self.pmid,
            "sents": self.sentences,
            "vertexSet": self.entities,
            "labels": [{**label, "r": relation, "evidence": []} for label in labels],
            "uncounted": uncounted,
        }

    def _read_entity(self, columns: Sequence[str], expected_type: str, place: str) -> int | None:
        """Returns the index of an entity, added at its first pair; `None` for an ungrounded one."""
        identifier, _, kind, *_ = columns
        if kind != expected_type:
            fail(place, f"type {quote(kind)}, expected {expected_type!r}")
        if identifier == UNGROUNDED:
            return None
        if (kind, identifier) not in self.known:
            self.known[kind, identifier] = (len(self.entities), columns)
            self.entities.append(self._mentions(columns, place))
        index, first_columns = self.known[kind, identifier]
        if columns != first_columns:
            fail(place, f"the mentions of {identifier[:40]} differ from those in an earlier pair")
        return index

    def _mentions(self, columns: Sequence[str], place: str) -> list[dict[str, Any]]:
        identifier, joined_names, kind, *numbers = columns
        names = joined_names.split("|")
        starts, ends, sentences = (self._numbers(column, place) for column in numbers)
        counts = (len(names), len(starts), len(ends), len(sentences))
        if len(set(counts)) > 1:
            fail(place, "{} names, {} starts, {} ends and {} sentences".format(*counts))
        return [self._mention(*mention, identifier, kind, place) for mention in zip(names, starts, ends, sentences)]

    def _numbers(self, column: str, place: str) -> list[int]:
        parts = column.split(":")
        if not all(map(is_number, parts)):
            fail(place, f"found {quote(column)}, expected numbers joined by ':'")
        return [int(part) for part in parts]

    def _mention(
        self, name: str, start: int, end: int, sentence: int, identifier: str, kind: str, place: str
    ) -> dict[str, Any]:
        if sentence >= len(self.sentences):
            fail(
                place,
                f"mention {quote(name, 80)}: sentence {sentence}, expected one from 0 to {len(self.sentences) - 1}",
            )
        first, last = self.offsets[sentence], self.offsets[sentence + 1]
        if not first <= start < end <= last:
            fail(place, f"mention {quote(name, 80)}: tokens [{start}, {end}), expected some of [{first}, {last})")
        span = [start - first, end - first]
        return {"name": name, "sent_id": sentence, "pos": span, "type": kind, "kb_id": identifier}
