"""Significance of a difference in scores: paired bootstrap, spread over runs."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from .scores import NamedFact, count_facts, micro_scores


# Number of resamples that are scored at once, which bounds the memory.
_BLOCK = 1000


def paired_bootstrap(
    predictions: Iterable[Mapping[str, Any]],
    other_predictions: Iterable[Mapping[str, Any]],
    documents: Sequence[Mapping[str, Any]],
    score: str = "f1",
    num_resamples: int = 1000,
    seed: int = 42,
    train_facts: set[NamedFact] | None = None,
    unknown_titles: str = "error",
    distant_facts: set[NamedFact] | None = None,
) -> dict[str, float]:
    r"""
    Compares two systems on the same documents by a paired bootstrap.

    A resample draws as many documents as there are, with replacement, and scores both systems on it. The p-value is
    the one of Koehn (2004, "Statistical significance tests for machine translation evaluation"): the share of
    resamples in which the system that is better on the documents is not better,

        p = #{b : sign(d) d_b <= 0} / num_resamples,    d = score - other score

    so that it is 1 where there is no difference. It is one-sided. Berg-Kirkpatrick et al. (2012, "An empirical
    investigation of statistical significance in NLP") count d_b > 2 d instead, which is the same where d_b is
    symmetric around d. The interval is that of the percentiles 2.5 and 97.5 of d_b.

    Predictions on unknown titles belong to no document that could be drawn: with `unknown_titles="wrong"` all of them
    count, once, in every resample.

    Args:
        predictions (`Iterable[dict]`):
            Predictions of one system in DocRED's submission form.
        other_predictions (`Iterable[dict]`):
            Predictions of the other system.
        documents (`Sequence[dict]`):
            The gold documents, with labels.
        score (`str`, *optional*, defaults to `"f1"`):
            The name of an F1 in [`count_facts`].
        num_resamples (`int`, *optional*, defaults to 1000):
            Number of resamples. The p-value is a multiple of its reciprocal.
        seed (`int`, *optional*, defaults to 42):
            Seed of the resamples.
        train_facts (`set[tuple[str, str, str]]`, *optional*):
            Facts of the training set from [`named_facts`], for the score `"ign_f1"`.
        unknown_titles (`str`, *optional*, defaults to `"error"`):
            What to do with a prediction on a title that no document has: `"error"` or `"wrong"`, see [`count_facts`].
        distant_facts (`set[tuple[str, str, str]]`, *optional*):
            Facts of the distantly supervised training set, for the score `"ign_distant_f1"`.

    Returns:
        `dict[str, float]`: `score` and `other_score` on the documents and their `difference`, in percent; `low` and
        `high`, the ends of the 95% interval of the difference; `p_value`.

    Raises:
        `ValueError`: There is no document or no resample, a system does not have the score, or `unknown_titles` is
            neither `"error"` nor `"wrong"`.
        [`PredictionError`]: As [`count_facts`].
    """
    return paired_bootstrap_of_runs(
        [predictions],
        [other_predictions],
        documents,
        score,
        num_resamples,
        seed,
        train_facts,
        unknown_titles,
        distant_facts,
    )


def paired_bootstrap_of_runs(
    runs: Sequence[Iterable[Mapping[str, Any]]],
    other_runs: Sequence[Iterable[Mapping[str, Any]]],
    documents: Sequence[Mapping[str, Any]],
    score: str = "f1",
    num_resamples: int = 1000,
    seed: int = 42,
    train_facts: set[NamedFact] | None = None,
    unknown_titles: str = "error",
    distant_facts: set[NamedFact] | None = None,
) -> dict[str, float]:
    r"""
    Compares two systems, each trained several times, by a paired bootstrap.

    As [`paired_bootstrap`], with the mean score of the runs of a system in place of its score:

        d_b = 1 / n sum_i (score of run i on resample b - score of other run i on resample b)

    The runs stay the same in every resample, so the interval is about the choice of the documents, not of the seeds.
    The spread over the seeds is in [`summarize_runs`].

    Args:
        runs (`Sequence[Iterable[dict]]`):
            The predictions of each run of one system.
        other_runs (`Sequence[Iterable[dict]]`):
            The same of the other system, as many.
        documents, score, num_resamples, seed, train_facts, unknown_titles, distant_facts: As for [`paired_bootstrap`].

    Returns:
        `dict[str, float]`: as [`paired_bootstrap`], with mean scores.

    Raises:
        `ValueError`: As [`paired_bootstrap`], or the systems do not have equally many runs.
        [`PredictionError`]: As [`count_facts`].
    """

    def count(system: Sequence[Iterable[Mapping[str, Any]]]) -> list[dict[str, np.ndarray]]:
        return [count_facts(facts, documents, train_facts, distant_facts, unknown_titles) for facts in system]

    return paired_bootstrap_of_counts(count(runs), count(other_runs), len(documents), score, num_resamples, seed)


def paired_bootstrap_of_counts(
    runs: Sequence[Mapping[str, np.ndarray]],
    other_runs: Sequence[Mapping[str, np.ndarray]],
    num_documents: int,
    score: str = "f1",
    num_resamples: int = 1000,
    seed: int = 42,
) -> dict[str, float]:
    """
    Compares two systems by a paired bootstrap, from counts.

    Args:
        runs (`Sequence[dict[str, np.ndarray]]`):
            The counts of each run of one system, by the name of the score, from [`count_facts`] or
            [`count_extractions`].
        other_runs (`Sequence[dict[str, np.ndarray]]`):
            The same of the other system, as many.
        num_documents (`int`):
            Number of gold documents.
        score, num_resamples, seed: As for [`paired_bootstrap`].

    Returns:
        `dict[str, float]`: as [`paired_bootstrap_of_runs`].

    Raises:
        `ValueError`: As [`paired_bootstrap_of_runs`].
    """
    if num_resamples < 1 or not num_documents:
        raise ValueError(f"{num_resamples} resamples of {num_documents} documents, expected at least one of each")
    if len(runs) != len(other_runs) or not runs:
        raise ValueError(f"{len(runs)} runs against {len(other_runs)}, expected equally many, and at least one")
    systems = (runs, other_runs)
    shared = [name for name in runs[0] if all(name in of_run for system in systems for of_run in system)]
    if score not in shared:
        raise ValueError(
            f"no score {score!r} on these documents for both systems, expected one of {', '.join(shared)}"
        )
    # Shape (num_documents, 2, num_runs, 4), so that the same documents are drawn for all; with unknown titles, one
    # row more.
    paired = np.stack([np.stack([of_run[score] for of_run in system], axis=1) for system in systems], axis=1)
    observed, other = _mean_f1(paired.sum(axis=0))
    in_every_resample = paired[num_documents:].sum(axis=0)
    differences = _resampled_differences(
        paired[:num_documents], in_every_resample, num_resamples, np.random.default_rng(seed)
    )
    low, high = np.percentile(differences, [2.5, 97.5])
    results = {"score": observed, "other_score": other, "difference": observed - other, "low": low, "high": high}
    results["p_value"] = np.mean(np.sign(observed - other) * differences <= 0)
    return {name: float(value) for name, value in results.items()}


def summarize_runs(runs: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float | None]]:
    """
    Computes mean and standard deviation of the scores of several runs.

    Args:
        runs (`Sequence[dict[str, float]]`):
            The scores of each run by name, for example of runs with different seeds.

    Returns:
        `dict[str, dict]`: by the name of the score, in order of appearance, its `mean`, its `std` and `runs`, the
        number of runs that have it. `std` is the sample deviation, with n - 1 in the denominator, and `None` for a
        single run.
    """
    values: dict[str, list[float]] = {}
    for run in runs:
        for name, value in run.items():
            values.setdefault(name, []).append(value)
    return {
        name: {
            "mean": statistics.fmean(found),
            "std": statistics.stdev(found) if len(found) > 1 else None,
            "runs": len(found),
        }
        for name, found in values.items()
    }


def _resampled_differences(
    paired: np.ndarray, in_every_resample: np.ndarray, num_resamples: int, generator: np.random.Generator
) -> np.ndarray:
    """
    Computes the difference of the mean F1s on each resample.

    Args:
        paired: Counts of both systems by document, of shape `(num_documents, 2, num_runs, 4)`.
        in_every_resample: Counts that are added to each resample, of shape `(2, num_runs, 4)`.
    """
    num_documents = len(paired)
    differences = []
    for start in range(0, num_resamples, _BLOCK):
        size = min(_BLOCK, num_resamples - start)
        # How often each document is drawn.
        weights = generator.multinomial(num_documents, np.full(num_documents, 1 / num_documents), size=size)
        f1 = _mean_f1(np.tensordot(weights, paired, axes=1) + in_every_resample)
        differences.append(f1[:, 0] - f1[:, 1])
    return np.concatenate(differences)


def _mean_f1(counts: np.ndarray) -> np.ndarray:
    """Returns the F1 of counts of shape `(..., num_runs, 4)`, averaged over the runs."""
    # Rounded, so that the same runs in another order are no difference.
    return micro_scores(*np.moveaxis(counts, -1, 0))[0].mean(axis=-1).round(9)
