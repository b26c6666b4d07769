"""Joins tokens to text, with the characters of every token."""

import re
from collections.abc import Sequence


# A span of characters, [start, end).
Span = tuple[int, int]

# Tokens of these characters have no space before them, or after them.
_CLOSING = re.compile(r"[,.;:!?)\]}%…”°]+")
_OPENING = re.compile(r".*[(\[{“‘]|[$£€#]")
# What English tokenizers cut from the end of a word.
_CLITIC = re.compile(r"['’](s|m|d|re|ve|ll)|n['’]t", re.IGNORECASE)
_JOINING = frozenset("-/—")
_RANGE = re.compile(r"\d+(\.\d+)?")


def join_by_spaces(sentences: Sequence[Sequence[str]]) -> tuple[str, list[list[Span]]]:
    """
    Joins the tokens of sentences with one space between them.

    Args:
        sentences (`list[list[str]]`):
            The tokens of each sentence.

    Returns:
        `tuple[str, list[list[tuple[int, int]]]]`: the text, and [start, end) of every token in it.
    """
    return _join(sentences, [[True] * len(tokens) for tokens in sentences])


def detokenize(sentences: Sequence[Sequence[str]]) -> tuple[str, list[list[Span]]]:
    """
    Joins the tokens of sentences to a text as people write it.

    Spaces are left out before closing punctuation and the likes of "'s", after opening brackets, inside quotation
    marks, and around hyphens and slashes. A tokenizer loses where the spaces were, so this is a guess: a straight
    quotation mark opens and closes in turn, and a dash is a range only between numbers.

    Args:
        sentences (`list[list[str]]`):
            The tokens of each sentence.

    Returns:
        `tuple[str, list[list[tuple[int, int]]]]`: the text, and [start, end) of every token in it.

    Example:

    ```python
    >>> detokenize([["Burnin", "'", "(", "1997", ")", ",", "the", "band", "'s", "\"", "hit", "\"", "."]])[0]
    'Burnin\' (1997), the band\'s "hit".'
    ```
    """
    return _join(sentences, [_spaces(tokens) for tokens in sentences])


def _join(sentences: Sequence[Sequence[str]], spaces: list[list[bool]]) -> tuple[str, list[list[Span]]]:
    parts: list[str] = []
    length = 0
    spans: list[list[Span]] = []
    for tokens, has_space in zip(sentences, spaces):
        spans.append([])
        for index, token in enumerate(tokens):
            if parts and (index == 0 or has_space[index]):
                parts.append(" ")
                length += 1
            spans[-1].append((length, length + len(token)))
            parts.append(token)
            length += len(token)
    return "".join(parts), spans


def _spaces(tokens: Sequence[str]) -> list[bool]:
    """Returns for every token of a sentence whether a space is before it."""
    before, is_open = [], {'"': False, "'": False}
    glue = True  # Nothing is before the first token.
    for index, token in enumerate(tokens):
        has_space, glue_next = not glue, False
        if token in is_open:
            opens = not is_open[token] and (token == '"' or _opens(tokens, index))
            is_open[token] = opens
            has_space, glue_next = has_space and opens, opens
        elif token in _JOINING or (token == "–" and _is_range(tokens, index)):
            has_space, glue_next = False, True
        elif _CLOSING.fullmatch(token) or _CLITIC.fullmatch(token) or token == "’":
            has_space = False
        elif not token.strip():
            has_space, glue_next = False, True
        elif _OPENING.fullmatch(token):
            glue_next = True
        before.append(has_space)
        glue = glue_next
    return before


def _opens(tokens: Sequence[str], index: int) -> bool:
    """Returns whether an apostrophe opens a quotation: another follows in the sentence, but not at once."""
    return "'" in tokens[index + 2 :] and (index == 0 or not tokens[index - 1].endswith(("s", "in")))


def _is_range(tokens: Sequence[str], index: int) -> bool:
    around = (tokens[index - 1 : index] or [""])[0], (tokens[index + 1 : index + 2] or [""])[0]
    return all(_RANGE.fullmatch(token) for token in around)


__all__ = ["detokenize", "join_by_spaces"]
