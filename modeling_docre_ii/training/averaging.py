"""A moving average of the weights, which is evaluated and saved in their place."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch.optim.swa_utils import get_ema_multi_avg_fn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import EvalLoopOutput, TrainOutput

from .checkpoints import CheckpointError, WholeCheckpointTrainer


# In a checkpoint, the weights that training goes on with. `model.safetensors` there holds the average.
TRAINING_WEIGHTS = "training_weights.safetensors"


class WeightAverage:
    r"""
    Exponential moving average of the trained weights of a model.

        average_t = d_t average_{t-1} + (1 - d_t) weights_t,   d_t = min(decay, t / (t + 9))

    after step t = 1, 2, ... The first steps count less, as in timm and diffusers: the average soon forgets the weights
    that training started from.

    Args:
        model (`torch.nn.Module`):
            The model. Its weights are where the average starts.
        decay (`float`):
            Share of the average that each step keeps.
    """

    def __init__(self, model: torch.nn.Module, decay: float):
        self.decay = decay
        self.weights = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
        self.values = [weight.detach().clone() for weight in self.weights.values()]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Takes in the weights after a step, counted from 1."""
        decay = min(self.decay, step / (step + 9))
        get_ema_multi_avg_fn(decay)(self.values, list(self.weights.values()), step)

    @torch.no_grad()
    def exchange(self) -> None:
        """Exchanges the weights of the model with the average."""
        for weight, value in zip(self.weights.values(), self.values):
            kept = weight.detach().clone()
            weight.copy_(value)
            value.copy_(kept)


class AveragingTrainer(WholeCheckpointTrainer):
    """
    [`Trainer`] that keeps a moving average of the weights, with `ema_decay`.

    The average is what is evaluated, chosen by `load_best_model_at_end`, saved, and left in the model after training.
    A checkpoint holds the weights of the training as well, in `training_weights.safetensors`, to resume from.

    Raises:
        `ValueError`: the model is sharded, by FSDP or DeepSpeed.
    """

    _average: WeightAverage | None = None
    _is_exchanged = False

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        if self.args.ema_decay and (self.is_fsdp_enabled or self.is_deepspeed_enabled):
            raise ValueError("`ema_decay` needs whole weights, which FSDP and DeepSpeed shard: set it to 0")
        self.add_callback(_Averaging(self))

    def train(self, *args: Any, **kwargs: Any) -> TrainOutput:
        self._average = None
        try:
            result = super().train(*args, **kwargs)
            if self._average is not None:
                self._average.exchange()
            return result
        finally:
            self._average = None

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """Puts the average into the model for a while."""
        if self._average is None or self._is_exchanged:
            yield
            return
        self._average.exchange()
        self._is_exchanged = True
        try:
            yield
        finally:
            self._is_exchanged = False
            self._average.exchange()

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> EvalLoopOutput:
        with self._averaged():
            return super().evaluation_loop(*args, **kwargs)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        with self._averaged():
            super().save_model(output_dir, _internal_call)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        if self._average is not None and self.args.should_save:
            weights = {name: weight.detach().contiguous() for name, weight in self._average.weights.items()}
            save_file(weights, Path(output_dir, TRAINING_WEIGHTS))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: torch.nn.Module | None = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        path = Path(resume_from_checkpoint, TRAINING_WEIGHTS)
        if path.exists() != bool(self.args.ema_decay):
            done, asked = ("with", "without") if path.exists() else ("without", "with")
            raise CheckpointError(
                f"cannot resume from {resume_from_checkpoint!r}: it was trained {done} `ema_decay`, and is resumed "
                f"{asked} it"
            )
        if self.args.ema_decay:
            self._average = WeightAverage(self.model, self.args.ema_decay)
            with torch.no_grad():
                for name, value in load_file(path).items():
                    self._average.weights[name].copy_(value)

    def _load_best_model(self) -> None:
        super()._load_best_model()
        # Every checkpoint holds the average of its step.
        self._average = None


class _Averaging(TrainerCallback):
    """Updates the average of a Trainer after every step."""

    def __init__(self, trainer: AveragingTrainer):
        self.trainer = trainer

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self.trainer.args.ema_decay and state.global_step == 0:
            self.trainer._average = WeightAverage(self.trainer.model, self.trainer.args.ema_decay)

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self.trainer._average is not None:
            self.trainer._average.update(state.global_step + 1)


__all__ = ["TRAINING_WEIGHTS", "AveragingTrainer", "WeightAverage"]
