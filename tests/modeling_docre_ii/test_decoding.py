import math

import pytest
import torch

from modeling_docre_ii import DocREIIConfig
from modeling_docre_ii.decoding import predicted_facts, raise_thresholds
from modeling_docre_ii.entity_pairs import EntityPairs


def naive_predictions(logits, max_labels_per_pair, pair_mask=None, limit=0.0):
    """Rows (document, head, tail, relation, score), by the definition."""
    predictions = []
    for b, document in enumerate(logits.tolist()):
        for h, row in enumerate(document):
            for t, pair in enumerate(row):
                if pair_mask is not None and not pair_mask[b, h, t]:
                    continue
                above = [(pair[r] - pair[0], r) for r in range(1, len(pair)) if pair[r] > pair[0] - limit]
                above.sort(key=lambda scored: -scored[0])
                for margin, r in above[:max_labels_per_pair]:
                    predictions.append((b, h, t, r, 1 / (1 + math.exp(-margin))))
    return predictions


@pytest.mark.parametrize("max_labels_per_pair", [1, 2, 4, 50])
def test_predictions_equal_a_loop_over_the_pairs(max_labels_per_pair):
    logits = torch.randn(3, 4, 4, 8, generator=torch.Generator().manual_seed(0))
    facts, scores = predicted_facts(logits, max_labels_per_pair)

    expected = naive_predictions(logits, max_labels_per_pair)
    assert facts.tolist() == [list(row[:4]) for row in expected]
    assert scores.tolist() == pytest.approx([row[4] for row in expected], abs=1e-6)
    assert len(expected) > 20


def test_score_is_the_sigmoid_of_the_margin_over_the_threshold():
    logits = torch.zeros(1, 1, 2, 3)
    logits[0, 0, 1] = torch.tensor([0.5, 2.0, -1.0])
    facts, scores = predicted_facts(logits, 4)

    assert facts.tolist() == [[0, 0, 1, 1]]
    assert scores.tolist() == pytest.approx([1 / (1 + math.exp(-1.5))])


def test_predictions_of_a_pair_come_with_falling_score():
    logits = torch.zeros(1, 2, 2, 5)
    logits[0, 1, 0] = torch.tensor([0.0, 1.0, 3.0, -1.0, 2.0])
    facts, scores = predicted_facts(logits, 4)

    assert facts[:, 3].tolist() == [2, 4, 1]
    assert scores.tolist() == sorted(scores.tolist(), reverse=True)


def test_relation_level_with_the_threshold_is_not_predicted():
    facts, scores = predicted_facts(torch.tensor([[[[1.0, 1.0, 0.5]]]]), 4)

    assert facts.shape == (0, 4)
    assert scores.shape == (0,)


def test_ties_keep_the_allowed_number_of_relations():
    logits = torch.zeros(1, 1, 1, 5)
    logits[..., 2:] = 1.0
    facts, scores = predicted_facts(logits, 2)

    assert len(facts) == 2
    assert len(set(facts[:, 3].tolist())) == 2
    assert set(facts[:, 3].tolist()) <= {2, 3, 4}
    assert scores.tolist() == pytest.approx([1 / (1 + math.exp(-1))] * 2)


def test_a_higher_relation_wins_over_ties():
    logits = torch.tensor([[[[0.0, 1.0, 1.0, 1.0, 2.0]]]])

    assert predicted_facts(logits, 1)[0].tolist() == [[0, 0, 0, 4]]


def test_nothing_predicted_keeps_the_shapes():
    logits = torch.zeros(2, 3, 3, 4)
    facts, scores = predicted_facts(logits, 4)

    assert facts.shape == (0, 4)
    assert facts.dtype == torch.long
    assert scores.shape == (0,)
    assert scores.is_floating_point()


def test_half_precision_logits_are_compared_in_float32():
    logits = torch.randn(2, 3, 3, 6, generator=torch.Generator().manual_seed(0)).bfloat16()
    facts, scores = predicted_facts(logits, 3)
    expected_facts, expected_scores = predicted_facts(logits.float(), 3)

    assert scores.dtype == torch.float32
    assert torch.equal(facts, expected_facts)
    assert torch.equal(scores, expected_scores)


