"""Records a training for the model card."""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from transformers import TrainerState

from ..hub.training_record import STAGE_ARGUMENTS, TrainedStage, TrainingRecord, final_scores
from .arguments import DocREIITrainingArguments


def record_stage(args: DocREIITrainingArguments, log_history: Sequence[Mapping[str, Any]]) -> TrainedStage:
    """
    Records a stage of training as plain values.

    Args:
        args ([`DocREIITrainingArguments`]):
            Its arguments.
        log_history (`list[dict]`):
            The log of its Trainer, `TrainerState.log_history`.

    Returns:
        [`TrainedStage`]
    """
    values = {name: getattr(args, name) for name in STAGE_ARGUMENTS}
    plain = {name: value.value if isinstance(value, enum.Enum) else value for name, value in values.items()}
    return TrainedStage(plain, [dict(entry) for entry in log_history])


def complete_record(
    record: TrainingRecord, args: DocREIITrainingArguments, state: TrainerState, stage: int
) -> TrainingRecord:
    """
    Completes a record with the facts that a Trainer has.

    It adds the stage, if the Trainer has trained it, and, to a record without scores, those of the last evaluation of
    the weights that were kept. With `calibrate_iterations` or `calibrate_threshold`, that is one after the training,
    which ends with another model. Scores at the best threshold are left out if relations below the threshold were not
    gathered, because the best threshold is unknown then.

    Args:
        record ([`TrainingRecord`]):
            The record, which is not changed.
        args ([`DocREIITrainingArguments`]):
            Arguments of the Trainer.
        state ([`TrainerState`]):
            Its state.
        stage (`int`):
            The stage that its model is in, 1 or 2.

    Returns:
        [`TrainingRecord`]
    """
    completed = replace(record, scores=dict(record.scores), stages=dict(record.stages))
    if state.global_step:
        completed.stages[stage] = record_stage(args, state.log_history)
    if not completed.scores:
        kept_step = (state.best_global_step if args.load_best_model_at_end else None) or state.global_step
        changes_model = args.calibrate_iterations or args.calibrate_threshold
        scores = final_scores(state.log_history, None if changes_model else kept_step)
        completed.add_scores("validation", scores, prefix="eval_")
    if not args.calibrate_threshold:
        completed.scores = {
            split: {name: score for name, score in scores.items() if not name.endswith("calibrated_f1")}
            for split, scores in completed.scores.items()
        }
    return completed


__all__ = ["complete_record", "record_stage"]
