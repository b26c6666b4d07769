"""Reads mentions, clusters and labels as the tools that find them name them."""

import math
import numbers
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from transformers.utils import logging

from .documents import ENCODABLE, DocumentError
from .quoting import lone_surrogate, quote


logger = logging.get_logger(__name__)

# A span of characters, [start, end).
Span = tuple[int, int]
# The place of a word in a mention, and the type of the mention.
Label = tuple[str, str]

# The keys of a mention in the rows of other tools: transformers, GLiNER, SpanMarker, and ours.
_STARTS, _ENDS = ("start", "char_start_index"), ("end", "char_end_index")
_TYPES = ("type", "entity_group", "label")

# spaCy's coreference component writes `doc.spans["coref_clusters_1"]`, fastcoref's `doc._.coref_clusters`.
_SPACY_CLUSTERS, _FASTCOREF_CLUSTERS = "coref_clusters_", "coref_clusters"
# The identifier of an entity that spaCy's linker knows to be in no knowledge base.
_SPACY_UNKNOWN = "NIL"

# "B-PER", "I_PER" and, of models that mark the last word and single words, "E-", "L-", "S-" and "U-".
_PREFIXED = re.compile(r"([BIELSU])[-_](.+)", re.DOTALL)
_PLACES = {"B": "B", "I": "I", "E": "E", "L": "E", "S": "S", "U": "S"}
_OUTSIDE = frozenset({"o", "out", "outside", "none", "x", "pad", "[pad]", "<pad>", "[cls]", "[sep]"})
_GENERIC = re.compile(r"LABEL_\d+")

# Types of common extractors (CoNLL, OntoNotes, GLiNER's usual labels) in capitals, and those of DocRED that they mean.
# OntoNotes's NORP are nationalities, which are LOC in DocRED, and religious and political groups, which are ORG there.
_COMMON_TYPES = {
    "PERSON": "PER",
    "PEOPLE": "PER",
    "ORGANIZATION": "ORG",
    "ORGANISATION": "ORG",
    "COMPANY": "ORG",
    "LOCATION": "LOC",
    "PLACE": "LOC",
    "COUNTRY": "LOC",
    "CITY": "LOC",
    "GPE": "LOC",
    "FAC": "LOC",
    "NORP": "LOC",
    "DATE": "TIME",
    "YEAR": "TIME",
    "CARDINAL": "NUM",
    "ORDINAL": "NUM",
    "QUANTITY": "NUM",
    "PERCENT": "NUM",
    "MONEY": "NUM",
    "NUMBER": "NUM",
    "PRODUCT": "MISC",
    "EVENT": "MISC",
    "WORK_OF_ART": "MISC",
    "LAW": "MISC",
    "LANGUAGE": "MISC",
}

_ROW_HELP = "expected rows such as {'start': 0, 'end': 15, 'type': 'PER'}, [start, end) in characters"


@dataclass
class FoundMentions:
    """
    What a tool found in a text.

    Args:
        mentions (`list[dict]`):
            The mentions, each with `start` and `end` in characters, `end` not included, `type` and, if the tool gave
            them, `score` and `kb_id`.
        clusters (`list[list[tuple[int, int]]]`):
            Spans that mean the same, of mentions and of other words such as pronouns. Empty if there was no
            coreference model.
    """

    mentions: list[dict[str, Any]] = field(default_factory=list)
    clusters: list[list[Span]] = field(default_factory=list)


def read_mentions(found: Any, text: str, source: str, clusters: Any = None) -> FoundMentions:
    r"""
    Reads mentions, and clusters if any, in the form of the tool that found them.

    White space at the ends of a mention is left out.

    Args:
        found (`Any`):
            One of

            - rows with `start`, `end` and one of `type`, `entity_group` (transformers) and `label` (GLiNER);
            - rows with `char_start_index`, `char_end_index` and `label` (SpanMarker);
            - a spaCy `Doc`: its `ents`, and its clusters in `doc.spans["coref_clusters_*"]` or
              `doc._.coref_clusters` (fastcoref's component);
            - a mapping with `mentions`, any of these, and `clusters`, as below.

            Rows may have a `score` and a `kb_id`, the identifier of the entity in a knowledge base.
        text (`str`):
            The text.
        source (`str`):
            Document and tool, for messages.
        clusters (`Any`, *optional*):
            Clusters of another tool, one of

            - lists of [start, end) in characters, `end` not included;
            - a `CorefResult` of fastcoref;
            - the mapping that Maverick returns, whose ends are included;
            - a spaCy `Doc`.

    Returns:
        [`FoundMentions`]

    Raises:
        [`DocumentError`]: it is none of these, or a span is outside the text. The message begins with `source`.
    """
    if isinstance(found, Mapping) and "mentions" in found:
        return read_mentions(found["mentions"], text, source, found.get("clusters") if clusters is None else clusters)
    if hasattr(found, "ents"):
        if found.text != text:
            raise DocumentError(f"{source}: the spaCy Doc has the text {quote(found.text)}, and not {quote(text)}")
        rows = [row_of_spacy_span(span) for span in found.ents]
        clusters = found if clusters is None else clusters
    elif isinstance(found, (list, tuple)):
        rows = list(found)
    else:
        raise DocumentError(f"{source}: found {quote(found)}, {_ROW_HELP}")
    return FoundMentions(
        [_read_row(row, text, f"{source}, mention {index}") for index, row in enumerate(rows)],
        [] if clusters is None else _read_clusters(clusters, text, source),
    )


