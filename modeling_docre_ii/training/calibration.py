"""Where to put the threshold class so that F1 is best on validation documents."""

import numpy as np


def best_threshold(scores: np.ndarray, is_correct: np.ndarray, num_gold: int) -> tuple[float, float]:
    r"""
    Finds how far to move the logit of the threshold class.

    The adaptive threshold loss weighs every pair alike, and nine pairs of ten have no relation: the threshold it
    learns favours precision. F1 = 2 correct / (predicted + gold) is computed for every possible cut through the
    predictions, ordered by score, and the cut with the best one is returned as a shift of logit_TH.

    Args:
        scores (`np.ndarray` of shape `(num_predictions,)`):
            Scores sigmoid(logit_r - logit_TH) of predictions, including those below the threshold that may be worth
            it.
        is_correct (`np.ndarray` of shape `(num_predictions,)`):
            Whether each is a fact.
        num_gold (`int`):
            Number of facts of the documents.

    Returns:
        `tuple(float, float)`: what to add to logit_TH, half way between the last prediction to keep and the first to
        leave out; and the F1 there, in percent. Both are 0 if no prediction is correct.
    """
    if not is_correct.any():
        return 0.0, 0.0
    order = np.argsort(-scores, kind="stable")
    scores = scores[order].clip(1e-7, 1 - 1e-7)
    margins = np.log(scores / (1 - scores))
    correct = np.cumsum(is_correct[order])
    f1 = 2 * correct / (np.arange(1, len(scores) + 1) + num_gold)
    # Predictions of one score, up to rounding, are kept or left out together.
    f1[:-1][margins[:-1] - margins[1:] < 1e-5] = 0.0
    last = int(np.argmax(f1))
    # A relation is predicted strictly above the threshold, so that one that keeps all has to lie below the last.
    following = margins[last + 1] if last + 1 < len(margins) else margins[last] - 0.1
    return float((margins[last] + following) / 2), 100 * float(f1[last])
