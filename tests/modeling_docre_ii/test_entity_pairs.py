import pytest
import torch

from modeling_docre_ii.entity_pairs import EntityPairs, candidate_pairs, dense_labels, require_pair_inputs


@pytest.fixture
def pair_mask():
    """Documents of 3, 2 and no candidates."""
    mask = torch.zeros(3, 3, 3, dtype=torch.bool)
    mask[[0, 0, 0, 1, 1], [0, 1, 2, 0, 1], [2, 0, 1, 1, 1]] = True
    return mask


@pytest.fixture
def pairs(pair_mask):
    return EntityPairs.from_mask(pair_mask)


def test_every_row_stands_at_its_pair(pairs):
    values = torch.arange(10.0).view(5, 2) + 1
    matrix = pairs.to_matrix(values)

    places = [(0, 0, 2), (0, 1, 0), (0, 2, 1), (1, 0, 1), (1, 1, 1)]
    assert list(zip(pairs.document.tolist(), pairs.head.tolist(), pairs.tail.tolist(), strict=True)) == places
    assert [matrix[place].tolist() for place in places] == values.tolist()
    assert matrix.sum() == values.sum() and matrix.shape == (3, 3, 3, 2)


def test_rows_come_back_in_the_order_of_the_mask(pairs, pair_mask):
    matrix = torch.randn(3, 3, 3, 4)

    assert torch.equal(pairs.to_rows(matrix), matrix[pair_mask])


def test_gradients_are_those_of_indexing(pairs, pair_mask):
    weights = torch.randn(5, 4)
    matrix = torch.randn(3, 3, 3, 4, requires_grad=True)
    (pairs.to_rows(matrix) * weights).sum().backward()
    values = torch.randn(5, 4, requires_grad=True)
    (pairs.to_matrix(values) * matrix.detach()).sum().backward()

    expected = torch.zeros(3, 3, 3, 4)
    expected[pair_mask] = weights
    assert torch.equal(matrix.grad, expected)
    assert torch.equal(values.grad, matrix.detach()[pair_mask])


def test_a_batch_may_have_no_candidates():
    pairs = EntityPairs.from_mask(torch.zeros(2, 3, 3, dtype=torch.bool))

    assert not pairs.to_matrix(torch.zeros(0, 4)).any()
    assert pairs.to_rows(torch.ones(2, 3, 3, 4)).shape == (0, 4)
    assert [index.shape for index in pairs.unordered()] == [(0,), (0,)]


def test_the_pairs_of_some_documents(pairs, pair_mask):
    chosen = pairs.of_documents(torch.tensor([False, True, True]))

    assert torch.equal(chosen.mask, pair_mask[1:])
    assert chosen.document.tolist() == [0, 0]
    assert (chosen.num_documents, chosen.num_entities) == (2, 3)


def test_both_directions_of_a_pair_share_one_unordered_pair():
    mask = torch.zeros(2, 3, 3, dtype=torch.bool)
    mask[0, 0, 1] = mask[0, 1, 0] = mask[0, 2, 0] = mask[1, 1, 2] = True
    pairs = EntityPairs.from_mask(mask)
    places, index = pairs.unordered()

    # Places in two 3 x 3 matrices, one after the other: (0, 1) and (0, 2) of the first, (1, 2) of the second.
    assert places.tolist() == [1, 2, 9 + 5]
    assert index.tolist() == [0, 0, 1, 2]


def naive_candidates(types, allowed):
    return [
        [
            head != tail and (allowed is None or any([a, b] in allowed for a in types[head] for b in types[tail]))
            for tail in range(len(types))
        ]
        for head in range(len(types))
    ]


@pytest.mark.parametrize("allowed", [None, [["A", "B"]], [["A", "B"], ["B", "B"]]])
def test_candidates_are_pairs_of_different_entities_with_allowed_types(allowed):
    types = [["A"], ["B"], ["A", "B"], ["C"]]
    document = {"vertexSet": [[{"type": kind} for kind in kinds] for kinds in types]}

    assert candidate_pairs(document, allowed) == naive_candidates(types, allowed)


def test_uncounted_pairs_are_left_out_on_demand():
    document = {"vertexSet": [[{"type": "A"}]] * 2, "uncounted": [{"h": 0, "t": 1}]}

    assert candidate_pairs(document, None) == [[False, True], [True, False]]
    assert candidate_pairs(document, None, skip_uncounted=True) == [[False, False], [True, False]]


def test_dense_labels_equal_a_loop_over_the_facts():
    facts = torch.tensor(
        [
            [[0, 1, 2], [0, 1, 4], [2, 0, 1]],
            [[1, 2, 3], [-100, -100, -100], [-100, -100, -100]],
            [[-100, -100, -100]] * 3,
        ]
    )
    dense = dense_labels(facts, num_entities=3, num_labels=5)

    expected = torch.zeros(3, 3, 3, 5, dtype=torch.bool)
    for document, rows in enumerate(facts.tolist()):
        for head, tail, relation in rows:
            if head != -100:
                expected[document, head, tail, relation] = True
    assert dense.dtype == torch.bool
    assert torch.equal(dense, expected)
    assert dense.sum() == 4


def test_dense_labels_count_a_repeated_fact_once():
    facts = torch.tensor([[[0, 1, 2], [0, 1, 2]]])

    assert dense_labels(facts, 2, 3).nonzero().tolist() == [[0, 0, 1, 2]]


def test_dense_labels_without_a_fact_are_all_false():
    dense = dense_labels(torch.zeros(2, 0, 3, dtype=torch.long), num_entities=4, num_labels=3)

    assert dense.shape == (2, 4, 4, 3)
    assert not dense.any()


def test_dense_labels_do_not_edit_the_facts():
    facts = torch.tensor([[[0, 1, 2], [-100, -100, -100]]])
    before = facts.clone()
    dense_labels(facts, 2, 3)

    assert torch.equal(facts, before)


@pytest.mark.parametrize("fact", [[0, 3, 1], [3, 0, 1], [0, 1, 5]])
def test_dense_labels_refuse_a_fact_outside_the_matrix(fact):
    with pytest.raises(ValueError, match="the labels have entities up to .* but the documents have 3 entities and"):
        dense_labels(torch.tensor([[fact, [-100, -100, -100]]]), num_entities=3, num_labels=5)


def test_lists_in_place_of_tensors_are_refused():
    with pytest.raises(ValueError, match="call the processor with `return_tensors='pt'`"):
        require_pair_inputs([[0]], [[0]], [[[False]]])
