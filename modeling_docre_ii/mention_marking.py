"""Marks the mentions of a document; finds mentions and sentences among tokens."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from transformers import BatchEncoding


MENTION_ANCHORS = ("marker", "token", "span")


class MarkedText(NamedTuple):
    """
    The text of a document with its mentions marked.

    Args:
        text (`str`):
            The text.
        anchors (`list[list[tuple[int, int]]]`):
            First and last character of each piece of text that stands for a mention, entity by entity.
        entities (`list[int]`):
            Entity of every mention.
        sentences (`list[int]`):
            Character where every sentence begins, or would begin if it is empty.
    """

    text: str
    anchors: list[list[tuple[int, int]]]
    entities: list[int]
    sentences: list[int]


def mark_mentions(
    document: Mapping[str, Any], marker: str, mark_types: bool = False, mention_anchor: str = "marker"
) -> MarkedText:
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
            What stands for a mention: its opening `"marker"`, the beginning of its first `"token"`, or its whole
            `"span"`, without the markers in it.

    Returns:
        [`MarkedText`]
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
    sentences = []
    character = 0
    for sentence, tokens in enumerate(document["sents"]):
        sentences.append(character)
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

    anchors, entities = [], []
    for entity, mentions in enumerate(document["vertexSet"]):
        for mention in mentions:
            sentence, (start, end) = mention["sent_id"], mention["pos"]
            if mention_anchor == "span":
                tokens = document["sents"][sentence][start:end]
                firsts = [character_of_token[sentence, position] for position in range(start, end)]
                anchors.append([(first, first + len(token) - 1) for first, token in zip(firsts, tokens)])
            elif mention_anchor == "token":
                anchors.append([(character_of_token[sentence, start],) * 2])
            else:
                anchors.append([(character_of_span[sentence, start, end],) * 2])
            entities.append(entity)
    return MarkedText(" ".join(pieces), anchors, entities, sentences)


def tokens_of_mentions(encodings: BatchEncoding, document: int, marked: MarkedText) -> tuple[list[int], list[int]]:
    """
    Finds the tokens that stand for the mentions of a document.

    White space has no token. A mention without a visible character has the next one, at the latest that of its closing
    marker.

    Args:
        encodings ([`BatchEncoding`]):
            Output of the tokenizer for several documents.
        document (`int`):
            Index of the document.
        marked ([`MarkedText`]):
            Its text.

    Returns:
        `tuple(list[int], list[int])`: positions among the tokens of the document, and the entity of each.
    """
    positions, entities = [], []
    for anchor, entity in zip(marked.anchors, marked.entities):
        of_mention = [
            position for first, last in anchor for position in _tokens_of_text(encodings, document, first, last)
        ]
        if not of_mention:
            character = anchor[0][0]
            while (position := encodings.char_to_token(document, character)) is None:
                character += 1
            of_mention = [position]
        positions += of_mention
        entities += [entity] * len(of_mention)
    return positions, entities


def _tokens_of_text(encodings: BatchEncoding, document: int, first: int, last: int) -> range:
    """Returns the tokens from one character to another; there are none if the text between has no visible one."""
    while first <= last and (start := encodings.char_to_token(document, first)) is None:
        first += 1
    if first > last:
        return range(0)
    while (end := encodings.char_to_token(document, last)) is None:
        last -= 1
    return range(start, end + 1)


def sentences_of_tokens(
    encodings: BatchEncoding, document: int, marked: MarkedText, num_prefix_tokens: int, num_suffix_tokens: int
) -> list[int]:
    """
    Finds the sentence of every token of a document.

    Args:
        encodings ([`BatchEncoding`]):
            Output of the tokenizer for several documents.
        document (`int`):
            Index of the document.
        marked ([`MarkedText`]):
            Its text. Markers belong to the sentence of their mention.
        num_prefix_tokens, num_suffix_tokens (`int`):
            Number of special tokens before and after the text.

    Returns:
        `list[int]`: the sentence of every token, -1 for special tokens.
    """
    end = len(encodings["input_ids"][document]) - num_suffix_tokens
    ids = [-1] * num_prefix_tokens
    for sentence, character in enumerate([*marked.sentences[1:], len(marked.text)]):
        # White space at the end of a text has no piece, and nothing comes after it.
        while character < len(marked.text) and (start := encodings.char_to_token(document, character)) is None:
            character += 1
        following = start if character < len(marked.text) else end
        ids += [sentence] * (following - len(ids))
    return ids + [-1] * num_suffix_tokens
