"""Errors for unknown names and paths, with the nearest known one as a suggestion."""

import difflib
import os
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """
    Returns the end of an error message for an unknown name.

    Args:
        name (`str`):
            The unknown name.
        known (`Iterable[str]`):
            All known names.

    Returns:
        `str`: `", did you mean 'train'?"`; empty if no known name is near.
    """
    close = difflib.get_close_matches(name, list(known), n=1)
    return f", did you mean {close[0]!r}?" if close else ""


def did_you_mean_path(path: str) -> str:
    """
    Returns the end of an error message for a file or folder that does not exist.

    Args:
        path (`str`):
            The path.

    Returns:
        `str`: `", did you mean 'outputs/quickstart'?"`; empty if nothing in the same folder has a similar name.
    """
    path = path.rstrip(os.sep)
    folder, name = os.path.split(path)
    try:
        siblings = os.listdir(folder or ".")
    except OSError:
        return ""
    # A file where a folder is expected, or the reverse, is no misspelling.
    close = [] if name in siblings else difflib.get_close_matches(name, siblings, n=1)
    return f", did you mean {path.removesuffix(name) + close[0]!r}?" if close else ""


def check_names(where: str, given: Iterable[str], known: Iterable[str]) -> None:
    """
    Checks that all names are known.

    Args:
        where (`str`):
            Where the names were given, for the message.
        given (`Iterable[str]`):
            The names to check.
        known (`Iterable[str]`):
            All known names.

    Raises:
        `ValueError`: a name is unknown. The message suggests the nearest known one.
    """
    known = list(known)
    for name in given:
        if name not in known:
            raise ValueError(f"{where}: unknown name {name!r}{did_you_mean(name, known)}")


__all__ = ["check_names", "did_you_mean", "did_you_mean_path"]
