"""Quotes values in errors, for metrics that are loaded with this folder alone."""

import reprlib
from collections.abc import Mapping
from typing import Any


class _Quotes(reprlib.Repr):
    maxother = 60

    def repr_int(self, value: int, level: int) -> str:
        # Python refuses to write integers of over 4,300 digits.
        return f"an integer of {value.bit_length():,} bits" if value.bit_length() > 2_000 else repr(value)


def quote(value: Any, longest: int = 30) -> str:
    """Returns the `repr` of a value, strings cut to `longest` characters."""
    quotes = _Quotes()
    quotes.maxstring = longest
    return quotes.repr(value)


def name_of(document: Mapping[str, Any]) -> str:
    """Returns how errors name a document or a prediction: by its title."""
    return f"document {quote(document['title'], 80)}"


def lone_surrogate(text: str) -> str | None:
    """Returns the first character that UTF-8 cannot encode, and its place."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"{text[error.start]!r} at character {error.start}"
    return None


__all__ = ["lone_surrogate", "name_of", "quote"]
