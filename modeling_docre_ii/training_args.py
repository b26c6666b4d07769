"""Training arguments of DocRE-II."""

from dataclasses import dataclass, field

import torch
from transformers import TrainingArguments


@dataclass
class DocREIITrainingArguments(TrainingArguments):
    r"""
    [`TrainingArguments`] with the learning rates and the schedule of DocRE-II; everything else is transformers' own.

    Args:
        encoder_learning_rate (`float`, *optional*, defaults to 5e-5):
            Peak learning rate of the pretrained encoder (Table 7 of the paper: BERT on DocRED).
        learning_rate (`float`, *optional*, defaults to 1e-4):
            Peak learning rate of the new modules, everything but the encoder.
        warmup_steps (`float`, *optional*, defaults to 0.06):
            Linear warm-up: a share of all steps below 1, a number of steps otherwise. A linear decay to 0 follows.
        calibrate_threshold (`bool`, *optional*, defaults to `False`):
            Whether `run_docre.py` moves the bias of the threshold class, after training, to where F1 is best on the
            validation documents ([`~DocREIITrainer.calibrate_threshold`]).
        metric_for_best_model (`str`, *optional*, defaults to `"f1"`):
            Score on the validation documents that chooses the best checkpoint.
    """

    # The heading of these arguments in the help of an `HfArgumentParser`.
    _argument_group_name = "training"

    encoder_learning_rate: float = field(
        default=5e-5, metadata={"help": "Peak learning rate of the pretrained encoder."}
    )
    learning_rate: float = field(
        default=1e-4, metadata={"help": "Peak learning rate of the new modules, everything but the encoder."}
    )
    warmup_steps: float = field(
        default=0.06, metadata={"help": "Linear warm-up: a share of all steps if below 1, else a number of steps."}
    )
    calibrate_threshold: bool = field(
        default=False,
        metadata={"help": "After training, move the threshold class to where F1 is best on the validation documents."},
    )
    metric_for_best_model: str | None = field(
        default="f1", metadata={"help": "The score on the validation documents that chooses the best checkpoint."}
    )
    greater_is_better: bool | None = field(default=True, metadata={"help": "Whether a higher score is better."})
    remove_unused_columns: bool | None = field(
        default=False, metadata={"help": "Whether to remove columns that the model's forward does not take."}
    )
    label_names: list[str] | None = field(
        default_factory=lambda: ["labels"], metadata={"help": "The inputs that are labels."}
    )

    def __post_init__(self):
        # Transformers refuses `bf16` on a machine without an accelerator unless it is told that this is meant.
        self.use_cpu = self.use_cpu or not torch.accelerator.is_available()
        super().__post_init__()


__all__ = ["DocREIITrainingArguments"]
