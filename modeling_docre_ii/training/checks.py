"""Checks the parts of a Trainer before it trains for hours."""

from typing import Any

from transformers import TrainingArguments
from transformers.utils import logging

from ..configuration_docre_ii import DocREIIConfig
from ..loaded_weights import check_label_map
from ..modeling_docre_ii import DocREIIForRelationExtraction
from .arguments import DocREIITrainingArguments
from .encoding import EncodedDocuments


logger = logging.get_logger(__name__)


def check_parts(config: DocREIIConfig | None, args: TrainingArguments, processing_class: Any) -> None:
    """
    Checks that arguments, model and processor of a Trainer go together.

    Args:
        config ([`DocREIIConfig`], *optional*):
            Configuration of the model.
        args ([`TrainingArguments`]):
            Training arguments.
        processing_class ([`DocREIIProcessor`], *optional*):
            The processor. Its class is not checked, because it may come from the code of a checkpoint.

    Raises:
        `ValueError`: the arguments or the processor are not DocRE-II's, or model and processor have different
            relations.
    """
    if not isinstance(args, DocREIITrainingArguments):
        raise ValueError(f"`args` must be DocREIITrainingArguments, got {type(args).__name__}")
    if processing_class is None:
        return
    if not hasattr(processing_class, "relations"):
        raise ValueError(
            f"`processing_class` must be the DocREIIProcessor of the model, got {type(processing_class).__name__}"
        )
    if config is not None:
        check_label_map(config.id2label, processing_class.relations)


def check_datasets(args: DocREIITrainingArguments, train_dataset: Any, eval_dataset: Any) -> None:
    """
    Checks that the training and validation documents are what training needs.

    Args:
        args ([`DocREIITrainingArguments`]):
            Training arguments.
        train_dataset ([`EncodedDocuments`] or other features, *optional*):
            The encoded training documents.
        eval_dataset ([`EncodedDocuments`], other features, or a `dict` of them, *optional*):
            The encoded validation documents.

    Raises:
        `ValueError`: batches with a budget are to be made of a stream, no evaluation can choose the best checkpoint,
            or it does not say by which of several datasets, there is not exactly one to calibrate the threshold on,
            its predictions are not gathered, or no document has the labels that `calibrate_threshold` or the best
            checkpoint needs.
    """
    budgets = [name for name in ("max_tokens_per_batch", "max_pairs_per_batch") if getattr(args, name) is not None]
    if budgets and train_dataset is not None and not hasattr(train_dataset, "__len__"):
        raise ValueError(f"`{budgets[0]}` needs all training features at once, and not a stream of them")
    check_choice(args)
    for argument in ("calibrate_iterations", "calibrate_threshold"):
        if getattr(args, argument):
            check_calibration(args, eval_dataset, argument)
    choice = _name_of_choice(args)
    if choice and isinstance(eval_dataset, dict):
        score = str(args.metric_for_best_model).removeprefix("eval_")
        if not score.startswith(tuple(f"{name}_" for name in eval_dataset)):
            named = ", ".join(f"'{name}_{score}'" for name in eval_dataset)
            raise ValueError(f"{choice} goes by {score!r}, of which documents? Set `metric_for_best_model` to {named}")
    if choice and isinstance(eval_dataset, EncodedDocuments) and not eval_dataset.has_labels:
        raise ValueError(f"{choice} needs labels, but no document in `eval_dataset` has one")


