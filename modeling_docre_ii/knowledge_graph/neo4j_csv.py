"""Writes a knowledge graph as CSV files that `neo4j-admin database import` reads."""

import csv
import json
from pathlib import Path

from .graph import KnowledgeGraph, Node
from .identifiers import relationship_type


NODES_FILE, RELATIONSHIPS_FILE = "nodes.csv", "relationships.csv"
# The label of all nodes, beside that of their type.
_LABEL = "Entity"

_NODE_HEADER = ("id:ID", "name", "type", "kb_id", "names", "num_documents:int", ":LABEL")
_RELATIONSHIP_HEADER = (
    ":START_ID",
    ":END_ID",
    ":TYPE",
    "relation",
    "name",
    "score:double",
    "mean_score:double",
    "num_documents:int",
    "evidence",
)


def write_neo4j_csv(graph: KnowledgeGraph, folder: Path) -> None:
    """
    Writes a knowledge graph as `nodes.csv` and `relationships.csv`, row by row.

    Nodes have the label `Entity` and that of their type, and relationships the type [`relationship_type`]. Lists are
    JSON strings. Names can have line breaks, so that the import needs `--multiline-fields=true`.

    Args:
        graph ([`KnowledgeGraph`]):
            The graph.
        folder (`Path`):
            The folder of the files.

    Raises:
        `OSError`: a file cannot be written.
    """
    with (folder / NODES_FILE).open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(_NODE_HEADER)
        for node in graph.nodes.values():
            names = json.dumps(node.names, ensure_ascii=False)
            rows.writerow([node.id, node.name, node.type, node.kb_id, names, node.num_documents, _labels(node)])
    with (folder / RELATIONSHIPS_FILE).open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(_RELATIONSHIP_HEADER)
        for edge in graph.edges:
            evidence = json.dumps([one.to_dict() for one in edge.evidence], ensure_ascii=False)
            kind = relationship_type(edge.relation, edge.relation_name)
            scores = (edge.score, edge.mean_score, edge.num_documents)
            rows.writerow([edge.head, edge.tail, kind, edge.relation, edge.relation_name, *scores, evidence])


def _labels(node: Node) -> str:
    # Neo4j takes ";" for the end of a label, and trims labels. The property `type` has the type as it is.
    label = node.type.replace(";", "_").strip()
    return f"{_LABEL};{label}" if label else _LABEL


__all__ = ["NODES_FILE", "RELATIONSHIPS_FILE", "write_neo4j_csv"]
