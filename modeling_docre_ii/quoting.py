"""Quotes values in error messages: in part of a line, whatever the value."""

import reprlib
from typing import Any


# Python can be set to write no decimal number of more than 640 digits, which have more bits than this.
_MOST_BITS = 2_000


class _Quotes(reprlib.Repr):
    """`reprlib.Repr` that also writes integers of any size."""

    def __init__(self, longest: int):
        super().__init__()
        self.maxstring = longest
        self.maxother = 60

    def repr_int(self, value: int, level: int) -> str:
        if value.bit_length() > _MOST_BITS:
            return f"an integer of {value.bit_length():,} bits"
        return super().repr_int(value, level)


def quote(value: Any, longest: int = 30) -> str:
    """
    Returns a short `repr` of a value, for an error message.

    Args:
        value (`Any`):
            The value. It may be long, deeply nested, or an integer of over 4,300 digits.
        longest (`int`, *optional*, defaults to 30):
            Largest number of characters of a string, the quotation marks included. The middle of a longer one is
            left out.

    Returns:
        `str`: the quotation, without line breaks unless the value has a `repr` of its own with some.
    """
    return _Quotes(longest).repr(value)


def lone_surrogate(text: str) -> str | None:
    r"""
    Finds a character that UTF-8 cannot encode.

    JSON can write half of a surrogate pair, as in `"\ud83d"`, and Python reads it. Tokenizers and
    files cannot hold it.

    Args:
        text (`str`):
            The text.

    Returns:
        `str` or `None`: the first lone surrogate and its place, `None` if there is none.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"{text[error.start]!r} at character {error.start}"
    return None
