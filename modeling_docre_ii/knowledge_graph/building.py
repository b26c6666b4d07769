"""Builds knowledge graphs: merges entities and relations over documents."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby, zip_longest
from math import fsum
from pathlib import Path
from typing import Any

from transformers.utils import logging

from ..deployment.extraction_reading import is_extraction_folder, read_extraction
from ..documents import DocumentError, name_of
from ..quoting import quote
from ..text_documents import with_title
from ..utils.json_text import parse_json
from ..utils.suggestions import did_you_mean_path
from .graph import Edge, Evidence, KnowledgeGraph, Node
from .identifiers import node_id
from .triple_checks import check_text, check_triple


# The ending of files with a document a line, from `docre-ii extract`.
LINES = ".jsonl"

# The sentences of a triple, and their characters in a plain text.
_Places = tuple[tuple[int, ...], tuple[tuple[int, int], ...] | None]

# Head, relation and tail; and the name and type of an entity.
_Triple = tuple[str, str, str]
_Label = tuple[str, str]

_MISSING: Any = object()


class GraphBuilder:
    """
    Collects the triples of documents, one document at a time.

    Its memory grows with the number of triples, not with the texts.

    Args:
        min_score (`float`, *optional*, defaults to 0.0):
            Lowest score of an edge.
        min_documents (`int`, *optional*, defaults to 1):
            Smallest number of documents that state an edge.

    Raises:
        `ValueError`: a limit is out of range.
    """

    def __init__(self, min_score: float = 0.0, min_documents: int = 1):
        if not 0 <= min_score <= 1:
            raise ValueError(f"`min_score` must be from 0 to 1, got {min_score}")
        if min_documents < 1:
            raise ValueError(f"`min_documents` must be at least 1, got {min_documents}")
        self.min_score = min_score
        self.min_documents = min_documents
        self._shared_labels: dict[_Label, _Label] = {}  # each is in memory once
        self._kb_ids: dict[str, str] = {}
        self._relation_names: dict[str, str] = {}
        # The evidence of an edge, and how it names head and tail.
        self._stated: dict[_Triple, list[tuple[Evidence, _Label, _Label]]] = {}

    def add(self, document: int, title: str, triples: Iterable[Mapping[str, Any]]) -> None:
        """
        Adds triples of a document.

        Args:
            document (`int`):
                Index of the document.
            title (`str`):
                Its title.
            triples (`Iterable[dict]`):
                Its triples, as [`DocumentRelationExtractionPipeline`] returns them.

        Raises:
            [`DocumentError`]: a triple is malformed. The message names the document, the triple and the field.
        """
        check_text(title, "title", f"documents[{document}]")
        # Many triples of a document are stated by the same sentences: their places are in memory once.
        shared: dict[_Places, _Places] = {}
        for number, triple in enumerate(triples):
            check_triple(triple, f"{name_of({'title': title})}, triple {number}")
            (head, head_label), (tail, tail_label) = map(self._add_entity, (triple["head"], triple["tail"]))
            relation, relation_name = triple["relation"], triple["relation_name"]
            known = self._relation_names.setdefault(relation, relation_name)
            if relation_name < known:
                self._relation_names[relation] = relation_name
            sentences, spans = tuple(triple["evidence"]), triple.get("evidence_spans")
            places = (sentences, None if spans is None else tuple((start, end) for start, end in spans))
            evidence = Evidence(document, title, float(triple["score"]), *shared.setdefault(places, places))
            self._stated.setdefault((head, relation, tail), []).append((evidence, head_label, tail_label))

    def _add_entity(self, entity: Mapping[str, Any]) -> tuple[str, _Label]:
        name, kind, kb_id = entity["name"], entity.get("type") or "", entity.get("kb_id") or None
        node = node_id(name, kind, kb_id)
        if kb_id is not None:
            self._kb_ids[node] = kb_id
        label = (name, kind)
        return node, self._shared_labels.setdefault(label, label)

    def build(self) -> KnowledgeGraph:
        """
        Builds the graph.

        Returns:
            [`KnowledgeGraph`]: the same for any order of the documents, apart from their indices.
        """
        edges = [
            edge
            for (head, relation, tail), stated in sorted(self._stated.items(), key=lambda item: item[0])
            if (edge := self._make_edge(head, relation, tail, [one for one, *_ in stated])).score >= self.min_score
            and edge.num_documents >= self.min_documents
        ]
        labels: defaultdict[str, set[tuple[int, _Label]]] = defaultdict(set)
        for edge in edges:
            for evidence, of_head, of_tail in self._stated[edge.head, edge.relation, edge.tail]:
                labels[edge.head].add((evidence.document, of_head))
                labels[edge.tail].add((evidence.document, of_tail))
        return KnowledgeGraph({node: self._make_node(node, labels[node]) for node in sorted(labels)}, edges)

    def _make_edge(self, head: str, relation: str, tail: str, evidence: list[Evidence]) -> Edge:
        ordered = sorted(
            evidence, key=lambda one: (-one.score, one.title, one.sentences, one.spans or (), one.document)
        )
        return Edge(
            head=head,
            relation=relation,
            relation_name=self._relation_names[relation],
            tail=tail,
            score=ordered[0].score,
            # The exact sum does not depend on the order.
            mean_score=fsum(one.score for one in ordered) / len(ordered),
            num_documents=len({one.document for one in ordered}),
            evidence=tuple(ordered),
        )

    def _make_node(self, node: str, labels: set[tuple[int, _Label]]) -> Node:
        names = _most_frequent_first({(document, name) for document, (name, _) in labels})
        kind, *_ = _most_frequent_first({(document, kind) for document, (_, kind) in labels})
        num_documents = len({document for document, _ in labels})
        return Node(node, names[0], kind, self._kb_ids.get(node), tuple(names), num_documents)


def _most_frequent_first(texts: Iterable[tuple[int, str]]) -> list[str]:
    """Sorts texts by the number of documents that have them, and then by the alphabet."""
    counts = Counter(text for _, text in texts)
    return sorted(counts, key=lambda text: (-counts[text], text))


def build_graph(
    documents: Iterable[Any],
    triples: Iterable[Sequence[Mapping[str, Any]]],
    min_score: float = 0.0,
    min_documents: int = 1,
) -> KnowledgeGraph:
    """
    Builds the knowledge graph of documents and their triples.

    Entities are merged over documents by the `kb_id` of their mentions, with their type if it is a number, else by
    normalized name (see [`normalized_name`]) and type. The name and the type are those of the first mention.

    Args:
        documents (`Iterable[dict]`):
            The documents, as [`DocumentRelationExtractionPipeline`] takes them.
        triples (`Iterable[list[dict]]`):
            The triples of each document, as [`DocumentRelationExtractionPipeline`] returns them.
        min_score (`float`, *optional*, defaults to 0.0):
            Lowest score of an edge, which is the highest of its triples.
        min_documents (`int`, *optional*, defaults to 1):
            Smallest number of documents that state an edge.

    Returns:
        [`KnowledgeGraph`]

    Raises:
        [`DocumentError`]: a triple is malformed. The message names the document, the triple and the field.
        `ValueError`: there are more documents than lists of triples, or the reverse, or a limit is out of range.

    Example:

    ```python
    >>> graph = build_graph(documents, extractor(documents))
    >>> write_graph(graph, "graph.graphml")
    ```
    """
    if isinstance(documents, Mapping):
        raise ValueError("expected a list of documents, got a single one: pass `[document]` and `[triples]`")
    builder = GraphBuilder(min_score, min_documents)
    for index, (document, of_document) in enumerate(zip_longest(documents, triples, fillvalue=_MISSING)):
        if document is _MISSING or of_document is _MISSING:
            fewer = "documents" if document is _MISSING else "lists of triples"
            raise ValueError(f"expected a list of triples for each document, but there are only {index} {fewer}")
        builder.add(index, with_title(document)["title"], of_document)
    return builder.build()


def read_graph(path: str | Path, min_score: float = 0.0, min_documents: int = 1) -> KnowledgeGraph:
    """
    Builds the knowledge graph of extracted triples in files.

    Args:
        path (`str` or `Path`):
            The folder of a bulk extraction ([`extract_to_parquet`]), which is read in parts, or a `.jsonl` file of
            `docre-ii extract`, which is read line by line.
        min_score, min_documents:
            As for [`build_graph`].

    Returns:
        [`KnowledgeGraph`]

    Raises:
        [`DocumentError`]: a line or a triple is malformed. The message names file, document, triple and field.
        `ValueError`: there is no such file, it is neither of the two, a bulk extraction is unfinished or one of its
            files is damaged, or a limit is out of range.
    """
    path = Path(path)
    builder = GraphBuilder(min_score, min_documents)
    documents = _read_folder(path) if path.is_dir() else _read_lines(path)
    with logging.tqdm(documents, desc="Reading triples", unit=" documents", delay=2) as progress:
        for place, index, title, triples in progress:
            try:
                builder.add(index, title, triples)
            except DocumentError as error:
                raise DocumentError(f"{place}: {error}") from None
    return builder.build()


def check_input(path: str | Path) -> None:
    """
    Checks that [`read_graph`] can read from a path.

    Args:
        path (`str` or `Path`):
            The path.

    Raises:
        `ValueError`: there is no such file or folder, or it is of another kind.
    """
    path = Path(path)
    if not path.exists():
        raise ValueError(f"there is no file or folder {str(path)!r}{did_you_mean_path(str(path))}")
    if path.is_dir() and not is_extraction_folder(path):
        raise ValueError(f"the folder {str(path)!r} has no triples-*.parquet files of a bulk extraction")
    if not path.is_dir() and path.suffix != LINES:
        raise ValueError(f"{str(path)!r}: expected a {LINES} file of `docre-ii extract`, or a folder of Parquet files")


# Where the triples of a document are, the document's index, and its title and triples, not yet checked.
_Located = tuple[str, int, Any, Iterable[Any]]


def _read_folder(folder: Path) -> Iterator[_Located]:
    check_input(folder)
    rows = read_extraction(folder)
    for (path, index, title), of_document in groupby(
        rows, key=lambda row: (row[0], row[1]["document"], row[1]["title"])
    ):
        yield str(path), index, title, (_as_triple(row) for _, row in of_document)


def _as_triple(row: dict[str, Any]) -> dict[str, Any]:
    """Converts a row of a bulk extraction to a triple of the pipeline, as far as a graph needs it."""
    sides = {
        side: {field: row.get(f"{side}_{field}") for field in ("name", "type", "kb_id")} for side in ("head", "tail")
    }
    return row | sides


def _read_lines(path: Path) -> Iterator[_Located]:
    check_input(path)
    index = 0
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            place = f"{path}, line {number}"
            try:
                document = parse_json(line)
            # Invalid or truncated JSON, or invalid UTF-8.
            except ValueError as error:
                raise DocumentError(f"{place}: not JSON: {error}") from error
            if not isinstance(document, dict):
                raise DocumentError(f"{place}: found {quote(document)}, expected a document with its triples")
            triples = document.get("triples")
            if not isinstance(triples, list):
                found = "is missing" if triples is None else f"is {quote(triples)}"
                raise DocumentError(f"{place}: {name_of(document)}: 'triples' {found}, expected a list")
            yield place, index, document.get("title"), triples
            index += 1


__all__ = ["GraphBuilder", "build_graph", "check_input", "read_graph"]
