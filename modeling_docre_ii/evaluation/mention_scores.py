"""Scores the mentions that a model finds in raw text."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any


def score_mentions(
    predictions: Sequence[Sequence[Mapping[str, Any]]], entities: Sequence[Sequence[Mapping[str, Any]]]
) -> dict[str, float]:
    """
    Computes precision, recall and F1 of mentions, in percent, over all texts.

    A predicted mention is right if a mention of the text has exactly its characters. Spans that two entities share
    count once.

    Args:
        predictions (`list[list[dict]]`):
            The predicted mentions of each text, with `start`, `end` and `type`.
        entities (`list[list[dict]]`):
            The entities of each text, with `type` and `mentions`, a list of [start, end).

    Returns:
        `dict[str, float]`: `mention_precision`, `mention_recall` and `mention_f1`, and the same with
        `typed_mention_`, where the type must be right too.
    """
    predicted = [{(mention["start"], mention["end"], mention["type"]) for mention in row} for row in predictions]
    gold = [{(start, end, entity["type"]) for entity in row for start, end in entity["mentions"]} for row in entities]
    untyped = ([{span[:2] for span in row} for row in rows] for rows in (predicted, gold))
    return {**_scores("mention", *untyped), **_scores("typed_mention", predicted, gold)}


def _scores(name: str, predicted: Sequence[Collection[Any]], gold: Sequence[Collection[Any]]) -> dict[str, float]:
    right = sum(len(set(found) & set(given)) for found, given in zip(predicted, gold))
    num_predicted, num_gold = sum(map(len, predicted)), sum(map(len, gold))
    return {
        f"{name}_precision": 100 * right / num_predicted if num_predicted else 0.0,
        f"{name}_recall": 100 * right / num_gold if num_gold else 0.0,
        f"{name}_f1": 200 * right / (num_predicted + num_gold) if num_predicted + num_gold else 0.0,
    }


__all__ = ["score_mentions"]
