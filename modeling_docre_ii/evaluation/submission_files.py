"""Files of predictions in DocRED's submission form: the `result.json` that CodaLab takes, plain or in a zip."""

import json
import os
import reprlib
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..documents import DocumentError
from ..utils.atomic_write import atomic_write
from .submission import SUBMISSION_FIELDS, check_prediction


_RESULT = "result.json"


def read_submission(path: str | os.PathLike) -> list[dict[str, Any]]:
    """
    Reads a submission, DocRED's own or another system's.

    Args:
        path (`str` or `os.PathLike`):
            A JSON file, or a `.zip` that holds `result.json`, as it is uploaded to CodaLab.

    Returns:
        `list[dict]`: its items as they are, each with `title`, `h_idx`, `t_idx` and `r`.

    Raises:
        [`DocumentError`]: If it is not a submission. The message names the file and, where it is one item that is
            wrong, the item and the field.
    """
    path = Path(path)
    content = _zipped_result(path) if path.suffix == ".zip" else path.read_bytes()
    try:
        predictions = json.loads(content)
    # A ValueError: JSON or UTF-8 that is not, cut short for instance.
    except ValueError as error:
        raise DocumentError(f"{path}: not JSON: {error}") from error
    if not isinstance(predictions, list):
        raise DocumentError(f"{path}: found {reprlib.repr(predictions)}, expected a list of predictions")
    _check_all(predictions, path)
    return predictions


def write_submission(path: str | os.PathLike, predictions: Iterable[Mapping[str, Any]]) -> None:
    """
    Writes a submission. The same predictions give the same bytes; a file that was there is replaced as a whole or,
    on an error, not at all.

    Args:
        path (`str` or `os.PathLike`):
            A `.json` file, or a `.zip` for CodaLab, which then holds `result.json` and nothing else.
        predictions (`Iterable[dict]`):
            Predictions in submission form. Other keys are left out; `evidence` is written as `[]` where there is none.

    Raises:
        [`DocumentError`]: If a prediction is not in submission form. The message names the item and the field.
        `ValueError`: If the path ends in neither `.json` nor `.zip`.
    """
    path, predictions = Path(path), list(predictions)
    if path.suffix not in (".json", ".zip"):
        raise ValueError(f"{path}: a submission is a .json or a .zip file")
    _check_all(predictions, path)
    items = [
        {field: item[field] for field in SUBMISSION_FIELDS} | {"evidence": list(item.get("evidence") or [])}
        for item in predictions
    ]
    content = json.dumps(items).encode()
    with atomic_write(path) as partial:
        if path.suffix == ".zip":
            _write_zip(partial, content)
        else:
            partial.write_bytes(content)


def _check_all(predictions: list, path: Path) -> None:
    try:
        for index, prediction in enumerate(predictions):
            check_prediction(prediction, index)
    except DocumentError as error:
        raise DocumentError(f"{path}: {error}") from None


def _zipped_result(path: Path) -> bytes:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if _RESULT not in names:
                raise DocumentError(f"{path}: the zip holds {reprlib.repr(names)}, expected {_RESULT!r}")
            return archive.read(_RESULT)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise DocumentError(f"{path}: not a whole zip file: {error}") from error


def _write_zip(path: Path, content: bytes) -> None:
    # The time and the system of the writer are part of an entry unless they are given.
    entry = zipfile.ZipInfo(_RESULT, date_time=(1980, 1, 1, 0, 0, 0))
    entry.create_system, entry.external_attr = 3, 0o644 << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(entry, content)
