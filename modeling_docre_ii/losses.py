"""Adaptive threshold, distillation and contrastive losses (equations 13 and 14)."""

from typing import Any

import torch
from torch import nn

from .configuration_docre_ii import DocREIIConfig


def adaptive_threshold_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    r"""
    Computes the adaptive threshold loss of every pair, equation 13.

    For a pair with the relations P among all relations P + N, and the threshold class TH at index 0:

        L = - sum_{r in P} log( exp(logit_r) / sum_{r' in P + TH} exp(logit_r') )
            - log( exp(logit_TH) / sum_{r' in N + TH} exp(logit_r') )

    The first term lifts every relation of the pair above TH, the second keeps all others below it. It is computed in
    float32 whatever the type of the logits.

    Args:
        logits (`torch.FloatTensor` of shape `(num_pairs, num_labels)`):
            Relation logits, the threshold class first.
        labels (`torch.BoolTensor` of shape `(num_pairs, num_labels)`):
            Relations that hold. Column 0, the threshold class, is ignored.

    Returns:
        `torch.FloatTensor` of shape `(num_pairs,)`.

    Reference: Zhou et al., Document-Level Relation Extraction with Adaptive Thresholding and Localized Context
    Pooling (ATLOP), AAAI 2021. The authors' `losses.py:ATLoss` is the mean of this over pairs.
    """
    logits = logits.float()
    is_threshold = torch.zeros_like(labels, dtype=torch.bool)
    is_threshold[:, 0] = True
    positive = labels.bool() & ~is_threshold

    minus_infinity = torch.finfo(logits.dtype).min
    among_positive = nn.functional.log_softmax(logits.masked_fill(~(positive | is_threshold), minus_infinity), dim=-1)
    among_negative = nn.functional.log_softmax(logits.masked_fill(positive, minus_infinity), dim=-1)
    return -(among_positive.masked_fill(~positive, 0.0).sum(-1) + among_negative[:, 0])


def distillation_loss(logits: torch.Tensor, teacher_probabilities: torch.Tensor) -> torch.Tensor:
    r"""
    Computes the distillation loss of every pair of unlabeled documents.

    With the probability s_r = sigmoid(logit_r - logit_TH) of a relation, and p_r that of the teacher:

        L = - sum_r [ p_r log(s_r) + (1 - p_r) log(1 - s_r) ]

    It is computed in float32.

    Args:
        logits (`torch.FloatTensor` of shape `(num_pairs, num_labels)`):
            Relation logits, the threshold class first.
        teacher_probabilities (`torch.FloatTensor` of shape `(num_pairs, num_labels)`):
            Probabilities of the teacher. Column 0, the threshold class, is ignored.

    Returns:
        `torch.FloatTensor` of shape `(num_pairs,)`.

    Reference: Hinton et al., Distilling the Knowledge in a Neural Network, 2015, with sigmoids in place of a softmax,
    as a pair may have several relations.
    """
    margins = logits[:, 1:].float() - logits[:, :1].float()
    expected = teacher_probabilities[:, 1:].float()
    return nn.functional.binary_cross_entropy_with_logits(margins, expected, reduction="none").sum(-1)


def mean_threshold_loss(
    logits: torch.Tensor,
    labels: torch.Tensor,
    num_pairs: torch.Tensor | int,
    sample: torch.Tensor | None = None,
    teacher_probabilities: torch.Tensor | None = None,
) -> torch.Tensor:
    """
    Averages the loss of a batch over pairs.

    This is the adaptive threshold loss of pairs with labels, and the distillation loss of those with a teacher.

    Args:
        logits, labels:
            As for [`adaptive_threshold_loss`].
        num_pairs (`int` or `torch.Tensor`):
            Number of pairs that the loss is averaged over: those of the batch, or of all batches of an optimizer step.
        sample (`torch.BoolTensor` of shape `(num_pairs,)`, *optional*):
            Pairs in the loss, from [`sample_pairs`]. Defaults to all.
        teacher_probabilities (`torch.FloatTensor` of shape `(num_pairs, num_labels)`, *optional*):
            As for [`distillation_loss`], -100 for pairs with labels. Defaults to labels for all.

    Returns:
        `torch.FloatTensor` of shape `()`.
    """
    sampled = slice(None) if sample is None else sample
    losses = adaptive_threshold_loss(logits[sampled], labels[sampled])
    if teacher_probabilities is not None:
        expected = teacher_probabilities[sampled]
        is_taught = expected[:, 0] >= 0
        losses = torch.where(is_taught, distillation_loss(logits[sampled], expected.clamp(min=0)), losses)
    return losses.sum() * (len(labels) / max(len(losses), 1)) / num_pairs


