"""Converts plain text with character spans to a document in DocRED's form."""

import numbers
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from transformers.utils import logging

from .documents import ENTITIES_HELP, DocumentError, check_document, is_plain_text, is_raw_text, name_of
from .mention_formats import read_mentions
from .quoting import lone_surrogate, quote


try:
    from syntok import segmenter
    from syntok.tokenizer import Tokenizer
except ImportError:  # users who load a checkpoint with `trust_remote_code` may not have it
    segmenter = None


logger = logging.get_logger(__name__)

# A span of characters, [start, end).
Span = tuple[int, int]

# Some corpora mark parts of words on purpose, "hyper" in "pseudohypertension". They must not flood the log.
_MAX_WARNINGS = 10
_warned: set[str] = set()


def document_from_text(
    title: str, text: str, entities: Sequence[Mapping[str, Any]], breaks: Sequence[int] = ()
) -> dict[str, Any]:
    """
    Converts plain text and character spans of mentions to a document.

    syntok splits the text into sentences and words. A word is split where a mention begins or ends inside it, so that
    every mention consists of whole tokens. Two sentences are joined if a mention spans both. Only white space is lost.

    Args:
        title (`str`):
            Name of the document. Scores and errors refer to it.
        text (`str`):
            The text.
        entities (`Sequence[Mapping]`):
            The entities, each with `mentions`, a list of [start, end) in characters of `text`, a `type`, and
            optionally a `kb_id`.
        breaks (`Sequence[int]`, *optional*):
            Characters at which a sentence must begin, such as after a heading.

    Returns:
        `dict`: the document with `title`, `sents`, `vertexSet` in the order of `entities`, and empty `labels`.

    Raises:
        `ImportError`: syntok is not installed.
        [`DocumentError`]: the text is not a string or the entities are not a list, an entity has no mentions or no
            type, or a span is outside the text or begins or ends with white space. The message names the document,
            the entity and the mention.

    Example:

    ```python
    >>> document_from_text("1", "Naloxone reverses clonidine.", [{"mentions": [[0, 8]], "type": "Chemical"}])["sents"]
    [['Naloxone', 'reverses', 'clonidine', '.']]
    ```
    """
    _check(title, text, entities)
    if segmenter is None:
        raise ImportError("plain text is split into sentences and words by syntok: `pip install syntok`")
    spans = {(int(start), int(end)) for entity in entities for start, end in entity["mentions"]}
    sentences = _split(text, breaks, spans)
    sentence_at, token_at, token_before = {}, {}, {}
    for sentence, tokens in enumerate(sentences):
        for token, (start, end) in enumerate(tokens):
            sentence_at[start], token_at[start], token_before[end] = sentence, token, token + 1

    def mention(entity: Mapping[str, Any], start: int, end: int) -> dict[str, Any]:
        described = {
            "name": text[start:end],
            "sent_id": sentence_at[start],
            "pos": [token_at[start], token_before[end]],
            "type": entity["type"],
        }
        return described if entity.get("kb_id") is None else {**described, "kb_id": entity["kb_id"]}

    return {
        "title": title,
        "sents": [[text[start:end] for start, end in tokens] for tokens in sentences],
        "vertexSet": [[mention(entity, start, end) for start, end in entity["mentions"]] for entity in entities],
        "labels": [],
    }


def document_of(given: Any) -> Any:
    """
    Converts a plain text with entities to a document.

    Anything else is returned unchanged. Mentions that cut a word are probably off by one, and cause a warning.

    Args:
        given (`Mapping`):
            A document in DocRED's form, or a mapping with `title`, `text`, `entities` as [`document_from_text`] takes
            them and, for training, `labels` and `uncounted`.

    Returns:
        `dict`: the document, not checked.

    Raises:
        [`DocumentError`]: a plain text is malformed or has no word.
    """
    if not isinstance(given, Mapping) or not is_plain_text(given):
        return given
    fields: dict[str, Any] = {"title": None, "entities": None, **given}
    title, text, entities = fields["title"], fields["text"], fields["entities"]
    check_text(title, text, entities)
    document = document_from_text(title, text, entities)
    _warn_of_cut_words(title, text, entities)
    uncounted = given.get("uncounted")
    return document | {"labels": given.get("labels")} | ({} if uncounted is None else {"uncounted": uncounted})


