"""The runs of an experiment, and which rows share them."""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..configuration_docre_ii import DocREIIConfig
from ..training.arguments import DocREIITrainingArguments
from .definition import Experiment, Row, merge_arguments


# Fields whose defaults a new model takes from its processor.
_OF_THE_PROCESSOR = ("entity_pooling", "num_prefix_tokens", "num_suffix_tokens")


@dataclass(frozen=True)
class PlannedRun:
    """
    A run: one stage of one row with one seed, or both stages of a cross-fit.

    Args:
        stages (`list[int]`): `[1]`, `[2]`, or `[1, 2]`.
        seed (`int`): Its seed.
        folder (`Path`): Its output folder. Runs with the same arguments have the same one.
        arguments (`dict[str, Any]`): Its arguments over those of the configuration.
        start (`PlannedRun`, *optional*): The run of stage 1 whose model it starts from.
        is_inside (`bool`): Whether it is stage 1 of a run of both stages, which leaves it in its folder.
    """

    stages: list[int]
    seed: int
    folder: Path
    arguments: dict[str, Any]
    start: "PlannedRun | None" = None
    is_inside: bool = False

    @property
    def group(self) -> Path:
        """The folder of the runs that differ from this one in the seed alone."""
        return self.folder.parents[1] if self.is_inside else self.folder.parent


@dataclass(frozen=True)
class PlannedRow:
    """
    A row and its runs.

    Args:
        row (`Row`): The row.
        runs (`list[PlannedRun]`): Its model with each seed.
        bases (`list[PlannedRun]`): The base module with each seed that the row is compared with. They are empty for
            the base module itself.
    """

    row: Row
    runs: list[PlannedRun]
    bases: list[PlannedRun]


@dataclass(frozen=True)
class ArgumentKinds:
    """
    What a plan needs to know about the names of arguments.

    Args:
        training (`Collection[str]`): Training arguments, which a configuration sets for each stage.
        without_effect (`Collection[str]`): Arguments that do not change what is learned.
    """

    training: Collection[str]
    without_effect: Collection[str]


def plan_runs(
    experiment: Experiment,
    configuration: Mapping[str, Any],
    seeds: Collection[int],
    output_dir: Path,
    kinds: ArgumentKinds,
) -> list[PlannedRow]:
    """
    Plans the runs of an experiment.

    Stage 1 and stage 2 are runs of their own, so that rows that differ in stage 2 alone share stage 1. A cross-fit
    (`cross_fit_folds`) is one run of both stages. The folder of a run is named after a digest of its arguments: tables
    in one output folder share runs as well.

    Args:
        experiment ([`Experiment`]):
            The experiment.
        configuration (`dict[str, Any]`):
            The arguments of its configuration, and those of the command line.
        seeds (`Collection[int]`):
            The seeds.
        output_dir (`Path`):
            The folder of all runs.
        kinds ([`ArgumentKinds`]):
            What is known about the names of arguments.

    Returns:
        `list[PlannedRow]`: the rows in order.

    Raises:
        `ValueError`: two rows are the same runs.
    """
    planned = []
    by_runs: dict[tuple[Path, ...], str] = {}
    for row in experiment.rows:
        of_stage_1 = _arguments_of_stage_1(row, configuration)
        bases = [_planned([1], seed, output_dir, configuration, of_stage_1, kinds) for seed in seeds]
        runs = bases
        if 2 in row.stages:
            of_stage_2 = _arguments_of_stage_2(row, configuration, kinds)
            folds = _number_of_folds(experiment, row, {**configuration, **of_stage_2})
            if row.stages == [1, 2] and folds > 1:
                of_both = _arguments_of_cross_fit(experiment, row, of_stage_2, configuration, kinds)
                runs = [_planned([1, 2], seed, output_dir, configuration, of_both, kinds) for seed in seeds]
                bases = [PlannedRun([1], run.seed, run.folder / "stage_1", of_both, is_inside=True) for run in runs]
            else:
                starts = bases if 1 in row.stages else [None] * len(bases)
                runs = [
                    _planned([2], seed, output_dir, configuration, of_stage_2, kinds, start)
                    for seed, start in zip(seeds, starts)
                ]
        folders = tuple(run.folder for run in runs)
        if folders in by_runs:
            raise ValueError(
                f"{experiment.path}: rows {by_runs[folders]!r} and {row.name!r} have the same arguments on this "
                "configuration"
            )
        by_runs[folders] = row.name
        planned.append(PlannedRow(row, runs, bases if runs is not bases else []))
    return _with_planned_bases(planned)


