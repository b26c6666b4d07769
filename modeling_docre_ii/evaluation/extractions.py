"""Extractions from raw text, and gold documents in the same form."""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple, NoReturn

# A metric of `evaluate` needs this file, so it imports only files of this folder.
from .matching import Fact, PredictionError, labels_of, quote


# A span of characters that are not white space, [start, end).
Span = tuple[int, int]

_MISSING = object()


class Extraction(NamedTuple):
    """
    What a system, or an annotator, found in a text.

    Texts and spans are those without white space, so that a text and its tokens are the same, whatever stood between
    two tokens.

    Args:
        text (`str`):
            The text without white space.
        entities (`list[dict[tuple[int, int], str]]`):
            The mentions of each entity: their spans in `text` and their types.
        facts (`set[tuple[int, int, str]]`):
            Head, tail and relation, entities as indices.
    """

    text: str
    entities: list[dict[Span, str]]
    facts: set[Fact]

    @property
    def clusters(self) -> list[frozenset[Span]]:
        """`list[frozenset]`: the set of mention spans of each entity."""
        return [frozenset(mentions) for mentions in self.entities]

    @property
    def types(self) -> list[str]:
        """`list[str]`: the type of each entity, that of its first mention."""
        return [next(iter(mentions.values())) for mentions in self.entities]


def read_prediction(prediction: Mapping[str, Any]) -> Extraction:
    """
    Reads what a system found in a text.

    Args:
        prediction (`dict`):
            `title`; `text`; `entities`, each with a `type` and `mentions`, [start, end) in characters; `triples`, each
            with a `relation`, and a `head` and a `tail`, whose `mentions` have `start` and `end`. A `type` of a head
            or a tail tells entities with the same mentions apart. Other keys are ignored, so the triples are those of
            the pipeline.

    Returns:
        [`Extraction`]

    Raises:
        [`PredictionError`]: A field is missing or malformed, or the head or tail of a triple is none of the entities.
            The message names the document and the field.
    """
    place = place_of(prediction)
    _check(prediction, "text", str, "a string", place)
    offsets = _offsets(prediction["text"])
    entities = _read_entities(prediction, offsets, place)
    # Two entities may differ in their types alone, which a triple may leave out.
    index_of_cluster: dict[tuple[frozenset[Span], str | None], int] = {}
    for index, mentions in enumerate(entities):
        for kind in (None, next(iter(mentions.values()))):
            index_of_cluster.setdefault((frozenset(mentions), kind), index)
    facts = set()
    for number, triple in enumerate(_check(prediction, "triples", list, "a list of triples", place)):
        where = f"{place}, triple {number}"
        _check_mapping(triple, where)
        relation = _check(triple, "relation", str, "a relation id, a string", where)
        head, tail = (_read_argument(triple, side, offsets, index_of_cluster, where) for side in ("head", "tail"))
        facts.add((head, tail, relation))
    return Extraction("".join(prediction["text"].split()), entities, facts)


def read_gold(document: Mapping[str, Any]) -> Extraction:
    """
    Reads a gold document.

    Args:
        document (`dict`):
            A document in DocRED's form, with `sents` and `vertexSet`, or a plain text, with `text` and `entities`;
            both with a `title` and `labels`.

    Returns:
        [`Extraction`]

    Raises:
        [`PredictionError`]: A field is missing or malformed, a label is on an entity that the document does not have,
            or its relation is no string.
    """
    place = place_of(document)
    if document.get("text"):
        text = "".join(_check(document, "text", str, "a string", place).split())
        entities = _read_entities(document, _offsets(document["text"]), place)
    else:
        sentences = _check(document, "sents", list, "a list of sentences", place)
        text = "".join("".join(token.split()) for sentence in sentences for token in sentence)
        entities = _read_vertices(document, place)
    facts = set()
    for number, label in enumerate(labels_of(document)):
        if not (0 <= label["h"] < len(entities) and 0 <= label["t"] < len(entities)):
            _fail(f"{place}, label {number}", label, f"entities below {len(entities)}")
        facts.add((label["h"], label["t"], label["r"]))
    return Extraction(text, entities, facts)


def place_of(document: Any) -> str:
    """
    Returns the name of a document in errors.

    Raises:
        [`PredictionError`]: It has no title.
    """
    _check_mapping(document, "document without a title")
    title = _check(document, "title", str, "a string", "document without a title")
    return f"document {quote(title, 80)}"


def _offsets(text: str) -> list[int]:
    """Returns for each character, and the end, how many before it are not white space."""
    return [0, *accumulate(not character.isspace() for character in text)]


