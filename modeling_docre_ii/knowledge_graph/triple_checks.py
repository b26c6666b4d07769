"""Checks the triples that a knowledge graph is built from."""

import numbers
from collections.abc import Mapping
from typing import Any, NoReturn

from ..documents import DocumentError
from ..quoting import lone_surrogate, quote


_MISSING = object()


def check_triple(triple: Any, place: str) -> None:
    """
    Checks a triple of [`DocumentRelationExtractionPipeline`].

    Args:
        triple (`dict`):
            The triple. Other keys than those of an edge are ignored.
        place (`str`):
            Document and number of the triple, for the message.

    Raises:
        [`DocumentError`]: a field is missing or malformed. The message names it.
    """
    if not isinstance(triple, Mapping):
        raise DocumentError(f"{place}: found {quote(triple)}, expected a triple, a mapping")
    for side in ("head", "tail"):
        entity = triple.get(side, _MISSING)
        if not isinstance(entity, Mapping):
            _fail(side, entity, "an entity, a mapping", place)
        check_text(entity.get("name", _MISSING), "name", f"{place}, {side}")
        for field in ("type", "kb_id"):
            if entity.get(field) is not None:
                check_text(entity[field], field, f"{place}, {side}")
    for field in ("relation", "relation_name"):
        check_text(triple.get(field, _MISSING), field, place)
    if not triple["relation"]:
        _fail("relation", "", "the id of a relation", place)
    score = triple.get("score", _MISSING)
    is_number = isinstance(score, numbers.Real) and not isinstance(score, bool)
    if not (is_number and 0 <= score <= 1):
        _fail("score", score, "a number from 0 to 1", place)
    evidence = triple.get("evidence", _MISSING)
    if not isinstance(evidence, (list, tuple)) or not all(map(_is_index, evidence)):
        _fail("evidence", evidence, "a list of sentence indices", place)
    spans = triple.get("evidence_spans")
    if spans is not None and (not isinstance(spans, (list, tuple)) or not all(map(_is_span, spans))):
        _fail("evidence_spans", spans, "a list of [start, end)", place)


def check_text(value: Any, field: str, place: str) -> None:
    """
    Checks that a value is text that files can hold.

    Args:
        value (`Any`):
            The value.
        field (`str`):
            Name of its field, for the message.
        place (`str`):
            Where the field is, for the message.

    Raises:
        [`DocumentError`]: it is no string, or has a lone surrogate.
    """
    if not isinstance(value, str):
        _fail(field, value, "a string", place)
    if not value.isascii() and (surrogate := lone_surrogate(value)):
        _fail(field, value, f"text that UTF-8 can encode, without the lone surrogate {surrogate}", place)


def _is_index(value: Any) -> bool:
    # `type(x) is int` keeps out bool, which is an int to isinstance.
    return type(value) is int and value >= 0


def _is_span(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == 2 and all(map(_is_index, value))


def _fail(field: str, found: Any, expected: str, place: str) -> NoReturn:
    state = "is missing" if found is _MISSING else f"is {quote(found)}"
    raise DocumentError(f"{place}: {field!r} {state}, expected {expected}")


__all__ = ["check_text", "check_triple"]