def changed_fields(model_kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields that are not what a new model has anyway."""
    defaults = DocREIIConfig.__dataclass_fields__
    return {
        name: value
        for name, value in model_kwargs.items()
        if name in _OF_THE_PROCESSOR or name not in defaults or value != defaults[name].default
    }


def distinct_runs(rows: Collection[PlannedRow]) -> list[PlannedRun]:
    """Returns every run once: seed after seed, stage 1 before stage 2."""
    runs: dict[Path, PlannedRun] = {}
    for row in rows:
        for run in (*row.bases, *row.runs):
            if not run.is_inside:
                runs.setdefault(run.folder, run)
    seeds = list(dict.fromkeys(run.seed for run in runs.values()))
    return sorted(runs.values(), key=lambda run: (seeds.index(run.seed), run.stages))


def _number_of_folds(experiment: Experiment, row: Row, arguments: Mapping[str, Any]) -> int:
    given = arguments.get("cross_fit_folds") or 1
    try:
        return int(given)
    except (TypeError, ValueError):
        where = f"{experiment.path}: row {row.name!r}"
        raise ValueError(f"{where}: `cross_fit_folds` must be an integer, got {given!r}") from None


def _with_planned_bases(rows: list[PlannedRow]) -> list[PlannedRow]:
    """A row without stage 1 is compared with a base module that other rows train, if there is one."""
    trained = {run.folder for row in rows if 1 in row.row.stages for run in row.bases or row.runs}
    return [
        row if all(base.folder in trained for base in row.bases) else PlannedRow(row.row, row.runs, []) for row in rows
    ]


def _arguments_of_stage_1(row: Row, configuration: Mapping[str, Any]) -> dict[str, Any]:
    arguments = _merged(configuration, row.both, row.stage_1)
    arguments = {name: value for name, value in arguments.items() if name != "stage_2"}
    return _without_folds(arguments, configuration)


def _without_folds(arguments: dict[str, Any], configuration: Mapping[str, Any]) -> dict[str, Any]:
    """The runs of a single stage are no cross-fit."""
    return {**arguments, "cross_fit_folds": 1} if "cross_fit_folds" in {**configuration, **arguments} else arguments


def _arguments_of_cross_fit(
    experiment: Experiment,
    row: Row,
    of_stage_2: Mapping[str, Any],
    configuration: Mapping[str, Any],
    kinds: ArgumentKinds,
) -> dict[str, Any]:
    """Arguments for both stages at once. A training argument of stage 1 would be one of stage 2 as well."""
    for name in row.stage_1:
        if name in kinds.training and name not in (of_stage_2.get("stage_2") or configuration.get("stage_2") or {}):
            raise ValueError(
                f"{experiment.path}: row {row.name!r}: stage_1: with `cross_fit_folds`, `{name}` would change stage 2 "
                "as well: set it in `both`"
            )
    return _merged(configuration, row.stage_1, of_stage_2)


def _arguments_of_stage_2(row: Row, configuration: Mapping[str, Any], kinds: ArgumentKinds) -> dict[str, Any]:
    """Training arguments of stage 2 go into `stage_2`, where they override those of the configuration."""
    if row.stages == [2]:
        # The whole model is trained at once, for as long and as fast as the base module is otherwise.
        whole = merge_arguments(configuration, row.both, row.stage_1)
        rate = whole.get("encoder_learning_rate", DocREIITrainingArguments.encoder_learning_rate)
        configuration = {**configuration, "stage_2": {"base_learning_rate": rate}}
    of_training = {name: value for name, value in row.stage_2.items() if name in kinds.training}
    if {**configuration, **(configuration.get("stage_2") or {})}.get("calibrate_iterations"):
        # A table shows what iterations do, so a run keeps all of them, unless the row says otherwise.
        of_training = {"calibrate_iterations": False} | of_training
    others = {name: value for name, value in row.stage_2.items() if name not in kinds.training}
    of_stage_1 = row.stage_1 if row.stages == [2] else {}
    arguments = _merged(configuration, row.both, of_stage_1, others, {"stage_2": of_training})
    if row.stages == [2]:
        arguments["stage_2"] = merge_arguments(configuration["stage_2"], arguments.get("stage_2", {}))
        arguments = _without_folds(arguments, configuration)
    return arguments


def _merged(configuration: Mapping[str, Any], *layers: Mapping[str, Any]) -> dict[str, Any]:
    """Merges layers, with those mappings of the configuration that they change."""
    changed = merge_arguments(*layers)
    return {
        name: merge_arguments({name: configuration.get(name)}, {name: value})[name]
        for name, value in changed.items()
        if value != {}
    }


def _planned(
    stages: list[int],
    seed: int,
    output_dir: Path,
    configuration: Mapping[str, Any],
    arguments: dict[str, Any],
    kinds: ArgumentKinds,
    start: PlannedRun | None = None,
) -> PlannedRun:
    effective = {
        name: value
        for name, value in {**configuration, **arguments}.items()
        if name not in kinds.without_effect and not (stages == [1] and name == "stage_2")
    }
    effective["model_kwargs"] = changed_fields(effective.get("model_kwargs") or {})
    if effective.get("cross_fit_folds") == 1:
        del effective["cross_fit_folds"]
    if (effective.get("stage_2") or {}).get("freeze_base") is False and not effective.get("freeze_base"):
        # Tables say so for configurations that freeze the base. The others train it anyway.
        effective["stage_2"] = {name: value for name, value in effective["stage_2"].items() if name != "freeze_base"}
    if not effective.get("stage_2"):
        effective.pop("stage_2", None)
    identity = [stages, effective, None if start is None else start.folder.parent.name]
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode()).hexdigest()[:8]
    name = "stage_" + "_and_".join(map(str, stages))
    folder = output_dir / "runs" / f"{name}_{digest}" / f"seed_{seed}"
    return PlannedRun(stages, seed, folder, arguments, start)


__all__ = ["ArgumentKinds", "PlannedRow", "PlannedRun", "distinct_runs", "plan_runs"]
