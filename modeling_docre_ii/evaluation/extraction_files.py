"""Files of extractions from raw text: one JSON object a line."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..utils.json_text import parse_json
from .extractions import read_prediction
from .matching import PredictionError


def is_extraction_file(path: str | os.PathLike) -> bool:
    """Returns whether a file holds extractions from raw text, by its name."""
    return Path(path).suffix == ".jsonl"


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
