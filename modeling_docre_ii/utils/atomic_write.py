"""Atomic file writes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator[Path]:
    """
    Writes a file under another name and renames it once it is complete.

    Readers see the old file or the new one, never half of it. If the block raises, the old file stays.

    Args:
        path (`str` or `os.PathLike`):
            The file to write. Its folder is created if it does not exist.

    Yields:
        `Path`: the file to write to, in the same folder.

    Example:

    ```python
    >>> with atomic_write("result.json") as partial:
    ...     partial.write_text("[]")
    ```
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # With the process id, two processes that write the same file do not write into each other's.
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        flush_to_disk(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def flush_to_disk(path: str | os.PathLike, recursive: bool = True) -> None:
    """
    Waits until a file or folder is on the disk, safe from a power failure.

    Args:
        path (`str` or `os.PathLike`):
            The file or folder.
        recursive (`bool`, *optional*, defaults to `True`):
            Whether to flush everything inside a folder, and not only its list of names.

    Raises:
        `OSError`: it cannot be written.
    """
    path = Path(path)
    inside = sorted(path.rglob("*")) if recursive and path.is_dir() else []
    for part in [*inside, path]:
        if part.is_dir() and os.name == "nt":  # Windows cannot open folders
            continue
        descriptor = os.open(part, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
