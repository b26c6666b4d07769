"""Plots of an experiment, with matplotlib."""

from collections.abc import Sequence
from pathlib import Path

from ..utils.atomic_write import atomic_write
from .definition import Experiment
from .scoring import RowResult


def write_plot(path: Path, experiment: Experiment, results: Sequence[RowResult]) -> None:
    """
    Draws the means of a table, with the deviation over seeds as error bars.

    `points` draws a point for each column above the name of the row, `lines` a line for each row over the columns.

    Args:
        path (`Path`):
            The SVG file.
        experiment ([`Experiment`]):
            The experiment.
        results (`list[RowResult]`):
            The results of its rows.

    Raises:
        `ImportError`: matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('a plot needs matplotlib: `pip install "docre-ii[experiments]"`') from error
    columns, names = list(experiment.columns), [result.name for result in results]
    figure = Figure(figsize=(max(5.0, 1.1 * len(results) + 2), 4.0), layout="constrained")
    axes = figure.subplots()
    if experiment.plot == "lines":
        for result in results:
            kept = [column for column in columns if column in result.summary]
            summaries = [result.summary[column] for column in kept]
            axes.errorbar(kept, *_points(summaries), marker="o", capsize=3, label=result.name)
    else:
        for place, column in enumerate(columns):
            # The columns stand side by side above the name of the row.
            shift = 0.5 * (place + 0.5) / len(columns) - 0.25
            shown = [position for position, result in enumerate(results) if column in result.summary]
            summaries = [results[position].summary[column] for position in shown]
            positions = [position + shift for position in shown]
            axes.errorbar(positions, *_points(summaries), fmt="o", capsize=3, label=column)
        axes.set_xticks(range(len(names)), names, rotation=20, ha="right")
    axes.set_title(experiment.title, fontsize=10, wrap=True)
    axes.grid(axis="y", alpha=0.3)
    axes.legend(fontsize=8)
    # The same bytes for the same results.
    with rc_context({"svg.hashsalt": experiment.title}), atomic_write(path) as partial:
        figure.savefig(partial, format="svg", metadata={"Date": None})


def _points(summaries: Sequence[dict[str, float | None]]) -> tuple[list[float], list[float]]:
    """Returns the means and the deviations of results of [`summarize_runs`], 0 for a single run."""
    return [summary["mean"] or 0.0 for summary in summaries], [summary["std"] or 0.0 for summary in summaries]


__all__ = ["write_plot"]
