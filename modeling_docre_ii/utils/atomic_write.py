"""Files that are whole or not there."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def write_whole(path: str | Path) -> Iterator[Path]:
    """
    Writes a file beside its place and moves it there when it is whole, so that no half-written file is ever left under
    the name.

    Args:
        path (`str` or `Path`):
            The file. Its folder is made if there is none.

    Yields:
        `Path`: what to write to.

    Example:

    ```python
    >>> with write_whole("result.json") as partial:
    ...     partial.write_text("[]")
    ```
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The process in the name keeps two writers apart.
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
