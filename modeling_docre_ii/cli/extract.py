"""Extracts triples from texts: `docre-ii extract`."""

import argparse
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from transformers import AutoProcessor, pipeline
from transformers.utils import logging

from ..configuration_docre_ii import DocREIIConfig
from ..configuration_loading import load_config
from ..decoding import NonFiniteLogitsError
from ..deployment.backends import BACKENDS, load_model
from ..deployment.bulk_extraction import extract_to_parquet
from ..evidence import EVIDENCE_SOURCES
from ..explanation import describe_explanation
from ..pipeline_docre_ii import DocumentRelationExtractionPipeline
from ..utils.atomic_write import atomic_write
from ..utils.wording import counted
from ..visualization.render import render
from .extract_arguments import LINES, check_arguments, check_model_folder, check_not_read, read_type_map
from .graph import make_graph
from .predictions import print_triples
from .process_setup import one_line_errors, setup_logging
from .text_inputs import check_inputs, list_inputs, read_inputs


DESCRIPTION = """\
Extracts the triples of texts.

    docre-ii extract article.txt --model outputs/quickstart
    docre-ii extract articles/ --model outputs/quickstart --output triples.jsonl
    docre-ii extract articles/ --model outputs/quickstart --output triples.jsonl --graph graph
    docre-ii extract article.txt --model outputs/quickstart --explain --html article.html
    cat article.txt | docre-ii extract - --model outputs/quickstart --mention_extractor dslim/bert-base-NER

Every TEXT is a text file, a folder of .txt and .jsonl files, a .jsonl or .ndjson file with a document a line (a
"text", or DocRED's form), a .json file with a list of them, or - for the standard input.
"""

# A document, and its triples.
DocumentTriples = tuple[dict[str, Any], list[dict[str, Any]]]

# Documents in memory at once, as a multiple of the batch size.
_BATCHES_AT_ONCE = 16


def main(argv: list[str], prog: str = "docre-ii extract") -> None:
    """
    Runs the command.

    Args:
        argv (`list[str]`):
            The command line, without the name of the program.
        prog (`str`, *optional*, defaults to `"docre-ii extract"`):
            How the user calls the program.

    Raises:
        `SystemExit`: the arguments or a document are malformed, or the model cannot be loaded, with a message that
            says how.
    """
    args = make_parser(prog).parse_args(argv)
    with one_line_errors(prog, ValueError, OSError, ImportError, NonFiniteLogitsError):
        setup_logging()
        check_arguments(args)
        files = list_inputs(args.texts)
        check_not_read(args, files)
        check_inputs(files)
        type_map = None if args.type_map is None else read_type_map(args.type_map)
        if load_config(args.model).model_type != DocREIIConfig.model_type:
            raise ValueError(f"`model`: {args.model!r} is not a DocRE-II checkpoint")
        check_model_folder(args.model, args.backend)
        extractor = pipeline(
            "document-relation-extraction",
            model=load_model(args.model, args.backend),
            processor=AutoProcessor.from_pretrained(args.model),
            mention_extractor=args.mention_extractor,
            type_map=type_map,
            device=args.device,
            trust_remote_code=False,
        )
        if args.output is not None and not args.output.endswith(LINES):
            extract_to_folder(extractor, files, args, type_map)
        else:
            extract_documents(extractor, files, args)
        if args.graph is not None:
            print(make_graph(args.output, args.graph))


def extract_to_folder(
    extractor: DocumentRelationExtractionPipeline,
    files: list[str],
    args: argparse.Namespace,
    type_map: dict[str, str | None] | None,
) -> None:
    """Writes the triples of all documents as Parquet files."""
    options = {"batch_size": args.batch_size, "evidence": args.evidence, "type_map": type_map}
    if args.mention_extractor is not None:
        options["mention_extractor"] = extractor.entity_finder.extractor
    documents = list(read_inputs(files))
    print(
        f"{args.output}: {extract_to_parquet(extractor.model, extractor.processor, documents, args.output, **options)}"
    )


def extract_documents(
    extractor: DocumentRelationExtractionPipeline, files: list[str], args: argparse.Namespace
) -> None:
    """Prints the triples, or writes them as JSON lines, and draws them if wanted."""
    options = {"threshold": args.threshold, "top_k": args.top_k, "evidence": args.evidence}
    found = find_triples(extractor, read_inputs(files), args.batch_size, args.explain, **options)
    drawn: list[DocumentTriples] = []
    if args.html is not None:
        found = _kept(found, drawn)
    if args.output is not None:
        print(write_lines(args.output, found))
    else:
        for document, triples in found:
            print_triples([{"title": document["title"], "triples": triples}], 1, len(triples))
            if args.explain:
                print("\n".join(map(describe_explanation, triples)))
    if args.html is not None:
        print(write_page(args.html, drawn))


