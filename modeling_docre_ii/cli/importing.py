"""Imports what annotation tools export: `docre-ii import`."""

import argparse
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from dataset_scripts.docred import check_relations

from ..annotation_formats.annotated_text import REFUSED, AnnotatedText, Report, to_document
from ..annotation_formats.bioc import read_bioc
from ..annotation_formats.brat import read_brat
from ..annotation_formats.inception import read_inception
from ..annotation_formats.label_studio import read_label_studio
from ..annotation_formats.pubtator import read_pubtator_texts
from ..annotation_formats.source_files import ENDINGS, fail, read_json
from ..documents import DocumentError
from ..quoting import quote
from ..utils.atomic_write import atomic_write
from ..utils.wording import counted
from .process_setup import one_line_errors, setup_logging


DESCRIPTION = """\
Makes a corpus of what an annotation tool exports: JSON lines for --train_file, and the relations for --relations_file.

    docre-ii import brat annotations/ --output train.jsonl
    docre-ii import label_studio export.json --output train.jsonl --coreference same_as

What a document cannot hold is an error, unless --leave_out names it. What else was left out is counted in the end.
"""

FORMATS = {
    "brat": "a folder of .txt and .ann files, or one of them",
    "label_studio": "a .json file of tasks (the export JSON), or a folder of such files",
    "inception": "a .json file in UIMA CAS JSON 0.4, or a folder of such files",
    "bioc": "a file in BioC's .xml or .json, or a folder of such files",
    "pubtator": "a file in the PubTator format, or a folder of .txt and .pubtator files",
}

_LINES = ".jsonl"


def main(argv: list[str], prog: str = "docre-ii import") -> None:
    """
    Runs the command.

    Args:
        argv (`list[str]`):
            The command line, without the name of the program.
        prog (`str`, *optional*, defaults to `"docre-ii import"`):
            How the user calls the program.

    Raises:
        `SystemExit`: the arguments or a file are malformed, with a message that says how.
    """
    args = make_parser(prog).parse_args(argv)
    with one_line_errors(prog, ValueError, OSError):
        setup_logging()
        if not args.output.endswith(_LINES):
            raise ValueError(f"`output` is {args.output!r}, expected a name that ends in {_LINES}")
        report = Report(args.leave_out)
        relations_file = Path(args.relations_file or Path(args.output).with_name("relations.json"))
        check_not_read(args, relations_file)
        known = read_known_relations(relations_file)
        documents = convert(read_texts(args, report), args.coreference, report)
        print(write_corpus(args.output, documents, relations_file, known))
        print("\n".join(report.lines()), end="\n" if report.lines() else "")


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
    formats = parser.add_subparsers(dest="format", metavar="FORMAT", required=True)
    parsers = {name: formats.add_parser(name, help=summary, description=summary) for name, summary in FORMATS.items()}
    for name, of_format in parsers.items():
        of_format.add_argument("path", metavar="PATH", help=FORMATS[name])
        of_format.add_argument("--output", required=True, help="File to write, .jsonl: a document a line.")
        of_format.add_argument(
            "--relations_file",
            help="JSON file of the relations, which is written. An existing one keeps its relations and their names. "
            "New ones are added at its end. Default: relations.json beside the output.",
        )
        of_format.add_argument(
            "--coreference", nargs="+", default=[], metavar="NAME", help="Relations that say: the same entity."
        )
        of_format.add_argument(
            "--leave_out",
            nargs="+",
            default=[],
            choices=REFUSED,
            metavar="KIND",
            help="What to leave out instead of refusing the file: "
            + "; ".join(f"{kind} ({meaning})" for kind, meaning in REFUSED.items()),
        )
    parsers["label_studio"].add_argument(
        "--text_field", help="Key of the text in the data of a task. Default: the string that has the regions."
    )
    parsers["label_studio"].add_argument(
        "--latest_annotation",
        action="store_true",
        help="If a task has several annotations and no ground truth, read the one that was updated last.",
    )
    parsers["inception"].add_argument(
        "--layer",
        nargs="+",
        default=[],
        metavar="NAME[:FEATURE]",
        help="Layers to read, with the feature of the label. Default: named entities, coreference and custom layers.",
    )
    parsers["bioc"].add_argument(
        "--identifier",
        default="identifier",
        help="Infon with the identifiers of an annotation, such as MESH. Default: %(default)s.",
    )
    return parser


def check_not_read(args: argparse.Namespace, relations_file: Path) -> None:
    """
    Checks that no output replaces an export, or becomes one of the next import.

    Args:
        args (`argparse.Namespace`):
            The arguments.
        relations_file (`Path`):
            The file of the relations, which may be named by the output.

    Raises:
        `ValueError`: one does.
    """
    source = Path(args.path).resolve()
    for name, path in (("output", Path(args.output)), ("relations_file", relations_file)):
        if path.resolve() == source and not source.is_dir():
            raise ValueError(f"`{name}` is {str(path)!r}, which is the file that is read: name another file")
        if source in path.resolve().parents and path.name.endswith(ENDINGS[args.format]):
            raise ValueError(
                f"`{name}` is {str(path)!r}, in a folder whose {path.suffix} files are read, so that the next import "
                "would read it: name a file elsewhere"
            )


