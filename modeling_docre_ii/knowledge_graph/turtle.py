"""Writes a knowledge graph as RDF in Turtle, with Wikidata's items and properties."""

import json
from collections.abc import Iterator
from pathlib import Path

from .graph import Edge, Evidence, KnowledgeGraph, Node
from .identifiers import is_wikidata_item, is_wikidata_property, percent_encode


# The namespace of everything that is not Wikidata's.
NAMESPACE = "urn:docre-ii:"
_PREFIXES = {
    "docre": NAMESPACE,
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "rdfs": "http://www.w3.org/2000/01/rdf-schema#",
    "skos": "http://www.w3.org/2004/02/skos/core#",
    "wd": "http://www.wikidata.org/entity/",
    "wdt": "http://www.wikidata.org/prop/direct/",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
}


def write_turtle(graph: KnowledgeGraph, path: Path) -> None:
    """
    Writes a knowledge graph as RDF in Turtle, node by node.

    Every edge is a triple, such as `wd:Q90 wdt:P17 wd:Q142 .`, and an `rdf:Statement` about it with its scores and
    evidence. Entities whose `kb_id` looks like one of Wikidata's, and such relations, have Wikidata's IRIs. All others
    have IRIs in the namespace `urn:docre-ii:`.

    Args:
        graph ([`KnowledgeGraph`]):
            The graph.
        path (`Path`):
            The file.

    Raises:
        `OSError`: the file cannot be written.
    """
    relations = {edge.relation: edge.relation_name for edge in graph.edges}
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for prefix, iri in _PREFIXES.items():
            file.write(f"@prefix {prefix}: <{iri}> .\n")
        for relation, name in sorted(relations.items()):
            file.write(f"\n{_relation(relation)} rdfs:label {_literal(name)} .\n")
        for node in graph.nodes.values():
            file.write(f"\n{_entity(node)} " + " ;\n    ".join(_describe_node(node)) + " .\n")
        for edge in graph.edges:
            head, tail = (_entity(graph.nodes[node]) for node in (edge.head, edge.tail))
            relation = _relation(edge.relation)
            file.write(f"\n{head} {relation} {tail} .\n")
            triple = f"rdf:subject {head} ; rdf:predicate {relation} ; rdf:object {tail}"
            file.write("[] " + " ;\n    ".join(["a rdf:Statement", triple, *_describe_edge(edge)]) + " .\n")


def _describe_node(node: Node) -> Iterator[str]:
    yield f"rdfs:label {_literal(node.name)}"
    if len(node.names) > 1:
        yield "skos:altLabel " + ", ".join(map(_literal, node.names[1:]))
    if node.type:
        yield f"a <{NAMESPACE}type:{percent_encode(node.type)}>"
    if node.kb_id is not None:
        yield f"docre:kbId {_literal(node.kb_id)}"
    yield f"docre:numDocuments {node.num_documents}"


def _describe_edge(edge: Edge) -> Iterator[str]:
    yield f"docre:score {_double(edge.score)} ; docre:meanScore {_double(edge.mean_score)}"
    yield f"docre:numDocuments {edge.num_documents}"
    yield "docre:evidence " + ", ".join(map(_describe_evidence, edge.evidence))


def _describe_evidence(evidence: Evidence) -> str:
    parts = [
        f"docre:document {evidence.document} ; docre:title {_literal(evidence.title)}",
        f"docre:score {_double(evidence.score)}",
    ]
    if evidence.sentences:
        parts.append("docre:sentence " + ", ".join(map(str, evidence.sentences)))
    if evidence.spans:
        # As a fragment of a text's URI, RFC 5147.
        parts.append("docre:span " + ", ".join(f'"char={start},{end}"' for start, end in evidence.spans))
    return f"[ {' ; '.join(parts)} ]"


def _entity(node: Node) -> str:
    return f"wd:{node.kb_id}" if is_wikidata_item(node.kb_id) else f"<{NAMESPACE}entity:{node.id}>"


def _relation(relation: str) -> str:
    if is_wikidata_property(relation):
        return f"wdt:{relation}"
    return f"<{NAMESPACE}relation:{percent_encode(relation)}>"


def _literal(text: str) -> str:
    # All escapes that `json` writes are escapes of Turtle.
    return json.dumps(text, ensure_ascii=False)


def _double(value: float) -> str:
    return f'"{value!r}"^^xsd:double'


__all__ = ["NAMESPACE", "write_turtle"]
