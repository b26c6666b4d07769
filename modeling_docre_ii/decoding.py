"""Decodes relation logits to predicted facts."""

import numbers
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch

from .configuration_docre_ii import DocREIIConfig
from .entity_pairs import EntityPairs
from .quoting import quote


# Largest number of relations decoded for one pair, as in ATLOP on DocRED.
MAX_LABELS_PER_PAIR = 4
# Added to the number of facts that are expected in a document. The threshold would fall without end where nothing is
# expected, and something would be predicted all the same.
_EXPECTED_FACTS_FLOOR = 0.1


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
            Indices of the sentences that state the fact, in rising order.
    """

    head: int
    tail: int
    relation: str
    score: float = 1.0
    evidence: tuple[int, ...] = ()


def check_selection(threshold: float, top_k: int | None) -> None:
    """
    Checks `threshold` and `top_k`.

    Raises:
        `ValueError`: one of them is no number or out of range.
    """
    # A bool is a number in Python.
    if isinstance(threshold, bool) or not isinstance(threshold, numbers.Real) or not 0 <= threshold < 1:
        raise ValueError(f"`threshold` must be a number from 0 to below 1, got {quote(threshold)}")
    if top_k is not None and (isinstance(top_k, bool) or not isinstance(top_k, numbers.Integral) or top_k < 1):
        raise ValueError(f"`top_k` must be an integer of at least 1, got {quote(top_k)}")


class NonFiniteLogitsError(ValueError):
    """The logits of a document are NaN or infinite."""


def check_finite(all_logits: Iterable[torch.Tensor | None], describe: Callable[[int], str]) -> None:
    """
    Checks that all logits of a batch are finite numbers.

    Args:
        all_logits (`Iterable[torch.FloatTensor]`):
            Relation logits of the base module and of every iteration, documents first. `None` is skipped.
        describe (`Callable[[int], str]`):
            Names a document by its place in the batch.

    Raises:
        [`NonFiniteLogitsError`]: a logit is NaN or infinite. The message names the first such document.
    """
    for logits in all_logits:
        # NaN is above no threshold, so that such logits would be decoded to no triples at all.
        if logits is not None and not is_finite(logits):
            document = int((~torch.isfinite(logits)).flatten(1).any(1).nonzero()[0])
            raise NonFiniteLogitsError(
                f"{describe(document)}: the logits of the model are NaN or infinite. Its weights are damaged, its "
                "training diverged, or it cannot run in this precision (try float32)"
            )


def is_finite(values: torch.Tensor) -> bool:
    """Returns whether all numbers of a tensor are finite."""
    # A sum with NaN or infinity is never finite. It is ten times as fast as a look at every number, which only a sum
    # that overflows needs.
    return bool(torch.isfinite(values.sum(dtype=torch.float32))) or bool(torch.isfinite(values).all())


def raise_thresholds(logits: torch.Tensor, pairs: EntityPairs, config: DocREIIConfig) -> torch.Tensor:
    r"""
    Gives every document a threshold of its own (ours).

    A model can be too sure of everything in one document, and of nothing in the next. So `document_threshold_weight` *
    log((E + 0.1) / 1.1) + `document_threshold_offset` is added to logit_TH, where E is the expected number of facts of
    the document: the sum of sigmoid(logit_r - logit_TH) over its candidate pairs and relations.

    Args:
        logits (`torch.FloatTensor` of shape `(num_pairs, num_labels)`):
            Relation logits, the threshold class first.
        pairs ([`EntityPairs`]):
            Index of the candidate pairs.
        config ([`DocREIIConfig`]):
            Configuration of the model. With a weight of 0, the logits are returned as they are.

    Returns:
        `torch.FloatTensor` of shape `(num_pairs, num_labels)`.
    """
    if not config.document_threshold_weight:
        return logits
    document = pairs.document.to(logits.device)
    of_pair = (logits[:, 1:].float() - logits[:, :1].float()).sigmoid().sum(-1)
    expected = of_pair.new_zeros(pairs.num_documents).index_add(0, document, of_pair)
    rise = ((expected + _EXPECTED_FACTS_FLOOR) / (1 + _EXPECTED_FACTS_FLOOR)).log()
    rise = config.document_threshold_weight * rise + config.document_threshold_offset
    threshold = logits[:, :1] + rise.index_select(0, document)[:, None].to(logits.dtype)
    return torch.cat([threshold, logits[:, 1:]], dim=-1)


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
