"""Reads the arguments of a run from a configuration file and the command line."""

import argparse
import json
import os
import shutil
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn

import yaml
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from transformers import HfArgumentParser, IntervalStrategy
from transformers.hf_argparser import string_to_bool

from ..training.arguments import DocREIITrainingArguments
from ..utils.suggestions import check_names, did_you_mean, did_you_mean_path
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
    "max_tokens_per_batch",
    "max_pairs_per_batch",
    "max_steps",
    "learning_rate",
    "encoder_learning_rate",
    "base_learning_rate",
    "freeze_base",
    "weight_decay",
    "warmup_steps",
    "max_grad_norm",
    "ema_decay",
    "prior_bias",
    "lr_scheduler_type",
    "adam_epsilon",
    "seed",
    "bf16",
    "use_cpu",
    "gradient_checkpointing",
    "ddp_timeout",
    "deepspeed",
    "logging_steps",
    "disable_tqdm",
    "eval_strategy",
    "eval_delay",
    "eval_steps",
    "save_strategy",
    "save_steps",
    "save_total_limit",
    "load_best_model_at_end",
    "metric_for_best_model",
    "calibrate_iterations",
    "calibrate_threshold",
    "train_sampling_strategy",
    "report_to",
    "resume_from_checkpoint",
    "push_to_hub",
    "hub_model_id",
    "hub_private_repo",
}

# Training arguments that `stage_2` cannot have.
_OF_BOTH_STAGES = {
    "output_dir",
    "do_train",
    "do_eval",
    "do_predict",
    "resume_from_checkpoint",
    "prediction_loss_only",
    "push_to_hub",
    "hub_model_id",
    "hub_private_repo",
    "hub_token",
}

# The name of a value in the help, by the type of the argument.
_METAVARS: dict[Any, str] = {int: "INT", float: "FLOAT", str: "TEXT", string_to_bool: "true|false"}