def check_calibration(
    args: DocREIITrainingArguments, eval_dataset: Any, argument: str = "calibrate_threshold"
) -> None:
    """
    Checks that a model can be calibrated on validation documents.

    Args:
        args ([`DocREIITrainingArguments`]):
            Training arguments.
        eval_dataset ([`EncodedDocuments`], other features, or a `dict` of them, *optional*):
            The encoded validation documents.
        argument (`str`, *optional*, defaults to `"calibrate_threshold"`):
            The training argument that asks for it, and the method of the Trainer.

    Raises:
        `ValueError`: there is not exactly one dataset, none of its documents has labels, or its predictions are not
            gathered.
    """
    if eval_dataset is None:
        raise ValueError(f"`{argument}` needs an `eval_dataset`, to choose by its F1")
    if isinstance(eval_dataset, dict):
        raise ValueError(
            f"`{argument}` needs one `eval_dataset`, got {', '.join(eval_dataset)}: after training, call "
            f"`trainer.{argument}(documents)` instead"
        )
    if args.prediction_loss_only:
        raise ValueError(f"`{argument}` needs predictions, which `prediction_loss_only` leaves out")
    if isinstance(eval_dataset, EncodedDocuments) and not eval_dataset.has_labels:
        raise ValueError(f"`{argument}` needs labels, but no document in `eval_dataset` has one")


def check_choice(args: DocREIITrainingArguments) -> None:
    """
    Checks that evaluations can choose the best checkpoint, if it is asked for.

    Args:
        args ([`DocREIITrainingArguments`]):
            Training arguments.

    Raises:
        `ValueError`: the first evaluation would come after the end of the training, or evaluations lack the score.
    """
    choice = _name_of_choice(args)
    if choice is None:
        return
    if args.prediction_loss_only and args.metric_for_best_model not in ("loss", "eval_loss"):
        raise ValueError(
            f"{choice} goes by `{args.metric_for_best_model}`, which `prediction_loss_only` leaves out: set "
            "`metric_for_best_model` to 'loss'"
        )
    in_steps = args.max_steps > 0
    end = args.max_steps if in_steps else args.num_train_epochs
    if args.eval_strategy == ("steps" if in_steps else "epoch") and args.eval_delay > end:
        raise ValueError(
            f"{choice} needs an evaluation, but `eval_delay` is {args.eval_delay:g}, and training ends after {end:g} "
            f"{'step' if in_steps else 'epoch'}{'' if end == 1 else 's'}: set `eval_delay` to less"
        )


def check_trained_parts(model: DocREIIForRelationExtraction, args: DocREIITrainingArguments) -> None:
    """
    Checks that there is something to train.

    A base module that was frozen elsewhere is named in a warning.

    Args:
        model ([`DocREIIForRelationExtraction`]):
            The model.
        args ([`DocREIITrainingArguments`]):
            Training arguments.

    Raises:
        `ValueError`: `freeze_base` is set, and the model has no inference module.
    """
    if args.freeze_base:
        if not model.config.num_iterations:
            raise ValueError("`freeze_base` leaves nothing to train: the model has no inference module")
    elif not any(parameter.requires_grad for parameter in model.base_model.parameters()):
        logger.warning(
            "the base module is not trained: none of its parameters requires a gradient, as after a training with "
            "`freeze_base`. To train it, call `model.requires_grad_(True)` before you create the Trainer"
        )


def check_iterations(model: DocREIIForRelationExtraction, is_whole: bool) -> None:
    """
    Checks that the number of iterations can be chosen.

    Args:
        model ([`DocREIIForRelationExtraction`]):
            The model.
        is_whole (`bool`):
            Whether it is neither sharded nor wrapped by peft, so that it can lose its inference module.

    Raises:
        `ValueError`: it cannot.
    """
    if not model.config.num_iterations:
        raise ValueError("`calibrate_iterations` has nothing to choose: the model has no inference module")
    if not is_whole:
        raise ValueError(
            "`calibrate_iterations` may remove the inference module, which FSDP, DeepSpeed and peft keep: call "
            "`calibrate_iterations` on a Trainer of the saved model instead"
        )


def _name_of_choice(args: DocREIITrainingArguments) -> str | None:
    """The argument that asks for the best checkpoint."""
    if args.load_best_model_at_end:
        return "`load_best_model_at_end`"
    return "`save_strategy='best'`" if args.save_strategy == "best" else None


__all__ = [
    "check_calibration",
    "check_choice",
    "check_datasets",
    "check_iterations",
    "check_parts",
    "check_trained_parts",
]
