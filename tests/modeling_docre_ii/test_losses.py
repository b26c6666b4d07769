import math

import pytest
import torch

from modeling_docre_ii.losses import adaptive_threshold_loss, mean_threshold_loss, sample_pairs


def naive_loss(logits, labels):
    """Equation 13 of one pair, in Python floats."""
    relations = range(1, len(logits))
    positive = [r for r in relations if labels[r]]
    negative = [r for r in relations if not labels[r]]
    among_positive = sum(math.exp(logits[r]) for r in [0, *positive])
    among_negative = sum(math.exp(logits[r]) for r in [0, *negative])
    loss = -math.log(math.exp(logits[0]) / among_negative)
    for r in positive:
        loss -= math.log(math.exp(logits[r]) / among_positive)
    return loss


def random_pairs(num_pairs=40, num_labels=7, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(num_pairs, num_labels, generator=generator)
    labels = torch.rand(num_pairs, num_labels, generator=generator) < 0.3
    labels[:, 0] = False
    labels[0] = False
    labels[1, 1:] = True
    return logits, labels


def test_one_relation_of_three_worked_by_hand():
    loss = adaptive_threshold_loss(torch.tensor([[1.0, 2.0, 0.0]]), torch.tensor([[False, True, False]]))

    lifted = -math.log(math.exp(2) / (math.exp(2) + math.exp(1)))  # relation 1 against TH
    kept_below = -math.log(math.exp(1) / (math.exp(1) + math.exp(0)))  # TH against relation 2
    assert loss.tolist() == pytest.approx([lifted + kept_below], rel=1e-6)
    assert loss.tolist() == pytest.approx([2 * math.log(1 + math.exp(-1))], rel=1e-6)


@pytest.mark.parametrize("is_sampled", [False, True])
def test_mean_over_the_pairs_of_a_step(is_sampled):
    """A batch of 40 of the 100 pairs of a step weighs 0.4, also if only some of its pairs are sampled."""
    logits, labels = random_pairs()
    sample = torch.arange(40) % 3 == 0 if is_sampled else None
    rows = [row for row in range(40) if not is_sampled or row % 3 == 0]
    losses = [naive_loss(logits[row].tolist(), labels[row].tolist()) for row in rows]

    loss = mean_threshold_loss(logits, labels, 100, sample)
    assert loss.item() == pytest.approx(0.4 * sum(losses) / len(losses), rel=1e-5)


def test_two_relations_compete_with_each_other_and_the_threshold():
    loss = adaptive_threshold_loss(torch.zeros(1, 4), torch.tensor([[False, True, True, False]]))

    assert loss.tolist() == pytest.approx([2 * math.log(3) + math.log(2)], rel=1e-6)


def test_pair_without_a_relation_is_cross_entropy_with_the_threshold_class():
    logits, _ = random_pairs()
    loss = adaptive_threshold_loss(logits, torch.zeros_like(logits, dtype=torch.bool))

    expected = torch.nn.functional.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long), reduction="none")
    torch.testing.assert_close(loss, expected)


def test_pair_with_all_relations_has_no_second_term():
    loss = adaptive_threshold_loss(torch.tensor([[0.0, 0.0, math.log(2)]]), torch.tensor([[False, True, True]]))

    # exp of the logits: 1, 1, 2. The second term is -log(1 / 1) = 0.
    assert loss.tolist() == pytest.approx([math.log(4) + math.log(4 / 2)], rel=1e-6)


def test_equals_the_definition_on_random_pairs():
    logits, labels = random_pairs()

    expected = [naive_loss(row, column) for row, column in zip(logits.tolist(), labels.tolist(), strict=True)]
    assert adaptive_threshold_loss(logits, labels).tolist() == pytest.approx(expected, rel=1e-5)


def test_threshold_column_of_the_labels_is_ignored():
    logits, labels = random_pairs()
    marked = labels.clone()
    marked[:, 0] = True

    assert adaptive_threshold_loss(logits, marked).tolist() == adaptive_threshold_loss(logits, labels).tolist()


