"""Marks the mentions of a document in the text that the encoder reads."""

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
            Token before and after every distinct span.
        mark_types (`bool`, *optional*, defaults to `False`):
            Whether the type follows the opening marker. Mentions that share a span have the type of the first.
        mention_anchor (`str`, *optional*, defaults to `"marker"`):
            Anchor of a mention: its opening `"marker"`, or the first `"token"` of its text.

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
