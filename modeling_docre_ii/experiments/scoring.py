"""The scores of finished runs, and their summary over seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..evaluation.scores import NamedFact, score_facts
from ..evaluation.significance import paired_bootstrap_of_runs, summarize_runs
from ..evaluation.submission import to_submission
from ..training.metrics import held_out_predictions
from ..training.predictions import unpack_with_evidence
from .definition import WEIGHTS, Measure


@dataclass
class EvaluatedRun:
    """
    The predictions of a finished run on labeled documents.

    Args:
        submissions (`list[list[dict]]`): Predictions in DocRED's submission form, of the base module and of every
            iteration.
        documents (`Sequence[dict]`): The documents.
        train_facts, distant_facts (`set[tuple[str, str, str]]`, *optional*): Named facts for the Ign scores.
        weights (`dict[str, float]`): `feature_weight` and `relation_weight`, if there is an inference module.
    """

    submissions: list[list[dict[str, Any]]]
    documents: Sequence[Mapping[str, Any]]
    train_facts: set[NamedFact] | None = None
    distant_facts: set[NamedFact] | None = None
    weights: dict[str, float] = field(default_factory=dict)
    _scores: dict[int, dict[str, float]] = field(default_factory=dict)

    def place(self, measure: Measure) -> int | None:
        """Returns the place of the scored submission, `None` without such an iteration."""
        last = len(self.submissions) - 1
        place = last if measure.iteration is None else measure.iteration
        return place if place <= last else None

    def value(self, measure: Measure) -> float | None:
        """
        Returns a score.

        Args:
            measure ([`Measure`]):
                Which one.

        Returns:
            `float` or `None`: `None` if the model has no such iteration or no inference module, or if it is the
            evidence of correct predictions and no correct one has annotated evidence. The evidence of a run that
            predicts none scores 0.

        Raises:
            `ValueError`: the documents have no such score.
        """
        if measure.score in WEIGHTS:
            return self.weights.get(measure.score)
        place = self.place(measure)
        if place is None:
            return None
        scores = self.scores(place)
        # Ign scores have the plain recall.
        name = "recall" if measure.score in ("ign_recall", "ign_distant_recall") else measure.score
        if "evidence_" in name and name not in scores and self._has_gold_evidence():
            return None if name.startswith("correct_") else 0.0
        if name not in scores:
            raise ValueError(f"the documents have no score {name!r}, they have {', '.join(scores)}")
        return scores[name]

    def scores(self, place: int) -> dict[str, float]:
        """Returns all scores of a submission, from [`score_facts`]."""
        if place not in self._scores:
            facts = (self.train_facts, self.distant_facts)
            self._scores[place] = score_facts(self.submissions[place], self.documents, *facts)
        return self._scores[place]

    def _has_gold_evidence(self) -> bool:
        return any(label.get("evidence") for document in self.documents for label in document.get("labels") or ())


@dataclass(frozen=True)
class RowResult:
    """
    The result of a row.

    Args:
        name (`str`): Its name.
        seeds (`list[int]`): The seeds of its finished runs.
        values (`dict[str, list[float or None]]`): By column, the score with each seed.
        summary (`dict[str, dict]`): By column, from [`summarize_runs`].
        gain (`dict[str, float]`, *optional*): From [`paired_bootstrap_of_runs`], against the base modules of the same
            seeds.
    """

    name: str
    seeds: list[int]
    values: dict[str, list[float | None]]
    summary: dict[str, dict[str, float | None]]
    gain: dict[str, float] | None = None


def evaluate_predictions(
    predictions: Sequence[np.ndarray],
    documents: Sequence[Mapping[str, Any]],
    relations: Sequence[str],
    is_held_out: bool,
    train_facts: set[NamedFact] | None = None,
    distant_facts: set[NamedFact] | None = None,
    weights: Mapping[str, float] | None = None,
) -> EvaluatedRun:
    """
    Decodes the saved predictions of a run.

    Args:
        predictions (`list[np.ndarray]`):
            Predictions of [`DocREIITrainer`], of the base module and of every iteration.
        documents (`Sequence[dict]`):
            The documents with labels, by document index.
        relations (`Sequence[str]`):
            Relation ids in the order of the model's classes.
        is_held_out (`bool`):
            Whether to decode at the thresholds of [`held_out_predictions`], or else at the model's own.
        train_facts, distant_facts, weights: As in [`EvaluatedRun`].
    """
    submissions = []
    for packed in predictions:
        moved = held_out_predictions(packed, documents, relations) if is_held_out else packed
        submissions.append(to_submission(unpack_with_evidence(moved, relations, documents), documents))
    return EvaluatedRun(submissions, documents, train_facts, distant_facts, dict(weights or {}))


def summarize_row(
    name: str,
    runs: Mapping[int, EvaluatedRun],
    bases: Mapping[int, EvaluatedRun],
    columns: Mapping[str, Measure],
    gain: Measure | None,
) -> RowResult:
    """
    Summarizes a row over its seeds.

    Args:
        name (`str`):
            The name of the row.
        runs (`dict[int, EvaluatedRun]`):
            Its finished runs by seed.
        bases (`dict[int, EvaluatedRun]`):
            The base modules that it is compared with, by seed.
        columns (`dict[str, Measure]`):
            The scores by the names of their columns.
        gain ([`Measure`], *optional*):
            The score whose gain over the base modules is tested.

    Returns:
        [`RowResult`]
    """
    values = {column: [run.value(measure) for run in runs.values()] for column, measure in columns.items()}
    by_run: list[dict[str, float]] = [
        {column: value for column, of_column in values.items() if (value := of_column[place]) is not None}
        for place in range(len(runs))
    ]
    return RowResult(
        name, list(runs), values, summarize_runs(by_run), None if gain is None else _gain(runs, bases, gain)
    )


def _gain(
    runs: Mapping[int, EvaluatedRun], bases: Mapping[int, EvaluatedRun], measure: Measure
) -> dict[str, float] | None:
    """Compares the runs with their base modules. A run that predicts no evidence has no gain in it."""
    compared = []
    for seed, run in runs.items():
        place = run.place(measure)
        if seed in bases and place is not None:
            if measure.score in run.scores(place) and measure.score in bases[seed].scores(0):
                compared.append((run.submissions[place], bases[seed].submissions[0]))
    if not compared:
        return None
    first = next(iter(runs.values()))
    found, of_bases = zip(*compared)
    return paired_bootstrap_of_runs(
        found,
        of_bases,
        first.documents,
        measure.score,
        train_facts=first.train_facts,
        distant_facts=first.distant_facts,
    )


__all__ = ["EvaluatedRun", "RowResult", "evaluate_predictions", "summarize_row"]