def test_integer_labels_are_truth_values():
    logits, labels = random_pairs()

    assert torch.equal(adaptive_threshold_loss(logits, labels.long()), adaptive_threshold_loss(logits, labels))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_logits_are_computed_in_float32(dtype):
    logits, labels = random_pairs()
    loss = adaptive_threshold_loss(logits.to(dtype), labels)

    assert loss.dtype == torch.float32
    assert torch.equal(loss, adaptive_threshold_loss(logits.to(dtype).float(), labels))


def test_large_logits_give_a_finite_loss_and_gradient():
    logits = torch.tensor([[1000.0, -1000.0, 1000.0]], requires_grad=True)
    loss = adaptive_threshold_loss(logits, torch.tensor([[False, True, False]]))
    loss.sum().backward()

    # -log(exp(-1000) / (exp(-1000) + exp(1000))) = 2000, and -log(1 / 2) for TH against relation 2.
    assert loss.tolist() == pytest.approx([2000 + math.log(2)])
    assert logits.grad.isfinite().all()


def test_inputs_are_not_edited():
    logits, labels = random_pairs()
    labels[:, 0] = True
    logits_before, labels_before = logits.clone(), labels.clone()
    adaptive_threshold_loss(logits, labels)

    assert torch.equal(logits, logits_before)
    assert torch.equal(labels, labels_before)


def test_gradient_lifts_the_relations_that_hold_and_lowers_the_others():
    logits, labels = random_pairs()
    logits.requires_grad_()
    adaptive_threshold_loss(logits, labels).sum().backward()
    one_relation = labels.sum(-1) == 1

    assert one_relation.sum() > 3
    assert (logits.grad[one_relation][labels[one_relation]] < 0).all()
    assert (logits.grad[:, 1:][~labels[:, 1:]] > 0).all()
    assert logits.grad[0, 0] < 0, "TH rises where no relation holds"
    assert logits.grad[1, 0] > 0, "TH falls where all relations hold"


def test_gradient_equals_finite_differences_of_the_definition():
    logits, labels = random_pairs(num_pairs=4, num_labels=5)
    logits.requires_grad_()
    adaptive_threshold_loss(logits, labels).sum().backward()

    step = 1e-5
    for pair in range(4):
        row, truth = logits[pair].tolist(), labels[pair].tolist()
        for column in range(5):
            up, down = list(row), list(row)
            up[column] += step
            down[column] -= step
            slope = (naive_loss(up, truth) - naive_loss(down, truth)) / (2 * step)
            assert logits.grad[pair, column].item() == pytest.approx(slope, abs=1e-4)


def test_no_pairs_give_no_losses():
    assert adaptive_threshold_loss(torch.zeros(0, 4), torch.zeros(0, 4, dtype=torch.bool)).shape == (0,)


def test_sampled_pairs_are_all_with_a_relation_and_some_without():
    torch.manual_seed(0)
    labels = torch.zeros(100, 4, dtype=torch.bool)
    labels[10:14, 2] = True
    labels[12, 3] = True
    counts = torch.zeros(100)
    for _ in range(500):
        sampled = sample_pairs(labels, negatives_per_positive=5)
        assert sampled[10:14].all()
        assert sampled.sum() == 4 + 20
        counts += sampled
    drawn = torch.cat([counts[:10], counts[14:]]) / 500
    assert drawn.tolist() == pytest.approx([20 / 96] * 96, abs=5 * (0.2 * 0.8 / 500) ** 0.5)


@pytest.mark.parametrize(("num_positive", "expected"), [(0, 1), (2, 6), (3, 6), (6, 6)])
def test_few_pairs_are_sampled_as_far_as_they_go(num_positive, expected):
    labels = torch.zeros(6, 3, dtype=torch.bool)
    labels[:num_positive, 1] = True
    assert sample_pairs(labels, negatives_per_positive=2).sum() == expected
