"""Predictions and gold facts by document: checked, and matched by title."""

import reprlib
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral
from typing import Any, NamedTuple


# Head, tail and relation: a fact of one document.
Fact = tuple[int, int, str]

# The fields of a prediction: their types, and how an error describes them.
PREDICTION_FIELDS = {
    "title": (str, "a string"),
    "h_idx": (int, "an entity index, an integer"),
    "t_idx": (int, "an entity index, an integer"),
    "r": (str, "a relation id, a string"),
}

# The relation of a label. `check_document` expects the same, but a metric of `evaluate` needs it in this folder.
EXPECTED_RELATION = "a relation id, a string (a class id of a `datasets` row is translated by `ClassLabel.int2str`)"

# The fields of a label, in the same way.
_LABEL_FIELDS: dict[str, tuple[type, str]] = {
    "h": (Integral, "an entity index, an integer"),
    "t": (Integral, "an entity index, an integer"),
    "r": (str, EXPECTED_RELATION),
}

UNKNOWN_TITLES = ("error", "wrong")


class PredictionError(ValueError):
    """Predictions that are malformed or do not fit the gold documents."""


class MatchedPredictions(NamedTuple):
    """
    Predictions by document.

    Args:
        by_document (`list[dict]`):
            For each document, its predicted facts (head, tail, relation) and the prediction each comes from: the first
            where a fact is predicted twice.
        unknown (`list[dict]`):
            Predictions on titles that no document has, each fact once.
    """

    by_document: list[dict[Fact, Mapping[str, Any]]]
    unknown: list[Mapping[str, Any]]


def match_predictions(
    predictions: Iterable[Mapping[str, Any]], documents: Sequence[Mapping[str, Any]], unknown_titles: str = "error"
) -> MatchedPredictions:
    """
    Matches predictions with documents by title.

    Args:
        predictions (`Iterable[dict]`):
            Predictions in DocRED's submission form.
        documents (`Sequence[dict]`):
            The gold documents. Only `title` and `vertexSet` are read.
        unknown_titles (`str`, *optional*, defaults to `"error"`):
            What to do with a prediction on a title that no document has: `"error"` raises, `"wrong"` returns it among
            `unknown`.

    Returns:
        [`MatchedPredictions`]

    Raises:
        [`PredictionError`]: Two documents have the same title, a prediction is not in submission form or is on an
            entity that its document does not have, or, with `"error"`, on an unknown title.
        `ValueError`: `unknown_titles` is neither `"error"` nor `"wrong"`.
    """
    if unknown_titles not in UNKNOWN_TITLES:
        raise ValueError(f"`unknown_titles` must be one of {UNKNOWN_TITLES}, got {unknown_titles!r}")
    check_titles(document["title"] for document in documents)
    of_title: dict[str, tuple[Mapping[str, Any], dict]] = {document["title"]: (document, {}) for document in documents}
    unknown: dict[tuple[str, Fact], Mapping[str, Any]] = {}
    for index, prediction in enumerate(predictions):
        check_prediction(prediction, index)
        title, fact = prediction["title"], (prediction["h_idx"], prediction["t_idx"], prediction["r"])
        if title in of_title:
            document, facts = of_title[title]
            _check_entities(document, fact, "predicted")
            facts.setdefault(fact, prediction)
        elif unknown_titles == "error":
            raise PredictionError(
                f"document {quote(title, 80)}: predicted {quote(fact)}, but no gold document has this title"
            )
        else:
            unknown.setdefault((title, fact), prediction)
    return MatchedPredictions([facts for _, facts in of_title.values()], list(unknown.values()))


def check_titles(titles: Iterable[str]) -> None:
    """
    Checks that documents can be told apart by title.

    Args:
        titles (`Iterable[str]`):
            The titles of the documents to score.

    Raises:
        [`PredictionError`]: Two documents have the same title.
    """
    seen: set[str] = set()
    for title in titles:
        if title in seen:
            raise PredictionError(f"two documents have the title {quote(title, 80)}: predictions are matched by title")
        seen.add(title)


