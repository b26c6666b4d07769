"""A knowledge graph: nodes, edges and the evidence of each edge."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple


class Evidence(NamedTuple):
    """
    A triple of one document, as the evidence of an edge.

    Args:
        document (`int`): Index of the document, from 0.
        title (`str`): Its title.
        score (`float`): Score of the triple.
        sentences (`tuple[int]`): The sentences that state it.
        spans (`tuple[tuple[int, int]]`, *optional*): The same sentences as [start, end) in characters of a plain text.
    """

    document: int
    title: str
    score: float
    sentences: tuple[int, ...] = ()
    spans: tuple[tuple[int, int], ...] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Returns the evidence with lists in place of tuples, as JSON and Parquet hold it."""
        spans = None if self.spans is None else list(map(list, self.spans))
        return self._asdict() | {"sentences": list(self.sentences), "spans": spans}


class Node(NamedTuple):
    """
    An entity of one or several documents.

    Args:
        id (`str`): Its identifier, see [`node_id`].
        name (`str`): Its most frequent spelling; the first in alphabetical order of several.
        type (`str`): Its most frequent type, chosen in the same way. Empty if the documents have no types.
        kb_id (`str`, *optional*): Its identifier in a knowledge base.
        names (`tuple[str]`): All its spellings, the most frequent first.
        num_documents (`int`): Number of documents that have a triple with it.
    """

    id: str
    name: str
    type: str
    kb_id: str | None
    names: tuple[str, ...]
    num_documents: int


class Edge(NamedTuple):
    """
    A relation between two nodes, which one or several documents state.

    Args:
        head (`str`): Identifier of the head.
        relation (`str`): Id of the relation.
        relation_name (`str`): Its readable name.
        tail (`str`): Identifier of the tail.
        score (`float`): The highest score of its evidence.
        mean_score (`float`): The mean of the scores.
        num_documents (`int`): Number of documents that state it.
        evidence (`tuple[Evidence]`): One for each triple, the highest score first; of equal scores in the order of
            titles, sentences, spans and indices of documents.
    """

    head: str
    relation: str
    relation_name: str
    tail: str
    score: float
    mean_score: float
    num_documents: int
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True)
class KnowledgeGraph:
    """
    Nodes and edges, in the order of their identifiers.

    Make one with [`build_graph`] or [`read_graph`].

    Args:
        nodes (`dict[str, Node]`): The nodes by identifier. Each has an edge.
        edges (`list[Edge]`): The edges, at most one for a head, a relation and a tail. Head and tail may be the same.
    """

    nodes: Mapping[str, Node]
    edges: list[Edge]

    @property
    def num_documents(self) -> int:
        """Number of documents with a triple in the graph."""
        return len({evidence.document for edge in self.edges for evidence in edge.evidence})


__all__ = ["Edge", "Evidence", "KnowledgeGraph", "Node"]
