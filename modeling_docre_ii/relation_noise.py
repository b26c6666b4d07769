"""Noise on the relation matrix in training (section 2.3)."""

import torch
from torch import nn

from .configuration_docre_ii import DocREIIConfig


# Shares of the pairs without and with a relation that the authors' released code corrupts.
_RELEASED_RATES = ((0.05, 0.15), (0.2, 0.5))


def draw_noise_rates(num_documents: int, config: DocREIIConfig, device: torch.device) -> torch.Tensor:
    """
    Draws the share of pairs of each document that get a wrong relation.

    Args:
        num_documents (`int`):
            Number of documents.
        config ([`DocREIIConfig`]):
            `relation_noise="uniform"` draws r ~ U(0, `max_noise_rate`) for all pairs of a document, as in the paper;
            `"by_label"` draws from U(0.05, 0.15) for its pairs without a relation and from U(0.2, 0.5) for those with
            one, as the released code does.
        device (`torch.device`):
            Device of the result.

    Returns:
        `torch.FloatTensor` of shape `(num_documents, 2)`: the rate of pairs without and with a relation.
    """
    if config.relation_noise == "uniform":
        return config.max_noise_rate * torch.rand(num_documents, 1, device=device).expand(-1, 2)
    low, high = torch.tensor(_RELEASED_RATES, device=device).unbind(-1)
    return low + (high - low) * torch.rand(num_documents, 2, device=device)


def corrupt_relations(
    relations: torch.Tensor,
    labels: torch.Tensor,
    document: torch.Tensor,
    rates: torch.Tensor,
    exposed: torch.Tensor | None = None,
) -> torch.Tensor:
    r"""
    Gives a share of the pairs a wrong relation.

    A pair is chosen with the rate of its kind, and gets one class, drawn evenly from all that are wrong for it. Its
    relations are right for it, or class 0 if it has none. Of the weights of `relation_embedding="soft"`, only a share
    moves to that class, drawn from U(0, 1): such a matrix is seldom sure. Draws come from torch's global generator,
    which `set_seed` seeds and a checkpoint keeps.

    Args:
        relations (`torch.Tensor` of shape `(num_pairs, num_labels)`):
            Entries of the relation matrix from [`read_relations`], class 0 for no relation.
        labels (`torch.BoolTensor` of shape `(num_pairs, num_labels)`):
            Relations that hold.
        document (`torch.LongTensor` of shape `(num_pairs,)`):
            Document of each pair.
        rates (`torch.FloatTensor` of shape `(num_documents, 2)`):
            Share of the pairs without and with a relation to corrupt, from [`draw_noise_rates`].
        exposed (`torch.BoolTensor` of shape `(num_pairs,)`, *optional*):
            Pairs that may be corrupted. Defaults to all.

    Returns:
        `torch.Tensor` of shape `(num_pairs, num_labels)` and the type of `relations`. The input does not change.
    """
    if not len(relations):
        return relations
    is_positive = labels[:, 1:].any(-1)
    wrong = ~labels.bool()
    wrong[:, 0] = is_positive
    drawn = torch.multinomial(wrong.float(), 1)[:, 0]
    is_noisy = torch.rand(len(relations), device=relations.device) < rates[document, is_positive.long()]
    if exposed is not None:
        is_noisy = is_noisy & exposed
    noise = nn.functional.one_hot(drawn, relations.shape[-1]).to(relations.dtype)
    if relations.is_floating_point():
        noise = relations.lerp(noise, torch.rand_like(relations[:, :1]))
    return torch.where(is_noisy[:, None], noise, relations)
