"""Predictions packed into arrays for gathering across processes, and unpacked."""

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from ..decoding import PredictedFact
from ..utils.atomic_write import atomic_write


_PADDING = -100.0
# A relation is predicted when it is more probable than "no relation".
_THRESHOLD = 0.5


def pack_facts(facts: torch.Tensor, scores: torch.Tensor, document_index: torch.Tensor) -> torch.Tensor:
    """
    Packs the predictions on a batch, with one row a document.

    [`Trainer`] gathers arrays whose first dimension is the batch, and pads the second one with -100. In float64 every
    index is exact.

    Args:
        facts (`torch.LongTensor` of shape `(num_facts, 4)`):
            Place of the document in the batch, head, tail and relation, ordered by document: see [`predicted_facts`].
        scores (`torch.FloatTensor` of shape `(num_facts,)`):
            Score of each fact.
        document_index (`torch.LongTensor` of shape `(batch_size,)`):
            Index of each document among all documents.

    Returns:
        `torch.DoubleTensor` of shape `(batch_size, most_facts, 5)`: document index, head, tail, relation and score,
        -100 for padding. There is at least one fact a row, so that a batch without predictions can be gathered.
    """
    row = facts[:, 0]
    count = torch.bincount(row, minlength=len(document_index))
    column = torch.arange(len(facts), device=facts.device) - (count.cumsum(0) - count)[row]
    most_facts = max(int(count.max()), 1)
    packed = torch.full((len(document_index), most_facts, 5), _PADDING, dtype=torch.float64, device=facts.device)
    values = [document_index.to(facts.device)[row], *facts[:, 1:].unbind(-1), scores]
    packed[row, column] = torch.stack([value.double() for value in values], dim=-1)
    return packed


def unpack_facts(packed: np.ndarray, relations: Sequence[str], num_documents: int) -> list[list[PredictedFact]]:
    """
    Unpacks gathered predictions.

    Predictions below the threshold, which are gathered for calibration, are left out.

    Args:
        packed (`np.ndarray` of shape `(num_rows, most_facts, 5)`):
            Predictions of [`DocREIITrainer`], of the base module or of one iteration.
        relations (`Sequence[str]`):
            Relation ids in the order of the model's classes.
        num_documents (`int`):
            Number of documents, predicted on or not.

    Returns:
        `list[list[PredictedFact]]`: the predicted facts of each document, by document index.
    """
    facts: list[list[PredictedFact]] = [[] for _ in range(num_documents)]
    for document, head, tail, relation, score in packed[packed[..., 4] > _THRESHOLD].tolist():
        facts[int(document)].append(PredictedFact(int(head), int(tail), relations[int(relation)], score))
    return facts


def save_predictions(path: Path, predictions: Sequence[np.ndarray]) -> None:
    """
    Saves gathered predictions with their scores as a compressed `.npz`.

    The padding is left out.

    Args:
        path (`Path`):
            The file. It is written atomically.
        predictions (`Sequence[np.ndarray]`):
            Predictions of [`DocREIITrainer`], of the base module and of every iteration.
    """
    with atomic_write(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, *(packed[packed[..., 0] >= 0] for packed in predictions))


def load_predictions(path: Path) -> list[np.ndarray]:
    """
    Loads what [`save_predictions`] has saved.

    Args:
        path (`Path`):
            The file.

    Returns:
        `list[np.ndarray]`: the predictions of the base module and of every iteration, each of shape `(num_facts, 5)`.

    Raises:
        `ValueError`: the file is missing or damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return [arrays[name] for name in arrays.files]
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"the predictions {str(path)!r} cannot be read: {error}") from error
