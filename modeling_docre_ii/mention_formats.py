"""Reads mentions and coreference clusters as the tools that find them print them."""

import math
import numbers
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .documents import DocumentError
from .quoting import quote


# A span of characters, [start, end).
Span = tuple[int, int]

# The keys of a mention in the rows of other tools: transformers, GLiNER, SpanMarker, and ours.
_STARTS, _ENDS = ("start", "char_start_index"), ("end", "char_end_index")
_TYPES = ("type", "entity_group", "label")

# spaCy's coreference component writes `doc.spans["coref_clusters_1"]`, fastcoref's `doc._.coref_clusters`.
_SPACY_CLUSTERS, _FASTCOREF_CLUSTERS = "coref_clusters_", "coref_clusters"
# The identifier of an entity that spaCy's linker knows to be in no knowledge base.
_SPACY_UNKNOWN = "NIL"

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


__all__ = ["FoundMentions", "Span", "read_mentions"]
