"""networkx graphs."""

import sys

import networkx
import pytest

from modeling_docre_ii.knowledge_graph import to_networkx


def test_networkx_has_all_nodes_and_edges(hostile):
    converted = to_networkx(hostile)

    assert list(converted.nodes) == list(hostile.nodes)
    assert {(head, key, tail) for head, tail, key in converted.edges(keys=True)} == {
        (edge.head, edge.relation, edge.tail) for edge in hostile.edges
    }
    assert converted.number_of_edges() == len(hostile.edges)


def test_attributes_are_those_of_the_graph(small):
    converted = to_networkx(small)

    france = {"name": "France", "type": "LOC", "kb_id": "Q142", "names": ["France", "French Republic"]}
    assert converted.nodes["Q142"] == {**france, "num_documents": 2}
    edge = converted.edges["name:LOC:lyon", "Q142", "P17"]
    assert (edge["relation_name"], edge["score"], edge["num_documents"]) == ("country", 0.875, 2)
    assert edge["evidence"][0] == {
        "document": 1,
        "title": "second",
        "score": 0.875,
        "sentences": [],
        "spans": [[0, 9]],
    }
    assert networkx.shortest_path(converted, "name:PER:lyon", "Q142") == ["name:PER:lyon", "name:LOC:lyon", "Q142"]


def test_a_missing_library_is_named(small, monkeypatch):
    monkeypatch.setitem(sys.modules, "networkx", None)
    with pytest.raises(ImportError, match=r"'networkx' is not installed: `pip install docre-ii\[graph\]`"):
        to_networkx(small)
