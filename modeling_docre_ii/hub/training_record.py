"""The record of a training for the model card: corpus, scores and stages."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..documents import CorpusCounts, count_documents


# The training arguments that a model card shows.
STAGE_ARGUMENTS = (
    "adam_beta1",
    "adam_beta2",
    "adam_epsilon",
    "base_learning_rate",
    "bf16",
    "calibrate_iterations",
    "calibrate_threshold",
    "encoder_learning_rate",
    "fp16",
    "freeze_base",
    "gradient_accumulation_steps",
    "learning_rate",
    "load_best_model_at_end",
    "lr_scheduler_type",
    "max_grad_norm",
    "max_steps",
    "metric_for_best_model",
    "num_train_epochs",
    "optim",
    "seed",
    "train_batch_size",
    "warmup_steps",
    "weight_decay",
    "world_size",
)


@dataclass(frozen=True)
class CorpusDescription:
    """
    Description of a corpus for the model card.

    Args:
        name (`str`): Readable name.
        hub_id (`str`, *optional*): Its repository on the Hub.
        texts (`str`, *optional*): Kind of documents, as the end of "It was trained on ...".
        caution (`str`, *optional*): What users of the model should know about the labels, in whole sentences.
        language (`str`, *optional*): Language code of the documents.
    """

    name: str
    hub_id: str | None = None
    texts: str | None = None
    caution: str | None = None
    language: str | None = None


@dataclass
class TrainedStage:
    """
    One stage of training.

    Args:
        arguments (`dict[str, Any]`): Its training arguments, plain values by the names of `STAGE_ARGUMENTS`.
        log_history (`list[dict]`): The log of its Trainer, `TrainerState.log_history`.
    """

    arguments: dict[str, Any]
    log_history: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class TrainingRecord:
    """
    Record of a training for the model card. All of it is optional.

    Args:
        corpus ([`CorpusDescription`], *optional*): The corpus.
        counts (`dict[str, CorpusCounts]`): Counts of each split.
        entity_types (`list[str]`): The types of its mentions, the most frequent first.
        scores (`dict[str, dict[str, float]]`): By split, in percent, with the names of [`make_compute_metrics`].
        stages (`dict[int, TrainedStage]`): Stages 1 and 2, if known.
    """

    corpus: CorpusDescription | None = None
    counts: dict[str, CorpusCounts] = field(default_factory=dict)
    entity_types: list[str] = field(default_factory=list)
    scores: dict[str, dict[str, float]] = field(default_factory=dict)
    stages: dict[int, TrainedStage] = field(default_factory=dict)

    def count(self, splits: Mapping[str, Iterable[Mapping[str, Any]]]) -> None:
        """
        Counts the documents of the splits, and the types of their entities.

        Args:
            splits (`dict[str, Iterable[dict]]`):
                Documents in DocRED's form, by split.
        """
        types: Counter[str] = Counter()

        def counting_types(documents: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
            for document in documents:
                types.update(mention["type"] for mentions in document["vertexSet"] for mention in mentions)
                yield document

        self.counts = {split: count_documents(counting_types(documents)) for split, documents in splits.items()}
        self.entity_types = [type_ for type_, _ in types.most_common()]

    def add_scores(self, split: str, metrics: Mapping[str, float], prefix: str = "") -> None:
        """
        Records the scores of a split.

        A threshold is chosen on the validation documents alone, so the score at the best threshold of another split is
        left out.

        Args:
            split (`str`):
                The split.
            metrics (`dict[str, float]`):
                Scores by name, and perhaps other metrics.
            prefix (`str`, *optional*, defaults to `""`):
                Prefix of the names of the scores. Metrics without it are ignored.
        """
        self.scores[split] = {
            name.removeprefix(prefix): value
            for name, value in metrics.items()
            if name.startswith(prefix) and (split == "validation" or not name.endswith("calibrated_f1"))
        }


def final_scores(log_history: Sequence[Mapping[str, Any]], kept_step: int | None) -> dict[str, float]:
    """
    Finds the scores of the weights that a training kept.

    Args:
        log_history (`list[dict]`):
            The log of a Trainer.
        kept_step (`int`, *optional*):
            The step whose weights were kept; `None` if they were changed after the last step.

    Returns:
        `dict[str, float]`: the last evaluation after training or, without one, the evaluation of the kept weights,
        with the prefix `eval_`; empty if there is neither.
    """
    ends = [place for place, entry in enumerate(log_history) if "train_runtime" in entry]
    evaluations = [entry for entry in log_history if "eval_f1" in entry]
    after = [entry for entry in log_history[ends[-1] + 1 :] if "eval_f1" in entry] if ends else evaluations
    kept = after or [entry for entry in evaluations if entry.get("step") == kept_step]
    return dict(kept[-1]) if kept else {}


__all__ = ["STAGE_ARGUMENTS", "CorpusDescription", "TrainedStage", "TrainingRecord", "final_scores"]
