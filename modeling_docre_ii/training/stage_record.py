"""The record of a trained stage for the model card."""

import enum
from collections.abc import Mapping, Sequence
from typing import Any

from ..hub.training_record import STAGE_ARGUMENTS, TrainedStage
from .arguments import DocREIITrainingArguments


def record_stage(args: DocREIITrainingArguments, log_history: Sequence[Mapping[str, Any]]) -> TrainedStage:
    """
    Records a stage of training as plain values.

    Args:
        args ([`DocREIITrainingArguments`]):
            Its arguments.
        log_history (`list[dict]`):
            What its Trainer logged, `TrainerState.log_history`.

    Returns:
        [`TrainedStage`]
    """
    values = {name: getattr(args, name) for name in STAGE_ARGUMENTS}
    plain = {name: value.value if isinstance(value, enum.Enum) else value for name, value in values.items()}
    return TrainedStage(plain, list(log_history))


__all__ = ["record_stage"]
