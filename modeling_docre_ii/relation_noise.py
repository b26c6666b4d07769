"""Noise on the relation matrix in training (section 2.3)."""

import torch


def corrupt_relations(
    relations: torch.Tensor, labels: torch.Tensor, document: torch.Tensor, max_noise_rate: float
) -> torch.Tensor:
    r"""
    Gives a part of the pairs a wrong relation: of each document a share r ~ U(0, `max_noise_rate`).

    A pair is chosen with probability r, and gets one class drawn evenly from all that are wrong for it. Right are its
    relations or, where it has none, class 0: that of a pair with a relation may be taken away, but what is right is
    never drawn. Draws come from torch's global generator, which `set_seed` seeds and a checkpoint keeps.

    Args:
        relations (`torch.BoolTensor` of shape `(num_pairs, num_labels)`):
            Entries of the relation matrix, class 0 where there is no relation.
        labels (`torch.BoolTensor` of shape `(num_pairs, num_labels)`):
            Relations that hold.
        document (`torch.LongTensor` of shape `(num_pairs,)`):
            Document of each pair.
        max_noise_rate (`float`):
            Upper end of the rates, 0.4 in the paper.

    Returns:
        `torch.BoolTensor` of shape `(num_pairs, num_labels)`; the input is not changed.
    """
    if not len(relations):
        return relations
    wrong = ~labels.bool()
    wrong[:, 0] = labels[:, 1:].any(-1)
    drawn = torch.multinomial(wrong.float(), 1)[:, 0]
    rates = max_noise_rate * torch.rand(int(document.max()) + 1, device=relations.device)
    is_noisy = torch.rand(len(relations), device=relations.device) < rates[document]
    noise = torch.nn.functional.one_hot(drawn, relations.shape[-1]).bool()
    return torch.where(is_noisy[:, None], noise, relations)
