"""Candidate pairs as rows of their own, and as entries of the matrix of all pairs."""

import torch


def pairs_to_matrix(values: torch.Tensor, pair_mask: torch.Tensor) -> torch.Tensor:
    """
    Lays rows of candidate pairs out as a matrix.

    Args:
        values (`torch.Tensor` of shape `(num_pairs, width)`):
            One row a candidate pair, in the order of `pair_mask.nonzero()`.
        pair_mask (`torch.BoolTensor` of shape `(batch_size, num_entities, num_entities)`):
            Candidate pairs.

    Returns:
        `torch.Tensor` of shape `(batch_size, num_entities, num_entities, width)`, zeros elsewhere.
    """
    values = values.to(pair_mask.device)  # with `device_map`, a module may be elsewhere
    matrix = values.new_zeros(pair_mask.numel(), values.shape[-1]).index_copy(0, _places(pair_mask), values)
    return matrix.view(*pair_mask.shape, values.shape[-1])


def matrix_to_pairs(matrix: torch.Tensor, pair_mask: torch.Tensor) -> torch.Tensor:
    """
    Takes the rows of candidate pairs out of a matrix: what `matrix[pair_mask]` gives, whose gradient is slow.

    Args:
        matrix (`torch.Tensor` of shape `(batch_size, num_entities, num_entities, width)`):
            One entry a pair.
        pair_mask (`torch.BoolTensor` of shape `(batch_size, num_entities, num_entities)`):
            Candidate pairs.

    Returns:
        `torch.Tensor` of shape `(num_pairs, width)`.
    """
    return matrix.flatten(0, 2).index_select(0, _places(pair_mask))


def _places(pair_mask: torch.Tensor) -> torch.Tensor:
    return pair_mask.flatten().nonzero()[:, 0]