def threshold_losses(
    base_logits: torch.Tensor,
    logits: torch.Tensor | None,
    labels: torch.Tensor,
    num_pairs: torch.Tensor | int,
    config: DocREIIConfig,
    sample: torch.Tensor | None = None,
    teacher_probabilities: torch.Tensor | None = None,
) -> dict[str, torch.Tensor]:
    """
    Computes the losses of both modules on relations, and their sum.

    Args:
        base_logits, logits (`torch.FloatTensor` of shape `(num_pairs, num_labels)`):
            Relation logits of the base module and of the inference module, `None` without one.
        labels, num_pairs, sample, teacher_probabilities:
            As for [`mean_threshold_loss`].
        config ([`DocREIIConfig`]):
            Weight of the base module's loss.

    Returns:
        `dict[str, torch.FloatTensor]`: `loss`, `base_loss` and, with an inference module, `inference_loss`.
    """
    base_loss = mean_threshold_loss(base_logits, labels, num_pairs, sample, teacher_probabilities)
    if logits is None:
        return {"loss": base_loss, "base_loss": base_loss}
    inference_loss = mean_threshold_loss(logits, labels, num_pairs, sample, teacher_probabilities)
    loss = config.base_loss_weight * base_loss + inference_loss
    return {"loss": loss, "base_loss": base_loss, "inference_loss": inference_loss}


def sample_pairs(labels: torch.Tensor, negatives_per_positive: int) -> torch.Tensor:
    """
    Draws pairs for the loss: all with a relation, and some without.

    Args:
        labels (`torch.BoolTensor` of shape `(num_pairs, num_labels)`):
            Relations that hold.
        negatives_per_positive (`int`):
            Number of pairs without a relation for each pair with one. At least one pair is drawn.

    Returns:
        `torch.BoolTensor` of shape `(num_pairs,)`.
    """
    is_positive = labels[:, 1:].any(-1)
    order = torch.rand(len(labels), device=labels.device).masked_fill(is_positive, 2.0).argsort()
    is_sampled = is_positive.clone()
    is_sampled[order[: max(negatives_per_positive * int(is_positive.sum()), 1)]] = True
    return is_sampled


class ContrastivePredictor(nn.Module):
    """
    The MLP of equation 14, with a bottleneck as in SimSiam.

    `(num_pairs, 2 * width)` -> `(num_pairs, 2 * width)`.
    """

    def __init__(self, config: DocREIIConfig):
        super().__init__()
        self.config = config
        self.intermediate = nn.Linear(2 * config.inference_hidden_size, config.contrastive_hidden_size)
        self.output = nn.Linear(config.contrastive_hidden_size, 2 * config.inference_hidden_size)

    def forward(self, encoded: torch.Tensor) -> torch.Tensor:
        return self.output(torch.relu(self.intermediate(encoded)))

    def compare(
        self, views: tuple[torch.Tensor, torch.Tensor], document: torch.Tensor, num_pairs: torch.Tensor | int
    ) -> dict[str, Any]:
        """
        Computes the contrastive loss of two views.

        Args:
            views (`tuple(torch.FloatTensor)`, two of shape `(num_active_pairs, 2 * width)`):
                The views of the pairs.
            document (`torch.LongTensor` of shape `(num_active_pairs,)`):
                Document of each pair.
            num_pairs (`int` or `torch.Tensor`):
                As for [`mean_threshold_loss`].

        Returns:
            `dict`: `views`, `predicted_views` and `contrastive_loss` as in [`DocREIIOutput`].
        """
        predicted = (self(views[0]), self(views[1]))
        with torch.autocast(document.device.type, enabled=False):
            losses = contrastive_loss(predicted, views, document, self.config)
        return {"views": views, "predicted_views": predicted, "contrastive_loss": losses.sum() / num_pairs}


