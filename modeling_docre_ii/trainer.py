"""Trainer of DocRE-II."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset
from transformers import EvalPrediction, Trainer

from .facts import predicted_facts
from .metrics import NamedFact, score_facts
from .threshold_calibration import best_threshold_shift


class DocREIITrainer(Trainer):
    """
    [`Trainer`] for [`DocREIIForRelationExtraction`].

    Three things are its own. The encoder and the new modules learn at their own rates, each split by weight decay as
    transformers does it. The loss of an optimizer step is averaged over the candidate pairs of all its batches,
    whatever the accumulation and the number of processes. And predictions are gathered as triples, not as dense
    logits.

    `predict` and `compute_metrics` get predictions of shape `(num_documents, most_facts, 5)`, float64, -100 for
    padding: document, head, tail, relation, score. The document is the `document_index` of the feature, so that the
    order of evaluation does not matter. [`facts_by_document`] unpacks them.

    Args:
        args ([`DocREIITrainingArguments`]):
            Training arguments, with `encoder_learning_rate`.
        kwargs:
            As for [`Trainer`]. `processing_class` is the [`DocREIIProcessor`], which is then saved with each
            checkpoint.
    """

    def create_optimizer(self, model=None) -> torch.optim.Optimizer:
        is_new = self.optimizer is None
        optimizer = super().create_optimizer(model)
        if is_new:
            unwrapped = self.accelerator.unwrap_model(self.model if model is None else model)
            encoder = {id(parameter) for parameter in unwrapped.base_model.encoder.parameters()}
            optimizer.param_groups[:] = _split_groups(optimizer.param_groups, encoder, self.args.encoder_learning_rate)
        return optimizer

    def _get_num_items_in_batch(self, batch_samples: list, device: torch.device) -> torch.Tensor | None:
        if not batch_samples or "labels" not in batch_samples[0]:
            return None
        # As Trainer counts label tokens, but what the loss is averaged over here are candidate pairs.
        num_pairs = sum(batch["pair_mask"].sum() for batch in batch_samples).to(device)
        if self.args.world_size > 1 and self.args.average_tokens_across_devices:
            num_pairs = self.accelerator.gather(num_pairs).sum()
        return num_pairs

    def prediction_step(self, model, inputs, prediction_loss_only, ignore_keys=None):
        inputs = dict(inputs)
        document_index = inputs.pop("document_index")
        loss, logits, labels = super().prediction_step(
            model, inputs, prediction_loss_only, ignore_keys=[*(ignore_keys or []), "base_logits"]
        )
        if prediction_loss_only:
            return loss, None, None
        return loss, _pack_facts(logits, document_index, self.model.config.max_labels_per_pair), labels

    def calibrate_threshold(self, eval_dataset: Dataset | None = None, reach: float = 4.0) -> float:
        """
        Moves the bias of the threshold class to where F1 is best on labelled documents.

        Nothing else of the model changes, and nothing in decoding: a relation is still predicted when its logit is
        above that of class 0.

        Args:
            eval_dataset (`Dataset`, *optional*):
                Encoded documents with labels. Defaults to the `eval_dataset` of the Trainer.
            reach (`float`, *optional*, defaults to 4.0):
                How far below the threshold, in logits, predictions are considered.

        Returns:
            `float`: what was added to the bias, below 0 where more is predicted than before.
        """
        bias = self.model.base_model.classifier.bias
        start = bias[0].item()
        try:
            with torch.no_grad():
                bias[0] = start - reach
            output = self.predict(eval_dataset if eval_dataset is not None else self.eval_dataset)
        finally:
            with torch.no_grad():
                bias[0] = start
        scores, is_correct, num_gold = [], [], 0
        for facts, labels in zip(output.predictions, output.label_ids):
            gold = {tuple(fact) for fact in labels.tolist() if fact[0] >= 0}
            num_gold += len(gold)
            for _, head, tail, relation, score in facts[facts[:, 0] >= 0]:
                scores.append(score)
                is_correct.append((int(head), int(tail), int(relation)) in gold)
        if any(is_correct):
            shift = best_threshold_shift(np.array(scores), np.array(is_correct, dtype=bool), num_gold) - reach
            with torch.no_grad():
                bias[0] = start + shift
        return bias[0].item() - start


def facts_by_document(predictions: np.ndarray) -> dict[int, list[tuple[int, int, int, float]]]:
    """
    Unpacks gathered predictions.

    Args:
        predictions (`np.ndarray` of shape `(num_documents, most_facts, 5)`):
            Predictions of [`DocREIITrainer`].

    Returns:
        `dict[int, list[tuple]]`: head, tail, relation and score of the facts, by document index. A document without a
        prediction is not there.
    """
    facts: dict[int, list[tuple[int, int, int, float]]] = {}
    for document, head, tail, relation, score in predictions[predictions[..., 0] >= 0]:
        facts.setdefault(int(document), []).append((int(head), int(tail), int(relation), float(score)))
    return facts


def submission(
    facts: Mapping[int, Sequence[tuple]], documents: Sequence[Mapping[str, Any]], relations: Sequence[str]
) -> list[dict[str, Any]]:
    """
    Predictions in DocRED's submission form, the content of its `result.json`.

    Args:
        facts (`dict[int, list[tuple]]`):
            Head, tail, relation and score by document index, from [`facts_by_document`].
        documents (`Sequence[dict]`):
            The documents, by index.
        relations (`Sequence[str]`):
            Relation ids in the order of the model's classes.

    Returns:
        `list[dict]` with `title`, `h_idx`, `t_idx`, `r`, and an empty `evidence`: DocRE-II predicts none.
    """
    return [
        {"title": documents[index]["title"], "h_idx": head, "t_idx": tail, "r": relations[relation], "evidence": []}
        for index in sorted(facts)
        for head, tail, relation, _ in facts[index]
    ]


def make_compute_metrics(
    documents: Sequence[Mapping[str, Any]], relations: Sequence[str], train_facts: set[NamedFact] | None = None
) -> Callable[[EvalPrediction], dict[str, float]]:
    """
    Makes the `compute_metrics` of a [`DocREIITrainer`] that evaluates on `documents`.

    Args:
        documents (`Sequence[dict]`):
            The validation documents with labels, by document index.
        relations (`Sequence[str]`):
            Relation ids in the order of the model's classes.
        train_facts (`set[tuple[str, str, str]]`, *optional*):
            Facts of the training set from [`~metrics.named_facts`], for Ign F1.
    """

    def compute_metrics(prediction: EvalPrediction) -> dict[str, float]:
        facts = facts_by_document(prediction.predictions)
        return score_facts(submission(facts, documents, relations), documents, train_facts)

    return compute_metrics


def _split_groups(groups: list[dict], encoder: set[int], encoder_learning_rate: float) -> list[dict]:
    split = []
    for group in groups:
        of_encoder = [parameter for parameter in group["params"] if id(parameter) in encoder]
        of_new_modules = [parameter for parameter in group["params"] if id(parameter) not in encoder]
        split.append({**group, "params": of_encoder, "lr": encoder_learning_rate})
        split.append({**group, "params": of_new_modules})
    return [group for group in split if group["params"]]


def _pack_facts(logits: torch.Tensor, document_index: torch.Tensor, max_labels_per_pair: int) -> torch.Tensor:
    facts, scores = predicted_facts(logits, max_labels_per_pair)
    count = torch.bincount(facts[:, 0], minlength=len(document_index))
    place = torch.arange(len(facts), device=facts.device) - (count.cumsum(0) - count)[facts[:, 0]]
    # At least one row, so that a batch without a prediction keeps its shape.
    packed = torch.full((len(document_index), max(int(count.max()), 1), 5), -100.0, dtype=torch.float64)
    packed = packed.to(logits.device)
    values = [document_index.to(facts.device)[facts[:, 0]], *facts[:, 1:].unbind(-1), scores]
    packed[facts[:, 0], place] = torch.stack([value.double() for value in values], dim=-1)
    return packed


__all__ = ["DocREIITrainer", "facts_by_document", "make_compute_metrics", "submission"]
