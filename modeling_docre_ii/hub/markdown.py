"""Names of users as Markdown that shows them as they are."""

import re
import unicodedata
from typing import Any


# Characters of HTML and the backslash, as references: no Markdown parser reads those as anything but text.
_REFERENCES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\\": "&#92;"}
# The pipe is left to `markdown_table`. An underscore inside a word is text.
_SPECIAL = re.compile(r"[&<>\\`*\[\]~$#!]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_JOINERS = "\u200c\u200d"  # part of the spelling in some scripts


def one_line(text: Any) -> str:
    """
    Returns a text on one line, without control characters.

    Args:
        text (`Any`):
            Any text. White space, line breaks and characters that nobody can see become single spaces.
    """
    seen = (
        " " if unicodedata.category(char) in ("Cc", "Cf", "Cs") and char not in _JOINERS else char
        for char in str(text)
    )
    return " ".join("".join(seen).split())


def escaped(text: Any) -> str:
    """
    Escapes a text, so that Markdown shows it unchanged on one line.

    Args:
        text (`Any`):
            A name that may hold HTML, links, backticks and line breaks. A pipe stays: see [`markdown_table`].
    """
    return _SPECIAL.sub(lambda found: _REFERENCES.get(found[0], f"\\{found[0]}"), one_line(text))


def code_span(text: Any) -> str:
    """
    Returns a text as inline code.

    Args:
        text (`Any`):
            As for [`escaped`]. Its fence is longer than any run of backticks in it.
    """
    shown = one_line(text)
    if not shown:
        return '`""`'
    fence = "`" * (1 + max(map(len, re.findall("`+", shown)), default=0))
    padding = " " if shown[0] == "`" or shown[-1] == "`" else ""
    return f"{fence}{padding}{shown}{padding}{fence}"


__all__ = ["code_span", "escaped", "one_line"]
