"""Trains the mention model of a run, beside its relation model."""

import shutil
from pathlib import Path

from transformers.utils import CONFIG_NAME

from dataset_scripts.corpus import Corpus

from ..configuration_docre_ii import DocREIIConfig
from ..entity_finding import MENTION_MODEL_FOLDER
from ..training.mention_training import MentionTrainingArguments, train_mention_model
from ..utils.suggestions import check_names
from .arguments import Arguments
from .parsing import ArgumentParser, as_arguments
from .process_setup import logger
from .starting_model import load_config, resolve_path


# An argument of `mention_model` that is no training argument.
_ENCODER = "model_name_or_path"
# Training arguments that the mention model shares with the relation model, unless it has its own.
_SHARED = ("seed", "bf16", "use_cpu", "disable_tqdm", "log_level", "report_to")
# Those that the run decides, or that have no effect: the weights of the last step are saved and scored.
_FIXED = {
    "output_dir",
    "push_to_hub",
    "resume_from_checkpoint",
    "do_train",
    "do_eval",
    "do_predict",
    "eval_strategy",
    "eval_on_start",
    "load_best_model_at_end",
    "metric_for_best_model",
    "greater_is_better",
}


def check_mention_arguments(arguments: Arguments) -> None:
    """
    Checks the arguments of the mention model of a run.

    Args:
        arguments ([`Arguments`]):
            All arguments of the run.

    Raises:
        `ValueError`: a name is unknown, a value is malformed, there is no such encoder, or it is a DocRE-II
            checkpoint.
    """
    if arguments.mention_model is None or not arguments.last.do_train:
        return
    known = [name for name in MentionTrainingArguments.__dataclass_fields__ if name not in _FIXED]
    check_names("mention_model", arguments.mention_model, [_ENCODER, *known])
    training_arguments(arguments, "unused")
    encoder = _encoder_of(arguments)
    if load_config(encoder).model_type == DocREIIConfig.model_type:
        raise ValueError(
            f"`mention_model`: {encoder!r} is a DocRE-II checkpoint without a mention model: set its `{_ENCODER}` to "
            "a text encoder, or `mention_model` to null"
        )


def train_mentions(arguments: Arguments, corpus: Corpus) -> dict[str, float]:
    """
    Trains the mention model on the training documents, and logs its score.

    Args:
        arguments ([`Arguments`]):
            All arguments of the run.
        corpus ([`Corpus`]):
            Its documents.

    Returns:
        `dict[str, float]`: the scores of [`train_mention_model`].
    """
    encoder = _encoder_of(arguments)
    folder = Path(arguments.last.output_dir) / MENTION_MODEL_FOLDER
    # A killed run leaves no half of a mention model beside its relation model.
    partial = folder.with_name(f"{folder.name}.partial")
    args = training_arguments(arguments, str(partial))
    logger.info("mention model: a new token classification on the encoder %s", encoder)
    documents, dev_documents = (list(corpus.documents(split)) for split in ("train", "validation"))
    scores = train_mention_model(documents, dev_documents, resolve_path(encoder), args)
    with args.main_process_first(desc="moving the mention model"):
        if args.should_save:
            shutil.rmtree(folder, ignore_errors=True)
            partial.replace(folder)
    if "mention_f1" in scores:
        logger.info(
            "mention model: F1 %.1f on the validation documents, %.1f with types (%s)",
            scores["mention_f1"],
            scores["typed_mention_f1"],
            folder,
        )
    # Beside the scores of the relation model, which has a `train_loss` of its own.
    return {f"mention_{name}" if name == "train_loss" else name: score for name, score in scores.items()}


def _encoder_of(arguments: Arguments) -> str:
    """Returns the text encoder, or the mention model of the checkpoint that the run starts from."""
    start = (arguments.mention_model or {}).get(_ENCODER, arguments.model.model_name_or_path)
    inside = Path(resolve_path(start)) / MENTION_MODEL_FOLDER
    return str(inside) if (inside / CONFIG_NAME).is_file() else start


def training_arguments(arguments: Arguments, output_dir: str) -> MentionTrainingArguments:
    """
    Makes the training arguments of the mention model.

    What `mention_model` does not say, such as the seed, is as for the relation model.

    Args:
        arguments ([`Arguments`]):
            All arguments of the run.
        output_dir (`str`):
            Where it is saved.

    Raises:
        `ValueError`: a value is malformed or out of range.
    """
    given = {name: value for name, value in (arguments.mention_model or {}).items() if name != _ENCODER}
    shared = {name: getattr(arguments.last, name) for name in _SHARED}
    shared["report_to"] = shared["report_to"] or "none"
    parser = ArgumentParser((MentionTrainingArguments,), None, "mention_model")
    try:
        (args,) = parser.parse_args_into_dataclasses(as_arguments({"output_dir": output_dir} | shared | given))
    except (TypeError, ValueError) as error:
        raise ValueError(f"`mention_model`: {error}") from error
    return args


__all__ = ["check_mention_arguments", "train_mentions", "training_arguments"]
