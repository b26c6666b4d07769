"""The number of iterations that does best on validation documents."""

from collections.abc import Sequence

import numpy as np

from ..modeling_docre_ii import DocREIIForRelationExtraction
from .calibration import ScoredPredictions, best_threshold


def keep_best_iterations(model: DocREIIForRelationExtraction, scored: Sequence[ScoredPredictions]) -> list[float]:
    """
    Keeps as many iterations as do best on validation documents.

    `num_iterations` of the configuration becomes the number with the highest F1, each at its best threshold; among
    equals the smallest. If that is 0, the model loses its inference module ([`remove_iterations`]).

    Args:
        model ([`DocREIIForRelationExtraction`]):
            The model, which is changed in place.
        scored (`Sequence[ScoredPredictions]`):
            The predictions of the base module, then those of every iteration, with relations somewhat below the
            threshold.

    Returns:
        `list[float]`: these F1, in percent.
    """
    f1 = [best_threshold(*of_iteration)[1] for of_iteration in scored]
    model.config.num_iterations = int(np.argmax(f1))
    if not model.config.num_iterations:
        remove_iterations(model)
    return f1


def remove_iterations(model: DocREIIForRelationExtraction) -> None:
    """Leaves the base module of a model alone, as after stage 1."""
    model.config.num_iterations = 0
    model.inference_module = model.contrastive_predictor = None


__all__ = ["keep_best_iterations", "remove_iterations"]