def simsiam_loss(
    predicted: tuple[torch.Tensor, torch.Tensor], encoded: tuple[torch.Tensor, torch.Tensor]
) -> torch.Tensor:
    r"""
    Computes the contrastive loss of every pair, equation 14.

    It follows SimSiam (Chen and He, 2021):

        L = 2 - ( Cosine(MLP(M^), SG(M_)) + Cosine(MLP(M_), SG(M^)) )

    for two views M_ and M^ of the pair. It only pulls them together; the stop-gradient SG keeps the representations
    from collapsing. Computed in float32.

    Args:
        predicted (`tuple(torch.FloatTensor)`, two of shape `(num_pairs, width)`):
            MLP(M_) and MLP(M^).
        encoded (`tuple(torch.FloatTensor)`, two of shape `(num_pairs, width)`):
            M_ and M^, through which no gradient flows.

    Returns:
        `torch.FloatTensor` of shape `(num_pairs,)`, between 0 and 4.
    """
    first, second = (view.float() for view in predicted)
    first_target, second_target = (view.detach().float() for view in encoded)
    similarity = nn.functional.cosine_similarity
    return 2 - (similarity(second, first_target, dim=-1) + similarity(first, second_target, dim=-1))


def simclr_loss(
    predicted: tuple[torch.Tensor, torch.Tensor], document: torch.Tensor, temperature: float
) -> torch.Tensor:
    r"""
    Computes the NT-Xent loss of SimCLR (Chen et al., 2020) of every pair.

    It is the mean over both directions of

        - log( exp(Cosine(z_i, z'_i) / t) / sum_{k != i, k of the same document} exp(Cosine(z_i, z_k) / t) )

    where k runs over both views of the pairs of the document: it pushes different pairs of a document apart.

    Args:
        predicted (`tuple(torch.FloatTensor)`, two of shape `(num_pairs, width)`):
            Both views, through the MLP.
        document (`torch.LongTensor` of shape `(num_pairs,)`):
            Document of each pair, in rising order.
        temperature (`float`):
            t.

    Returns:
        `torch.FloatTensor` of shape `(num_pairs,)`.
    """
    first, second = (nn.functional.normalize(view.float(), dim=-1) for view in predicted)
    losses = [first.new_zeros(0)]
    start = 0
    for count in torch.unique_consecutive(document, return_counts=True)[1].tolist():
        views = torch.cat([first[start : start + count], second[start : start + count]])
        scores = (views @ views.T / temperature).fill_diagonal_(float("-inf"))
        partner = torch.arange(2 * count, device=views.device).roll(count)
        losses.append(nn.functional.cross_entropy(scores, partner, reduction="none").view(2, count).mean(0))
        start += count
    return torch.cat(losses)


def contrastive_loss(
    predicted: tuple[torch.Tensor, torch.Tensor],
    encoded: tuple[torch.Tensor, torch.Tensor],
    document: torch.Tensor,
    config: DocREIIConfig,
) -> torch.Tensor:
    """
    Computes the configured contrastive loss of every pair.

    Args:
        predicted, encoded (`tuple(torch.FloatTensor)`, two of shape `(num_pairs, width)` each):
            `predicted_views` and `views` of a [`DocREIIOutput`].
        document (`torch.LongTensor` of shape `(num_pairs,)`):
            Document of each pair, in rising order.
        config ([`DocREIIConfig`]):
            Which loss, and its temperature.

    Returns:
        `torch.FloatTensor` of shape `(num_pairs,)`.
    """
    if config.contrastive_loss == "simsiam":
        return simsiam_loss(predicted, encoded)
    return simclr_loss(predicted, document, config.contrastive_temperature)
