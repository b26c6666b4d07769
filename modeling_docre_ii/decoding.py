"""Decodes relation logits to predicted facts."""

from typing import NamedTuple

import torch


# Largest number of relations decoded for one pair, as in ATLOP on DocRED.
MAX_LABELS_PER_PAIR = 4


class PredictedFact(NamedTuple):
    """
    A predicted fact of one document, before entities and relation are named.

    Args:
        head, tail (`int`):
            Entities, as indices into `vertexSet`.
        relation (`str`):
            Id of the relation.
        score (`float`, *optional*, defaults to 1.0):
            Probability of the relation against the threshold class, sigmoid(logit_r - logit_TH).
        evidence (`tuple[int, ...]`, *optional*):
            Indices of the sentences that state the fact. DocRE-II predicts no evidence.
    """

    head: int
    tail: int
    relation: str
    score: float = 1.0
    evidence: tuple[int, ...] = ()


def predicted_facts(
    logits: torch.Tensor, max_labels_per_pair: int, pair_mask: torch.Tensor | None = None, margin: float = 0.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Decodes relation logits to facts.

    A pair has the relations above the threshold class, at most the `max_labels_per_pair` highest. Pairs that are not
    candidates have equal logits, and so no relation.

    Args:
        logits (`torch.FloatTensor` of shape `(batch_size, num_entities, num_entities, num_labels)`):
            Relation logits, the threshold class first.
        max_labels_per_pair (`int`):
            Largest number of relations of one pair.
        pair_mask (`torch.BoolTensor` of shape `(batch_size, num_entities, num_entities)`, *optional*):
            Candidate pairs. Needed with a `margin`.
        margin (`float`, *optional*, defaults to 0.0):
            How far below the threshold class a relation may be, in logits.

    Returns:
        `tuple(torch.Tensor)`: the facts, of shape `(num_facts, 4)`: document, head, tail, relation; and their scores,
        of shape `(num_facts,)`: sigmoid(logit_r - logit_TH), above 0.5 for a prediction. Ordered by document, head,
        tail, then falling score.
    """
    margins = logits[..., 1:].float() - logits[..., :1].float()
    margins, relations = margins.topk(min(max_labels_per_pair, margins.shape[-1]), dim=-1)
    is_decoded = margins > -margin
    if pair_mask is not None:
        is_decoded &= pair_mask[..., None]
    document, head, tail, rank = is_decoded.nonzero(as_tuple=True)
    relation = relations[document, head, tail, rank] + 1
    return torch.stack([document, head, tail, relation], dim=-1), margins[document, head, tail, rank].sigmoid()
