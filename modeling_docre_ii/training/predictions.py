"""Predictions packed into arrays for gathering across processes, and unpacked."""

import hashlib
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..decoding import MAX_LABELS_PER_PAIR, PredictedFact, predicted_facts
from ..evidence import EVIDENCE_THRESHOLD, add_evidence, join_rule_evidence, read_evidence
from ..processing_docre_ii import DocREIIProcessor
from ..utils.atomic_write import atomic_write
from .distillation import document_digest


# The array with a digest of the documents, beside those of the predictions.
_DOCUMENTS = "documents"
_PADDING = -100.0
# Without evidence: document, head, tail, relation, score.
_NUM_COLUMNS = 5
# A relation is predicted when it is more probable than "no relation".
_THRESHOLD = 0.5


def pack_facts(
    facts: torch.Tensor, scores: torch.Tensor, document_index: torch.Tensor, evidence: torch.Tensor | None = None
) -> torch.Tensor:
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
        evidence (`torch.LongTensor` of shape `(num_facts, most_evidence)`, *optional*):
            Sentences in the evidence of each fact, negative for padding, from [`read_evidence`]. `most_evidence` must
            be the same for all batches.

    Returns:
        `torch.DoubleTensor` of shape `(batch_size, most_facts, 5 + most_evidence)`: document index, head, tail,
        relation, score and the evidence, if it is given; -100 for padding. There is at least one fact a row, so that a
        batch without predictions can be gathered.
    """
    if facts.device.type == "mps":  # which has no float64
        facts, scores, evidence = facts.cpu(), scores.cpu(), None if evidence is None else evidence.cpu()
    row = facts[:, 0]
    count = torch.bincount(row, minlength=len(document_index))
    column = torch.arange(len(facts), device=facts.device) - (count.cumsum(0) - count)[row]
    most_facts = max(int(count.max()), 1)
    values = [document_index.to(facts.device)[row], *facts[:, 1:].unbind(-1), scores]
    if evidence is not None:
        values += evidence.masked_fill(evidence < 0, int(_PADDING)).unbind(-1)
    shape = (len(document_index), most_facts, len(values))
    packed = torch.full(shape, _PADDING, dtype=torch.float64, device=facts.device)
    packed[row, column] = torch.stack([value.double() for value in values], dim=-1)
    return packed


def unpack_facts(packed: np.ndarray, relations: Sequence[str], num_documents: int) -> list[list[PredictedFact]]:
    """
    Unpacks gathered predictions.

    Predictions below the threshold, which are gathered for calibration, are left out.

    Args:
        packed (`np.ndarray` of shape `(num_rows, most_facts, 5 + most_evidence)`):
            Predictions of [`DocREIITrainer`], of the base module or of one iteration, with evidence or without.
        relations (`Sequence[str]`):
            Relation ids in the order of the model's classes.
        num_documents (`int`):
            Number of documents, predicted on or not.

    Returns:
        `list[list[PredictedFact]]`: the predicted facts of each document, by document index.
    """
    facts: list[list[PredictedFact]] = [[] for _ in range(num_documents)]
    for document, head, tail, relation, score, *sentences in packed[packed[..., 4] > _THRESHOLD].tolist():
        evidence = tuple(sorted(int(sentence) for sentence in sentences if sentence >= 0))
        facts[int(document)].append(PredictedFact(int(head), int(tail), relations[int(relation)], score, evidence))
    return facts


def has_model_evidence(packed: np.ndarray) -> bool:
    """Returns whether packed predictions have evidence from the model."""
    return packed.shape[-1] > _NUM_COLUMNS


def unpack_with_evidence(
    packed: np.ndarray, relations: Sequence[str], documents: Sequence[Mapping[str, Any]], source: str | None = None
) -> list[list[PredictedFact]]:
    """
    Unpacks gathered predictions, with evidence.

    Args:
        packed, relations:
            As for [`unpack_facts`].
        documents (`Sequence[dict]`):
            The documents in DocRED's form, by document index.
        source (`str`, *optional*):
            Where the evidence comes from: `"model"`, `"rule"` or `"none"`. Defaults to the model if the predictions
            have evidence, and to the rule otherwise.

    Returns:
        `list[list[PredictedFact]]`: the predicted facts of each document, by document index.
    """
    facts = unpack_facts(packed, relations, len(documents))
    if source is None:
        source = "model" if has_model_evidence(packed) else "rule"
    if source == "model":
        return [join_rule_evidence(rows, document) for rows, document in zip(facts, documents)]
    return add_evidence(facts, documents, source)


def pack_predictions(
    logits: torch.Tensor,
    pair_mask: torch.Tensor,
    document_index: torch.Tensor,
    processor: DocREIIProcessor | None,
    margin: float = 0.0,
    shares: torch.Tensor | None = None,
) -> torch.Tensor:
    """
    Decodes and packs the predictions of the base module or of an iteration.

    Args:
        logits, pair_mask, margin:
            As for [`predicted_facts`].
        document_index:
            As for [`pack_facts`].
        processor ([`DocREIIProcessor`], *optional*):
            Processor of the model, for its limits.
        shares (`torch.FloatTensor` of shape `(batch_size, num_entities, num_entities, num_sentences)`, *optional*):
            `sentence_shares` of the model's output, for the evidence.

    Returns:
        `torch.DoubleTensor`: see [`pack_facts`].
    """
    limit = getattr(processor, "max_labels_per_pair", MAX_LABELS_PER_PAIR)
    facts, scores = predicted_facts(logits, limit, pair_mask, margin)
    evidence = None
    if shares is not None:
        document, head, tail, _ = facts.unbind(-1)
        threshold = getattr(processor, "evidence_threshold", EVIDENCE_THRESHOLD)
        evidence = read_evidence(shares[document, head, tail], threshold)
    return pack_facts(facts, scores, document_index, evidence)


def save_predictions(path: Path, predictions: Sequence[np.ndarray], documents: Iterable[Mapping[str, Any]]) -> None:
    """
    Saves gathered predictions with their scores as a compressed `.npz`.

    The padding is left out.

    Args:
        path (`Path`):
            The file. It is written atomically.
        predictions (`Sequence[np.ndarray]`):
            Predictions of [`DocREIITrainer`], of the base module and of every iteration.
        documents (`Iterable[dict]`):
            The documents that they are on. A digest is saved.
    """
    with atomic_write(path) as partial, partial.open("wb") as file:
        saved = [packed[packed[..., 0] >= 0] for packed in predictions]
        np.savez_compressed(file, *saved, **{_DOCUMENTS: np.array(_digest_of(documents))})


def load_predictions(path: Path, documents: Iterable[Mapping[str, Any]]) -> list[np.ndarray]:
    """
    Loads what [`save_predictions`] has saved.

    Args:
        path (`Path`):
            The file.
        documents (`Iterable[dict]`):
            The documents that they are on.

    Returns:
        `list[np.ndarray]`: the predictions of the base module and of every iteration, each of shape `(num_facts, 5)`,
        or with more columns for evidence from the model.

    Raises:
        `ValueError`: the file is missing or damaged, or holds predictions on other documents.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            saved = {name: arrays[name] for name in arrays.files}
            digest = str(saved.pop(_DOCUMENTS))
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"the predictions {str(path)!r} cannot be read: {error}") from error
    if digest != _digest_of(documents):
        raise ValueError(f"the predictions {str(path)!r} are on other documents, which were evaluated there later")
    return list(saved.values())


def _digest_of(documents: Iterable[Mapping[str, Any]]) -> str:
    digest = hashlib.sha256()
    for document in documents:
        digest.update(document_digest(document).encode())
    return digest.hexdigest()[:16]
