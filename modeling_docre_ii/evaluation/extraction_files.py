"""Files of extractions from raw text: one JSON object a line."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..utils.json_text import parse_json
from .extractions import read_prediction
from .matching import PredictionError, quote


def is_extraction_file(path: str | os.PathLike) -> bool:
    """Returns whether a file holds one document a line, by its name."""
    return Path(path).suffix == ".jsonl"


def has_given_entities(path: str | os.PathLike) -> bool:
    """
    Returns whether a file of extractions has documents without texts.

    It is what `docre-ii extract` writes of a corpus that has documents in DocRED's form, whose entities are given.
    """
    with Path(path).open("rb") as file:
        return any(_has_no_text(line) for line in file)


def _has_no_text(line: bytes) -> bool:
    try:
        document = parse_json(line) if line.strip() else None
    except ValueError:
        return False  # who reads the file says what is wrong
    return isinstance(document, dict) and "triples" in document and "text" not in document


def read_triples(path: str | os.PathLike) -> list[dict[str, Any]]:
    """
    Reads the triples of documents with given entities.

    Args:
        path (`str` or `os.PathLike`):
            A `.jsonl` file, one document a line: `title` and `triples`, as the pipeline returns them.

    Returns:
        `list[dict]`: the triples in DocRED's submission form.

    Raises:
        [`PredictionError`]: a line is not such a document. The message names the file and the line.
    """
    facts = []
    with Path(path).open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                document = parse_json(line) if line.strip() else {"triples": ()}
                facts += [
                    {
                        "title": document["title"],
                        "h_idx": triple["head"]["entity"],
                        "t_idx": triple["tail"]["entity"],
                        "r": triple["relation"],
                        "evidence": triple.get("evidence") or [],
                    }
                    for triple in document["triples"]
                ]
            except ValueError as error:
                raise PredictionError(f"{path}, line {number}: not JSON: {error}") from error
            except (KeyError, TypeError, AttributeError) as error:
                raise PredictionError(
                    f"{path}, line {number}: expected `title` and `triples` as `docre-ii extract` writes them, found "
                    f"{quote(line.decode(errors='replace'))} ({error!r})"
                ) from error
    return facts


def read_extractions(path: str | os.PathLike) -> list[dict[str, Any]]:
    """
    Reads what was extracted from raw texts.

    Args:
        path (`str` or `os.PathLike`):
            A `.jsonl` file, one document a line: `title`, `text`, `entities` and `triples`, as [`read_prediction`]
            takes them. Blank lines are skipped.

    Returns:
        `list[dict]`: the documents, unchanged.

    Raises:
        [`PredictionError`]: A line is not such a document. The message names the file, the line, the document and the
            field.
    """
    return list(_read_lines(Path(path)))


def _read_lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                extraction = parse_json(line)
            # Invalid or truncated JSON, or invalid UTF-8.
            except ValueError as error:
                raise PredictionError(f"{path}, line {number}: not JSON: {error}") from error
            try:
                read_prediction(extraction)
            except PredictionError as error:
                raise PredictionError(f"{path}, line {number}: {error}") from None
            yield extraction
