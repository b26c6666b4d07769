"""The tables of the model card."""

import platform
from collections.abc import Mapping, Sequence
from typing import Any

import datasets
import tokenizers
import torch
import transformers

from ..configuration_docre_ii import DocREIIConfig
from ..documents import CorpusCounts
from ..evaluation.tables import iteration_names, iteration_rows, score_rows
from ..processing_docre_ii import DocREIIProcessor
from .markdown import code_span, escaped
from .training_record import TrainedStage


def markdown_table(rows: Sequence[Sequence[Any]]) -> str:
    """
    Formats a Markdown table.

    Args:
        rows (`list[list]`):
            The cells in Markdown, the header first. Line breaks in a cell become spaces. Names of users must be
            [`escaped`], except for pipes.

    Returns:
        `str`
    """

    def line(cells: Sequence[Any]) -> str:
        return "| " + " | ".join(" ".join(str(cell).split()).replace("|", "\\|") for cell in cells) + " |"

    head, *body = rows
    return "\n".join([line(head), "|" + "---|" * len(head), *map(line, body)])


def score_table(all_scores: Mapping[str, Mapping[str, float]], counts: Mapping[str, CorpusCounts]) -> str:
    """
    Returns the scores of all splits as one table, or `""` without any.

    Args:
        all_scores (`dict[str, dict[str, float]]`):
            Scores by split, in percent.
        counts (`dict[str, CorpusCounts]`):
            Counts of each split.
    """
    rows = []
    for split, scores in all_scores.items():
        documents = f"{split}, {counts[split].documents:,}" if split in counts else split
        (_, *head), *of_split = score_rows(scores)
        rows += [(documents, *row) for row in of_split]
    return markdown_table([("documents", "facts", *head), *rows]) if rows else ""


def iteration_tables(all_scores: Mapping[str, Mapping[str, float]], num_iterations: int) -> list[tuple[str, str]]:
    """
    Returns a table for each split: F1 of the base module and of every iteration.

    Args:
        all_scores (`dict[str, dict[str, float]]`):
            Scores by split, in percent.
        num_iterations (`int`):
            Number of iterations of the model. Without any there is no table.

    Returns:
        `list[tuple[str, str]]`: splits and tables.
    """
    names = iteration_names(1 + num_iterations)
    return [
        (split, markdown_table(iteration_rows(scores, names)))
        for split, scores in all_scores.items()
        if num_iterations and f"{names[-1]}_f1" in scores
    ]


def overview_table(
    config: DocREIIConfig,
    license: str | None,
    base_model: str | None,
    corpus: str,
    num_parameters: int | None,
) -> str:
    """
    Returns the table of corpus, license and model.

    Args:
        config, license, base_model, num_parameters: As for [`make_model_card`].
        corpus (`str`): The corpus, from [`corpus_phrase`].
    """
    encoder = config.get_text_config()
    size = f"{encoder.model_type}, {encoder.num_hidden_layers} layers of width {encoder.hidden_size}"
    rows = [("corpus", corpus), ("license", f"{escaped(license or 'not stated')} (weights), MIT (code)")]
    if base_model:
        rows.append(("fine-tuned from", f"[{base_model}](https://huggingface.co/{base_model})"))
    rows.append(("encoder", size))
    if num_parameters:
        rows.append(("parameters", f"{num_parameters / 1e6:,.1f} M"))
    return markdown_table([("", ""), *rows])


def count_table(counts: Mapping[str, CorpusCounts]) -> str:
    """Returns the counts of each split as a table, or `""` without any."""
    names = ("documents", "entities", "mentions", "facts", "pairs")
    rows = [(split, *(f"{getattr(count, name):,}" for name in names)) for split, count in counts.items()]
    return markdown_table([("", *names), *rows]) if rows else ""


def hyperparameter_table(stages: Sequence[tuple[int, TrainedStage]]) -> str:
    """Returns the training arguments as a table, one column per stage, or `""`."""
    columns = [_hyperparameters(stage, trained.arguments) for stage, trained in stages]
    names = dict.fromkeys(name for column in columns for name in column)
    rows = [(name, *(column.get(name, "") for column in columns)) for name in names]
    rows = [row for row in rows if any(row[1:])]
    return markdown_table([("", *(f"stage {stage}" for stage, _ in stages)), *rows]) if rows else ""


