"""Makes a knowledge graph of extracted triples: `docre-ii graph`."""

import argparse
from pathlib import Path

from ..knowledge_graph import read_graph, write_graph
from ..knowledge_graph.building import check_input
from ..knowledge_graph.writing import check_output
from ..utils.wording import counted
from .process_setup import one_line_errors


DESCRIPTION = """\
Makes a knowledge graph of extracted triples: entities and relations, merged over all documents.

    docre-ii graph triples.jsonl --output graph.graphml
    docre-ii graph triples/ --output graph.ttl --min_score 0.8
    docre-ii graph triples/ --output graph --min_documents 2

Entities are merged by the kb_id of their mentions, else by name and type. See docs/knowledge_graph.md.
"""


def main(argv: list[str], prog: str = "docre-ii graph") -> None:
    """
    Runs the command.

    Args:
        argv (`list[str]`):
            The command line, without the name of the program.
        prog (`str`, *optional*, defaults to `"docre-ii graph"`):
            How the user calls the program.

    Raises:
        `SystemExit`: the arguments or the triples are malformed, with a message that says how.
    """
    parser = argparse.ArgumentParser(
        prog=prog, description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "triples",
        metavar="TRIPLES",
        help="A .jsonl file of docre-ii extract, or the folder of Parquet files of a bulk extraction.",
    )
    parser.add_argument(
        "--output",
        required=True,
        help="A name that ends in .graphml, or in .ttl for RDF in Turtle. Or a folder: it gets nodes.csv and "
        "relationships.csv for the import of Neo4j, and nodes.parquet and edges.parquet.",
    )
    parser.add_argument(
        "--min_score", type=float, default=0.0, help="Lowest score of an edge, the highest of its triples. Default: 0."
    )
    parser.add_argument(
        "--min_documents", type=int, default=1, help="Smallest number of documents that state an edge. Default: 1."
    )
    args = parser.parse_args(argv)
    with one_line_errors(prog, ValueError, OSError):
        check_input(args.triples)
        check_output(args.output)
        check_is_outside(args.triples, args.output)
        print(make_graph(args.triples, args.output, args.min_score, args.min_documents))


def check_is_outside(triples: str, output: str) -> None:
    """
    Checks that a graph does not become a part of the triples.

    Args:
        triples (`str`):
            Where the triples are.
        output (`str`):
            Where the graph goes.

    Raises:
        `ValueError`: it goes into their folder, which `datasets` could then no longer read.
    """
    folder, target = Path(triples).resolve(), Path(output).resolve()
    if folder.is_dir() and (folder == target or folder in target.parents):
        raise ValueError(f"`output` is {output!r}, in the folder of the triples {triples!r}: name another place")


def make_graph(triples: str, output: str, min_score: float = 0.0, min_documents: int = 1) -> str:
    """
    Makes the knowledge graph of extracted triples.

    Args:
        triples (`str`):
            Where the triples are, as for [`read_graph`].
        output (`str`):
            Where the graph goes, as for [`write_graph`].
        min_score, min_documents:
            As for [`read_graph`].

    Returns:
        `str`: what was written, for the user.

    Raises:
        `ValueError`: the triples are malformed, or the name of the output is.
        `OSError`: a file cannot be read or written.
    """
    graph = read_graph(triples, min_score, min_documents)
    write_graph(graph, output)
    sizes = f"{counted(len(graph.nodes), 'node')} and {counted(len(graph.edges), 'edge')}"
    return f"{output}: {sizes} of {counted(graph.num_documents, 'document')}"


__all__ = ["main", "make_graph"]
