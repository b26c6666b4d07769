"""Facts as index triples (head, tail, relation): from labels to dense tensors, and from logits to predictions."""

from typing import NamedTuple

import torch


class PredictedFact(NamedTuple):
    """
    A predicted fact of one document.

    This is the form of predictions between the model and the scores.

    Args:
        head, tail (`int`):
            Indices of the entities in the document.
        relation (`str`):
            Id of the relation.
        score (`float`, *optional*, defaults to 1.0):
            Probability of the relation against "no relation".
        evidence (`tuple[int, ...]`, *optional*, defaults to `()`):
            Indices of the sentences that support the fact.
    """

    head: int
    tail: int
    relation: str
    score: float = 1.0
    evidence: tuple[int, ...] = ()


def dense_labels(facts: torch.Tensor, num_entities: int, num_labels: int) -> torch.Tensor:
    """
    Makes labels dense on their own device.

    Args:
        facts (`torch.LongTensor` of shape `(batch_size, num_facts, 3)`):
            Head, tail and relation of each fact, -100 for padding.
        num_entities (`int`):
            N.
        num_labels (`int`):
            R, the threshold class included.

    Returns:
        `torch.BoolTensor` of shape `(batch_size, num_entities, num_entities, num_labels)`.
    """
    dense = torch.zeros(facts.shape[0], num_entities, num_entities, num_labels, dtype=torch.bool, device=facts.device)
    document, fact = (facts[..., 0] >= 0).nonzero(as_tuple=True)
    head, tail, relation = facts[document, fact].unbind(-1)
    dense[document, head, tail, relation] = True
    return dense


def predicted_facts(
    logits: torch.Tensor, max_labels_per_pair: int, pair_mask: torch.Tensor | None = None, reach: float = 0.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Reads predictions from relation logits: of every pair the relations above the threshold class, the
    `max_labels_per_pair` highest at most. Pairs that are no candidates have equal logits, and so no predictions.

    Args:
        logits (`torch.FloatTensor` of shape `(batch_size, num_entities, num_entities, num_labels)`):
            Relation logits, the threshold class first.
        max_labels_per_pair (`int`):
            Largest number of relations of one pair.
        pair_mask (`torch.BoolTensor` of shape `(batch_size, num_entities, num_entities)`, *optional*):
            Candidate pairs, needed with `reach`.
        reach (`float`, *optional*, defaults to 0.0):
            How far below the threshold class, in logits, relations are read as well.

    Returns:
        `tuple(torch.Tensor)`: the facts, of shape `(num_facts, 4)`: document, head, tail, relation; and their scores,
        of shape `(num_facts,)`: the probability of the relation against the threshold class alone,
        sigmoid(logit_r - logit_TH), above 0.5 for a prediction. Ordered by document, head, tail, then falling score.
    """
    margins = logits[..., 1:].float() - logits[..., :1].float()
    margins, relations = margins.topk(min(max_labels_per_pair, margins.shape[-1]), dim=-1)
    is_read = margins > -reach
    if pair_mask is not None:
        is_read &= pair_mask[..., None]
    document, head, tail, rank = is_read.nonzero(as_tuple=True)
    relation = relations[document, head, tail, rank] + 1
    return torch.stack([document, head, tail, relation], dim=-1), margins[document, head, tail, rank].sigmoid()
