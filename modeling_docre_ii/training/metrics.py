"""Metrics of the Trainer: `compute_metrics`, and what calibration scores."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from transformers import EvalPrediction

from ..evaluation.matching import gold_facts, ignored_pairs
from ..evaluation.scores import NamedFact, score_facts
from ..evaluation.significance import paired_bootstrap
from ..evaluation.submission import to_submission
from ..evaluation.tables import iteration_names
from ..utils.atomic_write import atomic_write
from .calibration import NUM_FOLDS, ScoredPredictions, best_threshold, held_out_shifts, shifted_scores
from .predictions import has_model_evidence, unpack_facts, unpack_with_evidence


# The scores that every evaluation has for the base module and for each iteration.
SCORES_OF_ITERATIONS = (
    "f1",
    "filtered_f1",
    "infer_f1",
    "calibrated_f1",
    "cross_calibrated_f1",
    "infer_cross_calibrated_f1",
)
# The scores whose gain over the base module is tested. With `filtered_f1`, `f1` is left out.
_SCORES_OF_GAIN = ("filtered_f1", "f1", "infer_f1")


def make_compute_metrics(
    documents: Sequence[Mapping[str, Any]],
    relations: Sequence[str],
    train_facts: set[NamedFact] | None = None,
    distant_facts: set[NamedFact] | None = None,
) -> Callable[[EvalPrediction], dict[str, float]]:
    """
    Returns a `compute_metrics` for a [`DocREIITrainer`].

    It computes the scores of [`score_facts`] for the last predictions and, with an inference module, `base_f1`,
    `iteration_1_f1` and so on. Every F1 comes with a `calibrated_f1`: the F1 at the threshold that is best on these
    documents, if relations below the threshold were gathered. That threshold has seen the documents that it is scored
    on, so there is a `cross_calibrated_f1` beside it, and an `infer_cross_calibrated_f1`: F1 and Infer F1 at the
    thresholds of [`held_out_predictions`]. If documents have `uncounted` pairs, every F1 also comes with a
    `filtered_f1` without them, and both calibrated ones are the filtered ones.

    If labels have evidence, so have predictions: from the model if it was trained to find evidence, and then
    `rule_correct_evidence_f1` is the score of the rule on the same facts; otherwise from the rule.

    Args:
        documents (`Sequence[dict]`):
            The validation documents with labels, by document index.
        relations (`Sequence[str]`):
            Relation ids in the order of the model's classes.
        train_facts (`set[tuple[str, str, str]]`, *optional*):
            Facts of the training set from [`named_facts`], for Ign F1.
        distant_facts (`set[tuple[str, str, str]]`, *optional*):
            Facts of the distantly supervised training set, for its Ign F1.
    """
    ignored = ignored_pairs(documents)
    has_evidence = any(label.get("evidence") for document in documents for label in document.get("labels") or ())

    def scores_of(packed: np.ndarray, label_ids: np.ndarray) -> dict[str, float]:
        facts = unpack_with_evidence(packed, relations, documents, None if has_evidence else "none")
        scores = score_facts(to_submission(facts, documents), documents, train_facts, distant_facts)
        _, scores["calibrated_f1"] = best_threshold(*scored_predictions(packed, label_ids, ignored))
        held_out = unpack_facts(held_out_predictions(packed, documents, relations), relations, len(documents))
        of_held_out = score_facts(to_submission(held_out, documents), documents)
        scores["cross_calibrated_f1"] = of_held_out.get("filtered_f1", of_held_out["f1"])
        if "infer_f1" in of_held_out:
            scores["infer_cross_calibrated_f1"] = of_held_out["infer_f1"]
        return scores

    def compute_metrics(prediction: EvalPrediction) -> dict[str, float]:
        label_ids = np.asarray(prediction.label_ids)
        all_scores = [scores_of(packed, label_ids) for packed in prediction.predictions]
        metrics = dict(all_scores[-1])
        if has_evidence and has_model_evidence(prediction.predictions[-1]):
            by_rule = unpack_with_evidence(prediction.predictions[-1], relations, documents, "rule")
            scores = score_facts(to_submission(by_rule, documents), documents)
            metrics |= {
                f"rule_{name}": score for name, score in scores.items() if name.startswith("correct_evidence_")
            }
        if len(all_scores) > 1:
            for name, scores in zip(iteration_names(len(all_scores)), all_scores):
                metrics |= {f"{name}_{key}": scores[key] for key in SCORES_OF_ITERATIONS if key in scores}
        return metrics

    return compute_metrics


def held_out_predictions(
    packed: np.ndarray, documents: Sequence[Mapping[str, Any]], relations: Sequence[str]
) -> np.ndarray:
    """
    Moves the scores of predictions to held-out thresholds.

    Document i is in part i mod 4. Each part gets the threshold with the best F1 on the three others, so that the
    predictions above 0.5 can be scored together without flattery.

    Args:
        packed (`np.ndarray` of shape `(..., 5)`):
            Predictions of [`DocREIITrainer`], of the base module or of one iteration, with those below the threshold.
        documents (`Sequence[dict]`):
            The documents with labels, by document index. Pairs that are `uncounted` do not influence the thresholds.
        relations (`Sequence[str]`):
            Relation ids in the order of the model's classes.

    Returns:
        `np.ndarray`: the predictions with other scores, of the same shape.
    """
    index_of = {relation: index for index, relation in enumerate(relations)}
    gold = [
        {(index, head, tail, index_of.get(relation, -1)) for head, tail, relation in gold_facts(document)}
        for index, document in enumerate(documents)
    ]
    gold_by_fold = np.array([sum(map(len, gold[fold::NUM_FOLDS])) for fold in range(NUM_FOLDS)])
    is_fact, ignored = packed[..., 0] >= 0, ignored_pairs(documents)
    facts = [tuple(row) for row in packed[is_fact][:, :4].astype(np.int64).tolist()]
    is_correct = np.array([fact in gold[fact[0]] for fact in facts], dtype=bool)
    is_counted = np.array([fact[:3] not in ignored for fact in facts], dtype=bool)
    scores, folds = packed[is_fact][:, 4], packed[is_fact][:, 0].astype(np.int64) % NUM_FOLDS
    scored = ScoredPredictions(scores[is_counted], is_correct[is_counted], int(gold_by_fold.sum()))
    shifts = held_out_shifts(scored, folds[is_counted], gold_by_fold)
    moved = packed.copy()
    moved[is_fact, 4] = shifted_scores(scores, shifts[folds])
    return moved


def gain_over_base(
    predictions: Sequence[np.ndarray], documents: Sequence[Mapping[str, Any]], relations: Sequence[str]
) -> dict[str, dict[str, float]]:
    """
    Compares the last iteration with the base module, at held-out thresholds.

    Args:
        predictions (`Sequence[np.ndarray]`):
            Predictions of [`DocREIITrainer`], of the base module and of every iteration.
        documents, relations: As for [`held_out_predictions`].

    Returns:
        `dict[str, dict[str, float]]`: results of [`paired_bootstrap`] by the name of the score: `f1`, or `filtered_f1`
        if documents have `uncounted` pairs, and `infer_f1`, if a gold fact follows from others.
    """
    base, last = (
        to_submission(
            unpack_facts(held_out_predictions(packed, documents, relations), relations, len(documents)), documents
        )
        for packed in (predictions[0], predictions[-1])
    )
    known = score_facts(last, documents)
    names = [name for name in _SCORES_OF_GAIN if name in known]
    if "filtered_f1" in names:
        names.remove("f1")
    return {name: paired_bootstrap(last, base, documents, name) for name in names}


def save_results(folder: Path, split: str, metrics: Mapping[str, float], combined: bool = True) -> None:
    """
    Writes metrics as JSON, atomically.

    Args:
        folder (`Path`):
            The output folder.
        split (`str`):
            Beginning of the name of the file, `SPLIT_results.json`.
        metrics (`dict[str, float]`):
            The metrics.
        combined (`bool`, *optional*, defaults to `True`):
            Whether to write them to `all_results.json` as well, in place of earlier ones of the split. A damaged
            file, as a killed run may leave it, is replaced.

    Raises:
        `OSError`: a file cannot be written. The message names it.
    """
    contents = {f"{split}_results.json": dict(metrics)}
    if combined:
        path = folder / "all_results.json"
        try:
            earlier = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        except ValueError:
            earlier = {}
        of_others = earlier.items() if isinstance(earlier, dict) else ()
        contents[path.name] = {name: value for name, value in of_others if not name.startswith(f"{split}_")}
        contents[path.name] |= metrics
    for name, content in contents.items():
        with atomic_write(folder / name) as partial:
            partial.write_text(json.dumps(content, indent=4, sort_keys=True), encoding="utf-8")


def remove_results(folder: Path, split: str) -> None:
    """
    Removes the metrics of a split that are out of date.

    Args:
        folder (`Path`):
            The output folder.
        split (`str`):
            As for [`save_results`].

    Raises:
        `OSError`: a file cannot be written or removed.
    """
    path = folder / f"{split}_results.json"
    if path.exists():
        save_results(folder, split, {})
        path.unlink()


def scored_predictions(
    packed: np.ndarray, label_ids: np.ndarray, ignored: Collection[tuple[int, int, int]] = ()
) -> ScoredPredictions:
    """
    Compares gathered predictions with gathered labels.

    Predictions below the threshold are included.

    Args:
        packed (`np.ndarray` of shape `(num_documents, most_facts, 5)`):
            Predictions of [`DocREIITrainer`], of the base module or of one iteration.
        label_ids (`np.ndarray` of shape `(num_documents, most_labels, 3)`):
            Head, tail and relation of the facts of the same documents, -100 for padding.
        ignored (`Collection[tuple[int, int, int]]`, *optional*):
            Pairs whose predictions are left out, from [`ignored_pairs`].

    Returns:
        [`ScoredPredictions`]
    """
    if label_ids is None:
        raise ValueError("the threshold is fitted on labels, but none of the documents has one")
    row, place = np.nonzero(packed[..., 0] >= 0)
    gold_row, gold_place = np.nonzero(label_ids[..., 0] >= 0)
    facts, gold = packed[row, place], label_ids[gold_row, gold_place]
    if ignored:
        is_counted = np.array([tuple(pair) not in ignored for pair in facts[:, :3].astype(np.int64)], dtype=bool)
        row, facts = row[is_counted], facts[is_counted]
    triples = facts[:, 1:4].astype(np.int64)
    size = 1 + max(int(values.max(initial=0)) for values in (triples, gold))

    def keys(rows: np.ndarray, triples: np.ndarray) -> np.ndarray:
        return ((rows * size + triples[:, 0]) * size + triples[:, 1]) * size + triples[:, 2]

    gold_keys = np.unique(keys(gold_row, gold))
    return ScoredPredictions(facts[:, 4], np.isin(keys(row, triples), gold_keys), len(gold_keys))
