"""Checks the parts of a Trainer before it trains for hours."""

from typing import Any

from transformers import TrainingArguments

from ..configuration_docre_ii import DocREIIConfig
from ..pipeline_docre_ii import check_label_map
from .arguments import DocREIITrainingArguments
from .encoding import EncodedDocuments


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
        `ValueError`: batches with a budget are to be made of a stream, there is not exactly one dataset to calibrate
            the threshold on, its predictions are not gathered, or no document has the labels that
            `calibrate_threshold` or `load_best_model_at_end` needs.
    """
    budgets = [name for name in ("max_tokens_per_batch", "max_pairs_per_batch") if getattr(args, name) is not None]
    if budgets and train_dataset is not None and not hasattr(train_dataset, "__len__"):
        raise ValueError(f"`{budgets[0]}` needs all training features at once, and not a stream of them")
    if args.calibrate_threshold:
        if eval_dataset is None:
            raise ValueError("`calibrate_threshold` needs an `eval_dataset`: the threshold is chosen on it")
        if isinstance(eval_dataset, dict):
            raise ValueError(
                f"`calibrate_threshold` needs one `eval_dataset`, got {', '.join(eval_dataset)}: after training, call "
                "`trainer.calibrate_threshold(documents)` instead"
            )
        if args.prediction_loss_only:
            raise ValueError("`calibrate_threshold` needs predictions, which `prediction_loss_only` leaves out")
    for name in ("calibrate_threshold", "load_best_model_at_end"):
        if getattr(args, name) and isinstance(eval_dataset, EncodedDocuments) and not eval_dataset.has_labels:
            raise ValueError(f"`{name}` needs labels, but no document in `eval_dataset` has one")


__all__ = ["check_datasets", "check_parts"]
