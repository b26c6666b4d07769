"""Checks that numbers are not too small."""

from typing import Any


def check_at_least(least: float, arguments: Any, *names: str) -> None:
    """
    Checks that fields of a dataclass are not too small.

    Args:
        least (`float`):
            The smallest allowed value.
        arguments (`Any`):
            An object with the fields.
        names (`str`):
            Names of the fields. `None` is allowed.

    Raises:
        `ValueError`: a value is too small. The message names the field.
    """
    for name in names:
        value = getattr(arguments, name)
        if value is not None and value < least:
            raise ValueError(f"`{name}` must be at least {least}, got {value}")


__all__ = ["check_at_least"]