def _hyperparameters(stage: int, args: Mapping[str, Any]) -> dict[str, str]:
    per_device, accumulation, devices = (
        args[name] for name in ("train_batch_size", "gradient_accumulation_steps", "world_size")
    )
    parts = [
        f"{per_device} per device",
        *([f"{devices} devices"] if devices > 1 else []),
        *([f"{accumulation} steps"] if accumulation > 1 else []),
    ]
    warmup, optimizer = args["warmup_steps"], args["optim"]
    if "adam" in optimizer:
        optimizer += f", betas {args['adam_beta1']} and {args['adam_beta2']}, epsilon {args['adam_epsilon']}"
    length = "max_steps" if args["max_steps"] > 0 else "num_train_epochs"
    base_rate = "0" if args["freeze_base"] else f"{args['base_learning_rate']:g}"
    new_rate = f"{args['learning_rate']:g}"
    per_step = per_device * accumulation * devices
    return {
        length.rpartition("_")[2]: f"{args[length]:g}",
        "documents per step": str(per_step) + (f" ({' × '.join(parts)})" if len(parts) > 1 else ""),
        "learning rate of the encoder": f"{args['encoder_learning_rate']:g}" if stage == 1 else base_rate,
        "learning rate of the rest of the base module": new_rate if stage == 1 else base_rate,
        "learning rate of the inference module": "" if stage == 1 else new_rate,
        "schedule": args["lr_scheduler_type"],
        "warm-up": f"{100 * warmup:g}% of the steps" if warmup < 1 else f"{warmup:g} steps",
        "optimizer": optimizer,
        "weight decay": f"{args['weight_decay']:g}",
        "maximum gradient norm": f"{args['max_grad_norm']:g}" if args["max_grad_norm"] else "not clipped",
        "precision": "bf16" if args["bf16"] else "fp16" if args["fp16"] else "float32",
        "seed": str(args["seed"]),
        "checkpoint": f"the best by {code_span(args['metric_for_best_model'])}"
        if args["load_best_model_at_end"]
        else "the last",
        "threshold": "calibrated after training" if args["calibrate_threshold"] else "as learned",
    }


def option_table(config: DocREIIConfig, processor: DocREIIProcessor | None) -> str:
    """Returns the options of the model and its processor as a table."""
    names = ["pair_encoder", "pair_hidden_size", "pair_feature_size", "pair_dropout", "num_iterations"]
    if config.num_iterations:
        names += ["num_inference_layers", "inference_hidden_size", "cross_attention", "relation_embedding"]
        names += ["iteration_update", "add_base_logits", "max_noise_rate", "contrastive_loss_weight"]
    names += ["entity_salience"] if config.entity_salience else []
    names += ["max_window_size", "window_overlap"]
    options = [(f"`{name}`", getattr(config, name)) for name in names]
    if config.document_threshold_weight:
        options.append(("`document_threshold_weight`", config.document_threshold_weight))
        options.append(("`document_threshold_offset`", f"{config.document_threshold_offset:.2f}"))
    if processor is not None:
        names = ["mention_anchor", "mark_types", "marker", "max_labels_per_pair"]
        options += [(f"`{name}`", escaped(getattr(processor, name))) for name in names]
    return markdown_table([("", ""), *options])


def log_table(log_history: Sequence[Mapping[str, Any]]) -> str:
    """
    Returns the evaluations during training as a table.

    Args:
        log_history (`list[dict]`):
            The log of its Trainer, `TrainerState.log_history`.

    Returns:
        `str`: a row for each evaluation; empty without any.
    """
    columns = {"eval_loss": "validation loss", "eval_f1": "F1", "eval_calibrated_f1": "F1 at the best threshold"}
    rows, training_loss = [], ""
    for entry in log_history:
        if "train_runtime" in entry:
            break
        if "loss" in entry:
            training_loss = f"{float(entry['loss']):.4f}"
        if "eval_loss" in entry:
            scores = (
                f"{entry[name]:.4f}" if name == "eval_loss" else f"{entry[name]:.2f}" if name in entry else ""
                for name in columns
            )
            rows.append((f"{entry.get('epoch', 0):.2f}", f"{entry.get('step', 0):,}", training_loss, *scores))
    return markdown_table([("epoch", "step", "training loss", *columns.values()), *rows]) if rows else ""


def versions() -> str:
    """Returns the versions of Python and of the libraries, separated by commas."""
    libraries = {"Transformers": transformers, "PyTorch": torch, "Datasets": datasets, "Tokenizers": tokenizers}
    named = [f"{name} {library.__version__}" for name, library in libraries.items()]
    return ", ".join([f"Python {platform.python_version()}", *named])


__all__ = [
    "count_table",
    "hyperparameter_table",
    "iteration_tables",
    "log_table",
    "markdown_table",
    "option_table",
    "overview_table",
    "score_table",
    "versions",
]
