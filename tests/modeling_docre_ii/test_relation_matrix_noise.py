import pytest
import torch

from modeling_docre_ii import DocREIIConfig
from modeling_docre_ii.losses import sample_pairs
from modeling_docre_ii.relation_matrix import corrupt_relations, draw_noise_rates


NUM_LABELS = 5


def dense(relations, num_labels=NUM_LABELS):
    """Lists of classes, one a pair -> `(num_pairs, num_labels)`."""
    rows = torch.zeros(len(relations), num_labels, dtype=torch.bool)
    for row, classes in zip(rows, relations, strict=True):
        row[classes] = True
    return rows


def random_labels(num_pairs, num_labels=NUM_LABELS, seed=0):
    """No relation, one, several or all."""
    labels = torch.rand(num_pairs, num_labels, generator=torch.Generator().manual_seed(seed)) < 0.3
    labels[:, 0] = False
    labels[0, 1:] = False
    labels[1, 1:] = True
    return labels


def corrupt(relations, labels, document, max_noise_rate, **changes):
    """The noise that a configuration asks for."""
    num_documents = int(document.max()) + 1 if len(document) else 0
    config = DocREIIConfig(max_noise_rate=max_noise_rate, **changes)
    return corrupt_relations(relations, labels, document, draw_noise_rates(num_documents, config, document.device))


def right_classes(labels):
    """The relations of each pair, or class 0, as sets."""
    return [set(row.nonzero()[:, 0].tolist()) or {0} for row in labels]


def all_right(labels):
    """A relation matrix without a mistake, in which every wrong class can be seen."""
    return dense([sorted(classes) for classes in right_classes(labels)], labels.shape[1])


def rows_changed(before, after):
    return (before != after).any(-1)


@pytest.mark.parametrize("num_labels", [2, NUM_LABELS])
def test_replaced_entries_hold_one_class_that_is_wrong(num_labels):
    torch.manual_seed(0)
    labels = random_labels(300, num_labels)
    relations = all_right(labels)
    noisy = corrupt(relations, labels, torch.arange(300) // 10, 1.0)
    changed = rows_changed(relations, noisy)

    assert noisy.dtype == torch.bool and noisy.shape == relations.shape
    assert 50 < changed.sum() < 250
    for row, right in zip(noisy[changed], right_classes(labels[changed]), strict=True):
        drawn = row.nonzero()[:, 0].tolist()
        assert len(drawn) == 1
        assert drawn[0] not in right


def test_pair_without_a_relation_never_gets_class_0_and_one_with_a_relation_may():
    torch.manual_seed(0)
    labels = dense([[]] * 500 + [[2]] * 500)
    # Class 4 is a wrong prediction everywhere.
    noisy = corrupt(dense([[4]] * 1000), labels, torch.arange(1000), 1.0)

    assert not noisy[:500, 0].any()
    assert noisy[500:, 0].any()
    assert not noisy[500:, 2].any()


def test_wrong_classes_are_drawn_evenly():
    torch.manual_seed(0)
    labels = dense([[2, 3]] * 6000)
    relations = all_right(labels)
    noisy = corrupt(relations, labels, torch.arange(6000), 1.0)
    drawn = noisy[rows_changed(relations, noisy)].float().mean(0)

    # About 3000 draws from the classes 0, 1 and 4: five standard errors of a share of 1/3.
    assert drawn.tolist() == pytest.approx([1 / 3, 1 / 3, 0, 0, 1 / 3], abs=5 * (2 / 9 / 3000) ** 0.5)


@pytest.mark.parametrize("max_noise_rate", [0.2, 0.4, 1.0])
def test_share_of_a_document_is_uniform_up_to_the_rate(max_noise_rate):
    torch.manual_seed(0)
    num_documents, pairs_each = 400, 500
    labels = torch.zeros(num_documents * pairs_each, 3, dtype=torch.bool)
    relations = all_right(torch.zeros(1, 3, dtype=torch.bool)).expand_as(labels)
    document = torch.arange(num_documents).repeat_interleave(pairs_each)
    noisy = corrupt(relations, labels, document, max_noise_rate)
    shares = rows_changed(relations, noisy).view(num_documents, pairs_each).float().mean(1)

    # The rate of a document is uniform, with five standard errors for the mean and for the share of one document.
    deviation = max_noise_rate / 12**0.5
    assert shares.mean().item() == pytest.approx(max_noise_rate / 2, abs=5 * deviation / num_documents**0.5)
    assert shares.std().item() == pytest.approx(deviation, rel=0.15)
    assert shares.max().item() < max_noise_rate + 5 * (max_noise_rate / pairs_each) ** 0.5
    quarters = (shares / max_noise_rate * 4).long().clamp(max=3).bincount(minlength=4) / num_documents
    assert quarters.tolist() == pytest.approx([0.25] * 4, abs=0.11)


def test_pairs_of_a_document_need_not_stand_together():
    torch.manual_seed(0)
    labels = torch.zeros(8000, 3, dtype=torch.bool)
    relations = all_right(labels)
    document = torch.arange(8000) % 4
    changed = rows_changed(relations, corrupt(relations, labels, document, 1.0))
    shares = torch.stack([changed[document == number].float().mean() for number in range(4)])
    of_first_half = torch.stack([changed[:4000][document[:4000] == number].float().mean() for number in range(4)])

    # Each document has a rate of its own, the same wherever its pairs stand.
    torch.testing.assert_close(shares, of_first_half, rtol=0, atol=0.06)
    assert shares.std() > 0.1


def test_noise_is_repeatable_and_another_one_with_another_seed():
    labels = random_labels(200)
    relations, document = all_right(labels), torch.arange(200) // 20

    def draw(seed):
        torch.manual_seed(seed)
        return corrupt(relations, labels, document, 0.4), corrupt(relations, labels, document, 0.4)

    (first, second), (again, _), (other, _) = draw(0), draw(0), draw(1)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first, second)


