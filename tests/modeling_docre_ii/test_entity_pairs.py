import pytest
import torch

from modeling_docre_ii.entity_pairs import matrix_to_pairs, pairs_to_matrix


@pytest.fixture
def pair_mask():
    """Documents of 3, 2 and no candidates."""
    mask = torch.zeros(3, 3, 3, dtype=torch.bool)
    mask[[0, 0, 0, 1, 1], [0, 1, 2, 0, 1], [2, 0, 1, 1, 1]] = True
    return mask


def test_every_row_stands_at_its_pair(pair_mask):
    values = torch.arange(10.0).view(5, 2) + 1
    matrix = pairs_to_matrix(values, pair_mask)

    places = [(0, 0, 2), (0, 1, 0), (0, 2, 1), (1, 0, 1), (1, 1, 1)]
    assert [matrix[place].tolist() for place in places] == values.tolist()
    assert matrix.sum() == values.sum() and matrix.shape == (3, 3, 3, 2)


def test_rows_come_back_in_the_order_of_the_mask(pair_mask):
    matrix = torch.randn(3, 3, 3, 4)

    assert torch.equal(matrix_to_pairs(matrix, pair_mask), matrix[pair_mask])


def test_gradients_are_those_of_indexing(pair_mask):
    weights = torch.randn(5, 4)
    matrix = torch.randn(3, 3, 3, 4, requires_grad=True)
    (matrix_to_pairs(matrix, pair_mask) * weights).sum().backward()
    values = torch.randn(5, 4, requires_grad=True)
    (pairs_to_matrix(values, pair_mask) * matrix.detach()).sum().backward()

    expected = torch.zeros(3, 3, 3, 4)
    expected[pair_mask] = weights
    assert torch.equal(matrix.grad, expected)
    assert torch.equal(values.grad, matrix.detach()[pair_mask])


def test_a_batch_may_have_no_candidates():
    mask = torch.zeros(2, 3, 3, dtype=torch.bool)

    assert not pairs_to_matrix(torch.zeros(0, 4), mask).any()
    assert matrix_to_pairs(torch.ones(2, 3, 3, 4), mask).shape == (0, 4)