def sentence_spans(text: str, sentences: Sequence[Sequence[str]]) -> list[Span]:
    """
    Returns the characters of every sentence of a plain text.

    Args:
        text (`str`):
            The text.
        sentences (`list[list[str]]`):
            `sents` of its document from [`document_from_text`], which only loses white space.

    Returns:
        `list[tuple[int, int]]`: [start, end) of each sentence.
    """
    spans, end = [], 0
    for tokens in sentences:
        start = text.index(tokens[0], end)
        for token in tokens:
            end = text.index(token, end) + len(token)
        spans.append((start, end))
    return spans


def check_text(title: Any, text: Any, entities: Any) -> None:
    """
    Checks a plain text that a model is to read, and its entities.

    Args:
        title (`str`):
            Name of the document, for the message.
        text (`str`):
            The text.
        entities (`Sequence[Mapping]`):
            Its entities, as for [`document_from_text`].

    Raises:
        [`DocumentError`]: as for [`document_from_text`], or the text has no word.
    """
    _check(title, text, entities)
    check_raw_text(title, text)


def check_raw_text(title: Any, text: Any) -> None:
    """
    Checks a plain text that a model is to read.

    Args:
        title (`str`):
            Name of the document, for the message.
        text (`str`):
            The text.

    Raises:
        [`DocumentError`]: text or title is not a string that UTF-8 can encode, or has no word.
    """
    name = _check_string(title, text)
    if not text.split():
        raise DocumentError(f"{name}: 'text' is {quote(text)}, expected at least one word")
    if not isinstance(title, str) or not title.strip():
        raise DocumentError(f"{name}: 'title' is {quote(title)}, expected a non-empty string")
    if surrogate := lone_surrogate(title):
        raise DocumentError(f"{name}: 'title' {_not_encodable(title, surrogate)}")


def check_given(document: Any) -> None:
    """
    Checks a document as users of the pipeline pass it. Does not split a plain text.

    Args:
        document (`str` or `dict`):
            A text, a mapping with `text`, or a document in DocRED's form.

    Raises:
        [`DocumentError`]: it is malformed.
    """
    document = with_title(document)
    found = [field for field in ("mentions", "clusters") if document.get(field) is not None]
    if is_raw_text(document):
        check_raw_text(document.get("title"), document["text"])
        if found:
            mentions = document["mentions"] if "mentions" in found else []
            read_mentions(mentions, document["text"], f"{name_of(document)}: 'mentions'", document.get("clusters"))
    elif is_plain_text(document):
        if found:
            raise DocumentError(f"{name_of(document)} has 'entities' and {found[0]!r}, expected only one of them")
        check_text(document.get("title"), document["text"], document["entities"])
    else:
        check_document(document)


def check_is_no_table(documents: Any) -> None:
    """
    Checks that documents are not a table.

    Iterating over it gives its columns, not its rows.

    Raises:
        [`DocumentError`]: they are a table, such as a `DataFrame`, or bytes.
    """
    if isinstance(documents, (bytes, bytearray)):
        raise DocumentError(f"found {quote(documents)}, bytes, expected a text: decode them")
    if hasattr(documents, "columns"):
        raise DocumentError(
            f"found a {type(documents).__name__}, expected documents: pass its rows, such as "
            "`frame.to_dict('records')`"
        )


def check_documents(documents: Sequence[Any]) -> None:
    """
    Checks a list of documents as users of the pipeline pass it.

    Raises:
        [`DocumentError`]: one of them is malformed. The message has its index.
    """
    for _ in checked_documents(documents):
        pass


def checked_documents(documents: Iterable[Any], first: int = 0) -> Iterator[Any]:
    """Yields documents, each checked. Errors have its index, counted from `first`."""
    for index, document in enumerate(documents, first):
        try:
            check_given(document)
        except DocumentError as error:
            raise DocumentError(f"documents[{index}]: {error}") from None
        yield document


