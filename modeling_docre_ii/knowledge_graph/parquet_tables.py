"""Writes a knowledge graph as two Parquet files: nodes and edges."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from .graph import KnowledgeGraph


NODES_FILE, EDGES_FILE = "nodes.parquet", "edges.parquet"
NODES = pa.schema(
    {
        "id": pa.string(),
        "name": pa.string(),
        "type": pa.string(),
        "kb_id": pa.string(),
        "names": pa.list_(pa.string()),
        "num_documents": pa.int64(),
    }
)
_EVIDENCE = pa.struct(
    {
        "document": pa.int64(),
        "title": pa.string(),
        "score": pa.float64(),
        "sentences": pa.list_(pa.int32()),
        "spans": pa.list_(pa.list_(pa.int64())),
    }
)
EDGES = pa.schema(
    {
        "head": pa.string(),
        "relation": pa.string(),
        "relation_name": pa.string(),
        "tail": pa.string(),
        "score": pa.float64(),
        "mean_score": pa.float64(),
        "num_documents": pa.int64(),
        "evidence": pa.list_(_EVIDENCE),
    }
)
# Rows that are converted at once.
_ROW_GROUP = 10_000


def write_parquet(graph: KnowledgeGraph, folder: Path) -> None:
    """
    Writes a knowledge graph as `nodes.parquet` and `edges.parquet`.

    Args:
        graph ([`KnowledgeGraph`]):
            The graph.
        folder (`Path`):
            The folder of the files.

    Raises:
        `OSError`: a file cannot be written.
    """
    _write_rows(folder / NODES_FILE, NODES, (node._asdict() for node in graph.nodes.values()))
    edges = (edge._asdict() | {"evidence": [one.to_dict() for one in edge.evidence]} for edge in graph.edges)
    _write_rows(folder / EDGES_FILE, EDGES, edges)


def _write_rows(path: Path, schema: pa.Schema, rows: Iterable[dict[str, Any]]) -> None:
    unread: Iterator[dict[str, Any]] = iter(rows)
    with pq.ParquetWriter(path, schema) as writer:
        while group := list(islice(unread, _ROW_GROUP)):
            writer.write_table(pa.Table.from_pylist(group, schema=schema))


__all__ = ["EDGES", "EDGES_FILE", "NODES", "NODES_FILE", "write_parquet"]
