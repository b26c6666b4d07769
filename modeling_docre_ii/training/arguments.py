"""Training arguments of DocRE-II."""

from dataclasses import dataclass, field

import torch
from transformers import TrainingArguments
from transformers.utils import logging

from ..utils.bounds import check_at_least
from ..utils.cpu_bf16 import BF16Trial, try_bf16_in_all_processes, warn_of_float32
from .precision import Precision, read_precision


logger = logging.get_logger(__name__)


@dataclass
class DocREIITrainingArguments(TrainingArguments):
    r"""
    [`TrainingArguments`] with the learning rates and the schedule of DocRE-II.

    The learning rates default to those of the paper for BERT on DocRED (Table 7), the warm-up to the paper's 6%. Set
    `num_train_epochs` yourself: its default is that of transformers, 3, and the paper trains 30 and 15 epochs.

    Args:
        encoder_learning_rate (`float`, *optional*, defaults to 5e-5):
            In stage 1, the peak learning rate of the pretrained encoder.
        base_learning_rate (`float`, *optional*, defaults to 1e-5):
            In stage 2, the peak learning rate of the base module, its encoder included.
        freeze_base (`bool`, *optional*, defaults to `False`):
            In stage 2, keep the base module unchanged (Table 4, "w/ freeze base module").
        learning_rate (`float`, *optional*, defaults to 1e-4):
            Peak learning rate of the new modules: in stage 1 everything but the encoder, in stage 2 the inference
            module.
        warmup_steps (`float`, *optional*, defaults to 0.06):
            Linear warm-up: a share of all steps below 1, a number of steps otherwise. A linear decay to 0 follows.
        ema_decay (`float`, *optional*, defaults to 0.0):
            Keep a moving average of the weights, of which each step keeps this share, and evaluate and save it in
            place of the weights ([`AveragingTrainer`]). A decay of 0.99 averages over about 100 steps. 0 keeps none.
        prior_bias (`bool`, *optional*, defaults to `False`):
            In stage 1, start the biases of a new classifier at the log odds of the relations in the training documents
            ([`start_at_frequencies`]).
        max_tokens_per_batch (`int`, *optional*):
            Largest number of tokens of a batch on a device, padding included. With this or `max_pairs_per_batch`,
            batches hold documents of similar size ([`BudgetBatchSampler`]), at most `per_device_train_batch_size` or
            `per_device_eval_batch_size` of them. Overrides `train_sampling_strategy`. A document that exceeds a budget
            is a batch of its own.
        max_pairs_per_batch (`int`, *optional*):
            Largest number of entity pairs of a batch on a device, padding included: a document with 42 entities has
            1764.
        calibrate_iterations (`bool`, *optional*, defaults to `False`):
            In stage 2, whether to keep, after training, as many iterations as do best on the validation documents. If
            that is none, what is saved is the base module alone ([`~DocREIITrainer.calibrate_iterations`]).
        calibrate_threshold (`bool`, *optional*, defaults to `False`):
            Whether to move the threshold of the model, after training, to where F1 is best on the validation
            documents ([`~DocREIITrainer.calibrate_threshold`]).
        metric_for_best_model (`str`, *optional*, defaults to `"f1"`):
            Score on the validation documents by which the best checkpoint is chosen.
        bf16, bf16_full_eval (`bool`, *optional*, defaults to `False`):
            As in transformers, but used on a CPU only if a trial finds bf16 to work and to be faster than float32, in
            every process of the run. Otherwise both are set to `False`, with a warning; `requested_precision` keeps
            what was requested.
    """

    # The heading of these arguments in the help of an `HfArgumentParser`.
    _argument_group_name = "training"

    encoder_learning_rate: float = field(
        default=5e-5, metadata={"help": "Stage 1: peak learning rate of the pretrained encoder."}
    )
    base_learning_rate: float = field(
        default=1e-5, metadata={"help": "Stage 2: peak learning rate of the base module, encoder included."}
    )
    freeze_base: bool = field(default=False, metadata={"help": "Stage 2: keep the base module unchanged."})
    learning_rate: float = field(
        default=1e-4,
        metadata={
            "help": "Peak learning rate of the new modules; stage 1: all but the encoder; stage 2: inference module."
        },
    )
    warmup_steps: float = field(
        default=0.06, metadata={"help": "Linear warm-up: a share of all steps if below 1, else a number of steps."}
    )
    ema_decay: float = field(
        default=0.0,
        metadata={
            "help": "Evaluate and save a moving average, of which each step keeps this share, such as 0.99. 0: none."
        },
    )
    prior_bias: bool = field(default=False, metadata={"help": "Stage 1: start at the relations' frequencies."})
    max_tokens_per_batch: int | None = field(
        default=None, metadata={"help": "Most tokens of a batch on a device, with padding."}
    )
    max_pairs_per_batch: int | None = field(
        default=None, metadata={"help": "Most pairs of a batch on a device, with padding."}
    )
    calibrate_iterations: bool = field(
        default=False, metadata={"help": "Stage 2: keep as many iterations as do best on the validation documents."}
    )
    calibrate_threshold: bool = field(
        default=False,
        metadata={"help": "After training, move the threshold class to where F1 is best on the validation documents."},
    )
    metric_for_best_model: str | None = field(
        default="f1", metadata={"help": "Score on the validation documents by which the best checkpoint is chosen."}
    )
    resume_from_checkpoint: str | None = field(
        default=None, metadata={"help": "Checkpoint to resume from, or `last` for the last one in `output_dir`."}
    )
    remove_unused_columns: bool | None = field(
        default=False, metadata={"help": "Whether to remove columns that the model's forward does not take."}
    )
    label_names: list[str] | None = field(
        default_factory=lambda: ["labels"], metadata={"help": "The inputs that are labels."}
    )

    def __post_init__(self) -> None:
        # Without `use_cpu`, transformers refuses `bf16` on a machine without an accelerator.
        self.use_cpu: bool = self.use_cpu or not torch.accelerator.is_available()
        super().__post_init__()
        if self.n_gpu > 1:
            # transformers would split batches by `DataParallel`, which cannot gather documents of different sizes.
            logger.warning(f"one of {self.n_gpu} GPUs is used: to train on all, start with `accelerate launch`")
            self._n_gpu: int = 1
        # torch checks most of these as well, but only once training or evaluation starts.
        check_at_least(
            1,
            self,
            "per_device_train_batch_size",
            "per_device_eval_batch_size",
            "gradient_accumulation_steps",
            "max_tokens_per_batch",
            "max_pairs_per_batch",
        )
        rates = ("learning_rate", "encoder_learning_rate", "base_learning_rate", "weight_decay")
        check_at_least(0, self, "num_train_epochs", "dataloader_num_workers", "seed", *rates)
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"`ema_decay` must lie in [0, 1), got {self.ema_decay}")
        if self.remove_unused_columns:
            raise ValueError("`remove_unused_columns` is not supported: it removes the `document_index` of features")
        if self.label_smoothing_factor:
            raise ValueError("`label_smoothing_factor` is not supported: the loss smooths no labels")
        if self.dataloader_drop_last:
            raise ValueError("`dataloader_drop_last` is not supported: evaluations would leave out documents")
        if not self.eval_do_concat_batches:
            raise ValueError("`eval_do_concat_batches=False` is not supported: scores need all documents at once")
        if self.batch_eval_metrics:
            raise ValueError("`batch_eval_metrics` is not supported: scores need all documents at once")
        # `accelerate launch --mixed_precision bf16` requests it in the environment.
        self.bf16: bool = self.mixed_precision == "bf16"
        self.requested_precision = self.precision
        trial = self._try_bf16()
        if trial is not None and not trial.is_faster:
            self._set_precision(Precision())
            if self.process_index == 0:
                warn_of_float32(trial)

    @property
    def precision(self) -> Precision:
        """The precision used, float32 where the requested bf16 is switched off."""
        return Precision(bf16=self.bf16, bf16_full_eval=self.bf16_full_eval)

    def reuse_precision(self, folder: str) -> None:
        """
        Uses the precision that a training was started in, to resume it.

        Call it before the Trainer is created. It does nothing for checkpoints that do not record their precision.

        Args:
            folder (`str`):
                A checkpoint of the training, or the output folder of a finished one.

        Raises:
            `ValueError`: the training was started with another `bf16` or `bf16_full_eval`, or in bf16, which this CPU
                cannot run.
        """
        record = read_precision(folder)
        if record is None:
            return
        # Requesting the precision that was used in the end resumes the training as well.
        for name, value in record.requested._asdict().items() if self.requested_precision != record.used else ():
            if value != getattr(self.requested_precision, name):
                raise ValueError(
                    f"{folder} was trained with `{name}={value}`: set this to resume it, or start again in another "
                    "folder"
                )
        trial = self._try_bf16()
        if trial is not None and not trial.is_alive and any(record.used):
            raise ValueError(
                f"{folder} was trained in bf16, but {trial}: resume it on another machine, or start again in another "
                "folder"
            )
        if record.used != self.precision:
            self._set_precision(record.used)
            if self.process_index == 0:
                trained_in = "bf16" if any(record.used) else "float32"
                logger.warning(f"{folder} was trained in {trained_in}, which is used to resume it")

    def _try_bf16(self) -> BF16Trial | None:
        is_tried = self.device.type == "cpu" and any(self.requested_precision)
        return try_bf16_in_all_processes() if is_tried else None

    def _set_precision(self, precision: Precision) -> None:
        self.bf16, self.bf16_full_eval = precision
        if self.requested_precision.bf16:
            # The Trainer reads this.
            self.mixed_precision: str = "bf16" if self.bf16 else "no"


__all__ = ["DocREIITrainingArguments"]
