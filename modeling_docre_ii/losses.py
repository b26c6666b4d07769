"""The losses that DocRE-II is trained with."""

import torch
from torch import nn


def adaptive_threshold_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    r"""
    Adaptive threshold loss of ATLOP (Zhou et al., 2021), equation 13 of the paper, one value a pair.

    For a pair with the relations P among all relations P + N, and the threshold class TH at index 0:

        L = - sum_{r in P} log( exp(logit_r) / sum_{r' in P + TH} exp(logit_r') )
            - log( exp(logit_TH) / sum_{r' in N + TH} exp(logit_r') )

    The first term lifts every relation of the pair above TH, the second keeps all others below it. It is computed in
    float32 whatever the type of the logits.

    Args:
        logits (`torch.FloatTensor` of shape `(num_pairs, num_labels)`):
            Relation logits, the threshold class first.
        labels (`torch.BoolTensor` of shape `(num_pairs, num_labels)`):
            Relations that hold. Column 0 is ignored: no pair "has" the threshold class.

    Returns:
        `torch.FloatTensor` of shape `(num_pairs,)`.

    Reference: Zhou et al., Document-Level Relation Extraction with Adaptive Thresholding and Localized Context
    Pooling, AAAI 2021; the authors' `losses.py:ATLoss` is the mean of this over pairs.
    """
    logits = logits.float()
    is_threshold = torch.zeros_like(labels, dtype=torch.bool)
    is_threshold[:, 0] = True
    positive = labels.bool() & ~is_threshold

    minus_infinity = torch.finfo(logits.dtype).min
    among_positive = nn.functional.log_softmax(logits.masked_fill(~(positive | is_threshold), minus_infinity), dim=-1)
    among_negative = nn.functional.log_softmax(logits.masked_fill(positive, minus_infinity), dim=-1)
    return -(among_positive.masked_fill(~positive, 0.0).sum(-1) + among_negative[:, 0])


def sample_pairs(labels: torch.Tensor, negatives_per_positive: int) -> torch.Tensor:
    """
    Draws pairs for the loss: all with a relation, and for each of them some without.

    Args:
        labels (`torch.BoolTensor` of shape `(num_pairs, num_labels)`):
            Relations that hold.
        negatives_per_positive (`int`):
            How many pairs without a relation are drawn for each pair with one; one pair at least.

    Returns:
        `torch.BoolTensor` of shape `(num_pairs,)`.
    """
    is_positive = labels[:, 1:].any(-1)
    order = torch.rand(len(labels), device=labels.device).masked_fill(is_positive, 2.0).argsort()
    is_sampled = is_positive.clone()
    is_sampled[order[: max(negatives_per_positive * int(is_positive.sum()), 1)]] = True
    return is_sampled
