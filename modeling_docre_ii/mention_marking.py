"""What the model reads of a document: its text with the mentions marked, and its candidate pairs."""

from collections.abc import Mapping
from typing import Any


MENTION_ANCHORS = ("marker", "token")


def mark_mentions(
    document: Mapping[str, Any], marker: str, mark_types: bool = False, mention_anchor: str = "marker"
) -> tuple[str, list[int], list[int]]:
    """
    Writes a document as plain text with its mentions marked.

    Args:
        document (`dict`):
            A document in DocRED's form.
        marker (`str`):
            What is put before and after every distinct span.
        mark_types (`bool`, *optional*, defaults to `False`):
            Whether the type follows the opening marker; that of the first mention where several share a span.
        mention_anchor (`str`, *optional*, defaults to `"marker"`):
            Whether the place of a mention is that of its opening marker or, `"token"`, that of its first token.

    Returns:
        `tuple(str, list[int], list[int])`: the text; the character where every mention is anchored, entity by entity;
        and the entity of every mention.
    """
    type_of_span: dict[tuple[int, int, int], str] = {}
    for mentions in document["vertexSet"]:
        for mention in mentions:
            type_of_span.setdefault((mention["sent_id"], *mention["pos"]), mention["type"])
    opened: dict[tuple[int, int], list[int]] = {}
    closed: dict[tuple[int, int], int] = {}
    for sentence, start, end in type_of_span:
        opened.setdefault((sentence, start), []).append(end)
        closed[sentence, end] = closed.get((sentence, end), 0) + 1

    pieces: list[str] = []
    character_of_span, character_of_token = {}, {}
    character = 0
    for sentence, tokens in enumerate(document["sents"]):
        for position in range(len(tokens) + 1):
            for _ in range(closed.get((sentence, position), 0)):
                pieces.append(marker)
                character += len(marker) + 1
            # The longest span opens first, so that nested spans close in the right order.
            for end in sorted(opened.get((sentence, position), ()), reverse=True):
                character_of_span[sentence, position, end] = character
                opening = f"{marker} {type_of_span[sentence, position, end]}" if mark_types else marker
                pieces.append(opening)
                character += len(opening) + 1
            if position < len(tokens):
                character_of_token[sentence, position] = character
                pieces.append(tokens[position])
                character += len(tokens[position]) + 1

    characters, entities = [], []
    for entity, mentions in enumerate(document["vertexSet"]):
        for mention in mentions:
            span = (mention["sent_id"], *mention["pos"])
            characters.append(character_of_token[span[:2]] if mention_anchor == "token" else character_of_span[span])
            entities.append(entity)
    return " ".join(pieces), characters, entities


def candidate_pairs(
    document: Mapping[str, Any], candidate_types: list[list[str]] | None, skip_uncounted: bool = False
) -> list[list[bool]]:
    """
    Says which pairs of entities can be related.

    Args:
        document (`dict`):
            A document in DocRED's form.
        candidate_types (`list[list[str]]`, *optional*):
            Allowed types (head, tail); every pair of different entities without it.
        skip_uncounted (`bool`, *optional*, defaults to `False`):
            Whether the pairs in `uncounted` are none.

    Returns:
        `list[list[bool]]`: a matrix of N rows (heads) and N columns (tails), the diagonal `False`.
    """
    pair_mask = _allowed_pairs(document, candidate_types)
    for pair in (document.get("uncounted") or ()) if skip_uncounted else ():
        pair_mask[pair["h"]][pair["t"]] = False
    return pair_mask


def _allowed_pairs(document, candidate_types) -> list[list[bool]]:
    num_entities = len(document["vertexSet"])
    if candidate_types is None:
        return [[head != tail for tail in range(num_entities)] for head in range(num_entities)]
    types = [{mention["type"] for mention in mentions} for mentions in document["vertexSet"]]
    allowed = [tuple(pair) for pair in candidate_types]
    return [
        [
            head != tail and any(first in types[head] and second in types[tail] for first, second in allowed)
            for tail in range(num_entities)
        ]
        for head in range(num_entities)
    ]
