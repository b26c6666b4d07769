"""Reads JSON that others wrote."""

import json
import re
from typing import Any


# Python reads integers of up to 4,300 digits (or 640, if it is told so), and about 1,000 lists in lists.
_MOST_DIGITS = 640
_DEEPEST = 100

_STRINGS_AND_BRACKETS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]', re.DOTALL)


class LongInteger:
    """
    An integer of more digits than Python reads.

    It is no number, and fails every check for one.

    Args:
        digits (`str`): Its digits.
    """

    def __init__(self, digits: str):
        self.num_digits = len(digits.lstrip("-"))

    def __repr__(self) -> str:
        return f"an integer of {self.num_digits:,} digits"


def parse_json(content: str | bytes) -> Any:
    """
    Parses JSON, with or without a byte order mark.

    Python's own parser fails on the whole text if an integer in it has over 4,300 digits, or if it is nested too deep
    anywhere. Here such an integer becomes a [`LongInteger`], and what lies over 100 levels deep becomes `None`. So the
    checks of the content find them, and say in which field they are.

    Args:
        content (`str` or `bytes`):
            The JSON. Bytes may be in UTF-8, UTF-16 or UTF-32.

    Returns:
        `Any`: the content.

    Raises:
        `json.JSONDecodeError`: it is not JSON.
        `UnicodeDecodeError`: the bytes are not text.
    """
    text = content.decode(json.detect_encoding(content)) if isinstance(content, bytes) else content
    text = text.removeprefix("\ufeff")
    try:
        return _parse(text)
    except RecursionError:
        return _parse(_without_depths(text))


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise
    except ValueError:  # an integer with too many digits
        return json.loads(text, parse_int=_read_integer)


def _read_integer(digits: str) -> int | LongInteger:
    return int(digits) if len(digits) <= _MOST_DIGITS else LongInteger(digits)


def _without_depths(text: str) -> str:
    """Replaces the lists and mappings that are nested too deep."""
    pieces: list[str] = []
    depth, start = 0, 0
    for match in _STRINGS_AND_BRACKETS.finditer(text):
        bracket = match.group()
        if bracket in ("[", "{"):
            depth += 1
            if depth == _DEEPEST + 1:
                pieces.append(text[start : match.start()])
        elif bracket in ("]", "}"):
            if depth == _DEEPEST + 1:
                pieces.append("null")
                start = match.end()
            depth -= 1
    if depth > _DEEPEST:
        raise json.JSONDecodeError("Lists or mappings are opened and not closed", text, len(text))
    return "".join([*pieces, text[start:]])


__all__ = ["LongInteger", "parse_json"]
