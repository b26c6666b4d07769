"""The file of an experiment: its rows, its columns, and the runs behind them."""

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ..evaluation.tables import SCORE_GROUPS
from ..utils.suggestions import check_names, did_you_mean_path


# Average absolute weights of the classifier of the inference module (Figure 5 of the paper).
WEIGHTS = ("feature_weight", "relation_weight")
_GROUPS = [group for group in SCORE_GROUPS if not group.startswith("rule_")]
_SCORES = [*(f"{group}{score}" for group in _GROUPS for score in ("f1", "precision", "recall")), *WEIGHTS]
_REQUIRED = ("title", "configuration", "seeds", "columns", "rows")
_OPTIONAL = ("both", "stage_1", "stage_2", "gain", "plot")
_PLOTS = ("points", "lines")
_STAGES = ([1], [2], [1, 2])
# Arguments of stage 1 that its checkpoint keeps.
_KEPT = ("candidate_types", "encoder_kwargs", "mark_types", "mention_anchor")


@dataclass(frozen=True)
class Measure:
    """
    A score of a run.

    Args:
        score (`str`): Its name in [`score_facts`], or `feature_weight` or `relation_weight`.
        iteration (`int`, *optional*): The iteration that is scored. Defaults to the last one.
    """

    score: str
    iteration: int | None = None


@dataclass(frozen=True)
class Row:
    """
    A row of the table: one model, trained with several seeds.

    Args:
        name (`str`): Its name.
        stages (`list[int]`): `[1, 2]` for the full model, `[1]` for the base module alone, `[2]` for a model that is
            trained as a whole, without stage 1.
        both, stage_1, stage_2 (`dict[str, Any]`): Arguments of the runs of both stages, of stage 1, of stage 2.
        paper (`dict[str, Any]`): The paper's value in each column, by the name of the column.
    """

    name: str
    stages: list[int] = field(default_factory=lambda: [1, 2])
    both: dict[str, Any] = field(default_factory=dict)
    stage_1: dict[str, Any] = field(default_factory=dict)
    stage_2: dict[str, Any] = field(default_factory=dict)
    paper: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Experiment:
    """
    An experiment.

    Args:
        path (`Path`): Its file.
        title (`str`): What the table shows.
        configuration (`Path`): The configuration of all runs.
        seeds (`list[int]`): One run each.
        columns (`dict[str, Measure]`): The scores by the names of their columns.
        rows (`list[Row]`): The rows, with the arguments that the file gives to all of them.
        gain (`Measure`, *optional*): The score whose gain over the base module is tested.
        plot (`str`, *optional*, defaults to `"points"`): `"points"` above each row, or `"lines"` over the columns.
    """

    path: Path
    title: str
    configuration: Path
    seeds: list[int]
    columns: dict[str, Measure]
    rows: list[Row]
    gain: Measure | None = None
    plot: str = "points"


def read_experiment(path: str) -> Experiment:
    """
    Reads and checks the file of an experiment.

    Args:
        path (`str`):
            A YAML file. `docs/reproduce.md` describes its fields.

    Returns:
        [`Experiment`]

    Raises:
        `ValueError`: the file cannot be read, or a field is missing, unknown or malformed. The message names file and
            field.
    """
    if Path(path).suffix not in (".yaml", ".yml"):
        raise ValueError(f"{path!r} is no experiment, which is a YAML file (.yaml)")
    values = _fields(path, _read(path), _REQUIRED, _OPTIONAL)
    for name in ("title", "configuration"):
        _check(isinstance(values[name], str), path, name, values[name], "a text")
    seeds = values["seeds"]
    are_seeds = isinstance(seeds, list) and all(type(seed) is int and seed >= 0 for seed in seeds)
    _check(are_seeds and bool(seeds), path, "seeds", seeds, "a list of integers")
    _check_distinct(f"{path}: seeds", seeds)
    configuration = Path(os.path.relpath(Path(path).parent / values["configuration"]))
    if not configuration.is_file():
        raise ValueError(
            f"{path}: configuration: there is no file {str(configuration)!r}{did_you_mean_path(str(configuration))}"
        )
    columns = _named(path, "columns", values["columns"])
    plot = values.get("plot", "points")
    _check(plot in _PLOTS, path, "plot", plot, f"one of {_PLOTS}")
    return Experiment(
        path=Path(path),
        title=values["title"],
        configuration=configuration,
        seeds=seeds,
        columns={name: _measure(f"{path}: column {name!r}", column) for name, column in columns.items()},
        rows=[_row(f"{path}: row {name!r}", name, row, values, columns) for name, row in _rows(path, values).items()],
        gain=None if values.get("gain") is None else _gain(f"{path}: gain", values["gain"]),
        plot=plot,
    )


