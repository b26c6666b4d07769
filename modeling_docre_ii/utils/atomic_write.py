"""Atomic file writes."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


_ADVICE = {
    errno.ENOSPC: "free space on that disk, or choose a folder on another one",
    errno.EDQUOT: "free space on that disk, or choose a folder on another one",
    errno.EACCES: "choose a folder that you may write to",
    errno.EPERM: "choose a folder that you may write to",
    errno.EROFS: "choose a folder that you may write to",
}


class FileWriteError(OSError):
    """
    A file cannot be written. The message names it.

    Args:
        path (`str` or `os.PathLike`):
            The file.
        error (`OSError`):
            What the operating system says, often without a name.
    """

    def __init__(self, path: str | os.PathLike, error: OSError):
        reason = str(error) if error.errno is None else os.strerror(error.errno)
        advice = _ADVICE.get(error.errno or 0)
        super().__init__(f"{path} cannot be written: {reason}" + (f" ({advice})" if advice else ""))
        self.errno = error.errno


@contextmanager
def named_in_errors(path: str | os.PathLike) -> Iterator[None]:
    """
    Names a file in the errors of writing it.

    Args:
        path (`str` or `os.PathLike`):
            The file that the block writes.

    Raises:
        [`FileWriteError`]: the block raised an `OSError`.
    """
    try:
        yield
    except FileWriteError:
        raise
    except OSError as error:
        raise FileWriteError(path, error) from error


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

    Raises:
        [`FileWriteError`]: the file cannot be written, for example because the disk is full.

    Example:

    ```python
    >>> with atomic_write("result.json") as partial:
    ...     partial.write_text("[]")
    ```
    """
    path = Path(path)
    # With the process id, two processes that write the same file do not write into each other's.
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with named_in_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield partial
            flush_to_disk(partial)
            partial.replace(path)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | os.PathLike) -> Iterator[Path]:
    """
    Writes a folder under another name and renames it once it is complete.

    If the block raises, there is no new folder, and an old one stays. An old folder is replaced by two renames: a
    process that is killed between them leaves it under the name `NAME.PID.replaced`. Links are followed.

    Args:
        path (`str` or `os.PathLike`):
            The folder to write. The folder that it is in is created if it does not exist.

    Yields:
        `Path`: the folder to write into.

    Raises:
        [`FileWriteError`]: a file cannot be written, for example because the disk is full.
    """
    path = Path(os.path.realpath(path))
    partial, replaced = (path.with_name(f"{path.name}.{os.getpid()}.{kind}") for kind in ("partial", "replaced"))
    try:
        with named_in_errors(path):
            partial.mkdir(parents=True)
            yield partial
            flush_to_disk(partial)
            if path.exists():
                path.rename(replaced)
            partial.rename(path)
            shutil.rmtree(replaced, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


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
