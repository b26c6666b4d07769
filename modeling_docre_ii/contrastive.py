"""Contrastive losses between two views of the entity pairs: SimSiam (equation 14) and, as an ablation, SimCLR."""

import torch
from torch import nn

from .configuration_docre_ii import DocREIIConfig


class ContrastivePredictor(nn.Module):
    """The MLP of equation 14: `(num_pairs, 2 * width)` -> `(num_pairs, 2 * width)`, with a bottleneck as SimSiam's."""

    def __init__(self, config: DocREIIConfig):
        super().__init__()
        self.intermediate = nn.Linear(2 * config.inference_hidden_size, config.contrastive_hidden_size)
        self.output = nn.Linear(config.contrastive_hidden_size, 2 * config.inference_hidden_size)

    def forward(self, encoded: torch.Tensor) -> torch.Tensor:
        return self.output(torch.relu(self.intermediate(encoded)))


def simsiam_loss(
    predicted: tuple[torch.Tensor, torch.Tensor], encoded: tuple[torch.Tensor, torch.Tensor]
) -> torch.Tensor:
    r"""
    Contrastive loss of equation 14, one value a pair, after SimSiam (Chen and He, 2021):

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
    NT-Xent of SimCLR (Chen et al., 2020), one value a pair: the mean over both directions of

        - log( exp(Cosine(z_i, z'_i) / t) / sum_{k != i, k of the same document} exp(Cosine(z_i, z_k) / t) )

    where k runs over both views of the pairs of the document, so that different pairs of one matrix are pushed apart.

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
    pair_mask: torch.Tensor,
    config: DocREIIConfig,
) -> torch.Tensor:
    """
    The contrastive loss that the configuration asks for, of the `predicted_views` and `views` of a
    [`DocREIIOutput`].

    Args:
        predicted, encoded (`tuple(torch.FloatTensor)`, two of shape `(num_pairs, width)` each):
            Both views of the candidate pairs, with and without the MLP.
        pair_mask (`torch.BoolTensor` of shape `(batch_size, num_entities, num_entities)`):
            Candidate pairs.
        config ([`DocREIIConfig`]):
            Which loss, and its temperature.

    Returns:
        `torch.FloatTensor` of shape `(num_pairs,)`.
    """
    if config.contrastive_loss == "simsiam":
        return simsiam_loss(predicted, encoded)
    return simclr_loss(predicted, pair_mask.nonzero(as_tuple=True)[0], config.contrastive_temperature)