def read_texts(args: argparse.Namespace, report: Report) -> Iterator[AnnotatedText]:
    """
    Reads the files of the command line.

    Args:
        args (`argparse.Namespace`):
            The arguments.
        report ([`Report`]):
            Counts what is left out.

    Returns:
        `Iterator[AnnotatedText]`: the texts.
    """
    if args.format == "brat":
        return read_brat(args.path, report)
    if args.format == "label_studio":
        return read_label_studio(args.path, report, args.text_field, args.latest_annotation)
    if args.format == "inception":
        return read_inception(args.path, report, args.layer)
    if args.format == "bioc":
        return read_bioc(args.path, report, args.identifier)
    return read_pubtator_texts(args.path, report)


def convert(texts: Iterable[AnnotatedText], coreference: list[str], report: Report) -> Iterator[dict[str, Any]]:
    """
    Makes documents of annotated texts.

    Args:
        texts (`Iterable[AnnotatedText]`):
            The texts.
        coreference (`list[str]`):
            Relations that say: the same entity.
        report ([`Report`]):
            Counts what is left out and changed.

    Yields:
        `dict`: a plain text with entities and labels.

    Raises:
        [`DocumentError`]: a text is malformed, two have one title, or no text has a relation of coreference.
    """
    place_of_title: dict[str, str] = {}
    unseen = dict.fromkeys(coreference)
    for text in texts:
        if text.title in place_of_title:
            fail(text.place, f"document {quote(text.title, 80)} is already in {place_of_title[text.title]}")
        place_of_title[text.title] = text.place
        for relation in text.relations:
            unseen.pop(relation.name, None)
        yield to_document(text, coreference, report)
    for name in unseen:
        raise DocumentError(f"`coreference`: no document has the relation {name!r}")


def read_known_relations(path: Path) -> dict[str, str]:
    """
    Reads the relations of an earlier import.

    Args:
        path (`Path`):
            The file. It need not exist.

    Returns:
        `dict[str, str]`: relation id -> readable name.

    Raises:
        `ValueError`: the file is not a JSON object of strings.
    """
    if not path.exists():
        return {}
    relations = read_json(path)
    check_relations(str(path), relations)
    return relations


def write_corpus(output: str, documents: Iterable[dict[str, Any]], relations_file: Path, known: dict[str, str]) -> str:
    """
    Writes documents and their relations.

    After an error, both files are as before.

    Args:
        output (`str`):
            The file of the documents.
        documents (`Iterable[dict]`):
            From [`convert`].
        relations_file (`Path`):
            The file of the relations.
        known (`dict[str, str]`):
            The relations that it has.

    Returns:
        `str`: what was written, for the user.

    Raises:
        [`DocumentError`]: a document is malformed, or there is none.
        [`FileWriteError`]: a file cannot be written.
        `ValueError`: the file of the documents is a folder, or that of the relations.
    """
    if Path(output).is_dir() or Path(output).resolve() == relations_file.resolve():
        raise ValueError(f"{output!r} is a folder or the file of the relations: name another file for the documents")
    num_documents = num_entities = num_mentions = num_facts = 0
    found: set[str] = set()
    with atomic_write(output) as partial:
        with partial.open("w", encoding="utf-8") as file:
            for document in documents:
                file.write(json.dumps(document, ensure_ascii=False) + "\n")
                num_documents += 1
                num_entities += len(document["entities"])
                num_mentions += sum(len(entity["mentions"]) for entity in document["entities"])
                num_facts += len(document["labels"])
                found.update(fact["r"] for fact in document["labels"])
        if not num_documents:
            raise DocumentError("there is no annotated document")
        # An order of its own, whatever the order of the files, and readable names to start with.
        new = {name: name.replace("_", " ") for name in sorted(found - set(known))}
        if new or not relations_file.exists():
            with atomic_write(relations_file) as partial_relations:
                relations = json.dumps({**known, **new}, ensure_ascii=False, indent=1)
                partial_relations.write_text(relations + "\n", encoding="utf-8")
    entities = f"{num_entities:,} {'entity' if num_entities == 1 else 'entities'}"
    counts = [
        counted(num_documents, "document"),
        entities,
        counted(num_mentions, "mention"),
        counted(num_facts, "fact"),
    ]
    added = f", {len(new):,} of them new" if known and new else ""
    return f"{output}: {', '.join(counts)}\n{relations_file}: {counted(len(known) + len(new), 'relation')}{added}"
