"""What a Trainer chooses by validation documents, after the training."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

from transformers.trainer_utils import TrainOutput

from ..evaluation.matching import ignored_pairs
from ..evaluation.tables import iteration_names
from .averaging import AveragingTrainer
from .calibration import CALIBRATION_MARGIN, ScoredPredictions, move_threshold
from .checks import check_calibration, check_iterations
from .encoding import Documents, EncodedDocuments, ensure_encoded
from .iterations import keep_best_iterations, remove_iterations
from .metrics import scored_predictions
from .precision import whole_weights
from .sharding import docre_ii_of


# Pairs that do not count: document, head and tail.
IgnoredPairs = Collection[tuple[int, int, int]]


class CalibratingTrainer(AveragingTrainer):
    """
    [`Trainer`] that ends a training with what only validation documents can say.

    With `calibrate_iterations` it keeps the number of iterations that does best on them, with `calibrate_threshold`
    the threshold. With both, iterations are also removed if they do worse than the base module, each at the threshold
    that it is left with.
    """

    _margin: float

    def train(self, *args: Any, **kwargs: Any) -> TrainOutput:
        if self.args.calibrate_iterations and self.model is not None:  # in a search, `model_init` makes it later
            self._check_iterations()
        result = super().train(*args, **kwargs)
        if self.args.calibrate_iterations:
            result.metrics.update(self.calibrate_iterations())
        if self.args.calibrate_threshold:
            result.metrics.update(self._calibrate_kept(result.metrics))
        return result

    def _calibrate_kept(self, metrics: dict[str, float]) -> dict[str, float]:
        """Calibrates the threshold, and removes the iterations if they do worse than the base module with it."""
        model = docre_ii_of(self.model)
        shift, f1 = self._move_threshold()
        kept = model.config.num_iterations
        if "base_calibrated_f1" not in metrics or not kept:
            return {"threshold_shift": shift}
        calibrated = {f"iteration_{kept}_own_f1": f1}
        if f1 < metrics["base_calibrated_f1"]:
            # Iterations read their own predictions, and may do worse at the threshold that was the best before.
            remove_iterations(model)
            shift, _ = self._move_threshold()
        return {**calibrated, "num_iterations": model.config.num_iterations, "threshold_shift": shift}

    def calibrate_iterations(
        self, eval_dataset: Documents | None = None, ignored: IgnoredPairs | None = None
    ) -> dict[str, float]:
        """
        Keeps as many iterations as do best on labeled documents.

        0, the base module alone, is among the numbers to choose from. [`keep_best_iterations`] says how. With
        `args.calibrate_iterations`, `train()` ends with it, before it calibrates the threshold.

        Args:
            eval_dataset (`Sequence[dict]` or `Dataset`, *optional*):
                Documents with labels, or their features. Defaults to the `eval_dataset` of the Trainer.
            ignored (`Collection[tuple[int, int, int]]`, *optional*):
                Pairs that do not count, from [`ignored_pairs`]. Defaults to those in `uncounted` of the documents.

        Returns:
            `dict[str, float]`: `num_iterations`, the number that was kept, and the F1 of each at its best threshold,
            `base_calibrated_f1`, `iteration_1_calibrated_f1` and so on, in percent.

        Raises:
            `ValueError`: the model has no iterations, or is sharded or wrapped by peft.
        """
        self._check_iterations()
        model = docre_ii_of(self.model)
        with self._predicting("calibrate_iterations", eval_dataset, ignored) as predict:
            f1 = keep_best_iterations(model, predict())
        scores = {f"{name}_calibrated_f1": score for name, score in zip(iteration_names(len(f1)), f1)}
        return {"num_iterations": model.config.num_iterations, **scores}

    def calibrate_threshold(self, eval_dataset: Documents | None = None, ignored: IgnoredPairs | None = None) -> float:
        """
        Moves the threshold of the model to where F1 is best on labeled documents.

        [`move_threshold`] says how. With `args.calibrate_threshold`, `train()` ends with it.

        Args:
            eval_dataset, ignored: As for [`~CalibratingTrainer.calibrate_iterations`].

        Returns:
            `float`: what was added to the threshold, below 0 where more is predicted than before.
        """
        return self._move_threshold(eval_dataset, ignored)[0]

    def _move_threshold(
        self, eval_dataset: Documents | None = None, ignored: IgnoredPairs | None = None
    ) -> tuple[float, float]:
        with self._predicting("calibrate_threshold", eval_dataset, ignored) as predict:
            return move_threshold(docre_ii_of(self.model), lambda: predict()[-1])

    def _check_iterations(self) -> None:
        model = docre_ii_of(self.model)
        is_sharded = self.is_fsdp_enabled or self.is_deepspeed_enabled
        check_iterations(model, is_whole=not is_sharded and model is self.accelerator.unwrap_model(self.model))

    @contextmanager
    def _predicting(
        self, argument: str, eval_dataset: Documents | None, ignored: IgnoredPairs | None
    ) -> Iterator[Callable[[], list[ScoredPredictions]]]:
        """Gives a function that predicts with the base and every iteration, also below the threshold."""
        given = self.eval_dataset if eval_dataset is None else eval_dataset
        dataset = ensure_encoded(given, self.processing_class, self.args)
        check_calibration(self.args, dataset, argument)
        if ignored is None:
            ignored = ignored_pairs(dataset.documents) if isinstance(dataset, EncodedDocuments) else ()

        def predict() -> list[ScoredPredictions]:
            output = self.predict(dataset)
            return [scored_predictions(packed, output.label_ids, ignored) for packed in output.predictions]

        margin, self._margin = self._margin, CALIBRATION_MARGIN
        try:
            with whole_weights(self.args):
                yield predict
        finally:
            self._margin = margin


__all__ = ["CalibratingTrainer"]
