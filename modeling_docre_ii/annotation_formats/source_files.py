"""Reads the files of corpora: text in UTF-8, plain or gzipped, and JSON."""

import gzip
import io
import json
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TextIO

from ..documents import DocumentError
from ..utils.json_text import parse_json
from ..utils.suggestions import did_you_mean_path


# How the files of a format end, which are read if the user names a folder.
ENDINGS = {
    "brat": (".ann",),
    "label_studio": (".json",),
    "inception": (".json",),
    "bioc": (".xml", ".json", ".xml.gz", ".json.gz"),
    "pubtator": (".txt", ".pubtator", ".PubTator", ".txt.gz", ".pubtator.gz", ".PubTator.gz"),
}

# A gzipped file may unpack to 100 times its size, or to 64 MiB if that is more. Corpora unpack to 3 to 15 times.
_MOST_UNPACKED = 100
_LEAST_UNPACKED = 64 * 2**20


def fail(place: str, message: str) -> NoReturn:
    """Raises a [`DocumentError`] whose message starts with the place."""
    raise DocumentError(f"{place}: {message}")


@contextmanager
def open_text(path: str | Path, newline: str | None = None) -> Iterator[TextIO]:
    """
    Opens a text file in UTF-8, plain or, by its name, gzipped.

    A byte order mark at its start is skipped.

    Args:
        path (`str` or `Path`):
            The file.
        newline (`str`, *optional*):
            As for `open`. `""` leaves line ends as they are.

    Raises:
        [`DocumentError`]: the file cannot be read to its end, or a gzipped one unpacks to more than 64 MiB and 100
            times its size. The message names it.
    """
    try:
        binary = _BoundedGzipFile(path) if str(path).endswith(".gz") else open(path, "rb")
        with binary, io.TextIOWrapper(binary, encoding="utf-8-sig", newline=newline) as stream:
            yield stream
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise DocumentError(f"{path}: reading it failed: {error}") from None


def read_json(path: str | Path) -> Any:
    """
    Reads a JSON file, plain or gzipped.

    Args:
        path (`str` or `Path`):
            The file.

    Returns:
        `Any`: its content.

    Raises:
        [`DocumentError`]: the file cannot be read or is not JSON. The message names it.
    """
    with open_text(path) as stream:
        try:
            return parse_json(stream.read())
        except json.JSONDecodeError as error:
            fail(str(path), f"this is not JSON: {error}")


def list_files(path: str, endings: tuple[str, ...]) -> list[Path]:
    """
    Lists the files of an export.

    Args:
        path (`str`):
            A file, or a folder.
        endings (`tuple[str]`):
            The endings of the files to look for in the folder and in the folders below it.

    Returns:
        `list[Path]`: the files, in the order of their names. A file is returned whatever its ending.

    Raises:
        [`DocumentError`]: there is no such file or folder, or the folder has no such files.
    """
    if not os.path.exists(path):
        raise DocumentError(f"there is no file or folder {path!r}{did_you_mean_path(path)}")
    if not os.path.isdir(path):
        return [Path(path)]
    # Hidden ones are copies, of Jupyter or macOS.
    inside = (file for file in Path(path).rglob("*") if not is_hidden(file.relative_to(path)))
    files = sorted(file for file in inside if file.name.endswith(endings) and file.is_file())
    if not files:
        fail(path, f"the folder has no {' or '.join(endings)} files")
    return files


def is_hidden(path: Path) -> bool:
    """Returns whether a file or one of its folders is hidden."""
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


class _BoundedGzipFile(gzip.GzipFile):
    """A gzipped file that does not unpack to far more than a corpus does: a few kilobytes can hold gigabytes."""

    def __init__(self, path: str | Path):
        super().__init__(path, "rb")
        self.limit = max(_LEAST_UNPACKED, _MOST_UNPACKED * os.path.getsize(path))

    def read1(self, size: int = -1) -> bytes:
        content = super().read1(size)
        if self.tell() > self.limit:
            raise OSError(f"it unpacks to more than {self.limit:,} bytes; unpack it yourself if that is right")
        return content

    def read(self, size: int | None = -1) -> bytes:
        # Only what is read at once is bounded.
        return b"".join(iter(lambda: self.read1(1 << 20), b"")) if size is None or size < 0 else self.read1(size)


__all__ = ["ENDINGS", "fail", "list_files", "open_text", "read_json"]
