"""Converts a knowledge graph to the dicts that LangChain and LlamaIndex validate."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from .graph import Edge, Evidence, KnowledgeGraph, Node
from .identifiers import relationship_type


# What the libraries call a node without a type.
_LANGCHAIN_TYPE, _LLAMA_INDEX_LABEL = "Node", "entity"


def to_langchain(graph: KnowledgeGraph, texts: Mapping[int, str] | None = None) -> list[dict[str, Any]]:
    """
    Converts a graph to dicts with the fields of LangChain's `GraphDocument`.

    There is one for each document with a triple.

    Args:
        graph ([`KnowledgeGraph`]):
            The graph.
        texts (`dict[int, str]`, *optional*):
            The texts by index of the document, which become the `page_content`. Empty by default: the graph has no
            texts.

    Returns:
        `list[dict]`: `nodes`, `relationships` and `source`, in the order of the documents' indices. Nodes that several
        documents mention are in each of them, with the same `id`.

    Example:

    ```python
    >>> from langchain_neo4j.graphs.graph_document import GraphDocument

    >>> graph_documents = [GraphDocument(**fields) for fields in to_langchain(graph)]
    ```
    """
    documents: dict[int, list[tuple[Edge, list[Evidence]]]] = {}
    for edge in graph.edges:
        by_document: dict[int, list[Evidence]] = {}
        for evidence in edge.evidence:
            by_document.setdefault(evidence.document, []).append(evidence)
        for document, evidences in by_document.items():
            documents.setdefault(document, []).append((edge, evidences))
    converted = []
    for document, stated in sorted(documents.items()):
        used = sorted({node for edge, _ in stated for node in (edge.head, edge.tail)})
        nodes = {node: _langchain_node(graph.nodes[node]) for node in used}
        converted.append(
            {
                "nodes": list(nodes.values()),
                "relationships": [
                    {
                        "source": nodes[edge.head],
                        "target": nodes[edge.tail],
                        "type": relationship_type(edge.relation, edge.relation_name),
                        "properties": {
                            "relation": edge.relation,
                            "name": edge.relation_name,
                            "score": max(evidence.score for evidence in evidences),
                        },
                    }
                    for edge, evidences in stated
                ],
                "source": {
                    "page_content": (texts or {}).get(document, ""),
                    "metadata": {"title": stated[0][1][0].title, "document": document},
                    "type": "Document",
                },
            }
        )
    return converted


def _langchain_node(node: Node) -> dict[str, Any]:
    return {"id": node.id, "type": node.type or _LANGCHAIN_TYPE, "properties": _properties(node)}


def to_llama_index(graph: KnowledgeGraph) -> dict[str, list[dict[str, Any]]]:
    """
    Converts a graph to dicts with the fields of LlamaIndex's classes.

    LlamaIndex takes the name of a node for its id, without quotation marks. So a name that several nodes have gets the
    node's own id behind it.

    Args:
        graph ([`KnowledgeGraph`]):
            The graph.

    Returns:
        `dict[str, list[dict]]`: the `nodes`, with the fields of `EntityNode`, and the `relations`, with those of
            `Relation`.

    Example:

    ```python
    >>> from llama_index.core.graph_stores.types import EntityNode, Relation

    >>> fields = to_llama_index(graph)
    >>> store.upsert_nodes([EntityNode(**node) for node in fields["nodes"]])
    >>> store.upsert_relations([Relation(**relation) for relation in fields["relations"]])
    ```
    """
    written = {node.id: node.name.replace('"', "'") for node in graph.nodes.values()}
    counts = Counter(written.values())
    names = {node: name if name and counts[name] == 1 else f"{name} ({node})" for node, name in written.items()}
    nodes = [
        {
            "name": names[node.id],
            "label": node.type or _LLAMA_INDEX_LABEL,
            "properties": {"id": node.id, **_properties(node)},
        }
        for node in graph.nodes.values()
    ]
    relations = [
        {
            "label": relationship_type(edge.relation, edge.relation_name),
            "source_id": names[edge.head],
            "target_id": names[edge.tail],
            "properties": {
                "relation": edge.relation,
                "name": edge.relation_name,
                "score": edge.score,
                "mean_score": edge.mean_score,
                "num_documents": edge.num_documents,
            },
        }
        for edge in graph.edges
    ]
    return {"nodes": nodes, "relations": relations}


def _properties(node: Node) -> dict[str, Any]:
    """Returns the properties of a node. Stores of properties have no null."""
    properties = {"name": node.name, "names": list(node.names), "num_documents": node.num_documents}
    return properties if node.kb_id is None else {**properties, "kb_id": node.kb_id}


__all__ = ["to_langchain", "to_llama_index"]