def with_title(document: Any) -> dict[str, Any]:
    """
    Returns a document without its labels, and a plain text with a title.

    Args:
        document (`str` or `dict`):
            A document as users of the pipeline pass it.

    Raises:
        [`DocumentError`]: it is no document at all.
    """
    if isinstance(document, str):
        document = {"text": document}
    if not isinstance(document, Mapping):
        raise DocumentError(f"found {quote(document)}, expected a document, a mapping. {ENTITIES_HELP}")
    if not {"sents", "text"} & set(document):
        raise DocumentError(
            f"{name_of(document)} has the keys {quote(list(document))}, expected a text with 'text' and "
            "'entities', or a document with 'title', 'sents' and 'vertexSet'"
        )
    # Prediction needs no labels, which are class indices in a row of a built dataset.
    document = {name: value for name, value in document.items() if name != "labels"}
    if isinstance(document.get("text"), str) and document.get("title") is None:
        document["title"] = _first_words(document["text"])
    return document


def _first_words(text: str, length: int = 40) -> str:
    """Returns a title for a text without one, for error messages."""
    text = " ".join(text.split())
    return text if len(text) <= length else text[: length - 3] + "..."


def _check_string(title: Any, text: Any) -> str:
    name = name_of({"title": title})
    if not isinstance(text, str):
        raise DocumentError(f"{name}: 'text' is {quote(text)}, expected a string")
    if surrogate := lone_surrogate(text):
        raise DocumentError(f"{name}: 'text' {_not_encodable(text, surrogate)}")
    return name


def _check(title: Any, text: Any, entities: Any) -> None:
    name = _check_string(title, text)
    if entities is None:
        raise DocumentError(f"{name}: 'entities' is missing. {ENTITIES_HELP}")
    if not isinstance(entities, (list, tuple)):
        raise DocumentError(f"{name}: 'entities' is {quote(entities)}, expected a list of entities. {ENTITIES_HELP}")
    check_entities(text, entities, f"{name}, ")


def check_entities(text: str, entities: Any, prefix: str = "") -> None:
    """
    Checks the entities of a plain text.

    Args:
        text (`str`):
            The text.
        entities (`list[dict]`):
            The entities, as for [`document_from_text`].
        prefix (`str`, *optional*, defaults to `""`):
            Beginning of messages.

    Raises:
        [`DocumentError`]: they are malformed.
    """
    if not isinstance(entities, (list, tuple)):
        raise DocumentError(f"{prefix}'entities': found {quote(entities)}, expected a list of entities")
    for index, entity in enumerate(entities):
        _check_entity(entity, text, f"{prefix}entity {index}")


def _check_entity(entity: Any, text: str, place: str) -> None:
    is_entity = isinstance(entity, Mapping) and isinstance(entity.get("type"), str)
    if not is_entity or not isinstance(entity.get("mentions"), (list, tuple)) or not entity["mentions"]:
        raise DocumentError(
            f"{place}: found {quote(entity)}, expected a mapping with 'mentions', a non-empty list of spans, "
            "and 'type', a string, such as {'type': 'PER', 'mentions': [[0, 15]]}"
        )
    for field in ("type", "kb_id"):
        value = entity.get(field)
        if value is not None and not isinstance(value, str):
            raise DocumentError(f"{place}: {field!r} is {quote(value)}, expected a string")
        if value is not None and (surrogate := lone_surrogate(value)):
            raise DocumentError(f"{place}: {field!r} {_not_encodable(value, surrogate)}")
    for index, span in enumerate(entity["mentions"]):
        _check_span(span, text, f"{place}, mention {index}")


def _check_span(span: Any, text: str, place: str) -> None:
    if not isinstance(span, (list, tuple)) or len(span) != 2 or not all(map(_is_integer, span)):
        raise DocumentError(f"{place}: the span is {quote(span)}, expected [start, end), two integers")
    if not 0 <= span[0] < span[1] <= len(text):
        raise DocumentError(
            f"{place}: the span is {quote(span)}, expected [start, end) with 0 <= start < end <= {len(text)}, the "
            "length of the text"
        )
    mention = text[span[0] : span[1]]
    if mention != mention.strip():
        raise DocumentError(
            f"{place}: the span {quote(span)} is {quote(mention, 60)}, expected no white space at its ends"
        )


