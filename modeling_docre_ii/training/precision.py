"""Records the precision of a training, for resumed trainings to reuse."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_callback import ExportableState


class Precision(NamedTuple):
    """
    Where bf16 is used.

    Args:
        bf16 (`bool`, *optional*, defaults to `False`): Under autocast, in training and evaluation.
        bf16_full_eval (`bool`, *optional*, defaults to `False`): For the weights too, in evaluation.
    """

    bf16: bool = False
    bf16_full_eval: bool = False

    def __str__(self) -> str:
        return " and ".join(f"`{name}={value}`" for name, value in self._asdict().items())


class PrecisionRecord(TrainerCallback, ExportableState):
    """
    Records the precision of a training in the state of its checkpoints.

    The state is in `trainer_state.json`.

    Args:
        requested (`Mapping[str, bool]`): The requested [`Precision`].
        used (`Mapping[str, bool]`): The [`Precision`] that is used, which a CPU may restrict to float32.
    """

    def __init__(self, requested: Mapping[str, bool], used: Mapping[str, bool]):
        self.requested = Precision(**requested)
        self.used = Precision(**used)

    def state(self) -> dict[str, Any]:
        return {"args": {"requested": self.requested._asdict(), "used": self.used._asdict()}, "attributes": {}}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        # Trainer cannot save a callback that is missing in the checkpoint it resumes from: older ones get it here.
        recorded = state.stateful_callbacks.setdefault(type(self).__name__, self.state())
        trained = PrecisionRecord(**recorded["args"])
        # With `restore_callback_states_from_checkpoint`, this callback itself is the recorded one.
        for used in (self.used, args.precision):
            if state.global_step and used != trained.used:
                raise ValueError(
                    f"the checkpoint was trained with {trained.used}, this Trainer uses {used}: set "
                    f"{trained.requested} in the training arguments, then call `args.reuse_precision(checkpoint)` "
                    "before you create the Trainer"
                )


@contextmanager
def whole_weights(args: TrainingArguments) -> Iterator[None]:
    """
    Predicts with the weights as they are.

    With `bf16_full_eval` or `fp16_full_eval`, transformers' Trainer rounds them for good, so that what is saved next
    is no longer what was trained.

    Args:
        args (`TrainingArguments`): The training arguments. They change until the context ends.
    """
    kept = {name: getattr(args, name) for name in ("bf16_full_eval", "fp16_full_eval")}
    for name in kept:
        setattr(args, name, False)
    try:
        yield
    finally:
        for name, value in kept.items():
            setattr(args, name, value)


def read_precision(folder: str) -> PrecisionRecord | None:
    """
    Reads the precision of a training.

    Args:
        folder (`str`):
            A checkpoint, or the output folder of a finished training.

    Returns:
        [`PrecisionRecord`] or `None`: the record, if there is one.
    """
    path = Path(folder) / TRAINER_STATE_NAME
    if not path.is_file():
        return None
    callbacks = json.loads(path.read_text(encoding="utf-8")).get("stateful_callbacks") or {}
    recorded = callbacks.get(PrecisionRecord.__name__)
    return recorded and PrecisionRecord(**recorded["args"])


__all__ = ["Precision", "PrecisionRecord", "read_precision", "whole_weights"]
