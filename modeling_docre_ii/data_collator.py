"""Data collator: pads encoded documents to tensors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from .entity_pairs import EntityPairs


@dataclass
class DataCollatorForRelationExtraction:
    """
    Pads encoded documents to the longest of the batch, on the right.

    Args:
        tokenizer ([`PreTrainedTokenizerBase`]):
            Tokenizer of the encoder, for its padding token.

    Called with a list of features from [`DocREIIProcessor`], it returns a dict of

    - `input_ids`, `attention_mask` of shape `(batch_size, sequence_length)`;
    - `mention_positions`, `mention_entities` of shape `(batch_size, num_mentions)`, -1 for padding;
    - `pair_mask` of shape `(batch_size, num_entities, num_entities)`, `False` for padding;
    - `sentence_ids` of shape `(batch_size, sequence_length)`, -1 for padding, if the features have them;
    - `labels` of shape `(batch_size, num_facts, 3)`, -100 for padding, if the features have them;
    - `base_logits` of shape `(batch_size, num_entities, num_entities, num_labels)`, 0 outside the candidate pairs, if
      the features have the rows of the candidate pairs, in the order of `pair_mask`;
    - `teacher_probabilities` of the same shape, likewise;
    - `evidence` of shape `(batch_size, num_facts, num_evidence)`, -100 for padding, if the features have it;
    - `document_index` of shape `(batch_size,)`, if the features have it.

    Raises:
        `ValueError`: some documents have one of the optional features and others do not.
    """

    tokenizer: PreTrainedTokenizerBase

    def __call__(self, features: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        batch = {
            "input_ids": _pad([feature["input_ids"] for feature in features], self.tokenizer.pad_token_id),
            "attention_mask": _pad([[1] * len(feature["input_ids"]) for feature in features], 0),
            "mention_positions": _pad([feature["mention_positions"] for feature in features], -1),
            "mention_entities": _pad([feature["mention_entities"] for feature in features], -1),
            "pair_mask": _pad_matrices([feature["pair_mask"] for feature in features]),
        }
        if _all_have("sentence_ids", features):
            batch["sentence_ids"] = _pad([feature["sentence_ids"] for feature in features], -1)
        if _all_have("labels", features):
            batch["labels"] = _pad([feature["labels"] for feature in features], -100, row_shape=(3,))
        for name in ("base_logits", "teacher_probabilities"):
            if _all_have(name, features):
                rows = torch.cat([torch.as_tensor(feature[name]) for feature in features]).float()
                batch[name] = EntityPairs.from_mask(batch["pair_mask"]).to_matrix(rows)
        if _all_have("evidence", features):
            batch["evidence"] = _pad_evidence([feature["evidence"] for feature in features])
        if _all_have("document_index", features):
            batch["document_index"] = torch.tensor([feature["document_index"] for feature in features])
        return batch


def _all_have(name: str, features: Sequence[Mapping[str, Any]]) -> bool:
    having = sum(name in feature for feature in features)
    if 0 < having < len(features):
        raise ValueError(f"{having} of the {len(features)} documents of a batch have {name!r}: all or none should")
    return having > 0


def _pad(rows: Sequence[Sequence], value: int, row_shape: tuple[int, ...] = ()) -> torch.Tensor:
    # At least one column, so that a batch of documents without a mention or a fact keeps its shape.
    length = max(1, *map(len, rows))
    padded: np.ndarray = np.full((len(rows), length, *row_shape), value, dtype=np.int64)
    for index, row in enumerate(rows):
        if len(row):
            padded[index, : len(row)] = row
    return torch.from_numpy(padded)


def _pad_evidence(evidence: Sequence[Sequence[Sequence[int]]]) -> torch.Tensor:
    sizes = [len(sentences) for facts in evidence for sentences in facts]
    shape = (len(evidence), max(1, *map(len, evidence)), max([1, *sizes]))
    padded: np.ndarray = np.full(shape, -100, dtype=np.int64)
    for index, facts in enumerate(evidence):
        for fact, sentences in enumerate(facts):
            padded[index, fact, : len(sentences)] = sentences
    return torch.from_numpy(padded)


def _pad_matrices(matrices: Sequence[Sequence[Sequence[bool]]]) -> torch.Tensor:
    size = max(1, *map(len, matrices))
    padded: np.ndarray = np.zeros((len(matrices), size, size), dtype=bool)
    for index, matrix in enumerate(matrices):
        if len(matrix):
            padded[index, : len(matrix), : len(matrix)] = matrix
    return torch.from_numpy(padded)


__all__ = ["DataCollatorForRelationExtraction"]
