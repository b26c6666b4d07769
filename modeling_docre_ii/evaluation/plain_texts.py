"""Converts documents back to plain text with character spans."""

from collections.abc import Mapping
from typing import Any

from ..documents import check_document, is_plain_text
from ..text_documents import check_text
from ..triples import kb_id_of
from ..utils.detokenization import detokenize, join_by_spaces


def plain_text_of(document: Mapping[str, Any], spaced: bool = False) -> dict[str, Any]:
    """
    Converts a document to plain text with the character spans of its mentions.

    This undoes [`document_from_text`], but for the white space, which the tokens of a document do not tell:
    [`detokenize`] guesses it.

    Args:
        document (`Mapping`):
            A document in DocRED's form. A plain text with entities is returned as it is.
        spaced (`bool`, *optional*, defaults to `False`):
            Whether to put a space between all tokens instead.

    Returns:
        `dict`: `title`, `text`, `entities`, each with `type`, `mentions`, a list of [start, end), and the first
        `kb_id` of its mentions if they have one, and the `labels` and, if there are any, `uncounted` pairs of the
        document. A mention of nothing but white space is left out. An entity may be left
        without any, which extraction and scores refuse.

    Raises:
        [`DocumentError`]: the document is malformed.
    """
    if is_plain_text(document):
        check_text(document.get("title"), document["text"], document.get("entities"))
        return dict(document)
    check_document(document)
    text, tokens = (join_by_spaces if spaced else detokenize)(document["sents"])
    entities = []
    for mentions in document["vertexSet"]:
        spans = []
        for mention in mentions:
            first, last = mention["pos"]
            of_sentence = tokens[mention["sent_id"]]
            start, end = of_sentence[first][0], of_sentence[last - 1][1]
            name = text[start:end]
            if name.strip():
                spans.append([end - len(name.lstrip()), start + len(name.rstrip())])
        identifier = kb_id_of(mentions)
        described = {} if identifier is None else {"kb_id": identifier}
        entities.append({"type": mentions[0]["type"], "mentions": spans, **described})
    plain = {
        "title": document["title"],
        "text": text,
        "entities": entities,
        "labels": list(document.get("labels") or ()),
    }
    return plain if document.get("uncounted") is None else plain | {"uncounted": list(document["uncounted"])}


__all__ = ["plain_text_of"]
