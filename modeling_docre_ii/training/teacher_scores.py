"""Scores of teachers, each alone and all together, on documents with labels."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from transformers import EvalPrediction
from transformers.utils import logging

from ..decoding import predicted_facts
from ..documents import name_of
from ..evaluation.matching import gold_facts
from .calibration import CALIBRATION_MARGIN
from .distillation import Teacher
from .metrics import make_compute_metrics
from .predictions import pack_facts


TOGETHER = "all together"


def score_teachers(
    teachers: Sequence[Teacher], documents: Sequence[Mapping[str, Any]], batch_size: int = 8
) -> dict[str, dict[str, float]]:
    """
    Scores teachers on documents with labels.

    Together, teachers predict the mean of their margins, which is what a student learns from. Teachers that make
    different mistakes are better together than each of them.

    Args:
        teachers (`Sequence[Teacher]`):
            The teachers, with the same relations and candidate pairs.
        documents (`Sequence[dict]`):
            The documents in DocRED's form, with labels.
        batch_size (`int`, *optional*, defaults to 8):
            Number of documents that go through a teacher at once.

    Returns:
        `dict[str, dict[str, float]]`: the scores of [`make_compute_metrics`] by the name of the teacher, and
        `"all together"` if there are several.

    Raises:
        `ValueError`: teachers take different pairs for candidates, no document has a label, or a label has a relation
            that the teachers do not know.
        [`NonFiniteLogitsError`]: the logits of a document are NaN or infinite.
        [`PredictionError`]: two documents have the same title, or a label names an entity that its document lacks.
    """
    processor = teachers[0].processor
    compute_metrics = make_compute_metrics(documents, processor.relations)
    masks = [torch.tensor(mask) for mask in processor(documents, skip_uncounted=True)["pair_mask"]]
    labels = _label_ids(documents, processor.relations)
    margins = {teacher.name: _margins(teacher, documents, masks, batch_size) for teacher in teachers}
    if len(margins) > 1:
        margins[TOGETHER] = [torch.stack(of_document).mean(0) for of_document in zip(*margins.values())]
    return {
        name: compute_metrics(EvalPrediction((_pack(rows, masks, processor.max_labels_per_pair),), labels))
        for name, rows in margins.items()
    }


def _margins(
    teacher: Teacher, documents: Sequence[Mapping[str, Any]], masks: Sequence[torch.Tensor], batch_size: int
) -> list[torch.Tensor]:
    margins: list[torch.Tensor] = []
    for start in logging.tqdm(range(0, len(documents), batch_size), desc=f"Scoring {teacher.name}", unit=" batches"):
        margins += teacher.margins(documents[start : start + batch_size])
    if [len(rows) for rows in margins] != [int(mask.sum()) for mask in masks]:
        raise ValueError(
            f"{teacher.name!r} takes other pairs for candidates: teachers need the same `candidate_types`"
        )
    return margins


def _pack(margins: Sequence[torch.Tensor], masks: Sequence[torch.Tensor], max_labels_per_pair: int) -> np.ndarray:
    """Returns predictions as a [`DocREIITrainer`] gathers them, of shape `(num_documents, most_facts, 5)`."""
    facts, scores = [], []
    for place, (rows, mask) in enumerate(zip(margins, masks)):
        dense = rows.new_zeros(1, *mask.shape, rows.shape[-1])
        dense[0, mask] = rows
        found, of_found = predicted_facts(dense, max_labels_per_pair, mask[None], CALIBRATION_MARGIN)
        found[:, 0] = place
        facts.append(found)
        scores.append(of_found)
    return pack_facts(torch.cat(facts), torch.cat(scores), torch.arange(len(masks))).numpy()


def _label_ids(documents: Sequence[Mapping[str, Any]], relations: Sequence[str]) -> np.ndarray:
    """Returns head, tail and relation of the labels, of shape `(num_documents, most_labels, 3)`, padded with -100."""
    index_of = {relation: index for index, relation in enumerate(relations)}
    for document in documents:
        for _, _, name in gold_facts(document):
            if name not in index_of:
                raise ValueError(f"{name_of(document)}: the teachers do not know the relation {name!r}")
    labels = [[(head, tail, index_of[name]) for head, tail, name in gold_facts(document)] for document in documents]
    if not any(labels):
        raise ValueError("the documents to score teachers on have no labels")
    packed: np.ndarray = np.full((len(labels), max(map(len, labels)), 3), -100, dtype=np.int64)
    for row, of_document in zip(packed, labels):
        if of_document:
            row[: len(of_document)] = of_document
    return packed


__all__ = ["TOGETHER", "score_teachers"]
