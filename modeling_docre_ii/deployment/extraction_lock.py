"""Keeps two extractions from writing the same shards."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ..utils.folder_lock import FolderInUseError
from .extraction_run import ExtractionRun


# Seconds that a lock must be held to count. Processes that start together hold each other's for a moment.
_PATIENCE = 2.0


@contextmanager
def lock_shards(folder: Path, run: ExtractionRun, process_index: int, num_processes: int) -> Iterator[None]:
    """
    Locks the shards of a process while it writes them.

    Process i of n writes the shards i, i + n, ..., so the processes of one extraction with the same n never share one.
    They work side by side. The same process of the same extraction, other numbers of processes and other extractions
    are refused. The operating system releases a lock when its process ends, however it ends.

    Args:
        folder (`Path`):
            Folder of the shards, created if necessary. The locks are hidden files in it.
        run ([`ExtractionRun`]):
            The extraction.
        process_index, num_processes (`int`):
            Index of this process and number of processes.

    Raises:
        [`FolderInUseError`]: another extraction is writing into the folder.
        `OSError`: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = f".triples-{run.key}-{{}}-of-{num_processes:05d}.lock"
    own = FileLock(folder / name.format(f"{process_index:05d}"))
    companions = {folder / name.format(f"{index:05d}") for index in range(num_processes)}
    try:
        own.acquire(timeout=_PATIENCE)
        try:
            # Own lock first: of two extractions that start at once, at least one sees the other.
            for path in sorted(set(folder.glob(".triples-*.lock")) - companions):
                with FileLock(path).acquire(timeout=_PATIENCE):
                    pass
            yield
        finally:
            own.release()
    except Timeout as error:
        raise FolderInUseError(
            f"another extraction is writing into {str(folder)!r}: wait until it ends, or choose another folder"
        ) from error


__all__ = ["lock_shards"]
