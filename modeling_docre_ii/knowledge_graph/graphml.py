"""Writes a knowledge graph as GraphML, for Gephi, Cytoscape and networkx."""

import json
import re
from pathlib import Path
from typing import IO, Any
from xml.sax.saxutils import escape

from .graph import KnowledgeGraph


# Attributes of nodes and edges, with their types.
_NODE = {"name": "string", "type": "string", "kb_id": "string", "names": "string", "num_documents": "int"}
_EDGE = {
    "relation": "string",
    "relation_name": "string",
    "score": "double",
    "mean_score": "double",
    "num_documents": "int",
    "evidence": "string",
}
# XML 1.0 has no way to write these.
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# A reader of XML takes a carriage return for a line feed, unless it is written as a number.
_ENTITIES = {"\r": "&#13;", '"': "&quot;"}


def write_graphml(graph: KnowledgeGraph, path: Path) -> None:
    """
    Writes a knowledge graph as GraphML, node by node.

    Lists are JSON strings. A character that XML cannot hold, such as a control character, is written as U+FFFD
    outside of these.

    Args:
        graph ([`KnowledgeGraph`]):
            The graph.
        path (`Path`):
            The file.

    Raises:
        `OSError`: the file cannot be written.
    """
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write('<?xml version="1.0" encoding="UTF-8"?>\n')
        file.write('<graphml xmlns="http://graphml.graphdrawing.org/xmlns">\n')
        for kind, attributes in (("node", _NODE), ("edge", _EDGE)):
            for name, of_type in attributes.items():
                key = f'<key id="{kind}_{name}" for="{kind}" attr.name="{name}" attr.type="{of_type}"/>'
                file.write(f"  {key}\n")
        file.write('  <graph edgedefault="directed">\n')
        for node in graph.nodes.values():
            file.write(f'    <node id="{_xml(node.id)}">\n')
            _write_data(file, "node", node._asdict() | {"names": _json(node.names)}, _NODE)
            file.write("    </node>\n")
        for number, edge in enumerate(graph.edges):
            file.write(f'    <edge id="e{number}" source="{_xml(edge.head)}" target="{_xml(edge.tail)}">\n')
            evidence = _json([one.to_dict() for one in edge.evidence])
            _write_data(file, "edge", edge._asdict() | {"evidence": evidence}, _EDGE)
            file.write("    </edge>\n")
        file.write("  </graph>\n</graphml>\n")


def _write_data(file: IO[str], kind: str, values: dict[str, Any], attributes: dict[str, str]) -> None:
    for name in attributes:
        if values[name] is not None:
            file.write(f'      <data key="{kind}_{name}">{_xml(str(values[name]))}</data>\n')


def _xml(text: str) -> str:
    return escape(_FORBIDDEN.sub("\ufffd", text), _ENTITIES)


def _json(value: Any) -> str:
    return _FORBIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False))


__all__ = ["write_graphml"]
