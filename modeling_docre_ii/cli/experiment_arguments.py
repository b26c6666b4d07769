"""Checks the arguments that an experiment and its command line give to runs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from types import NoneType
from typing import Any

from ..configuration_docre_ii import DocREIIConfig
from ..experiments.definition import Experiment
from ..training.arguments import DocREIITrainingArguments
from ..utils.suggestions import check_names
from .arguments import CardArguments, DataArguments, ModelArguments, StageArguments
from .parsing import read_configuration


# Arguments that the command sets for each run, or that have no place in one.
_RESERVED = {
    "output_dir",
    "seed",
    "stages",
    "do_train",
    "do_eval",
    "resume_from_checkpoint",
    "overwrite_output_dir",
    "push_to_hub",
    "score_files",
    "compare_with",
    "triples_dir",
}
_ARGUMENTS = {
    field.name
    for kind in (ModelArguments, StageArguments, DataArguments, CardArguments, DocREIITrainingArguments)
    for field in fields(kind)
    if field.init
}
TRAINING_ARGUMENTS = {field.name for field in fields(DocREIITrainingArguments) if field.init}
_MAPPINGS = ("encoder_kwargs", "model_kwargs", "stage_2")


def check_experiment(experiment: Experiment) -> None:
    """
    Checks that all arguments of an experiment are arguments of a run.

    Args:
        experiment ([`Experiment`]):
            The experiment.

    Raises:
        `ValueError`: a name is unknown or reserved. The message names the file, the row and the part of the row.
    """
    for row in experiment.rows:
        for part in ("both", "stage_1", "stage_2"):
            _check_names(f"{experiment.path}: row {row.name!r}: {part}", getattr(row, part))


def _check_names(where: str, arguments: Mapping[str, Any]) -> None:
    check_names(where, arguments, _ARGUMENTS)
    for name in arguments:
        if name in _RESERVED:
            raise ValueError(f"{where}: `{name}` cannot be set here: it is set for each run")
    for name in _MAPPINGS:
        if not isinstance(arguments.get(name), (Mapping, NoneType)):
            raise ValueError(f"{where}: `{name}` is {arguments[name]!r}, expected a mapping")
    check_names(f"{where}: stage_2", arguments.get("stage_2") or {}, TRAINING_ARGUMENTS)
    check_names(f"{where}: model_kwargs", arguments.get("model_kwargs") or {}, DocREIIConfig.__dataclass_fields__)


def given_arguments(argv: Sequence[str]) -> dict[str, Any]:
    """
    Returns the arguments of a command line by name, unparsed except for mappings.

    Args:
        argv (`list[str]`):
            The command line.

    Raises:
        `ValueError`: a name is unknown or reserved, or a mapping is malformed.
    """
    given: dict[str, list[str]] = {}
    name = ""
    for word in argv:
        if word.startswith("--"):
            name, has_value, value = word[2:].partition("=")
            name = name.replace("-", "_")
            given[name] = [value] if has_value else []
        elif not name:
            raise ValueError(f"unexpected argument {word!r}: after the experiment come arguments with names")
        else:
            given[name].append(word)
    values: dict[str, Any] = {name: words[0] if len(words) == 1 else words for name, words in given.items()}
    values = {name: _mapping(name, value) if name in _MAPPINGS else value for name, value in values.items()}
    _check_names("the command line", values)
    return values


def read_base(path: str) -> dict[str, Any]:
    """
    Reads the configuration of an experiment, its mappings parsed.

    Args:
        path (`str`):
            A YAML or JSON file.

    Raises:
        `ValueError`: it cannot be read, a mapping is malformed, or it sets what an experiment sets for each run.
    """
    values = read_configuration(path)
    for name in ("overwrite_output_dir", "push_to_hub", "resume_from_checkpoint"):
        if values.get(name):
            raise ValueError(f"{path}: `{name}` has no place in an experiment, which sets it for each run")
    return {name: _mapping(name, v) if name in _MAPPINGS and isinstance(v, str) else v for name, v in values.items()}


def _mapping(name: str, value: Any) -> dict[str, Any]:
    try:
        found = json.loads(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"`{name}` is not JSON: {value!r} ({error})") from error
    if not isinstance(found, dict):
        raise ValueError(f"`{name}` must be a mapping, got {value!r}")
    return found


__all__ = ["TRAINING_ARGUMENTS", "check_experiment", "given_arguments", "read_base"]