def labels_of(document: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """
    Returns the labels of a gold document, each with a head, a tail and a relation.

    Relations must be strings: in a row of a `datasets` builder they are class ids, which no prediction would match.

    Args:
        document (`dict`):
            A document in DocRED's form, or a plain text. Only `title` and `labels` are read.

    Returns:
        `Sequence[dict]`: its `labels`, none if they are missing.

    Raises:
        [`PredictionError`]: The head or the tail of a label is no integer, or its relation no string. The message
            names the document, the label and the field.
    """
    labels = document.get("labels") or ()
    for number, label in enumerate(labels):
        place = f"document {quote(document.get('title'), 80)}, label {number}"
        if not isinstance(label, Mapping):
            raise PredictionError(f"{place}: found {quote(label)}, expected a mapping with 'h', 't' and 'r'")
        for field, (kind, expected) in _LABEL_FIELDS.items():
            value = label.get(field)
            if not isinstance(value, kind) or isinstance(value, bool):
                found = f"is {quote(value)}" if field in label else "is missing"
                raise PredictionError(f"{place}: {field!r} {found}, expected {expected}")
    return labels


def gold_facts(document: Mapping[str, Any]) -> dict[Fact, list[Mapping[str, Any]]]:
    """
    Returns the facts of a document, and the labels of each.

    Args:
        document (`dict`):
            A document in DocRED's form. Only `title`, `vertexSet` and `labels` are read.

    Returns:
        `dict`: (head, tail, relation) -> its labels, more than one where a label is repeated.

    Raises:
        [`PredictionError`]: A label is malformed, or on an entity that the document does not have.
    """
    facts: dict[Fact, list[Mapping[str, Any]]] = {}
    for label in labels_of(document):
        facts.setdefault((label["h"], label["t"], label["r"]), []).append(label)
    for fact in facts:
        _check_entities(document, fact, "labeled")
    return facts


def ignored_pairs(documents: Sequence[Mapping[str, Any]]) -> set[tuple[int, int, int]]:
    """
    Returns the pairs that the protocol of a corpus ignores.

    Args:
        documents (`Sequence[dict]`):
            The documents, by document index.

    Returns:
        `set[tuple[int, int, int]]`: document, head and tail of the pairs in `uncounted`.
    """
    return {
        (index, pair["h"], pair["t"])
        for index, document in enumerate(documents)
        for pair in document.get("uncounted") or ()
    }


def check_prediction(prediction: Mapping[str, Any], index: int) -> None:
    """
    Checks that a prediction is in DocRED's submission form.

    Args:
        prediction (`Mapping`):
            `title`, `h_idx`, `t_idx`, `r` and, optionally, `evidence`: `None` or a list of sentence indices.
        index (`int`):
            Its index among the predictions, for the message.

    Raises:
        [`PredictionError`]: A field is missing or has the wrong type. The message names the item and the field.
    """
    if not isinstance(prediction, Mapping):
        raise PredictionError(f"item {index}: found {quote(prediction)}, expected a mapping")
    for field, (kind, expected) in PREDICTION_FIELDS.items():
        value = prediction.get(field)
        # `type(x) is int` rejects bool, which is an int to isinstance.
        if type(value) is not kind:
            found = f"is {quote(value)}" if field in prediction else "is missing"
            raise PredictionError(f"item {index}: {field!r} {found}, expected {expected}")
        if isinstance(value, str) and not _is_encodable(value):
            raise PredictionError(
                f"item {index}: {field!r} is {quote(value)}, expected text that UTF-8 can encode, without lone "
                "surrogates"
            )
    evidence = prediction.get("evidence")
    if evidence is not None and not (
        isinstance(evidence, (list, tuple)) and all(type(sentence) is int for sentence in evidence)
    ):
        found = quote(evidence)
        raise PredictionError(f"item {index}: 'evidence' is {found}, expected a list of sentence indices")


def quote(value: Any, longest: int = 30) -> str:
    """
    Returns a short `repr` of a value, for an error message.

    The metrics of `evaluate` are copied with the files beside them, so this is not that of the package.

    Args:
        value (`Any`):
            The value.
        longest (`int`, *optional*, defaults to 30):
            Largest number of characters of a string.
    """
    quotes = reprlib.Repr()
    quotes.maxstring = longest
    try:
        return quotes.repr(value)
    except ValueError:
        return "an integer of over 4,300 digits"


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_entities(document: Mapping[str, Any], fact: Fact, what: str) -> None:
    size = len(document["vertexSet"])
    if not (0 <= fact[0] < size and 0 <= fact[1] < size):
        raise PredictionError(
            f"document {quote(document['title'], 80)}: {what} {quote(fact)}, but it has {size} entities"
        )
