"""Calibration: the threshold with the best F1 on validation documents."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

from ..configuration_docre_ii import DocREIIConfig
from ..evaluation.scores import micro_scores
from ..modeling_docre_ii import DocREIIForRelationExtraction


# Number of parts of the documents, each scored at the threshold that is best on the others.
NUM_FOLDS = 4
# How far below the threshold, in logits, relations are gathered for calibration.
CALIBRATION_MARGIN = 4.0


class ScoredPredictions(NamedTuple):
    """
    Predictions to find a threshold for.

    Args:
        scores (`np.ndarray` of shape `(num_predictions,)`):
            Probability of the relation against "no relation".
        is_correct (`np.ndarray` of shape `(num_predictions,)`):
            Whether each prediction is a fact.
        num_gold (`int`):
            Number of facts.
    """

    scores: np.ndarray
    is_correct: np.ndarray
    num_gold: int


def move_threshold(
    model: DocREIIForRelationExtraction, predict: Callable[[], ScoredPredictions]
) -> tuple[float, float]:
    """
    Moves the threshold of a model to where F1 is best.

    The bias of the threshold class of the last classifier changes, nothing else: a relation is still predicted when
    its logit is above that of class 0. An inference module reads its own predictions, which depend on the threshold,
    so the bias is moved a second time, and the best of the three is kept. With a `document_threshold_weight`, the
    `document_threshold_offset` of the configuration changes instead.

    Args:
        model ([`DocREIIForRelationExtraction`]):
            The model. It is changed in place, and restored after an error.
        predict (`Callable[[], ScoredPredictions]`):
            Predicts on the validation documents with the current threshold. Relations somewhat below it must be among
            the predictions.

    Returns:
        `tuple(float, float)`: what was added to the bias or offset, below 0 where more is predicted than before, and
        the F1 there, in percent.
    """
    config, inference_module = model.config, model.inference_module
    if config.document_threshold_weight:
        return _move_offset(config, predict)
    bias = (model.base_model if inference_module is None else inference_module).classifier.bias
    # Logits that accumulate over the iterations contain the bias once an iteration.
    is_accumulated = inference_module is not None and config.iteration_update == "accumulate"
    repeats = config.num_iterations if is_accumulated else 1
    start = bias[0].item()
    best_f1, best_bias, kept_bias = -1.0, start, start
    try:
        for _ in range(1 if inference_module is None else 3):
            scored = predict()
            shift, calibrated_f1 = best_threshold(*scored)
            if inference_module is None:
                f1, candidate = calibrated_f1, bias[0].item() + shift
            else:
                f1, candidate = f1_at_threshold(*scored), bias[0].item()
            if f1 > best_f1:
                best_f1, best_bias = f1, candidate
            with torch.no_grad():
                bias[0] += shift / repeats
        kept_bias = best_bias
    finally:
        with torch.no_grad():
            bias[0] = kept_bias
    return best_bias - start, best_f1


def _move_offset(config: DocREIIConfig, predict: Callable[[], ScoredPredictions]) -> tuple[float, float]:
    """Moves `config.document_threshold_offset` as [`move_threshold`] says."""
    start = config.document_threshold_offset
    try:
        for _ in range(3):
            shift, f1 = best_threshold(*predict())
            config.document_threshold_offset += shift
            # Near the end of what was gathered, the best threshold may be further below.
            if shift > 1 - CALIBRATION_MARGIN:
                break
    except BaseException:
        config.document_threshold_offset = start
        raise
    return config.document_threshold_offset - start, f1


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
    margins = _margins(scores[order])
    f1, _, _ = micro_scores(np.cumsum(is_correct[order]), np.arange(1, len(margins) + 1), num_gold)
    # Predictions of one score, up to rounding, are kept or left out together.
    f1[:-1][margins[:-1] - margins[1:] < 1e-5] = 0.0
    last = int(np.argmax(f1))
    # A relation is predicted strictly above the threshold, so a threshold that keeps all is below the last margin.
    following = margins[last + 1] if last + 1 < len(margins) else margins[last] - 0.1
    return float((margins[last] + following) / 2), float(f1[last])


def f1_at_threshold(scores: np.ndarray, is_correct: np.ndarray, num_gold: int) -> float:
    """
    Computes the F1 of the predictions above the current threshold, in percent.

    Args:
        scores, is_correct, num_gold: As for [`best_threshold`].
    """
    is_predicted = scores > 0.5
    return float(micro_scores((is_predicted & is_correct).sum(), is_predicted.sum(), num_gold)[0])


def held_out_shifts(scored: ScoredPredictions, folds: np.ndarray, gold_by_fold: np.ndarray) -> np.ndarray:
    """
    Finds a threshold for each part of the documents that is best on the others.

    A threshold that is fitted on the documents that it is scored on flatters the model. Here every document is scored
    at a threshold that it had no part in.

    Args:
        scored ([`ScoredPredictions`]):
            Predictions on all documents, including those below the threshold.
        folds (`np.ndarray` of shape `(num_predictions,)`):
            The part of the documents that each prediction is in, from 0.
        gold_by_fold (`np.ndarray` of shape `(num_folds,)`):
            Number of facts of each part.

    Returns:
        `np.ndarray` of shape `(num_folds,)`: what to add to logit_TH of the documents of each part, see
        [`best_threshold`].
    """
    num_gold = int(gold_by_fold.sum())
    shifts = [
        best_threshold(scored.scores[folds != fold], scored.is_correct[folds != fold], num_gold - int(gold))[0]
        for fold, gold in enumerate(gold_by_fold)
    ]
    return np.array(shifts)


def shifted_scores(scores: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """
    Returns scores sigmoid(logit_r - logit_TH) after a shift of logit_TH.

    Args:
        scores (`np.ndarray` of shape `(num_predictions,)`):
            The scores before.
        shifts (`np.ndarray` of shape `(num_predictions,)`):
            What is added to logit_TH, for each prediction.
    """
    return 1 / (1 + np.exp(shifts - _margins(scores)))


def _margins(scores: np.ndarray) -> np.ndarray:
    """Returns logit_r - logit_TH of scores, finite also for scores of 0 and 1."""
    scores = scores.clip(1e-7, 1 - 1e-7)
    return np.log(scores / (1 - scores))


__all__ = [
    "CALIBRATION_MARGIN",
    "NUM_FOLDS",
    "ScoredPredictions",
    "best_threshold",
    "f1_at_threshold",
    "held_out_shifts",
    "move_threshold",
    "shifted_scores",
]
