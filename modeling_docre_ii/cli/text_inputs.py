"""Reads text files, folders of them, JSON lines and the standard input."""

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ..annotation_formats.source_files import is_hidden
from ..documents import DocumentError
from ..quoting import quote
from ..text_documents import check_given, with_title
from ..utils.json_text import parse_json
from ..utils.suggestions import did_you_mean_path
from .process_setup import logger


STANDARD_INPUT = "-"

_LINES = (".jsonl", ".ndjson")
# What would be read as prose, with its markup.
_NO_PROSE = (".csv", ".htm", ".html", ".parquet", ".tsv", ".xml")


def list_inputs(paths: Iterable[str]) -> list[str]:
    """
    Lists the files of a command line.

    Args:
        paths (`list[str]`):
            Text files (one document each), `.jsonl` or `.ndjson` files (one document a line), `.json` files (a list of
            documents), folders, and `-` for a text on the standard input.

    Returns:
        `list[str]`: files and `-`, each once, each folder replaced by the `.txt`, `.jsonl` and `.ndjson` files in it,
        in the order of their names.

    Raises:
        `ValueError`: there is no such file or folder, a name is empty, a file is a table or a page, or a folder has no
            such files.
    """
    files: list[str] = []
    for path in paths:
        if not path:
            raise ValueError("the name of a text is empty")
        if path != STANDARD_INPUT and not Path(path).exists():
            raise ValueError(f"there is no file or folder {path!r}{did_you_mean_path(path)}")
        if Path(path).suffix.lower() in _NO_PROSE and not Path(path).is_dir():
            raise ValueError(f"{path!r} is no text: convert it to .txt, .jsonl or .json")
        if not Path(path).is_dir():
            files.append(path)
            continue
        shown = [file for file in Path(path).iterdir() if not is_hidden(file.relative_to(path))]
        inside = sorted(str(file) for file in shown if file.suffix.lower() in (".txt", *_LINES) and file.is_file())
        if not inside:
            raise ValueError(f"the folder {path!r} has no .txt, .jsonl or .ndjson files")
        if others := sorted({file.name for file in shown} - {Path(file).name for file in inside}):
            more = f" and {len(others) - 3:,} more" if len(others) > 3 else ""
            named = f"{', '.join(others[:3])}{more}"
            logger.warning("%s: only the .txt, .jsonl and .ndjson files in it are read, and not %s", path, named)
        files += inside
    unique: dict[Any, str] = {}
    for path in files:
        unique.setdefault(path if path == STANDARD_INPUT else Path(path).resolve(), path)
    return list(unique.values())


def check_inputs(files: Iterable[str]) -> None:
    """
    Checks all documents, so that none ends an extraction late.

    Args:
        files (`list[str]`):
            From [`list_inputs`]. The standard input and pipes can be read only once, and are not checked.

    Raises:
        [`DocumentError`], `OSError`: as [`read_inputs`].
    """
    for _ in read_inputs(file for file in files if file != STANDARD_INPUT and Path(file).is_file()):
        pass


def read_inputs(files: Iterable[str]) -> Iterator[dict[str, Any]]:
    """
    Reads documents, one at a time.

    Args:
        files (`list[str]`):
            From [`list_inputs`].

    Yields:
        `dict`: a document as the pipeline takes it, checked. The title of a text file is its name without the ending.

    Raises:
        [`DocumentError`]: a file is not text in UTF-8, has no word, or is not JSON, or a document is malformed. The
            message names file and line, or the number of the document in a list.
        `OSError`: a file cannot be read.
    """
    for file in files:
        if file == STANDARD_INPUT:
            yield _checked({"title": "standard input", "text": _decode(sys.stdin.buffer.read(), file)}, file)
        elif Path(file).suffix.lower() in _LINES:
            yield from _read_lines(file)
        elif Path(file).suffix.lower() == ".json":
            yield from _read_list(file)
        else:
            path = Path(file)
            yield _checked({"title": path.stem, "text": _decode(path.read_bytes(), file)}, file)


def _read_lines(file: str) -> Iterator[dict[str, Any]]:
    with open(file, "rb") as lines:
        for number, line in enumerate(lines, 1):
            place = f"{file}, line {number}"
            if not line.strip():
                continue
            try:
                document = parse_json(line)
            except (json.JSONDecodeError, UnicodeDecodeError) as error:
                raise DocumentError(f"{place}: not JSON: {error}") from error
            yield _checked(document, place)


def _read_list(file: str) -> Iterator[dict[str, Any]]:
    try:
        documents = parse_json(Path(file).read_bytes())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DocumentError(f"{file}: not JSON: {error}") from error
    if not isinstance(documents, list):
        raise DocumentError(f"{file}: found {quote(documents)}, expected a list of documents")
    for index, document in enumerate(documents):
        yield _checked(document, f"{file}: documents[{index}]")


def _checked(document: Any, place: str) -> dict[str, Any]:
    try:
        check_given(document)
    except DocumentError as error:
        raise DocumentError(f"{place}: {error}") from None
    return with_title(document)


def _decode(content: bytes, file: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DocumentError(f"{file}: expected text in UTF-8, but {error}") from error


__all__ = ["STANDARD_INPUT", "check_inputs", "list_inputs", "read_inputs"]
