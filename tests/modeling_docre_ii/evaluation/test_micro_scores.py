"""Precision, recall and F1 of counts, against exact fractions."""

from fractions import Fraction

import numpy as np
import pytest

from modeling_docre_ii.evaluation.scores import micro_scores


def test_micro_scores_of_many_counts_at_once():
    correct, predicted, gold = np.array([[3, 3], [0, 2]]), np.array([[4, 4], [0, 2]]), np.array([[5, 5], [0, 4]])
    f1, precision, recall = micro_scores(correct, predicted, gold, np.array([[0, 1], [0, 2]]))
    assert precision == pytest.approx(np.array([[75, 200 / 3], [0, 0]]))
    assert recall == pytest.approx(np.array([[60, 60], [0, 50]]))
    assert f1 == pytest.approx(np.array([[200 / 3, 8000 / (380 / 3)], [0, 0]]))


def test_micro_scores_of_every_small_count():
    """Against the definition, as quotients of fractions."""
    for gold in range(4):
        for predicted_ in range(5):
            for correct in range(min(gold, predicted_) + 1):
                for in_train in range(correct + 1):
                    new = predicted_ - in_train
                    precision = Fraction(correct - in_train, new) if new else Fraction(0)
                    recall = Fraction(correct, gold) if gold else Fraction(0)
                    total = precision + recall
                    f1 = 2 * precision * recall / total if total else Fraction(0)
                    expected = [float(100 * score) for score in (f1, precision, recall)]
                    assert [float(score) for score in micro_scores(correct, predicted_, gold, in_train)] == expected


def test_counts_of_the_same_f1_are_ties():
    """F1 is 2/3 of each of these counts; in floats, 2 P R / (P + R) takes four values here."""
    correct = np.arange(500, 999)
    f1, _, _ = micro_scores(correct, 3 * correct - 999, 999)
    assert set(f1.tolist()) == {200 / 3}