def _read_entities(document: Mapping[str, Any], offsets: Sequence[int], place: str) -> list[dict[Span, str]]:
    entities = []
    for index, entity in enumerate(_check(document, "entities", list, "a list of entities", place)):
        where = f"{place}, entity {index}"
        _check_mapping(entity, where)
        kind = _check(entity, "type", str, "a string", where)
        spans = _check(entity, "mentions", list, "a list of spans", where)
        if not spans:
            _fail(f"{where}, 'mentions'", spans, "at least one span")
        read = [_read_span(span, offsets, f"{where}, mention {number}") for number, span in enumerate(spans)]
        entities.append(dict.fromkeys(read, kind))
    return entities


def _read_vertices(document: Mapping[str, Any], place: str) -> list[dict[Span, str]]:
    """Reads the entities of a document in DocRED's form."""
    offsets: list[list[int]] = []
    position = 0
    for sentence in document["sents"]:
        lengths = [len("".join(token.split())) for token in sentence]
        offsets.append(list(accumulate(lengths, initial=position)))
        position += sum(lengths)

    entities = []
    for index, mentions in enumerate(_check(document, "vertexSet", list, "a list of entities", place)):
        where = f"{place}, entity {index}"
        if not isinstance(mentions, (list, tuple)) or not mentions:
            _fail(where, mentions, "a non-empty list of mentions")
        kinds: dict[Span, str] = {}
        for number, mention in enumerate(mentions):
            span = _read_tokens(mention, offsets, f"{where}, mention {number}")
            kinds.setdefault(span, _check(mention, "type", str, "a string", f"{where}, mention {number}"))
        entities.append(kinds)
    return entities


def _read_tokens(mention: Any, offsets: Sequence[Sequence[int]], place: str) -> Span:
    """Returns the characters of the tokens of a mention."""
    _check_mapping(mention, place)
    sentence, tokens = mention.get("sent_id"), mention.get("pos")
    if type(sentence) is not int or not 0 <= sentence < len(offsets):
        _fail(f"{place}, 'sent_id'", sentence, f"a sentence, an integer below {len(offsets)}")
    length = len(offsets[sentence]) - 1
    is_span = isinstance(tokens, (list, tuple)) and len(tokens) == 2 and all(type(token) is int for token in tokens)
    if not is_span or not 0 <= tokens[0] < tokens[1] <= length:
        _fail(f"{place}, 'pos'", tokens, f"[start, end) with 0 <= start < end <= {length}, the length of the sentence")
    return offsets[sentence][tokens[0]], offsets[sentence][tokens[1]]


def _read_argument(
    triple: Mapping[str, Any],
    side: str,
    offsets: Sequence[int],
    index_of_cluster: Mapping[tuple[frozenset[Span], str | None], int],
    place: str,
) -> int:
    """Returns the entity that is the head or the tail of a triple."""
    where = f"{place}, {side}"
    entity: Any = triple.get(side)
    _check_mapping(entity, where)
    spans = set()
    for number, mention in enumerate(_check(entity, "mentions", list, "a list of mentions", where)):
        _check_mapping(mention, f"{where}, mention {number}")
        span = (mention.get("start"), mention.get("end"))
        spans.add(_read_span(span, offsets, f"{where}, mention {number}"))
    cluster = frozenset(spans)
    if (cluster, None) not in index_of_cluster:
        _fail(f"{where}, 'mentions'", entity["mentions"], "the mentions of one of the 'entities'")
    return index_of_cluster.get((cluster, entity.get("type")), index_of_cluster[cluster, None])


def _read_span(span: Any, offsets: Sequence[int], place: str) -> Span:
    is_span = isinstance(span, (list, tuple)) and len(span) == 2 and all(type(offset) is int for offset in span)
    if not is_span or not 0 <= span[0] < span[1] < len(offsets):
        _fail(place, span, f"[start, end) with 0 <= start < end <= {len(offsets) - 1}, the length of the text")
    return offsets[span[0]], offsets[span[1]]


def _check(mapping: Mapping[str, Any], field: str, kind: type, expected: str, place: str) -> Any:
    value = mapping.get(field, _MISSING)
    if value is _MISSING or not isinstance(value, (list, tuple) if kind is list else kind):
        found = "is missing" if value is _MISSING else f"is {quote(value)}"
        raise PredictionError(f"{place}: {field!r} {found}, expected {expected}")
    return value


def _check_mapping(value: Any, place: str) -> None:
    if not isinstance(value, Mapping):
        _fail(place, value, "a mapping")


def _fail(place: str, found: Any, expected: str) -> NoReturn:
    raise PredictionError(f"{place}: found {quote(found)}, expected {expected}")
