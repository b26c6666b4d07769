"""GraphML, as networkx reads it."""

import json
import re

import networkx

from modeling_docre_ii.knowledge_graph import KnowledgeGraph
from modeling_docre_ii.knowledge_graph.graphml import write_graphml


def in_xml(text):
    """Text as XML holds it: without control characters and U+FFFE, U+FFFF."""
    return re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]", "\ufffd", text)


def test_networkx_reads_the_graph_back(hostile, tmp_path):
    write_graphml(hostile, tmp_path / "graph.graphml")
    read = networkx.read_graphml(tmp_path / "graph.graphml", force_multigraph=True)

    assert read.is_directed()
    assert list(read.nodes) == list(hostile.nodes)
    for node in hostile.nodes.values():
        found = read.nodes[node.id]
        assert [found.get(field) for field in ("name", "type", "kb_id")] == [
            in_xml(node.name),
            in_xml(node.type),
            node.kb_id and in_xml(node.kb_id),
        ]
        assert json.loads(found["names"]) == list(node.names)
        assert found["num_documents"] == node.num_documents
    edges = {(head, found["relation"], tail): found for head, tail, found in read.edges(data=True)}
    assert len(edges) == read.number_of_edges() == len(hostile.edges)
    for edge in hostile.edges:
        found = edges[edge.head, in_xml(edge.relation), edge.tail]
        fields = ("score", "mean_score", "num_documents")
        assert [found[field] for field in fields] == [getattr(edge, field) for field in fields]
        assert found["relation_name"] == in_xml(edge.relation_name)
        assert json.loads(found["evidence"]) == [
            {
                "document": one.document,
                "title": one.title,
                "score": one.score,
                "sentences": list(one.sentences),
                "spans": None if one.spans is None else [list(span) for span in one.spans],
            }
            for one in edge.evidence
        ]


def test_an_empty_graph_is_a_graph(tmp_path):
    write_graphml(KnowledgeGraph({}, []), tmp_path / "graph.graphml")

    assert len(networkx.read_graphml(tmp_path / "graph.graphml")) == 0
