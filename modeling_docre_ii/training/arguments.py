"""Training arguments of DocRE-II."""

from dataclasses import dataclass, field

import torch
from transformers import TrainingArguments
from transformers.utils import logging


logger = logging.get_logger(__name__)


def cpu_has_bf16() -> bool:
    """Whether this CPU multiplies bfloat16 matrices in hardware, as far as this version of torch can tell."""
    if not hasattr(torch.cpu, "get_capabilities"):
        return True
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16"))


@dataclass
class DocREIITrainingArguments(TrainingArguments):
    r"""
    [`TrainingArguments`] with the learning rates and the schedule of DocRE-II; everything else is transformers' own.
    Defaults are those of Table 7 of the paper for BERT on DocRED.

    Args:
        encoder_learning_rate (`float`, *optional*, defaults to 5e-5):
            In stage 1, the peak learning rate of the pretrained encoder.
        base_learning_rate (`float`, *optional*, defaults to 1e-5):
            In stage 2, the peak learning rate of the base module, its encoder included.
        freeze_base (`bool`, *optional*, defaults to `False`):
            In stage 2, leave the base module as it is (Table 4, "w/ freeze base module").
        learning_rate (`float`, *optional*, defaults to 1e-4):
            Peak learning rate of the new modules: in stage 1 everything but the encoder, in stage 2 the inference
            module.
        warmup_steps (`float`, *optional*, defaults to 0.06):
            Linear warm-up: a share of all steps below 1, a number of steps otherwise. A linear decay to 0 follows.
        max_tokens_per_batch (`int`, *optional*):
            The most tokens of a batch on a device, padding included. With this or the next, documents of similar size
            are put together ([`BudgetBatchSampler`]), at most `per_device_train_batch_size`, or
            `per_device_eval_batch_size`, of them; `train_sampling_strategy` then says nothing. A document beyond a
            budget is a batch of its own.
        max_pairs_per_batch (`int`, *optional*):
            The most entity pairs of a batch on a device, padding included: a document of 42 entities has 1764.
        calibrate_threshold (`bool`, *optional*, defaults to `False`):
            Whether `run_docre.py` moves the bias of the threshold class, after training, to where F1 is best on the
            validation documents ([`~DocREIITrainer.calibrate_threshold`]).
        metric_for_best_model (`str`, *optional*, defaults to `"f1"`):
            Score on the validation documents that chooses the best checkpoint.
    """

    # The heading of these arguments in the help of an `HfArgumentParser`.
    _argument_group_name = "training"

    encoder_learning_rate: float = field(
        default=5e-5, metadata={"help": "Stage 1: peak learning rate of the pretrained encoder."}
    )
    base_learning_rate: float = field(
        default=1e-5, metadata={"help": "Stage 2: peak learning rate of the base module, encoder included."}
    )
    freeze_base: bool = field(default=False, metadata={"help": "Stage 2: leave the base module as it is."})
    learning_rate: float = field(
        default=1e-4,
        metadata={
            "help": "Peak learning rate of the new modules; stage 1: all but the encoder; stage 2: inference module."
        },
    )
    warmup_steps: float = field(
        default=0.06, metadata={"help": "Linear warm-up: a share of all steps if below 1, else a number of steps."}
    )
    max_tokens_per_batch: int | None = field(
        default=None, metadata={"help": "The most tokens of a batch on a device, padding included."}
    )
    max_pairs_per_batch: int | None = field(
        default=None, metadata={"help": "The most entity pairs of a batch on a device, padding included."}
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
        if self.use_cpu and self.bf16 and not cpu_has_bf16():
            logger.warning_once("`bf16` is switched off: this CPU would emulate it, many times slower than float32")
            self.bf16 = False
        for name in ("max_tokens_per_batch", "max_pairs_per_batch"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"`{name}` has to be at least 1, not {getattr(self, name)}")
        super().__post_init__()


__all__ = ["DocREIITrainingArguments"]
