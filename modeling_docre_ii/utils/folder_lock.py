"""Locks that keep two processes from writing into one folder."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


LOCK_FILE = ".docre_ii.lock"


class FolderInUseError(OSError):
    """Another process is writing into the folder."""


@contextmanager
def lock_folder(folder: str | os.PathLike) -> Iterator[None]:
    """
    Locks a folder while a process writes into it.

    The operating system releases the lock when the process ends, however it ends.

    Args:
        folder (`str` or `os.PathLike`):
            The folder, which is created if it does not exist. The lock is the file `.docre_ii.lock` in it.

    Raises:
        [`FolderInUseError`]: another process holds the lock.
        `OSError`: the folder cannot be written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK_FILE)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise FolderInUseError(
            f"another process is writing into {str(folder)!r}: wait until it ends, or choose another folder"
        ) from error
    try:
        yield
    finally:
        lock.release()


__all__ = ["LOCK_FILE", "FolderInUseError", "lock_folder"]
