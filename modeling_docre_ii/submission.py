"""DocRED's submission form: predictions by title, and the `result.json` that CodaLab takes."""

import json
import os
import reprlib
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .documents import DocumentError


_RESULT = "result.json"
# What the fields have to be, and how it is said where they are not.
_FIELDS = {
    "title": (str, "a string"),
    "h_idx": (int, "an entity index, an integer"),
    "t_idx": (int, "an entity index, an integer"),
    "r": (str, "a relation id, a string"),
}


def submission(
    facts: Mapping[int, Sequence[tuple]],
    documents: Sequence[Mapping[str, Any]],
    relations: Sequence[str],
    with_scores: bool = False,
) -> list[dict[str, Any]]:
    """
    Predictions in DocRED's submission form, the content of its `result.json`.

    Args:
        facts (`dict[int, list[tuple]]`):
            Head, tail, relation and score by document index, from [`facts_by_document`].
        documents (`Sequence[dict]`):
            The documents, by index.
        relations (`Sequence[str]`):
            Relation ids in the order of the model's classes.
        with_scores (`bool`, *optional*, defaults to `False`):
            Whether each also has its `score`, which the submission form does not know.

    Returns:
        `list[dict]` with `title`, `h_idx`, `t_idx`, `r`, and an empty `evidence`: DocRE-II predicts none.
    """
    return [
        {"title": documents[index]["title"], "h_idx": head, "t_idx": tail, "r": relations[relation], "evidence": []}
        | ({"score": score} if with_scores else {})
        for index in sorted(facts)
        for head, tail, relation, score in facts[index]
    ]


def with_titles(
    predictions: Iterable[Iterable[Mapping[str, Any]]], documents: Iterable[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """
    Puts predictions that come by document into submission form.

    Args:
        predictions (`Iterable[Iterable[dict]]`):
            `h_idx`, `t_idx`, `r` and perhaps `evidence`, a list of them for each document.
        documents (`Iterable[dict]`):
            As many documents; only their `title` is read.

    Returns:
        `list[dict]`: each prediction with the title of its document, in the same order.
    """
    return [
        {**fact, "title": document["title"]}
        for facts, document in zip(predictions, documents, strict=True)
        for fact in facts
    ]


def check_prediction(prediction: Mapping[str, Any], index: int) -> None:
    """
    Checks that an item of a submission has the fields of one. Whether its document and entities exist is not known
    here: [`score_facts`] says that.

    Args:
        prediction (`Mapping`):
            `title`, `h_idx`, `t_idx`, `r` and, perhaps, `evidence`: `None` or a list of sentence indices.
        index (`int`):
            Its place in the submission, for the message.

    Raises:
        [`DocumentError`]: If a field is missing or of another type. The message names the item and the field.
    """
    if not isinstance(prediction, Mapping):
        raise DocumentError(f"item {index}: found {reprlib.repr(prediction)}, expected a mapping")
    for field, (kind, expected) in _FIELDS.items():
        value = prediction.get(field)
        # The exact type keeps out bool, which is an int to isinstance.
        if type(value) is not kind:
            found = f"is {reprlib.repr(value)}" if field in prediction else "is missing"
            raise DocumentError(f"item {index}: {field!r} {found}, expected {expected}")
    evidence = prediction.get("evidence")
    if evidence is not None and not (
        isinstance(evidence, (list, tuple)) and all(type(sentence) is int for sentence in evidence)
    ):
        found = reprlib.repr(evidence)
        raise DocumentError(f"item {index}: 'evidence' is {found}, expected a list of sentence indices")


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
        {field: item[field] for field in _FIELDS} | {"evidence": list(item.get("evidence") or [])}
        for item in predictions
    ]
    content = json.dumps(items).encode()
    # Written beside and moved, so that no half-written file is ever left under the name; the process in the name keeps
    # two writers apart.
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        if path.suffix == ".zip":
            _write_zip(partial, content)
        else:
            partial.write_bytes(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


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
