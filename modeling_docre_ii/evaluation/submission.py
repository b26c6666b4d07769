"""DocRED's submission form: predictions by title."""

import reprlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..documents import DocumentError


# What the fields have to be, and how it is said where they are not.
SUBMISSION_FIELDS = {
    "title": (str, "a string"),
    "h_idx": (int, "an entity index, an integer"),
    "t_idx": (int, "an entity index, an integer"),
    "r": (str, "a relation id, a string"),
}


def submission(
    facts: Mapping[int, Sequence[tuple]],
    documents: Sequence[Mapping[str, Any]],
    relations: Sequence[str],
    with_scores: bool = False,
) -> list[dict[str, Any]]:
    """
    Predictions in DocRED's submission form, the content of its `result.json`.

    Args:
        facts (`dict[int, list[tuple]]`):
            Head, tail, relation and score by document index, from [`facts_by_document`].
        documents (`Sequence[dict]`):
            The documents, by index.
        relations (`Sequence[str]`):
            Relation ids in the order of the model's classes.
        with_scores (`bool`, *optional*, defaults to `False`):
            Whether each also has its `score`, which the submission form does not know.

    Returns:
        `list[dict]` with `title`, `h_idx`, `t_idx`, `r`, and an empty `evidence`: DocRE-II predicts none.
    """
    return [
        {"title": documents[index]["title"], "h_idx": head, "t_idx": tail, "r": relations[relation], "evidence": []}
        | ({"score": score} if with_scores else {})
        for index in sorted(facts)
        for head, tail, relation, score in facts[index]
    ]


def with_titles(
    predictions: Iterable[Iterable[Mapping[str, Any]]], documents: Iterable[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """
    Puts predictions that come by document into submission form.

    Args:
        predictions (`Iterable[Iterable[dict]]`):
            `h_idx`, `t_idx`, `r` and perhaps `evidence`, a list of them for each document.
        documents (`Iterable[dict]`):
            As many documents; only their `title` is read.

    Returns:
        `list[dict]`: each prediction with the title of its document, in the same order.
    """
    return [
        {**fact, "title": document["title"]}
        for facts, document in zip(predictions, documents, strict=True)
        for fact in facts
    ]


def check_prediction(prediction: Mapping[str, Any], index: int) -> None:
    """
    Checks that an item of a submission has the fields of one. Whether its document and entities exist is not known
    here: [`score_facts`] says that.

    Args:
        prediction (`Mapping`):
            `title`, `h_idx`, `t_idx`, `r` and, perhaps, `evidence`: `None` or a list of sentence indices.
        index (`int`):
            Its place in the submission, for the message.

    Raises:
        [`DocumentError`]: If a field is missing or of another type. The message names the item and the field.
    """
    if not isinstance(prediction, Mapping):
        raise DocumentError(f"item {index}: found {reprlib.repr(prediction)}, expected a mapping")
    for field, (kind, expected) in SUBMISSION_FIELDS.items():
        value = prediction.get(field)
        # The exact type keeps out bool, which is an int to isinstance.
        if type(value) is not kind:
            found = f"is {reprlib.repr(value)}" if field in prediction else "is missing"
            raise DocumentError(f"item {index}: {field!r} {found}, expected {expected}")
    evidence = prediction.get("evidence")
    if evidence is not None and not (
        isinstance(evidence, (list, tuple)) and all(type(sentence) is int for sentence in evidence)
    ):
        found = reprlib.repr(evidence)
        raise DocumentError(f"item {index}: 'evidence' is {found}, expected a list of sentence indices")