def row_of_spacy_span(span: Any) -> dict[str, Any]:
    """Returns the row of a spaCy `Span`, with its `kb_id` if it was linked."""
    linked = span.kb_id_ if span.kb_id_ not in ("", _SPACY_UNKNOWN) else None
    return {"start": span.start_char, "end": span.end_char, "type": span.label_, "kb_id": linked}


def _read_row(row: Any, text: str, place: str) -> dict[str, Any]:
    if not isinstance(row, Mapping):
        raise DocumentError(f"{place}: found {quote(row)}, {_ROW_HELP}")
    if "entity" in row and not any(name in row for name in _TYPES):
        raise DocumentError(
            f"{place}: found {quote(row)}, the label of one token: create the token-classification pipeline with "
            "`aggregation_strategy='first'`"
        )
    start, end, kind = (_first_of(row, names) for names in (_STARTS, _ENDS, _TYPES))
    if not isinstance(kind, str) or not kind:
        raise DocumentError(f"{place}: found {quote(row)} without a type, {_ROW_HELP}")
    if lone_surrogate(kind):
        raise DocumentError(f"{place}: 'type' is {quote(kind)}, expected {ENCODABLE}")
    start, end = _read_span((start, end), text, place)
    mention = {"start": start, "end": end, "type": kind}
    score, identifier = row.get("score"), row.get("kb_id")
    if score is not None:
        if not isinstance(score, numbers.Real) or not math.isfinite(score):
            raise DocumentError(f"{place}: 'score' is {quote(score)}, expected a finite number")
        mention["score"] = float(score)
    if identifier is not None:
        if not isinstance(identifier, str) or not identifier:
            raise DocumentError(f"{place}: 'kb_id' is {quote(identifier)}, expected a string that is not empty")
        if lone_surrogate(identifier):
            raise DocumentError(f"{place}: 'kb_id' is {quote(identifier)}, expected {ENCODABLE}")
        mention["kb_id"] = identifier
    return mention


