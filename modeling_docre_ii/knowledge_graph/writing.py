"""Writes a knowledge graph in the format that the name of the output decides."""

import os
from collections.abc import Callable
from pathlib import Path

from ..utils.atomic_write import atomic_folder, atomic_write
from .graph import KnowledgeGraph
from .graphml import write_graphml
from .neo4j_csv import NODES_FILE, RELATIONSHIPS_FILE, write_neo4j_csv
from .parquet_tables import EDGES_FILE, write_parquet
from .parquet_tables import NODES_FILE as PARQUET_NODES_FILE
from .turtle import write_turtle


# The formats of a single file, by ending.
_WRITERS: dict[str, Callable[[KnowledgeGraph, Path], None]] = {".graphml": write_graphml, ".ttl": write_turtle}
# The files of a folder.
_FILES = frozenset({NODES_FILE, RELATIONSHIPS_FILE, PARQUET_NODES_FILE, EDGES_FILE})


def write_graph(graph: KnowledgeGraph, path: str | os.PathLike) -> None:
    """
    Writes a knowledge graph. The ending of the name decides the format.

    Args:
        graph ([`KnowledgeGraph`]):
            The graph.
        path (`str` or `os.PathLike`):
            A name that ends in `.graphml` (GraphML) or `.ttl` (RDF in Turtle), or a folder. The folder gets
            `nodes.csv` and `relationships.csv` for `neo4j-admin database import`, and `nodes.parquet` and
            `edges.parquet`. It appears with all its files, and replaces an earlier graph.

    Raises:
        [`FileWriteError`]: a file cannot be written. There is no half-written output.
        `ValueError`: the ending is unknown, or the folder holds other files.
    """
    check_output(path)
    if is_folder(path):
        with atomic_folder(path) as folder:
            write_neo4j_csv(graph, folder)
            write_parquet(graph, folder)
    else:
        with atomic_write(path) as partial:
            _WRITERS[Path(path).suffix](graph, partial)


def check_output(path: str | os.PathLike) -> None:
    """
    Checks that [`write_graph`] can write to a path, before a long run.

    Args:
        path (`str` or `os.PathLike`):
            The path.

    Raises:
        `ValueError`: the name is empty, the ending is unknown, or a folder holds other files than those of a graph.
    """
    if not os.fspath(path):
        raise ValueError("the name of the graph is empty")
    if not is_folder(path):
        if Path(path).suffix not in _WRITERS:
            raise ValueError(
                f"{os.fspath(path)!r} is no known format of a graph: expected a name that ends in "
                f"{' or '.join(_WRITERS)}, or a folder, without an ending, for Neo4j's CSV and Parquet"
            )
        return
    folder = Path(path)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{os.fspath(path)!r} is a file, expected a folder, or a name that ends in .graphml or .ttl")
    others = sorted({file.name for file in folder.iterdir()} - _FILES) if folder.exists() else []
    if others:
        raise ValueError(f"the folder {os.fspath(path)!r} holds {others[0]!r}, which is no graph: name a new folder")


def is_folder(path: str | os.PathLike) -> bool:
    """Returns whether the name of an output is that of a folder."""
    return not Path(path).suffix or os.fspath(path).endswith(os.sep) or Path(path).is_dir()


__all__ = ["check_output", "is_folder", "write_graph"]
