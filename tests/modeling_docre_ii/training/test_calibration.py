"""Where the threshold goes, against trying every threshold."""

import math

import numpy as np
import pytest
import torch

from modeling_docre_ii.training.calibration import (
    ScoredPredictions,
    best_threshold,
    f1_at_threshold,
    held_out_shifts,
    move_threshold,
    shifted_scores,
)


def sigmoid(value):
    return 1 / (1 + math.exp(-value))


def f1_at(shift, margins, is_correct, num_gold):
    """F1 in percent when the relations are predicted whose logit is above logit_TH + `shift`."""
    kept = [correct for margin, correct in zip(margins, is_correct, strict=True) if margin > shift]
    return 200 * sum(kept) / (len(kept) + num_gold)


def best_by_brute_force(margins, is_correct, num_gold):
    """The best F1 over a threshold below all margins, between any two, and above all."""
    distinct = sorted(set(margins))
    cuts = [distinct[0] - 1, *((low + high) / 2 for low, high in zip(distinct, distinct[1:])), distinct[-1] + 1]
    return max(f1_at(cut, margins, is_correct, num_gold) for cut in cuts)


def test_by_hand():
    # Of 4 facts, 3 are among the predictions. Keeping the first: F1 2/5; two: 2/6; three: 4/7; four: 6/8; five: 6/9.
    margins, is_correct = [3.0, 2.0, 1.0, -0.5, -1.5], [True, False, True, True, False]
    shift, f1 = best_threshold(np.array([sigmoid(m) for m in margins]), np.array(is_correct), num_gold=4)
    assert shift == pytest.approx(-1.0)
    assert f1 == pytest.approx(75.0)


def test_the_order_of_the_predictions_does_not_matter():
    scores = np.array([0.3, 0.9, 0.2, 0.7, 0.6])
    is_correct = np.array([True, True, False, True, False])
    order = np.array([3, 0, 4, 2, 1])
    expected = best_threshold(scores, is_correct, 4)
    assert best_threshold(scores[order], is_correct[order], 4) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("num_ties", [60, 7])
def test_no_other_threshold_is_better(seed, num_ties):
    """Also among margins that many predictions share, which no threshold can tell apart."""
    generator = np.random.default_rng(seed)
    values = generator.normal(0, 2, num_ties)
    margins = np.sort(values) if num_ties == 60 else generator.choice(values, 60)
    is_correct = generator.random(60) < 1 / (1 + np.exp(-margins))
    # A prediction that is wrong comes last, so that there is something to leave out.
    margins, is_correct = np.append(margins, -9.0), np.append(is_correct, False)
    num_gold = int(is_correct.sum()) + 15
    shift, f1 = best_threshold(1 / (1 + np.exp(-margins)), is_correct, num_gold)
    assert f1 == pytest.approx(best_by_brute_force(margins, is_correct, num_gold))
    assert f1_at(shift, margins, is_correct, num_gold) == pytest.approx(f1)


def test_ties_are_kept_or_left_out_together():
    # Keeping only the correct one of the two with 0.8 would give 4/4; together they give 4/5, the first alone 2/3.
    scores, is_correct = np.array([0.9, 0.8, 0.8, 0.4]), np.array([True, True, False, False])
    shift, f1 = best_threshold(scores, is_correct, 2)
    assert f1 == pytest.approx(80.0)
    assert math.log(0.4 / 0.6) < shift < math.log(0.8 / 0.2)
    assert best_threshold(scores[::-1], is_correct[::-1], 2) == pytest.approx((shift, f1))
    # Together with three wrong ones of its score, a correct one is not worth it: 2/3 against 4/7.
    scores, is_correct = np.array([0.9, 0.8, 0.8, 0.8, 0.8]), np.array([True, True, False, False, False])
    shift, f1 = best_threshold(scores, is_correct, 2)
    assert f1 == pytest.approx(200 / 3)
    assert math.log(0.8 / 0.2) < shift < math.log(0.9 / 0.1)


@pytest.mark.parametrize("scores", [[0.9, 0.8, 0.7], [0.6], [0.7, 0.7, 0.4], [0.2, 0.1]])
def test_a_shift_that_keeps_everything_keeps_the_last_as_well(scores):
    """A relation is predicted when its logit is above that of the threshold class, so level is not enough."""
    is_correct = np.ones(len(scores), dtype=bool)
    shift, f1 = best_threshold(np.array(scores), is_correct, len(scores))
    assert f1 == pytest.approx(100.0)
    assert f1_at(shift, [math.log(score / (1 - score)) for score in scores], is_correct, len(scores)) == pytest.approx(
        f1
    )


def test_f1_at_the_present_threshold():
    # Of 5 facts, 2 are among the 3 predictions above 0.5; the one at 0.5 is not predicted.
    scores, is_correct = np.array([0.9, 0.5, 0.2, 0.6, 0.51]), np.array([True, True, True, False, True])
    assert f1_at_threshold(scores, is_correct, 5) == pytest.approx(50.0)
    assert f1_at_threshold(scores[1:3], is_correct[1:3], 5) == 0.0
    assert f1_at_threshold(scores[:0], is_correct[:0], 0) == 0.0


def test_saturated_scores_are_finite():
    shift, f1 = best_threshold(np.array([1.0, 1.0, 0.9, 0.0]), np.array([True, True, True, False]), 3)
    assert f1 == pytest.approx(100.0)
    assert math.isfinite(shift)
    assert shift < math.log(9)


@pytest.mark.parametrize("is_correct", [[], [False, False]])
def test_nothing_correct_moves_nothing(is_correct):
    assert best_threshold(np.full(len(is_correct), 0.7), np.array(is_correct, dtype=bool), 3) == (0.0, 0.0)


