"""Parquet tables of nodes and edges, as pyarrow and datasets read them."""

import datasets
import pyarrow.parquet as pq

from modeling_docre_ii.knowledge_graph import KnowledgeGraph, parquet_tables
from modeling_docre_ii.knowledge_graph.parquet_tables import write_parquet


def expected_edges(graph):
    for edge in graph.edges:
        evidence = [
            dict(zip(("document", "title", "score", "sentences", "spans"), (*one[:3], list(one[3]), listed(one[4]))))
            for one in edge.evidence
        ]
        yield dict(zip(edge._fields, (*edge[:-1], evidence)))


def listed(spans):
    return None if spans is None else [list(span) for span in spans]


def test_pyarrow_reads_the_graph_back(hostile, tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_tables, "_ROW_GROUP", 3)
    write_parquet(hostile, tmp_path)

    nodes = [{**node._asdict(), "names": list(node.names)} for node in hostile.nodes.values()]
    assert pq.read_table(tmp_path / "nodes.parquet").to_pylist() == nodes
    assert pq.read_table(tmp_path / "edges.parquet").to_pylist() == list(expected_edges(hostile))
    assert pq.read_metadata(tmp_path / "nodes.parquet").num_row_groups == -(-len(nodes) // 3)


def test_datasets_reads_the_edges(small, tmp_path):
    write_parquet(small, tmp_path)
    edges = datasets.Dataset.from_parquet(str(tmp_path / "edges.parquet"), cache_dir=str(tmp_path / "cache"))

    assert edges["score"][:] == [0.875, 0.5625]


def test_an_empty_graph_has_tables_without_rows(tmp_path):
    write_parquet(KnowledgeGraph({}, []), tmp_path)

    assert (
        pq.read_table(tmp_path / "edges.parquet").num_rows == pq.read_table(tmp_path / "nodes.parquet").num_rows == 0
    )
