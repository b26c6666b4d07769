"""Tables of scores as plain text."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..utils.wording import counted


# Number of relations that a summary names.
_NAMED_RELATIONS = 5

SCORE_GROUPS = {
    "": "all facts",
    "ign_": "Ign, without facts of the training set",
    "ign_distant_": "Ign, without facts of the distant set",
    "intra_": "intra-sentence",
    "inter_": "inter-sentence",
    "infer_": "Infer",
    "evidence_": "evidence, as the official scorer counts it",
    "correct_evidence_": "evidence of correct, annotated facts",
    "rule_correct_evidence_": "the same, found by the rule",
    "filtered_": "filtered: without uncounted pairs",
    "filtered_intra_": "filtered, intra-sentence",
    "filtered_inter_": "filtered, inter-sentence",
}

# Scores of extraction from raw text. The shares have a recall alone.
MENTION_GROUPS = {
    "mention_": "mentions",
    "typed_mention_": "mentions with type",
    "cluster_": "entities",
    "typed_cluster_": "entities with type",
    "relation_": "relations, strict",
    "typed_relation_": "relations, strict, with types",
    "relaxed_relation_": "relations, relaxed",
}
_SHARES = {
    "facts_found": "gold facts with both entities",
    "relaxed_facts_found": "gold facts with both entities, relaxed",
}
_ALL_GROUPS = SCORE_GROUPS | MENTION_GROUPS


def iteration_names(count: int) -> list[str]:
    """Returns `count` names of predictions: base, iteration_1, iteration_2, ..."""
    return ["base", *(f"iteration_{iteration}" for iteration in range(1, count))]


def choice_of_iterations(metrics: Mapping[str, float]) -> str:
    """
    Says in one line how many iterations were kept, and why.

    Args:
        metrics (`dict[str, float]`):
            Metrics from [`~DocREIITrainer.calibrate_iterations`].
    """
    f1 = {name.removesuffix("_calibrated_f1"): f1 for name, f1 in metrics.items() if name.endswith("_calibrated_f1")}
    scores = ", ".join(f"{score:.2f} ({name.replace('_', ' ')})" for name, score in f1.items())
    own = {name.removesuffix("_own_f1"): f1 for name, f1 in metrics.items() if name.endswith("_own_f1")}
    calibrated = "".join(f"; calibrated {score:.2f} ({name.replace('_', ' ')})" for name, score in own.items())
    kept = f"{metrics['num_iterations']:.0f}" if metrics["num_iterations"] else "none"
    return f"kept {kept} of {len(f1) - 1} iterations: F1 at the best threshold {scores}{calibrated}"


def score_table(scores: Mapping[str, float]) -> str:
    """
    Returns a table of the scores of one set of predictions.

    Args:
        scores (`dict[str, float]`):
            Scores from [`score_facts`] or [`score_extractions`], in percent.
    """
    return _layout(score_rows(scores))


def score_rows(scores: Mapping[str, float]) -> list[tuple[str, ...]]:
    """Returns the rows of [`score_table`], the header first."""
    rows: list[tuple[str, ...]] = [("", "F1", "precision", "recall")]
    for prefix, name in _ALL_GROUPS.items():
        if f"{prefix}f1" in scores:
            # Ign F1 uses the plain recall.
            recall = scores.get(f"{prefix}recall", scores.get("recall"))
            rows.append((name, *_percent(scores[f"{prefix}f1"], scores[f"{prefix}precision"], recall)))
    rows += [(name, *_percent(None, None, scores[share])) for share, name in _SHARES.items() if share in scores]
    return rows


def relation_table(
    rows: Sequence[Mapping[str, Any]], relation_names: Mapping[str, str], max_rows: int | None = None
) -> str:
    """
    Returns a table of the predicted relations' scores, and a summary of the others.

    Args:
        rows (`list[dict]`):
            From [`score_relations`].
        relation_names (`dict[str, str]`):
            Relation id -> readable name.
        max_rows (`int`, *optional*):
            Largest number of relations in the table. Defaults to no limit.
    """
    predicted = [row for row in rows if row["predicted"]]
    shown = predicted[:max_rows]
    head = ("relation", "F1", "precision", "recall", "correct", "predicted", "gold")
    named = (
        (
            f"{relation_names.get(row['relation'], row['relation'])} ({row['relation']})",
            *_percent(row["f1"], row["precision"], row["recall"]),
            *(str(row[name]) for name in ("correct", "predicted", "gold")),
        )
        for row in shown
    )
    lines = [_layout([head, *named])]
    if len(predicted) > len(shown):
        lines.append(f"and {counted(len(predicted) - len(shown), 'more predicted relation')}")
    missed = [row for row in rows if not row["predicted"]]
    if missed:
        names = [f"{relation_names.get(row['relation'], row['relation'])} ({row['gold']:,})" for row in missed]
        rest = ", ..." if len(names) > _NAMED_RELATIONS else ""
        facts, all_facts = (sum(row["gold"] for row in counted) for counted in (missed, rows))
        lines.append(
            f"never predicted: {counted(len(missed), 'relation')} with {facts:,} of {all_facts:,} facts: "
            f"{', '.join(names[:_NAMED_RELATIONS])}{rest}"
        )
    return "\n".join(lines)


def runs_table(summary: Mapping[str, Mapping[str, Any]]) -> str:
    """
    Returns a table of mean and deviation of the F1 scores of several runs.

    Args:
        summary (`dict[str, dict]`):
            From [`summarize_runs`].
    """
    rows: list[tuple[str, ...]] = [("", "mean F1", "deviation", "runs")]
    for prefix, name in _ALL_GROUPS.items():
        run = summary.get(f"{prefix}f1")
        if run is not None:
            rows.append((name, *_percent(run["mean"], run["std"]), str(run["runs"])))
    return _layout(rows)


def comparison_table(comparisons: Mapping[str, Mapping[str, float]]) -> str:
    """
    Returns a table that compares two sets of predictions.

    Args:
        comparisons (`dict[str, dict]`):
            Results of [`paired_bootstrap`] by the name of the score.
    """
    rows: list[tuple[str, ...]] = [("", "F1", "other F1", "difference", "95% interval", "p")]
    for score, result in comparisons.items():
        values = _percent(result["score"], result["other_score"])
        interval = f"{result['low']:+.2f} to {result['high']:+.2f}"
        name = _ALL_GROUPS[score.removesuffix("f1")]
        rows.append((name, *values, f"{result['difference']:+.2f}", interval, f"{result['p_value']:.3f}"))
    return _layout(rows)


def teacher_table(scores: Mapping[str, Mapping[str, float]], num_documents: int) -> str:
    """
    Returns a table of the F1 of several teachers.

    Args:
        scores (`dict[str, dict[str, float]]`):
            Scores by the name of the teacher, from [`score_teachers`].
        num_documents (`int`):
            Number of documents that they are on.
    """
    rows: list[tuple[str, ...]] = [
        (f"F1 on {counted(num_documents, 'document')}", "best threshold", "held-out threshold")
    ]
    rows += [(name, *_percent(of["calibrated_f1"], of["cross_calibrated_f1"])) for name, of in scores.items()]
    return _layout(rows)


def evidence_table(title: str, num_facts: int, rows: Mapping[str, Mapping[str, float]]) -> str:
    """
    Returns a table of the evidence that several ways find on the same facts.

    Args:
        title (`str`):
            Which facts.
        num_facts (`int`):
            How many facts with annotated evidence.
        rows (`dict[str, dict[str, float]]`):
            Scores by the name of the way, from [`score_evidence`].
    """
    head = (f"evidence, {title}: {counted(num_facts, 'annotated fact')}", "F1", "precision", "recall")
    named = (
        (name, *_percent(*(scores.get(score) for score in ("f1", "precision", "recall"))))
        for name, scores in rows.items()
    )
    return _layout([head, *named])


def iteration_table(metrics: Mapping[str, float], names: Sequence[str]) -> str:
    """
    Returns a table of F1: base module, every iteration and type baseline.

    Args:
        metrics (`dict[str, float]`):
            Metrics from the evaluation of a [`DocREIITrainer`].
        names (`list[str]`):
            Names of the predictions, from [`iteration_names`].
    """
    scores = {name.removeprefix("eval_"): value for name, value in metrics.items()}
    (_, *titles), *rows = iteration_rows(scores, names)
    return _layout([("F1 on the validation documents", *titles), *rows])


def iteration_rows(scores: Mapping[str, float], names: Sequence[str]) -> list[tuple[str, ...]]:
    """
    Returns the rows of [`iteration_table`], the header first.

    Args:
        scores (`dict[str, float]`):
            Metrics from the evaluation of a [`DocREIITrainer`], without the prefix `eval_`.
        names (`list[str]`):
            Names of the predictions, from [`iteration_names`].
    """
    prefixes = {name: f"{name}_" if len(names) > 1 else "" for name in names}
    is_filtered = f"{prefixes[names[-1]]}filtered_f1" in scores
    titles = {
        "f1": "own threshold",
        "filtered_f1": "filtered",
        "calibrated_f1": "filtered, best threshold" if is_filtered else "best threshold",
        "cross_calibrated_f1": "filtered, held-out threshold" if is_filtered else "held-out threshold",
        "infer_cross_calibrated_f1": "Infer, held-out threshold",
    }
    titles = {column: title for column, title in titles.items() if prefixes[names[-1]] + column in scores}
    rows = [("F1", *titles.values())]
    for name, prefix in prefixes.items():
        rows.append((name, *_percent(*(scores[prefix + column] for column in titles))))
    if "type_baseline_f1" in scores:
        baseline = [scores.get(f"type_baseline_{column}") for column in titles]
        rows.append(("relations frequent for the entity types", *_percent(*baseline)))
    return rows


def _percent(*values: float | None) -> list[str]:
    return ["" if value is None else f"{value:.2f}" for value in values]


def _layout(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = (
        f"{first:<{widths[0]}}" + "".join(f"  {cell:>{width}}" for cell, width in zip(rest, widths[1:]))
        for first, *rest in rows
    )
    return "\n".join(line.rstrip() for line in lines)
