"""Calibration: the threshold with the best F1 on validation documents."""

import numpy as np

from ..evaluation.scores import micro_scores


def best_threshold(scores: np.ndarray, is_correct: np.ndarray, num_gold: int) -> tuple[float, float]:
    r"""
    Finds how far to move the logit of the threshold class.

    The adaptive threshold loss weighs every pair alike, and nine pairs of ten have no relation: the threshold it
    learns favors precision. F1 is computed for every possible cut through the predictions, ordered by score, and the
    cut with the best one is returned as a shift of logit_TH.

    Args:
        scores (`np.ndarray` of shape `(num_predictions,)`):
            Scores sigmoid(logit_r - logit_TH) of predictions, including those below the threshold that may be worth
            predicting.
        is_correct (`np.ndarray` of shape `(num_predictions,)`):
            Whether each is a fact.
        num_gold (`int`):
            Number of facts of the documents.

    Returns:
        `tuple(float, float)`: what to add to logit_TH, halfway between the last prediction to keep and the first to
        leave out; and the F1 there, in percent. Both are 0 if no prediction is correct.
    """
    if not is_correct.any():
        return 0.0, 0.0
    order = np.argsort(-scores, kind="stable")
    scores = scores[order].clip(1e-7, 1 - 1e-7)
    margins = np.log(scores / (1 - scores))
    f1, _, _ = micro_scores(np.cumsum(is_correct[order]), np.arange(1, len(scores) + 1), num_gold)
    # Predictions of one score, up to rounding, are kept or left out together.
    f1[:-1][margins[:-1] - margins[1:] < 1e-5] = 0.0
    last = int(np.argmax(f1))
    # A relation is predicted strictly above the threshold, so a threshold that keeps all is below the last margin.
    following = margins[last + 1] if last + 1 < len(margins) else margins[last] - 0.1
    return float((margins[last] + following) / 2), float(f1[last])


def f1_at_threshold(scores: np.ndarray, is_correct: np.ndarray, num_gold: int) -> float:
    """
    Computes the F1 of the predictions above the present threshold, in percent.

    Args:
        scores, is_correct, num_gold: As for [`best_threshold`].
    """
    is_predicted = scores > 0.5
    return float(micro_scores((is_predicted & is_correct).sum(), is_predicted.sum(), num_gold)[0])
