"""DocRED's submission form: from predicted facts, from files and to files."""

import json
import os
import struct
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..decoding import PredictedFact
from ..utils.atomic_write import atomic_write
from ..utils.json_text import parse_json
from .matching import PREDICTION_FIELDS, PredictionError, check_prediction, quote


_RESULT = "result.json"

# Largest `result.json` that is read from a zip, in bytes: about 300,000 predictions. A zip of a few megabytes can hold
# gigabytes.
_LARGEST_RESULT = 32 * 1024**2
# Largest JSON file that is read, in bytes: about 10 million predictions, which take over 10 GB of memory.
_LARGEST_FILE = 1024**3
# What a damaged zip raises, beside `BadZipFile`. `zipfile` documents only some of them.
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    RuntimeError,
    ValueError,
    OverflowError,
    struct.error,
)


def to_submission(
    facts: Sequence[Sequence[PredictedFact]], documents: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """
    Returns predicted facts in DocRED's submission form, which all scores take.

    Args:
        facts (`Sequence[Sequence[PredictedFact]]`):
            The predicted facts of each document.
        documents (`Sequence[dict]`):
            As many documents. Only `title` is read.

    Returns:
        `list[dict]` with `title`, `h_idx`, `t_idx`, `r`, `evidence` and `score`, by document and in the given order.
        [`write_submission`] leaves out `score`, which CodaLab does not know.

    Raises:
        `ValueError`: The number of documents differs.
    """
    return [
        {
            "title": document["title"],
            "h_idx": fact.head,
            "t_idx": fact.tail,
            "r": fact.relation,
            "evidence": list(fact.evidence),
            "score": fact.score,
        }
        for of_document, document in zip(facts, documents, strict=True)
        for fact in of_document
    ]


def read_submission(path: str | os.PathLike) -> list[dict[str, Any]]:
    """
    Reads a submission, this model's or another system's.

    Args:
        path (`str` or `os.PathLike`):
            A JSON file of at most 1 GiB, or a `.zip` that holds `result.json`, as CodaLab takes it, of at most 32 MiB.

    Returns:
        `list[dict]`: its items unchanged, each with `title`, `h_idx`, `t_idx` and `r`.

    Raises:
        [`PredictionError`]: The file is not a submission. The message names the file and, if a single item is wrong,
            the item and the field.
    """
    path = Path(path)
    if path.stat().st_size > _LARGEST_FILE:
        raise PredictionError(
            f"{path} has {path.stat().st_size:,} bytes, more than the {_LARGEST_FILE:,} that are read: split it by "
            "document"
        )
    content = _zipped_result(path) if path.suffix == ".zip" else path.read_bytes()
    try:
        predictions = parse_json(content)
    # Invalid or truncated JSON, or invalid UTF-8.
    except ValueError as error:
        raise PredictionError(f"{path}: not JSON: {error}") from error
    if not isinstance(predictions, list):
        raise PredictionError(f"{path}: found {quote(predictions)}, expected a list of predictions")
    if predictions and isinstance(predictions[0], Mapping) and "triples" in predictions[0]:
        raise PredictionError(f"{path} is not a submission, but triples for reading: use the {_RESULT!r} beside it")
    _check_all(predictions, path)
    return predictions


def write_submission(path: str | os.PathLike, predictions: Iterable[Mapping[str, Any]]) -> None:
    """
    Writes a submission atomically. The same predictions give the same bytes.

    Args:
        path (`str` or `os.PathLike`):
            A `.json` file, or a `.zip` for CodaLab, which then holds `result.json` and nothing else.
        predictions (`Iterable[dict]`):
            Predictions in submission form. Other keys are left out; a missing `evidence` is written as `[]`.

    Raises:
        [`PredictionError`]: A prediction is not in submission form. The message names the item and the field.
        `ValueError`: The path ends in neither `.json` nor `.zip`.
    """
    path, predictions = Path(path), list(predictions)
    if path.suffix not in (".json", ".zip"):
        raise ValueError(f"{path}: a submission is a .json or a .zip file")
    _check_all(predictions, path)
    items = [
        {field: item[field] for field in PREDICTION_FIELDS} | {"evidence": list(item.get("evidence") or [])}
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
    except PredictionError as error:
        raise PredictionError(f"{path}: {error}") from None


def _zipped_result(path: Path) -> bytes:
    with path.open("rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                return _read_result(archive, path)
        except PredictionError:
            raise
        except _DAMAGED as error:
            # Some messages of `zipfile` quote what it found.
            raise PredictionError(f"{path}: not a complete zip file: {str(error)[:200]}") from error


def _read_result(archive: zipfile.ZipFile, path: Path) -> bytes:
    names = archive.namelist()
    if _RESULT not in names:
        raise PredictionError(f"{path}: the zip holds {quote(names)}, expected {_RESULT!r}")
    entry = archive.getinfo(_RESULT)
    if entry.flag_bits & 0x1:
        raise PredictionError(f"{path}: {_RESULT!r} is encrypted: unzip it and score the {_RESULT!r} inside")
    # `zipfile` bounds what it decompresses at once for these methods alone.
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise PredictionError(
            f"{path}: {_RESULT!r} is compressed with method {entry.compress_type}, expected deflate, which most tools "
            "use: zip it again"
        )
    if entry.file_size > _LARGEST_RESULT:
        raise PredictionError(
            f"{path}: {_RESULT!r} has {entry.file_size:,} bytes, more than the {_LARGEST_RESULT:,} that are read from "
            f"a zip: unzip it and score the {_RESULT!r} inside"
        )
    with archive.open(entry) as stream:
        # Without a size, it decompresses all that there is, whatever the headers claim.
        return stream.read(entry.file_size)


def _write_zip(path: Path, content: bytes) -> None:
    # By default an entry holds the time and the operating system, which would change the bytes.
    entry = zipfile.ZipInfo(_RESULT, date_time=(1980, 1, 1, 0, 0, 0))
    entry.create_system, entry.external_attr = 3, 0o644 << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(entry, content)
