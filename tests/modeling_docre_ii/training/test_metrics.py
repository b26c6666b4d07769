"""The metrics of the Trainer against loops over packed predictions and documents."""

import numpy as np
import pytest
from transformers import EvalPrediction

from modeling_docre_ii import make_compute_metrics, score_facts
from modeling_docre_ii.evaluation.matching import ignored_pairs
from modeling_docre_ii.training.metrics import scored_predictions


RELATIONS = ["Na", "P1", "P2", "P3"]
NUM_ENTITIES = 4


def padded(rows, width):
    most = max([1, *map(len, rows)])
    array = np.full((len(rows), most, width), -100.0)
    for row, values in zip(array, rows):
        for place, value in enumerate(values):
            row[place] = value
    return array


@pytest.fixture(scope="module")
def evaluated():
    """
    Eight documents, the packed predictions of a base module and two iterations on all of them but the first, in
    another order, and the labels in that order.
    """
    generator = np.random.default_rng(0)
    documents = []
    for index in range(8):
        # The third follows from the others.
        a, b, c = ((index + step) % NUM_ENTITIES for step in range(3))
        facts = [(a, b, 1), (b, c, 2), (a, c, 3)][: index % 4]
        pairs = [(head, tail) for head in range(NUM_ENTITIES) for tail in range(NUM_ENTITIES) if head != tail]
        free = [pair for pair in pairs if pair not in {fact[:2] for fact in facts}]
        ignored = generator.choice(free, 4, replace=False).tolist()
        # A label can be repeated.
        documents.append(
            {
                "title": f"document {index}",
                "vertexSet": [[{"name": f"entity {entity}"}] for entity in range(NUM_ENTITIES)],
                "labels": [{"h": head, "t": tail, "r": RELATIONS[r]} for head, tail, r in facts + facts[:1]],
                "uncounted": [{"h": head, "t": tail} for head, tail in ignored],
            }
        )
    order = [3, 7, 1, 6, 2, 5, 4]
    labels = [[(label["h"], label["t"], int(label["r"][1])) for label in documents[i]["labels"]] for i in order]
    predictions = []
    for share in (0.3, 0.6, 0.8):
        rows = []
        for index, facts in zip(order, labels):
            chosen = {fact for fact in facts if generator.random() < share}
            chosen |= {(head, tail, 1 + (head + tail) % 3) for head in range(3) for tail in range(3) if head != tail}
            rows.append([(index, *fact, generator.random()) for fact in sorted(chosen) if generator.random() < 0.8])
        predictions.append(padded(rows, 5))
    return documents, tuple(predictions), padded(labels, 3).astype(np.int64)


def facts_and_scores(packed):
    """By loops: {(document, head, tail, relation): score}."""
    return {
        tuple(int(value) for value in row[:4]): row[4] for rows in packed.tolist() for row in rows if row[0] != -100
    }


def gold_of(documents, indices):
    return {
        (index, label["h"], label["t"], RELATIONS.index(label["r"]))
        for index in indices
        for label in documents[index]["labels"]
    }


def is_ignored(documents, fact):
    return {"h": fact[1], "t": fact[2]} in documents[fact[0]]["uncounted"]


def f1_of(predicted, gold):
    return 200 * len(predicted & gold) / (len(predicted) + len(gold))


@pytest.mark.parametrize("iteration", range(3))
@pytest.mark.parametrize("has_filter", [False, True])
def test_scored_predictions_by_loops(evaluated, iteration, has_filter):
    documents, predictions, label_ids = evaluated
    packed = predictions[iteration]
    gold = gold_of(documents, range(1, 8))
    expected = [
        (score, fact in gold)
        for fact, score in facts_and_scores(packed).items()
        if not (has_filter and is_ignored(documents, fact))
    ]
    scored = scored_predictions(packed, label_ids, ignored_pairs(documents) if has_filter else ())
    assert list(zip(scored.scores.tolist(), scored.is_correct.tolist(), strict=True)) == expected
    assert scored.num_gold == len(gold)
    assert {True, False} == set(scored.is_correct.tolist())


def test_nothing_predicted_and_nothing_labeled():
    nothing, no_label = np.full((2, 1, 5), -100.0), np.full((2, 1, 3), -100)
    scored = scored_predictions(nothing, no_label, {(0, 0, 1)})
    assert (len(scored.scores), len(scored.is_correct), scored.num_gold) == (0, 0, 0)


def test_metrics_of_iterations_by_loops(evaluated):
    documents, predictions, label_ids = evaluated
    # The first document was not predicted on, but it has no facts either.
    assert not documents[0]["labels"]
    gold, expected = gold_of(documents, range(8)), {}
    for name, packed in zip(("base", "iteration_1", "iteration_2"), predictions, strict=True):
        scores = facts_and_scores(packed)
        counted = {fact: score for fact, score in scores.items() if not is_ignored(documents, fact)}
        expected[f"{name}_f1"] = f1_of({fact for fact in scores if scores[fact] > 0.5}, gold)
        expected[f"{name}_filtered_f1"] = f1_of({fact for fact in counted if counted[fact] > 0.5}, gold)
        expected[f"{name}_calibrated_f1"] = max(
            f1_of({fact for fact, score in counted.items() if score >= cut}, gold) for cut in counted.values()
        )
    last = facts_and_scores(predictions[-1])
    submitted = [
        {"title": documents[index]["title"], "h_idx": head, "t_idx": tail, "r": RELATIONS[relation]}
        for (index, head, tail, relation), score in last.items()
        if score > 0.5
    ]
    expected |= score_facts(submitted, documents, {("entity 0", "entity 1", "P1")})
    expected["calibrated_f1"] = expected["iteration_2_calibrated_f1"]
    assert "infer_f1" in expected
    compute_metrics = make_compute_metrics(documents, RELATIONS, {("entity 0", "entity 1", "P1")})
    metrics = compute_metrics(EvalPrediction(predictions, label_ids))
    infer = {f"{name}_infer_f1" for name in ("base", "iteration_1", "iteration_2")}
    assert metrics.keys() == expected.keys() | infer
    assert {name: metrics[name] for name in expected} == pytest.approx(expected)
    assert metrics["iteration_2_infer_f1"] == metrics["infer_f1"]


def test_a_base_module_has_no_scores_by_iteration(evaluated):
    documents, predictions, label_ids = evaluated
    metrics = make_compute_metrics(documents, RELATIONS)(EvalPrediction(predictions[:1], label_ids))
    assert not any(name.startswith(("base", "iteration")) for name in metrics)
    assert {"f1", "filtered_f1", "calibrated_f1"} <= metrics.keys()
