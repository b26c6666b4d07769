"""Words of messages."""


def counted(count: int, noun: str) -> str:
    """Returns a count with its noun: `"1 triple"`, `"1,389 triples"`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


__all__ = ["counted"]