def _first_of(row: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((row[name] for name in names if row.get(name) is not None), None)


def _read_span(span: Any, text: str, place: str) -> Span:
    """Checks a span, and leaves out the white space at its ends."""
    is_span = isinstance(span, (list, tuple)) and len(span) == 2
    if not is_span or not all(isinstance(at, numbers.Integral) and not isinstance(at, bool) for at in span):
        raise DocumentError(f"{place}: the span is {quote(span)}, expected [start, end), two integers")
    start, end = map(int, span)
    if not 0 <= start < end <= len(text):
        raise DocumentError(
            f"{place}: the span is {quote([start, end])}, expected [start, end) with 0 <= start < end <= {len(text)}, "
            "the length of the text"
        )
    words = text[start:end]
    if not words.strip():
        raise DocumentError(f"{place}: the span {quote([start, end])} is {quote(words, 60)}, white space")
    return start + len(words) - len(words.lstrip()), end - len(words) + len(words.rstrip())


def _read_clusters(found: Any, text: str, source: str) -> list[list[Span]]:
    clusters, end_shift = _clusters_of(found), 0
    if isinstance(clusters, Mapping) and "clusters_char_offsets" in clusters:  # Maverick includes the ends
        clusters, end_shift = clusters["clusters_char_offsets"], 1
    if not isinstance(clusters, (list, tuple)) or not all(isinstance(spans, (list, tuple)) for spans in clusters):
        raise DocumentError(
            f"{source}: the clusters are {quote(clusters)}, expected lists of [start, end), or what fastcoref, "
            "Maverick or spaCy return"
        )
    return [
        [
            _read_span(_moved(span, end_shift), text, f"{source}, cluster {number}, mention {index}")
            for index, span in enumerate(spans)
        ]
        for number, spans in enumerate(clusters)
    ]


def _moved(span: Any, end_shift: int) -> Any:
    is_span = (
        end_shift and isinstance(span, (list, tuple)) and len(span) == 2 and isinstance(span[1], numbers.Integral)
    )
    return (span[0], span[1] + end_shift) if is_span else span


def _clusters_of(found: Any) -> Any:
    """Returns the clusters of a result of fastcoref or of a spaCy `Doc`, and anything else as it is."""
    if hasattr(found, "get_clusters"):
        return found.get_clusters(as_strings=False)
    if not hasattr(found, "ents"):
        return found
    groups = [group for name, group in found.spans.items() if name.startswith(_SPACY_CLUSTERS)]
    if groups:
        return [[(span.start_char, span.end_char) for span in group] for group in groups]
    # The attribute is None before fastcoref's component has run.
    return (getattr(found._, _FASTCOREF_CLUSTERS) or []) if found.has_extension(_FASTCOREF_CLUSTERS) else []


def read_labels(id2label: Mapping[int, str]) -> list[Label]:
    """
    Reads the labels of a token-classification model.

    Args:
        id2label (`Mapping[int, str]`):
            The labels: `"O"` and, of each type, `"B-PER"` and `"I-PER"` (with or without `"E-PER"` and `"S-PER"`, or
            `"L-PER"` and `"U-PER"`), `"I-PER"` alone, or `"PER"`.

    Returns:
        `list[tuple[str, str]]`: the place in a mention and the type of each label, in the order of the classes. Places
        are `"B"` (first word), `"I"` (any other, and the first word after another type), `"E"` (last word), `"S"`
        (only word) and `"O"` (no mention, type `""`).

    Raises:
        `ValueError`: no label means that a word is in no mention, or none names a type.
    """
    names = [str(id2label[index]) for index in sorted(id2label)]
    labels: list[Label] = []
    for name in names:
        prefixed = _PREFIXED.fullmatch(name)
        if name.casefold() in _OUTSIDE:
            labels.append(("O", ""))
        elif prefixed is not None:
            labels.append((_PLACES[prefixed[1]], prefixed[2]))
        else:
            labels.append(("I", name))
    if all(map(_GENERIC.fullmatch, names)):
        raise ValueError(
            f"the labels of the token-classification model are {quote(names, 60)}, which name no types: set "
            "`id2label` in its configuration, such as {0: 'O', 1: 'B-PER', 2: 'I-PER'}"
        )
    places = {place for place, _ in labels}
    if "O" not in places or len(places) == 1:
        raise ValueError(
            f"the labels of the token-classification model are {quote(names, 60)}, expected 'O' for words outside "
            "mentions, and labels with types such as 'B-PER' and 'I-PER'"
        )
    return labels


class TypeMap:
    """
    The model's type for every type of an extractor.

    Warns once of each type that the model does not know.

    Args:
        given (`Mapping[str, str | None]`, *optional*):
            The `type_map` of the user: types of the extractor, and the model's for them, or `None` to leave such
            mentions out.
        known (`Collection[str]`, *optional*):
            The types that the model knows. By default, any type stays.

    Raises:
        `ValueError`: `given` is no mapping, or maps to a type that the model does not know.
    """

    def __init__(self, given: Mapping[str, str | None] | None, known: Collection[str] | None):
        if given is not None and not isinstance(given, Mapping):
            raise ValueError(f"`type_map` is {quote(given)}, expected a mapping of types to types or None")
        self.given, self.known = dict(given or {}), None if known is None else sorted(known)
        self.warned: set[str] = set()
        for kind, target in self.given.items():
            if target is not None and not isinstance(target, str):
                raise ValueError(f"`type_map` maps {kind!r} to {quote(target)}, expected a type or None")
            if target is not None and self.known is not None and target not in self.known:
                raise ValueError(f"`type_map` maps {kind!r} to {target!r}, but the model knows {self.known}")

    def __getitem__(self, kind: str) -> str | None:
        if kind in self.given or self.known is None or kind in self.known:
            return self.given.get(kind, kind)
        same = [known for known in self.known if known.casefold() == kind.casefold()]
        target = same[0] if same else _COMMON_TYPES.get(kind.upper())
        if target in self.known:
            return target
        if kind not in self.warned:
            self.warned.add(kind)
            logger.warning(
                f"the model does not know the entity type {quote(kind)} (it knows {', '.join(self.known)}): pass "
                f"`type_map={{{kind!r}: ...}}`, with None to leave such mentions out"
            )
        return kind

    def warn_of_given(self, kinds: Iterable[str]) -> None:
        """Warns once of each unknown type of given entities, which are not mapped."""
        unknown = () if self.known is None else sorted(set(kinds) - set(self.known) - self.warned)
        self.warned.update(unknown)
        for kind in unknown:
            logger.warning(
                f"the model does not know the entity type {quote(kind)} of a given entity (it knows "
                f"{', '.join(self.known or ())})"
            )


__all__ = ["FoundMentions", "Label", "Span", "TypeMap", "read_labels", "read_mentions"]
