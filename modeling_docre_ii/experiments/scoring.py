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
            `float` or `None`: `None` if the model has no such iteration or no inference module.

        Raises:
            `ValueError`: the documents have no such score.
        """
        if measure.score in WEIGHTS:
            return self.weights.get(measure.score)
        place = self.place(measure)
        if place is None:
            return None
        if place not in self._scores:
            facts = (self.train_facts, self.distant_facts)
            self._scores[place] = score_facts(self.submissions[place], self.documents, *facts)
        scores = self._scores[place]
        # Ign scores have the plain recall.
        name = "recall" if measure.score in ("ign_recall", "ign_distant_recall") else measure.score
        if name not in scores:
            raise ValueError(f"the documents have no score {name!r}, they have {', '.join(scores)}")
        return scores[name]


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
    tested = None
    places = {} if gain is None else {seed: runs[seed].place(gain) for seed in runs if seed in bases}
    seeds = [seed for seed, place in places.items() if place is not None]
    if gain is not None and seeds:
        tested = paired_bootstrap_of_runs(
            [runs[seed].submissions[place] for seed, place in places.items() if place is not None],
            [bases[seed].submissions[0] for seed in seeds],
            runs[seeds[0]].documents,
            gain.score,
            train_facts=runs[seeds[0]].train_facts,
            distant_facts=runs[seeds[0]].distant_facts,
        )
    return RowResult(name, list(runs), values, summarize_runs(by_run), tested)


__all__ = ["EvaluatedRun", "RowResult", "evaluate_predictions", "summarize_row"]
