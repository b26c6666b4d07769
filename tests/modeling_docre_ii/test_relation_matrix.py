import pytest
import torch

from modeling_docre_ii.relation_matrix import RelationEmbeddings, have_changed, read_relations, sure_logits


def test_most_probable_class_is_read_for_argmax():
    logits = torch.tensor([[0.0, 2.0, 1.0, 3.0], [1.0, 0.5, 0.9, -9.0], [-5.0, -4.0, -9.0, -8.0]])

    assert read_relations(logits, "argmax").tolist() == [
        [False, False, False, True],
        [True, False, False, False],
        [False, True, False, False],
    ]


def test_relations_above_the_threshold_class_are_read_for_multi_label():
    logits = torch.tensor([[0.0, 2.0, -1.0, 3.0], [1.0, 0.5, 1.0, -9.0], [-5.0, -4.0, -3.0, -4.5]])

    # A tie with the threshold class is no relation.
    assert read_relations(logits, "multi_label").tolist() == [
        [False, True, False, True],
        [True, False, False, False],
        [False, True, True, True],
    ]


def test_at_most_four_relations_of_a_pair_are_read_for_multi_label():
    logits = torch.randn(200, 9, generator=torch.Generator().manual_seed(0))
    relations = read_relations(logits, "multi_label")

    for row, values in zip(relations.tolist(), logits.tolist(), strict=True):
        above = sorted((index for index in range(1, 9) if values[index] > values[0]), key=lambda index: -values[index])
        assert {index for index, is_read in enumerate(row) if is_read} == set(above[:4] or [0])
    assert relations.sum(-1).max() == 4 and (logits[:, 1:] > logits[:, :1]).sum(-1).max() > 4


@pytest.mark.parametrize("relation_embedding", ["argmax", "multi_label"])
def test_reading_relations_of_two_classes_or_of_no_pairs(relation_embedding):
    two_classes = torch.tensor([[0.0, 1.0], [1.0, 0.0]])

    assert read_relations(two_classes, relation_embedding).tolist() == [[False, True], [True, False]]
    assert read_relations(torch.zeros(0, 2), relation_embedding).shape == (0, 2)


def test_soft_weights_are_the_probabilities_against_the_threshold_class():
    logits = torch.tensor([[0.0, 2.0, -1.0], [1.0, 1.0, 1.0], [5.0, -5.0, -6.0]])

    # 1 / (1 + e^-2) = 0.8808, 1 / (1 + e) = 0.2689; twice as hot: 1 / (1 + e^-1) = 0.7311, 1 / (1 + e^0.5) = 0.3775.
    expected = torch.tensor([[0.1192, 0.8808, 0.2689], [0.5, 0.5, 0.5], [1.0, 0.0, 0.0]])
    torch.testing.assert_close(read_relations(logits, "soft"), expected, rtol=0, atol=1e-4)
    hot = torch.tensor([0.2689, 0.7311, 0.3775])
    torch.testing.assert_close(read_relations(logits, "soft", 2.0)[0], hot, rtol=0, atol=1e-4)


def test_soft_weights_become_the_predicted_relations_as_the_temperature_falls():
    logits = torch.randn(200, 5, generator=torch.Generator().manual_seed(0))

    cold = read_relations(logits, "soft", 1e-6)
    torch.testing.assert_close(cold, read_relations(logits, "multi_label").float())


@pytest.mark.parametrize("relation_embedding", ["argmax", "multi_label", "soft"])
def test_sure_logits_are_read_as_the_labels(relation_embedding):
    labels = torch.tensor([[False, False, True, False], [False, False, False, False], [True, True, False, True]])
    rows = [[0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, relation_embedding != "argmax"]]

    read = read_relations(sure_logits(labels), relation_embedding, 2.0)
    assert read.float().tolist() == torch.tensor(rows).float().tolist()


def test_soft_entries_have_changed_when_a_weight_differs_by_more_than_a_thousandth():
    weights = torch.tensor([[0.2, 0.8], [0.2, 0.8], [0.2, 0.8]])
    later = weights + torch.tensor([[0.0, 0.0], [0.0, 0.0009], [-0.0011, 0.0]])

    assert have_changed(later, weights).tolist() == [False, False, True]


@pytest.mark.parametrize("relation_embedding", ["argmax", "multi_label"])
def test_an_entry_is_the_sum_of_the_embeddings_of_its_relations(docre_config, relation_embedding):
    torch.manual_seed(0)
    embeddings = RelationEmbeddings(docre_config(inference_hidden_size=8, relation_embedding=relation_embedding))
    relations = read_relations(torch.randn(20, 4), relation_embedding)
    entries = embeddings.look_up(embeddings.table(relations.device), relations)

    for entry, row in zip(entries, relations, strict=True):
        expected = sum(embeddings.weight[index] for index, is_read in enumerate(row.tolist()) if is_read)
        torch.testing.assert_close(entry, expected)