def make_parser(prog: str) -> argparse.ArgumentParser:
    """
    Makes the parser of the command.

    Args:
        prog (`str`):
            How the user calls the program.
    """
    parser = argparse.ArgumentParser(
        prog=prog, description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("texts", nargs="+", metavar="TEXT", help="Files, folders or -.")
    parser.add_argument("--model", required=True, help="A checkpoint: a folder or a name on the Hub.")
    parser.add_argument(
        "--output",
        help="File to write, .jsonl: a line for each document, with its text, entities and triples. Or a folder, for "
        "Parquet files (see docs/bulk_extraction.md). Default: the triples are printed.",
    )
    parser.add_argument(
        "--graph",
        help="Also write the knowledge graph of the triples in --output: a folder, for Neo4j's CSV and Parquet, or a "
        "name that ends in .graphml or .ttl (see docs/knowledge_graph.md).",
    )
    parser.add_argument(
        "--html",
        help="File to write, .html: a page with the texts, their entities, the graph and the table of their triples, "
        "to open in a browser. Beside --output FILE.jsonl, or with the triples printed.",
    )
    parser.add_argument(
        "--mention_extractor",
        help="A token-classification model that finds the mentions. Default: the model's own, if it has one.",
    )
    parser.add_argument(
        "--type_map",
        help="JSON object: the model's entity type for each type of the mention extractor, null to leave a type out.",
    )
    parser.add_argument("--threshold", type=float, default=0.5, help="Score above which a triple is kept.")
    parser.add_argument("--top_k", type=int, help="Largest number of triples of a document. Default: all.")
    parser.add_argument("--explain", action="store_true", help="Say why each triple was predicted (not in Parquet).")
    parser.add_argument(
        "--evidence", choices=EVIDENCE_SOURCES, help="Where the evidence of a triple comes from. Default: as trained."
    )
    parser.add_argument("--batch_size", type=int, default=8, help="Documents that go through the model at once.")
    parser.add_argument(
        "--backend",
        choices=BACKENDS,
        default=next(iter(BACKENDS)),
        help="What runs the model. onnx and openvino run a folder that `docre-ii export` has written. Default: torch.",
    )
    parser.add_argument("--device", help="Where the models run, such as cuda:0. Default: a GPU, if there is one.")
    return parser


def find_triples(
    extractor: DocumentRelationExtractionPipeline,
    documents: Iterable[dict[str, Any]],
    batch_size: int = 8,
    explain: bool = False,
    **options: Any,
) -> Iterator[DocumentTriples]:
    """
    Finds the entities and triples of documents, with a progress bar.

    Args:
        extractor ([`DocumentRelationExtractionPipeline`]):
            The pipeline.
        documents (`Iterable[dict]`):
            Checked documents with titles.
        batch_size (`int`, *optional*, defaults to 8):
            Number of documents that go through the model at once.
        explain (`bool`, *optional*, defaults to `False`):
            Whether to say why each triple was predicted.
        options:
            Further arguments of a call of the pipeline.

    Yields:
        `tuple[dict, list[dict]]`: each document, a text with its `entities`, and its triples.

    Raises:
        `ValueError`: there are no documents.
    """
    num_read = 0
    given = {name: value for name, value in options.items() if value is not None}
    with logging.tqdm(desc="Extracting triples", unit=" documents", delay=2) as progress:
        unread = iter(documents)
        while some := list(islice(unread, _BATCHES_AT_ONCE * batch_size)):
            num_read += len(some)
            found = extractor.add_entities(some)
            triples = extractor(iter(found), batch_size=batch_size, explain=explain, **given)
            for pair in zip(found, triples):
                yield pair
                progress.update()
    if not num_read:
        raise ValueError("there are no documents to extract triples from")


def _kept(found: Iterable[DocumentTriples], kept: list[DocumentTriples]) -> Iterator[DocumentTriples]:
    """Yields documents with their triples, and keeps them in a list."""
    for pair in found:
        kept.append(pair)
        yield pair


def write_lines(path: str, found: Iterable[DocumentTriples]) -> str:
    """
    Writes documents and triples as JSON lines.

    A line has `title` and `triples`, and of a text also `text` and `entities`.

    Args:
        path (`str`):
            The file. After an error there is none.
        found (`Iterable[tuple[dict, list[dict]]]`):
            From [`find_triples`].

    Returns:
        `str`: what was written, for the user.

    Raises:
        [`FileWriteError`]: the file cannot be written.
    """
    num_documents = num_triples = 0
    with atomic_write(path) as partial, partial.open("w", encoding="utf-8") as file:
        for document, triples in found:
            kept = {name: document[name] for name in ("title", "text", "entities") if name in document}
            file.write(json.dumps({**kept, "triples": triples}, ensure_ascii=False) + "\n")
            num_documents, num_triples = num_documents + 1, num_triples + len(triples)
    return _written(path, num_triples, num_documents)


def write_page(path: str, found: Sequence[DocumentTriples]) -> str:
    """
    Writes a page that shows documents and triples, see [`render`].

    Args:
        path (`str`):
            The file. After an error there is none.
        found (`list[tuple[dict, list[dict]]]`):
            From [`find_triples`].

    Returns:
        `str`: what was written, for the user.

    Raises:
        [`FileWriteError`]: the file cannot be written.
    """
    render([document for document, _ in found], [triples for _, triples in found]).save(path)
    return _written(path, sum(len(triples) for _, triples in found), len(found))


def _written(path: str, num_triples: int, num_documents: int) -> str:
    return f"{path}: {counted(num_triples, 'triple')} of {counted(num_documents, 'document')}"
