"""The tables of an experiment, as Markdown and as CSV."""

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..utils.atomic_write import atomic_write
from .definition import WEIGHTS, Experiment
from .scoring import RowResult


@dataclass(frozen=True)
class Setting:
    """
    What the runs of a table have in common, for its text.

    Args:
        configuration (`str`): The configuration of the runs.
        overrides (`str`): Arguments of the command line, but for the files of the documents.
        seeds (`list[int]`): The seeds.
        documents (`str`): The scored documents, and how many there are.
        train_documents (`str`): How many documents the models were trained on.
        thresholds (`str`): At which thresholds the predictions are scored.
    """

    configuration: str
    overrides: str
    seeds: list[int]
    documents: str
    train_documents: str
    thresholds: str


def differences_from_file(experiment: Experiment, setting: Setting) -> list[str]:
    """
    Returns how the runs differ from those that the file describes.

    Args:
        experiment ([`Experiment`]):
            The experiment.
        setting ([`Setting`]):
            The setting of the runs.

    Returns:
        `list[str]`: phrases, none if they are the same.
    """
    found = []
    if os.path.realpath(setting.configuration) != os.path.realpath(experiment.configuration):
        found.append(f"`{setting.configuration}` instead of `{experiment.configuration}`")
    if setting.seeds != experiment.seeds:
        found.append(f"seeds {_listed(setting.seeds)} instead of {_listed(experiment.seeds)}")
    if setting.overrides:
        found.append(f"arguments `{setting.overrides}`")
    return found


def markdown_report(
    experiment: Experiment, setting: Setting, results: Sequence[RowResult], plot: str | None = None
) -> str:
    """
    Returns the table of an experiment as a page in Markdown.

    Args:
        experiment ([`Experiment`]):
            The experiment.
        setting ([`Setting`]):
            The setting of its runs.
        results (`list[RowResult]`):
            The results of the rows that have finished runs.
        plot (`str`, *optional*):
            File name of a plot to show.
    """
    differences = differences_from_file(experiment, setting)
    finished = {result.name for result in results}
    missing = [row.name for row in experiment.rows if row.name not in finished]
    lines = [
        f"# {experiment.title}",
        "",
        f"- Runs: `{experiment.path}` on `{setting.configuration}`, seeds {_listed(setting.seeds)}.",
        f"- Training documents: {setting.train_documents}. Scored on {setting.documents}, {setting.thresholds}.",
        f"- Not as in `{experiment.path}`: {'; '.join(differences)}." if differences else "",
        f"- No finished run yet: {', '.join(missing)}." if missing else "",
    ]
    lines = [line for place, line in enumerate(lines) if line or place == 1]
    lines += ["", *_table(experiment, results)]
    if legend := _legend(experiment, results):
        lines += ["", legend]
    if plot is not None:
        lines += ["", f"![{experiment.title}]({plot})"]
    return "\n".join(lines) + "\n"


def runs_csv(experiment: Experiment, results: Sequence[RowResult]) -> str:
    """Returns the scores of every run as CSV, a line for each row and seed."""
    rows: list[list[Any]] = [["row", "seed", *experiment.columns]]
    for result in results:
        for place, seed in enumerate(result.seeds):
            rows.append([result.name, seed, *(result.values[column][place] for column in experiment.columns)])
    return _csv(rows)


def summary_csv(experiment: Experiment, results: Sequence[RowResult]) -> str:
    """Returns mean, deviation and gain of every row as CSV."""
    head = ["row", "runs"]
    for column in experiment.columns:
        head += [f"{column}, mean", f"{column}, deviation"]
    gains = ("difference", "low", "high", "p_value")
    rows: list[list[Any]] = [[*head, "gain", "gain, low", "gain, high", "gain, p"]]
    for result in results:
        cells: list[Any] = [result.name, len(result.seeds)]
        for column in experiment.columns:
            of_column = result.summary.get(column, {})
            cells += [of_column.get("mean"), of_column.get("std")]
        rows.append([*cells, *((result.gain or {}).get(name) for name in gains)])
    return _csv(rows)


def write_text(path: Path, text: str) -> None:
    """Writes a text file atomically."""
    with atomic_write(path) as partial:
        partial.write_text(text, encoding="utf-8")


def _table(experiment: Experiment, results: Sequence[RowResult]) -> list[str]:
    papers = {row.name: row.paper for row in experiment.rows}
    of_paper = {column for row in papers.values() for column in row}
    head = [""]
    for column in experiment.columns:
        head += [column, *([f"{column}, paper"] if column in of_paper else [])]
    has_gain = any(result.gain is not None for result in results)
    if has_gain and experiment.gain is not None:
        head += ["gain over the base", "95% interval", "p"]
    lines = [_line([*head, "runs"]), "|---" * (len(head) + 1) + "|"]
    for result in results:
        cells = [result.name]
        for column, measure in experiment.columns.items():
            decimals = 4 if measure.score in WEIGHTS else 2
            cells.append(_mean(result.summary.get(column), decimals))
            if column in of_paper:
                cells.append(str(papers[result.name].get(column, "")))
        if has_gain:
            gain = result.gain
            cells += (
                ["", "", ""]
                if gain is None
                else [
                    f"{gain['difference']:+.2f}",
                    f"{gain['low']:+.2f} to {gain['high']:+.2f}",
                    f"{gain['p_value']:.3f}",
                ]
            )
        lines.append(_line([*cells, str(len(result.seeds))]))
    return lines


def _legend(experiment: Experiment, results: Sequence[RowResult]) -> str:
    sentences = []
    if any(len(result.seeds) > 1 for result in results):
        sentences.append("±: sample standard deviation over the seeds.")
    if experiment.gain is not None and any(result.gain is not None for result in results):
        measure = experiment.gain
        iteration = "" if measure.iteration is None else f" of iteration {measure.iteration}"
        sentences.append(
            f"Gain: `{measure.score}`{iteration} over the base module of the same seed after stage 1, averaged over "
            "the seeds. Interval and one-sided p: a paired bootstrap over documents with 1,000 resamples. They do not "
            "cover the choice of the seeds."
        )
    if any(row.paper for row in experiment.rows):
        sentences.append("The paper's numbers are from its own setting.")
    return " ".join(sentences)


def _mean(summary: dict[str, Any] | None, decimals: int) -> str:
    if summary is None:
        return ""
    spread = "" if summary["std"] is None else f" ± {summary['std']:.{decimals}f}"
    return f"{summary['mean']:.{decimals}f}{spread}"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _listed(values: Sequence[Any]) -> str:
    return ", ".join(map(str, values))


def _csv(rows: Sequence[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


__all__ = ["Setting", "differences_from_file", "markdown_report", "runs_csv", "summary_csv", "write_text"]
