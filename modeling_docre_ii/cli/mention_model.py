"""Trains the mention model of a run, beside its relation model."""

import os
from collections.abc import Mapping
from typing import Any

from dataset_scripts.corpus import Corpus

from ..configuration_docre_ii import DocREIIConfig
from ..entity_finding import MENTION_MODEL_FOLDER
from ..training.mention_training import MentionTrainingArguments, train_mention_model
from ..utils.suggestions import check_names
from .arguments import Arguments
from .process_setup import logger
from .starting_model import load_config, resolve_path


# An argument of `mention_model` that is no training argument.
_ENCODER = "model_name_or_path"
# Training arguments that the mention model shares with the relation model, unless it has its own.
_SHARED = ("seed", "bf16", "use_cpu", "disable_tqdm", "log_level", "report_to")


def check_mention_arguments(mention_model: Mapping[str, Any]) -> None:
    """
    Checks the names of the arguments of the mention model.

    Args:
        mention_model (`dict`):
            Its training arguments, and perhaps its `model_name_or_path`.

    Raises:
        `ValueError`: a name is unknown.
    """
    known = [name for name in MentionTrainingArguments.__dataclass_fields__ if name != "output_dir"]
    check_names("mention_model", mention_model, [_ENCODER, *known])


def check_mention_encoder(arguments: Arguments) -> None:
    """
    Checks that the mention model of a run starts from a text encoder.

    Args:
        arguments ([`Arguments`]):
            All arguments of the run.

    Raises:
        `ValueError`: there is no such model, or it is a DocRE-II checkpoint.
    """
    if arguments.mention_model is None or not arguments.last.do_train:
        return
    encoder = arguments.mention_model.get(_ENCODER, arguments.model.model_name_or_path)
    if load_config(encoder).model_type == DocREIIConfig.model_type:
        raise ValueError(
            f"`mention_model`: {encoder!r} is a DocRE-II checkpoint, and not a text encoder: set its `{_ENCODER}`"
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
    given = dict(arguments.mention_model or {})
    encoder = resolve_path(given.pop(_ENCODER, arguments.model.model_name_or_path))
    shared = {name: getattr(arguments.last, name) for name in _SHARED}
    folder = os.path.join(arguments.last.output_dir, MENTION_MODEL_FOLDER)
    args = MentionTrainingArguments(output_dir=folder, **(shared | given))
    logger.info("mention model: a new token classification on the encoder %s", encoder)
    scores = train_mention_model(list(corpus.documents("train")), list(corpus.documents("validation")), encoder, args)
    if "mention_f1" in scores:
        logger.info(
            "mention model: F1 %.1f on the validation documents, %.1f with types (%s)",
            scores["mention_f1"],
            scores["typed_mention_f1"],
            folder,
        )
    return scores


__all__ = ["check_mention_arguments", "check_mention_encoder", "train_mentions"]