def test_held_out_thresholds_by_hand():
    # Part 0 has margins 2 (correct) and 1 (wrong), part 1 has 3 (wrong) and -1 (correct); each part has one fact.
    scores = np.array([sigmoid(margin) for margin in (2.0, 3.0, 1.0, -1.0)])
    scored = ScoredPredictions(scores, np.array([True, False, False, True]), 2)
    shifts = held_out_shifts(scored, np.array([0, 1, 0, 1]), np.array([1, 1]))
    # In part 1, keeping both is best (2/3); in part 0, keeping the first (1).
    assert shifts == pytest.approx([-1.05, 1.5])


def test_a_part_does_not_influence_its_threshold():
    generator = np.random.default_rng(4)
    scores, folds, is_correct = generator.random(80), np.arange(80) % 4, generator.random(80) < 0.4
    before = held_out_shifts(ScoredPredictions(scores, is_correct, 50), folds, np.array([11, 12, 13, 14]))
    changed = np.where(folds == 2, ~is_correct, is_correct)
    after = held_out_shifts(ScoredPredictions(scores, changed, 57), folds, np.array([11, 12, 20, 14]))
    assert before[2] == after[2]
    assert (before != after).sum() == 3


def test_shifted_scores_are_those_of_a_moved_threshold():
    margins, shifts = np.array([3.0, 0.5, 0.5, -2.0]), np.array([1.0, 0.5, 0.4, -3.0])
    scores = np.array([sigmoid(margin) for margin in margins])
    expected = [sigmoid(2.0), sigmoid(0.0), sigmoid(0.1), sigmoid(1.0)]
    assert shifted_scores(scores, shifts) == pytest.approx(expected)
    assert np.isfinite(shifted_scores(np.array([0.0, 1.0]), np.array([2.0, -2.0]))).all()


def predictions_at(bias, margins, is_correct, num_gold):
    """What a model predicts whose margins are over a threshold that `bias[0]` moves."""
    scores = np.array([sigmoid(margin - bias[0].item()) for margin in margins])
    return ScoredPredictions(scores, np.array(is_correct), num_gold)


@pytest.mark.parametrize("num_iterations", [0, 2])
def test_the_bias_goes_where_f1_is_best(tiny_model, num_iterations):
    """As by hand above: the best cut is at a margin of -1."""
    model = tiny_model(num_iterations=num_iterations)
    bias = (model.inference_module if num_iterations else model.docre_ii).classifier.bias
    with torch.no_grad():
        bias[0] = 0.25
    margins, is_correct = [3.0, 2.0, 1.0, -0.5, -1.5], [True, False, True, True, False]

    found = move_threshold(model, lambda: predictions_at(bias, margins, is_correct, 4))
    assert found == pytest.approx((-1.25, 75.0), abs=1e-5)
    assert bias[0].item() == pytest.approx(-1.0, abs=1e-5)


@pytest.mark.parametrize("num_iterations", [0, 2])
def test_thresholds_of_documents_are_moved_by_their_offset(tiny_model, num_iterations):
    """As above, but with one look at the predictions: the inference module does not read the offset."""
    model = tiny_model(num_iterations=num_iterations, document_threshold_weight=0.5, document_threshold_offset=0.25)
    weights, calls = {name: tensor.clone() for name, tensor in model.state_dict().items()}, []

    def predict():
        calls.append(model.config.document_threshold_offset)
        offset = torch.tensor(calls[-1:])
        return predictions_at(offset, [3.0, 2.0, 1.0, -0.5, -1.5], [True, False, True, True, False], 4)

    assert move_threshold(model, predict) == pytest.approx((-1.25, 75.0), abs=1e-5)
    assert model.config.document_threshold_offset == pytest.approx(-1.0, abs=1e-5)
    assert calls == [0.25]
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())


def test_an_offset_beyond_what_is_gathered_is_found_by_a_second_look(tiny_model):
    """The best cut is at a margin of -5, and predictions are gathered down to -4."""
    model = tiny_model(num_iterations=0, document_threshold_weight=0.5)
    margins, is_correct, calls = np.array([3.0, -3.75, -4.5, -5.5]), np.array([True, True, True, False]), []

    def predict():
        calls.append(model.config.document_threshold_offset)
        gathered = margins - calls[-1] > -4
        return predictions_at(torch.tensor(calls[-1:]), margins[gathered], is_correct[gathered], 3)

    assert move_threshold(model, predict) == pytest.approx((-5.0, 100.0), abs=1e-4)
    assert model.config.document_threshold_offset == pytest.approx(-5.0, abs=1e-4)
    assert len(calls) == 2


def test_an_error_leaves_the_offset(tiny_model):
    model, calls = tiny_model(document_threshold_weight=0.5, document_threshold_offset=0.25), []

    def predict():
        calls.append(None)
        if len(calls) == 2:
            raise OSError("no space")
        return ScoredPredictions(np.array([sigmoid(-3.9)]), np.array([True]), 1)

    with pytest.raises(OSError, match="no space"):
        move_threshold(model, predict)
    assert model.config.document_threshold_offset == 0.25


def test_the_best_of_three_thresholds_is_kept(tiny_model):
    """A model whose predictions get worse wherever its threshold is moved to."""
    model = tiny_model(num_iterations=2)
    bias = model.inference_module.classifier.bias
    start, calls = bias[0].item(), []

    def predict():
        calls.append(bias[0].item())
        is_correct = [True, True, True, False] if len(calls) == 1 else [True, False, False, True]
        return ScoredPredictions(np.array([0.9, 0.8, 0.3, 0.2]), np.array(is_correct), 4)

    assert move_threshold(model, predict) == (0.0, pytest.approx(200 / 3))
    assert len(calls) == len(set(calls)) == 3
    assert bias[0].item() == start == calls[0]
