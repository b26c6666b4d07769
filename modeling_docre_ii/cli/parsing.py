"""Reads the arguments of a run from a configuration file and the command line."""

import argparse
import json
import os
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml
from transformers import HfArgumentParser, IntervalStrategy

from ..training.arguments import DocREIITrainingArguments
from ..utils.suggestions import check_names
from .arguments import Arguments, CardArguments, DataArguments, ModelArguments, StageArguments
from .publishing import without_stale_statements


_ARGUMENT_CLASSES = (ModelArguments, StageArguments, DataArguments, CardArguments, DocREIITrainingArguments)

# The training arguments that `--help` shows, among transformers' many.
_USUAL_TRAINING_ARGUMENTS = {
    "output_dir",
    "do_train",
    "do_eval",
    "do_predict",
    "num_train_epochs",
    "per_device_train_batch_size",
    "per_device_eval_batch_size",
    "gradient_accumulation_steps",
    "learning_rate",
    "encoder_learning_rate",
    "base_learning_rate",
    "freeze_base",
    "weight_decay",
    "warmup_steps",
    "max_grad_norm",
    "seed",
    "bf16",
    "eval_strategy",
    "save_strategy",
    "save_total_limit",
    "load_best_model_at_end",
    "metric_for_best_model",
    "calibrate_threshold",
    "train_sampling_strategy",
    "report_to",
    "resume_from_checkpoint",
    "push_to_hub",
}
# The data arguments that only `--help-all` shows.
_RARE_DATA_ARGUMENTS = {
    "documents_per_shard",
    "num_printed_documents",
    "num_printed_triples",
    "preprocessing_num_workers",
}


def parse_arguments(argv: list[str], description: str | None = None, prog: str = "run_docre.py") -> Arguments:
    """
    Reads the arguments of a run: the configuration file, if the first argument is one, then the command line.

    Args:
        argv (`list[str]`):
            The command line, without the name of the program.
        description (`str`, *optional*):
            Text of the help, before the arguments.
        prog (`str`, *optional*, defaults to `"run_docre.py"`):
            How the user calls the program, for help and errors.

    Returns:
        [`Arguments`]

    Raises:
        `ValueError`: the file cannot be read, the file or `stage_2` has an unknown name, a path does not exist, a
            mapping or a list of stages is malformed, or `triples_dir` is given without `do_predict`.
    """
    parser = _make_parser(_ARGUMENT_CLASSES, description, prog)
    parser.add_argument("--help-all", action="help", help="Show every argument and exit.")
    if "--help-all" not in argv:
        for action in parser._actions:
            group = action.container.title
            is_rare = group == CardArguments._argument_group_name or action.dest in _RARE_DATA_ARGUMENTS
            if is_rare or (group == "training" and action.dest not in _USUAL_TRAINING_ARGUMENTS):
                action.help = argparse.SUPPRESS
    if argv and not argv[0].startswith("-"):
        values, command_line = _read_configuration(argv[0]), argv[1:]
        before, after = (parser.parse_args(_as_arguments(values) + rest) for rest in ([], command_line))
        overridden = {name for name, value in vars(after).items() if value != getattr(before, name)}
        argv = _as_arguments(without_stale_statements(values, overridden)) + command_line
    asked_to_evaluate = parser.parse_args(argv).do_eval
    model_args, stage_args, data_args, card_args, training_args = parser.parse_args_into_dataclasses(argv)
    if data_args.triples_dir is not None and not training_args.do_predict:
        raise ValueError("`triples_dir` is where `do_predict` writes: set it as well")
    training = dict.fromkeys(stage_args.stages, training_args)
    changes = stage_args.stage_2_changes
    if 2 in training and changes:
        check_names("stage_2", changes, DocREIITrainingArguments.__dataclass_fields__)
        *_, training[2] = parser.parse_args_into_dataclasses([*argv, *_as_arguments(changes)])
    if len(training) == 2:
        stage_1_dir = os.path.join(training_args.output_dir, "stage_1")
        *_, training[1] = parser.parse_args_into_dataclasses([*argv, "--output_dir", stage_1_dir])
        # Both concern stage 2, also if they are given for both stages.
        training[1].freeze_base = training[1].push_to_hub = False
    for args in training.values():
        if not args.do_train:
            # With an `eval_strategy`, which is for training, transformers switches `do_eval` on.
            args.do_eval, args.eval_strategy = asked_to_evaluate, IntervalStrategy.NO
    return Arguments(model_args, data_args, card_args, training)


def parse_data_arguments(argv: list[str], description: str | None = None, prog: str = "docre-ii") -> DataArguments:
    """
    Reads the data arguments alone, without preparing a training. The configuration file may be one of a whole run,
    whose other arguments are ignored.

    Args:
        argv, description, prog: As for [`parse_arguments`].

    Returns:
        [`DataArguments`]

    Raises:
        `ValueError`: the file cannot be read or has an unknown name, or a path does not exist.
    """
    parser = _make_parser((DataArguments,), description, prog)
    if argv and not argv[0].startswith("-"):
        of_data = {field.name for field in fields(DataArguments)}
        values = {name: value for name, value in _read_configuration(argv[0]).items() if name in of_data}
        argv = _as_arguments(values) + argv[1:]
    parser.parse_args(argv)  # names an unknown argument, which the next line would call unused
    return parser.parse_args_into_dataclasses(argv)[0]


def _make_parser(classes: tuple[type, ...], description: str | None, prog: str) -> HfArgumentParser:
    return HfArgumentParser(
        classes,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        prog=prog,
        usage=f"{prog} [CONFIGURATION.yaml] [--argument value ...]",
        allow_abbrev=False,
    )


def _read_configuration(path: str) -> dict[str, Any]:
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ValueError(f"cannot read the configuration {path!r}: {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f"the configuration {path!r} must be a mapping of argument names to values")
    check_names(path, values, [field.name for kind in _ARGUMENT_CLASSES for field in fields(kind) if field.init])
    return values


def _as_arguments(values: dict[str, Any]) -> list[str]:
    """Turns values into command-line arguments, so that one parser reads both."""
    arguments: list[str] = []
    for name, value in values.items():
        if value is None:
            continue
        items = value if isinstance(value, list) and name != "candidate_types" else [value]
        arguments += [f"--{name}", *(item if isinstance(item, str) else json.dumps(item) for item in items)]
    return arguments