@pytest.mark.parametrize("max_labels_per_pair", [1, 3, 50])
@pytest.mark.parametrize("limit", [0.0, 0.7, 100.0])
def test_relations_within_a_margin_of_the_threshold_are_read_on_candidates(max_labels_per_pair, limit):
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(3, 4, 4, 6, generator=generator)
    pair_mask = torch.rand(3, 4, 4, generator=generator) < 0.5
    facts, scores = predicted_facts(logits, max_labels_per_pair, pair_mask=pair_mask, margin=limit)

    expected = naive_predictions(logits, max_labels_per_pair, pair_mask, limit)
    assert facts.tolist() == [list(row[:4]) for row in expected]
    assert scores.tolist() == pytest.approx([row[4] for row in expected], abs=1e-6)
    if limit == 100.0:
        assert len(facts) == pair_mask.sum() * min(max_labels_per_pair, 5)
        assert (scores < 0.5).any()
    if not limit:
        assert (scores > 0.5).all()


def test_a_margin_adds_relations_without_moving_the_others():
    logits = torch.randn(2, 4, 4, 6, generator=torch.Generator().manual_seed(3))
    every_pair = torch.ones(2, 4, 4, dtype=torch.bool)
    facts, scores = predicted_facts(logits, 3, every_pair, margin=2.0)
    strict_facts, strict_scores = predicted_facts(logits, 3)

    assert len(facts) > len(strict_facts) > 0
    assert torch.equal(facts[scores > 0.5], strict_facts)
    # The sigmoid of another number of values may differ in the last digit.
    torch.testing.assert_close(scores[scores > 0.5], strict_scores)


def test_relation_at_the_end_of_the_margin_is_not_read():
    logits = torch.tensor([[[[0.0, -1.0, -0.5, -2.0]]]])
    facts, scores = predicted_facts(logits, 4, torch.ones(1, 1, 1, dtype=torch.bool), margin=1.0)

    assert facts.tolist() == [[0, 0, 0, 2]]
    assert scores.tolist() == pytest.approx([1 / (1 + math.exp(0.5))])


def test_the_mask_of_candidates_is_not_edited():
    pair_mask = torch.tensor([[[False, True], [True, False]]])
    before = pair_mask.clone()
    predicted_facts(torch.zeros(1, 2, 2, 3), 4, pair_mask, margin=1.0)

    assert torch.equal(pair_mask, before)


@pytest.mark.parametrize("weight, offset", [(0.5, 0.0), (2, -1.5)])
def test_thresholds_rise_with_the_expected_facts_of_a_document(weight, offset):
    """By a loop over the pairs; the second document has none."""
    generator = torch.Generator().manual_seed(5)
    mask = torch.rand(4, 3, 3, generator=generator) < 0.6
    mask[1] = False
    pairs = EntityPairs.from_mask(mask)
    logits = torch.randn(len(pairs.document), 5, generator=generator, dtype=torch.float64)
    expected_facts = [0.0] * 4
    for document, row in zip(pairs.document.tolist(), logits.tolist()):
        expected_facts[document] += sum(1 / (1 + math.exp(row[0] - logit)) for logit in row[1:])

    config = DocREIIConfig(document_threshold_weight=weight, document_threshold_offset=offset)
    raised = raise_thresholds(logits, pairs, config)
    for document, row, before in zip(pairs.document.tolist(), raised.tolist(), logits.tolist()):
        rise = weight * math.log((expected_facts[document] + 0.1) / 1.1) + offset
        assert row[0] - before[0] == pytest.approx(rise, abs=1e-6)
        assert row[1:] == before[1:]


def test_without_a_weight_an_offset_moves_no_threshold():
    pairs, logits = EntityPairs.from_mask(torch.ones(1, 2, 2)), torch.zeros(4, 3)

    assert raise_thresholds(logits, pairs, DocREIIConfig(document_threshold_offset=2.0)) is logits


def test_thresholds_of_half_precision_rise_by_a_sum_in_float32():
    """Thousands of facts are expected here, and each of them adds less than bfloat16 can add to their sum."""
    pairs = EntityPairs.from_mask(torch.ones(1, 60, 60, dtype=torch.bool))
    logits = torch.zeros(3600, 3, dtype=torch.bfloat16)
    raised = raise_thresholds(logits, pairs, DocREIIConfig(document_threshold_weight=1))

    assert raised.dtype == torch.bfloat16
    assert raised[:, 0].tolist() == [pytest.approx(math.log(3600.1 / 1.1), rel=0.01)] * 3600
