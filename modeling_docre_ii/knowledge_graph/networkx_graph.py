"""Converts a knowledge graph to networkx."""

from typing import TYPE_CHECKING

from .graph import KnowledgeGraph


if TYPE_CHECKING:
    from networkx import MultiDiGraph


def to_networkx(graph: KnowledgeGraph) -> "MultiDiGraph":
    """
    Converts a knowledge graph to networkx.

    Args:
        graph ([`KnowledgeGraph`]):
            The graph.

    Returns:
        `networkx.MultiDiGraph`: nodes and edges have the fields of [`Node`] and [`Edge`] as attributes, and the key of
        an edge is the id of its relation. `evidence` is a list of dicts.

    Raises:
        `ImportError`: networkx is not installed.
    """
    try:
        from networkx import MultiDiGraph
    except ImportError as error:
        raise ImportError("'networkx' is not installed: `pip install docre-ii[graph]`") from error
    converted = MultiDiGraph()
    for node in graph.nodes.values():
        attributes = node._asdict() | {"names": list(node.names)}
        del attributes["id"]
        converted.add_node(node.id, **attributes)
    for edge in graph.edges:
        attributes = edge._asdict() | {"evidence": [one.to_dict() for one in edge.evidence]}
        head, tail = attributes.pop("head"), attributes.pop("tail")
        converted.add_edge(head, tail, key=edge.relation, **attributes)
    return converted


__all__ = ["to_networkx"]