def merge_arguments(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """
    Merges arguments of runs.

    Args:
        layers (`dict[str, Any]`):
            Arguments by name. Later ones win; arguments that are mappings are merged name by name.
    """
    merged: dict[str, Any] = {}
    for name, value in (item for layer in layers for item in layer.items()):
        is_mapping = isinstance(value, Mapping) and isinstance(merged.get(name), Mapping)
        merged[name] = {**merged[name], **value} if is_mapping else value
    return merged


def _rows(path: str, values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    rows = _named(path, "rows", values["rows"])
    _check(bool(rows), path, "rows", values["rows"], "at least one")
    return rows


def _row(where: str, name: str, row: Any, values: Mapping[str, Any], columns: Mapping[str, Any]) -> Row:
    row = _fields(where, row, optional=("stages", "both", "stage_1", "stage_2", "paper"))
    stages = row.get("stages", [1, 2])
    _check(stages in _STAGES, where, "stages", stages, "[1], [2] or [1, 2]")
    arguments = {}
    for part in ("both", "stage_1", "stage_2"):
        for holder, place in ((values, where.partition(": row")[0]), (row, where)):
            _check(isinstance(holder.get(part) or {}, dict), place, part, holder.get(part), "a mapping")
        arguments[part] = merge_arguments(values.get(part) or {}, row.get(part) or {})
        for argument in arguments[part]:
            _check(isinstance(argument, str), where, part, argument, "a mapping whose keys are names")
        for argument in [argument for argument, value in arguments[part].items() if value is None]:
            _check(argument == "mention_model", f"{where}: {part}", argument, None, "a value, or left out")
    for argument in _KEPT if stages == [1, 2] else ():
        if argument in arguments["stage_2"]:
            raise ValueError(f"{where}: stage_2: `{argument}` is kept from stage 1: set it in `both` or in `stage_1`")
    if stages == [1] and row.get("stage_2"):
        raise ValueError(f"{where}: `stage_2` has no effect with `stages: [1]`")
    paper = row.get("paper") or {}
    _check(isinstance(paper, dict), where, "paper", paper, "a mapping of columns to values")
    check_names(f"{where}: paper", map(str, paper), columns)
    return Row(name, stages, paper=paper, **arguments)


def _measure(where: str, value: Any) -> Measure:
    value = _fields(where, {"score": value} if isinstance(value, str) else value, ("score",), ("iteration",))
    _check(isinstance(value["score"], str), where, "score", value["score"], "the name of a score")
    check_names(f"{where}: score", [value["score"]], _SCORES)
    iteration = value.get("iteration")
    _check(iteration is None or type(iteration) is int and iteration >= 0, where, "iteration", iteration, "an integer")
    return Measure(value["score"], iteration)


def _gain(where: str, value: Any) -> Measure:
    measure = _measure(where, value)
    _check(measure.score.endswith("f1"), where, "score", measure.score, "an F1, of which the gain is tested")
    return measure


def _named(path: str, name: str, items: Any) -> dict[str, dict[str, Any]]:
    """Returns items by their `name`. In a YAML mapping, a second item of one name would replace the first."""
    is_list = isinstance(items, list) and all(isinstance(item, dict) for item in items)
    _check(is_list, path, name, items, "a list of mappings")
    for place, item in enumerate(items):
        _check(isinstance(item.get("name"), str), f"{path}: {name}, item {place}", "name", item.get("name"), "a text")
    _check_distinct(f"{path}: {name}", [item["name"] for item in items])
    return {item["name"]: {key: value for key, value in item.items() if key != "name"} for item in items}


def _fields(where: str, value: Any, required: tuple[str, ...] = (), optional: tuple[str, ...] = ()) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{where} must be a mapping, got {value!r}")
    check_names(where, map(str, value), [*required, *optional])
    for name in required:
        if name not in value:
            raise ValueError(f"{where}: `{name}` is missing")
    return value


def _check(is_valid: bool, where: str, name: str, value: Any, expected: str) -> None:
    if not is_valid:
        raise ValueError(f"{where}: `{name}` must be {expected}, got {value!r}")


def _check_distinct(where: str, values: list[Any]) -> None:
    repeated = [value for value, count in Counter(values).items() if count > 1]
    if repeated:
        raise ValueError(f"{where}: {repeated[0]!r} is there twice")


def _read(path: str) -> Any:
    if not os.path.isfile(path):
        raise ValueError(f"there is no experiment {path!r}{did_you_mean_path(path)}")
    try:
        return yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError(f"cannot read the experiment {path!r}: it is nested too deep") from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ValueError(f"cannot read the experiment {path!r}: {error}") from error


__all__ = ["WEIGHTS", "Experiment", "Measure", "Row", "merge_arguments", "read_experiment"]