class ArgumentParser(HfArgumentParser):
    """
    An `HfArgumentParser` with one-line errors, suggestions and a short help.

    Its errors are `ValueError`s, and suggest a name for a misspelled argument.
    Help and errors name every argument once, `--train_file`. As in transformers, `--train-file` works as well.

    Args:
        classes (`tuple[type]`):
            The dataclasses of the arguments.
        description (`str`, *optional*):
            Text of the help, before the arguments.
        prog (`str`):
            How the user calls the program.
    """

    def __init__(self, classes: tuple[type, ...], description: str | None, prog: str):
        super().__init__(
            classes,
            description=description,
            formatter_class=_HelpFormatter,
            prog=prog,
            usage=f"{prog} [CONFIGURATION.yaml] [--argument value ...]",
            allow_abbrev=False,
        )
        for action in self._actions:
            if action.dest != "help":
                action.option_strings = action.option_strings[:1]

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        namespace, unknown = self.parse_known_args(args, namespace)
        if unknown:
            name = unknown[0].partition("=")[0]
            if name.endswith((".yaml", ".yml", ".json")):
                raise ValueError(f"{name!r} must be the first argument, if it is the configuration file")
            known = [action.option_strings[0] for action in self._actions]
            raise ValueError(
                f"unknown argument {name!r}{did_you_mean('--' + name.lstrip('-').replace('-', '_'), known)}"
            )
        return namespace

    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Shows the type of each argument, and its default unless the text names it."""

    def __init__(self, prog: str):
        super().__init__(prog, max_help_position=28, width=min(100, shutil.get_terminal_size().columns))

    def _get_default_metavar_for_optional(self, action: argparse.Action) -> str:
        return _METAVARS.get(action.type, "TEXT")

    def _get_help_string(self, action: argparse.Action) -> str:
        text, default = action.help or "", action.default
        is_shown = isinstance(default, int | float | str) and default not in (False, "", argparse.SUPPRESS)
        if isinstance(default, list):
            default, is_shown = " ".join(map(str, default)), bool(default)
        if isinstance(default, bool):
            default = str(default).lower()
        return text if not is_shown or "default" in text.lower() else f"{text.rstrip()} Default: {default}."


def parse_arguments(argv: list[str], description: str | None = None, prog: str = "run_docre.py") -> Arguments:
    """
    Reads the arguments of a run.

    The first argument may be a configuration file. The other arguments override it.

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
        `ValueError`: the file cannot be read, a name is unknown, a value is malformed or out of range, a path does
            not exist, or an argument is missing that another one needs.
    """
    parser = ArgumentParser(_ARGUMENT_CLASSES, description, prog)
    parser.add_argument("--help-all", action="help", help="Show every argument and exit.")
    if "--help-all" not in argv:
        for action in parser._actions:
            if action.container.title == "training" and action.dest not in _USUAL_TRAINING_ARGUMENTS:
                action.help = argparse.SUPPRESS
    if argv and not argv[0].startswith("-"):
        argv = _configured(parser, read_configuration(argv[0]), argv[1:])
    given = parser.parse_args(argv)
    if given.output_dir is None and given.triples_dir is not None and not (given.do_train or given.do_eval):
        # An extraction writes nothing but triples.
        argv = [*argv, "--output_dir", given.triples_dir]
        given = parser.parse_args(argv)
    model_args, stage_args, data_args, card_args, training_args = parser.parse_args_into_dataclasses(argv)
    if data_args.triples_dir is not None and not training_args.do_predict:
        raise ValueError("`triples_dir` is where `do_predict` writes: set it as well")
    if given.output_dir is None and (given.do_train or given.do_eval or given.do_predict):
        raise ValueError("`output_dir` is missing: set it to the folder that the run writes to")
    if training_args.prediction_loss_only:
        raise ValueError("`prediction_loss_only`: a run scores its predictions, remove this argument")
    if training_args.hub_model_id is not None:
        try:
            validate_repo_id(training_args.hub_model_id)
        except HFValidationError as error:
            raise ValueError(f"`hub_model_id`: {error}") from error
    training = dict.fromkeys(stage_args.stages, training_args)
    changes = stage_args.stage_2_changes
    if 2 in training and changes:
        _check_stage_2(changes)
        *_, training[2] = parser.parse_args_into_dataclasses([*argv, *as_arguments(changes)])
    if len(training) == 2:
        stage_1_dir = os.path.join(training_args.output_dir, "stage_1")
        *_, training[1] = parser.parse_args_into_dataclasses([*argv, "--output_dir", stage_1_dir])
        training[1].push_to_hub = False  # as both are given for both stages
    if 1 in training:
        training[1].freeze_base = training[1].calibrate_iterations = False
    if training_args.do_train:
        _check_teacher(data_args, stage_args)
        if 2 in training and model_args.config_fields.get("num_iterations") == 0:
            raise ValueError("`model_kwargs` has `num_iterations` 0, the base module alone: set `stages: [1]`")
    if stage_args.cross_fit_folds > 1 and training_args.do_train:
        _check_cross_fit(model_args, training)
        training[2].freeze_base = True
    for args in training.values():
        if not args.do_train:
            # With an `eval_strategy`, which is for training, transformers switches `do_eval` on.
            args.do_eval, args.eval_strategy = given.do_eval, IntervalStrategy.NO
    return Arguments(
        model_args,
        data_args,
        card_args,
        training,
        stage_args.overwrite_output_dir,
        stage_args.cross_fit_folds,
        stage_args.mention_model,
    )


def _check_stage_2(changes: dict[str, Any]) -> None:
    known = [name for name in DocREIITrainingArguments.__dataclass_fields__ if name not in _OF_BOTH_STAGES]
    for name in [name for name in changes if name in _OF_BOTH_STAGES]:
        raise ValueError(f"stage_2: `{name}` is the same in both stages, set it beside `stage_2`")
    check_names("stage_2", changes, known)
    for name in [name for name, value in changes.items() if value is None]:
        raise ValueError(f"stage_2: `{name}` is null: give it a value, or leave it out to have that of stage 1")


def _check_teacher(data_args: DataArguments, stage_args: StageArguments) -> None:
    if data_args.unlabeled_file and data_args.teacher_file is None:
        raise ValueError(
            "`unlabeled_file` needs the predictions of a teacher on it, from `docre-ii teach`: set `teacher_file`"
        )
    if data_args.teacher_file is not None and not data_args.unlabeled_file:
        raise ValueError("`teacher_file` needs the documents that the teacher predicted: set `unlabeled_file`")
    if data_args.teacher_file is not None and stage_args.cross_fit_folds > 1:
        raise ValueError("`cross_fit_folds` does not learn from a teacher: leave out `teacher_file`")


def _check_cross_fit(model_args: ModelArguments, training: dict[int, DocREIITrainingArguments]) -> None:
    is_launched = any(os.environ.get(f"ACCELERATE_USE_{name}", "").lower() == "true" for name in ("FSDP", "DEEPSPEED"))
    if is_launched or any(args.fsdp or args.deepspeed for args in training.values()):
        raise ValueError("`cross_fit_folds`: the main process predicts alone, but FSDP and DeepSpeed shard the model")
    if len(training) != 2:
        raise ValueError("`cross_fit_folds` needs both stages, set `stages: [1, 2]`")
    if model_args.config_fields.get("inference_features") != "logits":
        raise ValueError(
            "`cross_fit_folds`: the bases of different folds have different features, so that the inference module "
            'can read only their logits: set `"inference_features": "logits"` in `model_kwargs`'
        )


def parse_data_arguments(argv: list[str], description: str | None = None, prog: str = "docre-ii") -> DataArguments:
    """
    Reads the data arguments alone, without preparing a training.

    The configuration file may be that of a whole run, whose other arguments are ignored.

    Args:
        argv, description, prog: As for [`parse_arguments`].

    Returns:
        [`DataArguments`]

    Raises:
        `ValueError`: the file cannot be read, a name is unknown, a value is malformed or out of range, or a path does
            not exist.
    """
    return parse_some_arguments((DataArguments,), argv, description, prog)[0]


def parse_some_arguments(
    classes: tuple[type, ...], argv: list[str], description: str | None = None, prog: str = "docre-ii"
) -> tuple[Any, ...]:
    """
    Reads the arguments of a command that is not a run.

    Args:
        classes (`tuple[type]`):
            The dataclasses of the arguments.
        argv, description, prog: As for [`parse_data_arguments`].

    Returns:
        `tuple`: an instance of each class.

    Raises:
        `ValueError`: as for [`parse_data_arguments`].
    """
    parser = ArgumentParser(classes, description, prog)
    if argv and not argv[0].startswith("-"):
        # The file is that of a run. What the command itself does is said on its command line.
        known = {field.name for field in fields(DataArguments)}
        values = {name: value for name, value in read_configuration(argv[0]).items() if name in known}
        argv = _configured(parser, values, argv[1:])
    parser.parse_args(argv)  # suggests a name for an unknown argument
    return parser.parse_args_into_dataclasses(argv)


def _configured(parser: ArgumentParser, values: dict[str, Any], command_line: list[str]) -> list[str]:
    """Returns the values of a configuration file as arguments, before those of the command line."""
    after = parser.parse_args(as_arguments(values) + command_line)
    for action in parser._actions:
        action.required = False  # all are there, but not in the file alone
    before = parser.parse_args(as_arguments(values))
    overridden = {name for name, value in vars(after).items() if value != getattr(before, name)}
    return as_arguments(without_stale_statements(values, overridden)) + command_line


def short_usage(prog: str) -> str:
    """
    Returns what to type first, for a user who has typed no arguments.

    Args:
        prog (`str`):
            How the user calls the program.
    """
    launch = f"accelerate launch {prog}" if prog.endswith(".py") else prog
    return (
        f"usage: {prog} [CONFIGURATION.yaml] [--argument value ...]\n\n"
        f"The quickstart trains on 80 documents, in minutes:\n\n    {launch} configuration/quickstart.yaml\n\n"
        f"{prog} --help shows the arguments."
    )


def read_configuration(path: str) -> dict[str, Any]:
    """
    Reads a configuration file, and checks the names in it.

    Args:
        path (`str`):
            A YAML or JSON file.

    Returns:
        `dict[str, Any]`: the arguments by name, not yet parsed.

    Raises:
        `ValueError`: the file cannot be read, is not a mapping, or has an unknown name.
    """
    if not os.path.exists(path):
        raise ValueError(f"there is no configuration file {path!r}{did_you_mean_path(path)}")
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError(f"cannot read the configuration {path!r}: it is nested too deep") from None
    # Beside errors of its own, yaml raises those of Python for dates and numbers.
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ValueError(f"cannot read the configuration {path!r}: {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f"the configuration {path!r} must be a mapping of argument names to values")
    known = {field.name: field for kind in _ARGUMENT_CLASSES for field in fields(kind) if field.init}
    check_names(path, values, list(known))
    for name, value in values.items():
        if isinstance(value, bool) and "bool" not in str(known[name].type) and name != "resume_from_checkpoint":
            raise ValueError(
                f"{path}: `{name}` is {str(value).lower()}, which YAML makes of no, off, yes and on: quote the word"
            )
    return values


def as_arguments(values: dict[str, Any]) -> list[str]:
    """
    Turns values into command-line arguments, so that one parser reads both.

    Args:
        values (`dict[str, Any]`):
            Arguments by name. Those that are `None` are left out, except for `mention_model`, of which `null` is a
            value.
    """
    arguments: list[str] = []
    for name, value in values.items():
        if value is None and name != "mention_model":
            continue
        items = value if isinstance(value, list) and name != "candidate_types" else [value]
        arguments += [f"--{name}", *(item if isinstance(item, str) else json.dumps(item) for item in items)]
    return arguments