def _not_encodable(value: str, surrogate: str) -> str:
    return f"is {quote(value)}, expected text that UTF-8 can encode, without the lone surrogate {surrogate}"


def _is_integer(value: Any) -> bool:
    # Offsets from a tagger may be NumPy integers.
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _warn_of_cut_words(title: Any, text: str, entities: Sequence[Mapping[str, Any]]) -> None:
    """Warns of mentions that begin or end inside a word, in one line a document."""
    cut = [
        (entity_index, mention_index, span)
        for entity_index, entity in enumerate(entities)
        for mention_index, span in enumerate(entity["mentions"])
        if _is_inside_word(text, span[0]) or _is_inside_word(text, span[1])
    ]
    if not cut:
        return
    entity_index, mention_index, (start, end) = cut[0]
    offset = start if _is_inside_word(text, start) else end
    word = next(match.group() for match in re.finditer(r"\w+", text) if match.start() < offset < match.end())
    message = (
        f"{name_of({'title': title})}, entity {entity_index}, mention {mention_index}: the span [{start}, {end}] is "
        f"{quote(text[start:end], 60)} and cuts the word {quote(word, 60)}, expected [start, end) in characters, "
        "`end` not included"
    )
    if len(cut) > 1:
        message += f" ({len(cut)} mentions of this document cut a word)"
    if message in _warned or len(_warned) == _MAX_WARNINGS:
        return
    _warned.add(message)
    logger.warning(message + ("; further documents are not reported" if len(_warned) == _MAX_WARNINGS else ""))


def _is_inside_word(text: str, offset: int) -> bool:
    """
    Returns whether two letters, or two digits, meet at an offset.

    Only letters with case count. Chinese and Japanese put no space between words, and Hebrew and Arabic write articles
    and prepositions as part of them. Their letters have no case.
    """
    if not 0 < offset < len(text):
        return False
    before, after = text[offset - 1], text[offset]
    if before.isdecimal() and after.isdecimal():
        return True
    return all(letter.isalpha() and letter.lower() != letter.upper() for letter in (before, after))


def _split(text: str, breaks: Sequence[int], spans: Iterable[Span]) -> list[list[Span]]:
    """Splits a text into sentences, each a list of token spans."""
    edges = {offset for span in spans for offset in span}
    starts, tokenizer = set(), Tokenizer(replace_not_contraction=False)
    for section_start, section_end in pairwise(sorted({0, *breaks, len(text)})):
        # `segmenter.analyze` does the same, in time that is quadratic in the number of paragraphs.
        for offset, paragraph in segmenter.preprocess_with_offsets(text[section_start:section_end]):
            first = section_start + offset
            for sentence in segmenter.segment(tokenizer.tokenize(paragraph)):
                starts.add(first + sentence[0].offset)
                for token in sentence:
                    edges.update((first + token.offset, first + token.offset + len(token.value)))
    sentence_edges = [0, *_between_mentions(starts, spans, len(text)), len(text)]
    # Both lists are sorted, so that every edge is looked at once, in the sentence that it is in.
    token_edges, position = sorted(edges), 0
    sentences = []
    for start, end in pairwise(sentence_edges):
        cuts = [start]
        while position < len(token_edges) and token_edges[position] < end:
            if token_edges[position] > start:
                cuts.append(token_edges[position])
            position += 1
        sentences.append(_tokens(text, [*cuts, end]))
    return [tokens for tokens in sentences if tokens]


def _between_mentions(starts: Iterable[int], spans: Iterable[Span], length: int) -> Iterator[int]:
    """Yields the sentence starts inside the text that are not inside a mention, in order."""
    by_start = sorted(spans)
    position, last_end = 0, 0
    for start in sorted(starts):
        while position < len(by_start) and by_start[position][0] < start:
            last_end = max(last_end, by_start[position][1])
            position += 1
        if last_end <= start and 0 < start < length:
            yield start


def _tokens(text: str, cuts: Sequence[int]) -> list[Span]:
    # White space and the hyphens of compounds, which syntok leaves out of its tokens, are between two edges as well.
    return [
        (word.start() + left, word.end() + left)
        for left, right in pairwise(cuts)
        for word in re.finditer(r"\S+", text[left:right])
    ]