def test_rate_0_changes_nothing():
    torch.manual_seed(0)
    labels = random_labels(500)
    relations = dense([[3]] * 500)

    assert torch.equal(corrupt(relations, labels, torch.arange(500) // 5, 0.0), relations)


def test_inputs_are_not_edited():
    torch.manual_seed(0)
    labels, document = random_labels(100), torch.arange(100) // 10
    relations = all_right(labels)
    relations_before, labels_before = relations.clone(), labels.clone()
    noisy = corrupt(relations, labels, document, 1.0)

    assert not torch.equal(noisy, relations)
    assert torch.equal(relations, relations_before)
    assert torch.equal(labels, labels_before)


def test_entries_that_are_not_chosen_keep_all_their_relations():
    torch.manual_seed(0)
    labels = random_labels(300)
    # Predictions with two relations at once, as of `relation_embedding="multi_label"`.
    relations = dense([[1, 3]] * 300)
    noisy = corrupt(relations, labels, torch.arange(300) // 10, 0.5)
    changed = rows_changed(relations, noisy)

    assert changed.any()
    assert (noisy[changed].sum(-1) == 1).all()
    assert torch.equal(noisy[~changed], relations[~changed])
    assert (~changed).sum() > 150


def test_a_column_0_of_the_labels_is_ignored():
    # Class 0 is what a pair without a relation has, whether or not the labels say so.
    labels = random_labels(200)
    relations, document = all_right(labels), torch.arange(200) // 20
    with_threshold = labels.clone()
    with_threshold[:, 0] = ~labels.any(-1)

    torch.manual_seed(0)
    noisy = corrupt(relations, labels, document, 1.0)
    torch.manual_seed(0)
    assert torch.equal(corrupt(relations, with_threshold, document, 1.0), noisy)


def test_two_classes_are_exchanged():
    torch.manual_seed(0)
    labels = random_labels(400, num_labels=2)
    relations = all_right(labels)
    noisy = corrupt(relations, labels, torch.arange(400) // 10, 1.0)
    changed = rows_changed(relations, noisy)

    assert changed[labels[:, 1]].any() and changed[~labels[:, 1]].any()
    assert torch.equal(noisy[changed], relations[changed].flip(-1))


def test_no_pairs_stay_no_pairs():
    empty = torch.zeros(0, NUM_LABELS, dtype=torch.bool)

    assert corrupt(empty, empty, torch.zeros(0, dtype=torch.long), 0.4).shape == (0, NUM_LABELS)


def test_released_code_has_rates_of_its_own_for_pairs_with_and_without_a_relation():
    torch.manual_seed(0)
    num_documents, pairs_each = 300, 600
    labels = dense([[], [2]] * (num_documents * pairs_each // 2))
    relations = all_right(labels)
    document = torch.arange(num_documents).repeat_interleave(pairs_each)
    changed = rows_changed(relations, corrupt(relations, labels, document, 0.4, relation_noise="by_label"))
    shares = changed.view(num_documents, pairs_each // 2, 2).float().mean(1)

    assert shares.mean(0).tolist() == pytest.approx([0.1, 0.35], abs=0.02)
    assert shares.std(0).tolist() == pytest.approx([(0.1**2 / 12 + 0.09 / 300) ** 0.5, (0.3**2 / 12) ** 0.5], abs=0.02)
    assert 0.2 - 0.15 < shares[:, 1].min() and shares[:, 1].max() < 0.5 + 0.15
    assert shares[:, 0].max() < 0.15 + 0.1


def test_released_code_corrupts_only_what_it_sampled_of_the_pairs_without_a_relation():
    torch.manual_seed(0)
    num_documents, pairs_each = 200, 600
    # One pair of thirty has a relation; five without are sampled for each, a sixth of them all.
    labels = dense(([[2]] + [[]] * 29) * (num_documents * pairs_each // 30))
    relations, document = all_right(labels), torch.arange(num_documents).repeat_interleave(pairs_each)
    sample = sample_pairs(labels, 5)
    config = DocREIIConfig(relation_noise="by_label", negatives_per_positive=5)
    noisy = corrupt_relations(relations, labels, document, draw_noise_rates(num_documents, config, "cpu"), sample)
    changed, is_positive = rows_changed(relations, noisy), labels.any(-1)

    assert not changed[~sample].any()
    assert changed[is_positive].float().mean().item() == pytest.approx(0.35, abs=0.03)
    assert changed[sample & ~is_positive].float().mean().item() == pytest.approx(0.1, abs=0.01)
    assert changed[~is_positive].float().mean().item() == pytest.approx(0.1 * 5 / 29, abs=0.002)


def test_a_share_of_soft_weights_moves_to_a_wrong_class():
    torch.manual_seed(0)
    labels = random_labels(400)
    weights = torch.rand(400, NUM_LABELS)
    noisy = corrupt(weights, labels, torch.arange(400) // 10, 1.0)
    changed = rows_changed(weights, noisy)

    assert 80 < changed.sum() < 320
    shares = []
    for before, after, right in zip(weights[changed], noisy[changed], right_classes(labels[changed]), strict=True):
        drawn = int((after - before).argmax())
        assert drawn not in right
        others = [index for index in range(NUM_LABELS) if index != drawn]
        share = 1 - (after[others] / before[others])
        shares.append(share.mean().item())
        torch.testing.assert_close(share, share.mean().expand(len(others)), rtol=0, atol=1e-3)
        assert after[drawn].item() == pytest.approx(before[drawn].item() * (1 - shares[-1]) + shares[-1], abs=1e-3)
    # Five standard errors of the mean of U(0, 1).
    assert sum(shares) / len(shares) == pytest.approx(0.5, abs=5 * (1 / 12 / len(shares)) ** 0.5)
