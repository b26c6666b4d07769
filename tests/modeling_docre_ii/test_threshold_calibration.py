"""Where the threshold goes, against trying every threshold."""

import math

import numpy as np
import pytest

from modeling_docre_ii.threshold_calibration import best_threshold_shift


def sigmoid(value):
    return 1 / (1 + math.exp(-value))


def f1_at(shift, margins, is_correct, num_gold):
    kept = [correct for margin, correct in zip(margins, is_correct) if margin > shift]
    return 2 * sum(kept) / (len(kept) + num_gold)


def test_by_hand():
    # Of 4 facts, 3 are among the predictions. Keeping the first: F1 2/5; two: 2/6; three: 4/7; four: 6/8; five: 6/9.
    margins, is_correct = [3.0, 2.0, 1.0, -0.5, -1.5], [True, False, True, True, False]
    shift = best_threshold_shift(np.array([sigmoid(m) for m in margins]), np.array(is_correct), num_gold=4)
    assert shift == pytest.approx(-1.0)


@pytest.mark.parametrize("seed", range(5))
def test_no_other_threshold_is_better(seed):
    generator = np.random.default_rng(seed)
    margins = generator.normal(0, 2, 60)
    is_correct = generator.random(60) < 1 / (1 + np.exp(-margins))
    num_gold = int(is_correct.sum()) + 15
    shift = best_threshold_shift(1 / (1 + np.exp(-margins)), is_correct, num_gold)
    found = f1_at(shift, margins, is_correct, num_gold)
    assert found == pytest.approx(max(f1_at(t, margins, is_correct, num_gold) for t in np.linspace(-8, 8, 2001)))
    assert found > f1_at(8, margins, is_correct, num_gold)


def test_everything_kept_and_saturated_scores():
    assert best_threshold_shift(np.array([1.0, 1.0, 0.9]), np.array([True, True, True]), 3) == pytest.approx(
        math.log(9), rel=1e-6
    )


@pytest.mark.parametrize("is_correct", [[], [False, False]])
def test_nothing_correct_moves_nothing(is_correct):
    assert best_threshold_shift(np.full(len(is_correct), 0.7), np.array(is_correct, dtype=bool), 3) == 0.0
