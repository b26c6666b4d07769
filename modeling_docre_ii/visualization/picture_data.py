"""What a picture shows: documents and their triples, checked against each other."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from ..documents import DocumentError, is_raw_text, name_of
from ..pipeline_docre_ii import EncodedDocument, read_document
from ..quoting import quote
from ..text_documents import check_given, with_title
from .pages import entities_data, entity_types


_MISSING = object()
_SAME_DOCUMENT = "pass the document that the triples were extracted from"


def picture_data(documents: Iterable[Any], triples: Iterable[Any]) -> dict[str, Any]:
    """
    Returns the content of a picture.

    Args:
        documents (`Iterable[dict]`):
            Plain texts with `entities`, or documents in DocRED's form.
        triples (`Iterable[list[dict]]`):
            The triples of each document, from the pipeline.

    Returns:
        `dict`: `types` and `documents`. Each document has `title`, `sents` (lists of tokens, or the strings of a plain
        text), `entities` (see [`entities_data`]; mentions count tokens, or characters of a plain text) and `triples`:
        `h` and `t` (entities), `name` (of the relation), `r` (its id), `score`, `evidence`, `iteration` (`None` if it
        is not explained) and `support` (`h`, `t`, `names`, `weight`). JSON can represent all of it.

    Raises:
        [`DocumentError`]: a document or a triple is malformed, or a triple is of another document. The message names
            the document, the triple and the field.
        `ValueError`: there are not as many lists of triples as documents.
    """
    documents, triples = list(documents), list(triples)
    if len(documents) != len(triples):
        raise ValueError(f"`triples` has {len(triples)} lists for {len(documents)} documents, expected one for each")
    read, rows = [], []
    for index, (document, of_document) in enumerate(zip(documents, triples)):
        try:
            read.append(_read(document))
            rows.append(_document_data(document, read[-1], of_document))
        except DocumentError as error:
            place = f"documents[{index}]: " if len(documents) > 1 else ""
            raise DocumentError(f"{place}{error}") from None
    return {"types": entity_types(encoded.document for encoded in read), "documents": rows}


def _read(given: Any) -> EncodedDocument:
    check_given(given)
    if is_raw_text(given):
        raise DocumentError(
            f"{name_of(with_title(given))}: 'entities' is missing: call `document = extractor.find_entities(text)`, "
            "and pass `document` here and to the pipeline"
        )
    return read_document(given)


def _document_data(given: Mapping[str, Any], read: EncodedDocument, triples: Any) -> dict[str, Any]:
    document, entities = read.document, entities_data(read.document)
    sentences: list[Any] = [list(sentence) for sentence in document["sents"]]
    if read.sentence_spans is not None and read.mention_spans is not None:
        sentences = [given["text"][start:end] for start, end in read.sentence_spans]
        for entity, spans in zip(entities, read.mention_spans):
            for mention, (start, end) in zip(entity["mentions"], spans):
                first = read.sentence_spans[mention[0]][0]
                mention[1:3] = [start - first, end - first]
    if isinstance(triples, Mapping) or not isinstance(triples, Iterable):
        raise DocumentError(f"{name_of(document)}: the triples are {quote(triples)}, expected a list of them")
    rows = [_triple_data(triple, number, read) for number, triple in enumerate(triples)]
    return {"title": document["title"], "sents": sentences, "entities": entities, "triples": rows}


def _triple_data(triple: Any, number: int, read: EncodedDocument) -> dict[str, Any]:
    place = f"{name_of(read.document)}, triple {number}"
    if not isinstance(triple, Mapping):
        _fail(place, None, triple, "a triple of the pipeline, a mapping")
    evidence = triple.get("evidence", _MISSING)
    num_sentences = len(read.document["sents"])
    if not isinstance(evidence, (list, tuple)) or not all(_is_index(index, num_sentences) for index in evidence):
        _fail(place, "evidence", evidence, f"sentence indices from 0 to {num_sentences - 1}")
    if read.sentence_spans is not None and "evidence_spans" in triple:
        spans, expected = triple["evidence_spans"], [list(read.sentence_spans[index]) for index in evidence]
        if not isinstance(spans, (list, tuple)) or [list(span) for span in spans] != expected:
            _fail(place, "evidence_spans", spans, f"{expected}, the characters of its evidence: {_SAME_DOCUMENT}")
    return {
        **_pair_data(triple, place, read.document),
        "r": _string(triple, place, "relation"),
        "name": _string(triple, place, "relation_name"),
        "score": _number(triple, place, "score"),
        "evidence": list(evidence),
        **_explanation_data(triple, place, read.document),
    }


def _pair_data(pair: Mapping[str, Any], place: str, document: Mapping[str, Any]) -> dict[str, int]:
    """Returns the entities of a triple or of a pair that supports it."""
    return {"h": _entity(pair, place, "head", document), "t": _entity(pair, place, "tail", document)}


def _entity(pair: Mapping[str, Any], place: str, side: str, document: Mapping[str, Any]) -> int:
    entity, entities = pair.get(side, _MISSING), document["vertexSet"]
    if not isinstance(entity, Mapping) or not {"entity", "name"} <= set(entity):
        _fail(place, side, entity, "a mapping with 'entity' and 'name', as in a triple of the pipeline")
    index = entity["entity"]
    if not _is_index(index, len(entities)):
        expected = f"an entity index from 0 to {len(entities) - 1}" if entities else "no triple without an entity"
        _fail(f"{place}, {side}", "entity", index, expected)
    name = entities[index][0]["name"]
    if entity["name"] != name:
        _fail(f"{place}, {side}", "name", entity["name"], f"{quote(name)}, entity {index}: {_SAME_DOCUMENT}")
    return index


def _explanation_data(triple: Mapping[str, Any], place: str, document: Mapping[str, Any]) -> dict[str, Any]:
    if "iteration" not in triple:
        return {"iteration": None, "support": []}
    iteration, support = triple["iteration"], triple.get("support", _MISSING)
    if type(iteration) is not int or iteration < 0:
        _fail(place, "iteration", iteration, "the number of an iteration, 0 for the base module")
    if not isinstance(support, (list, tuple)) or not all(isinstance(pair, Mapping) for pair in support):
        _fail(place, "support", support, "a list of pairs, as with `explain=True`")
    rows = []
    for index, pair in enumerate(support):
        of_pair, names = f"{place}, support {index}", pair.get("relation_names", _MISSING)
        if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
            _fail(of_pair, "relation_names", names, "a list of strings")
        weight = _number(pair, of_pair, "weight")
        rows.append({**_pair_data(pair, of_pair, document), "names": list(names), "weight": weight})
    return {"iteration": iteration, "support": rows}


def _string(mapping: Mapping[str, Any], place: str, field: str) -> str:
    value = mapping.get(field, _MISSING)
    if not isinstance(value, str):
        _fail(place, field, value, "a string")
    return value


def _number(mapping: Mapping[str, Any], place: str, field: str) -> float:
    value = mapping.get(field, _MISSING)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        _fail(place, field, value, "a finite number")
    return round(float(value), 4)


def _is_index(value: Any, length: int) -> bool:
    # `type(x) is int` keeps out bool, which is an int to isinstance.
    return type(value) is int and 0 <= value < length


def _fail(place: str, field: str | None, found: Any, expected: str) -> NoReturn:
    state = "is missing" if found is _MISSING else f"is {quote(found)}"
    subject = f"{field!r} {state}" if field else f"found {quote(found)}"
    raise DocumentError(f"{place}: {subject}, expected {expected}")
