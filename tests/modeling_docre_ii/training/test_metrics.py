"""The metrics of the Trainer against loops over packed predictions and documents."""

import json
import math

import numpy as np
import pytest
from transformers import EvalPrediction

from modeling_docre_ii import make_compute_metrics, paired_bootstrap, score_facts
from modeling_docre_ii.evaluation.matching import ignored_pairs
from modeling_docre_ii.training.metrics import (
    gain_over_base,
    held_out_predictions,
    remove_results,
    save_results,
    scored_predictions,
)
from tests.held_out_thresholds import naive_held_out


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


def margins_of(packed):
    return {fact: math.log(score / (1 - score)) for fact, score in facts_and_scores(packed).items()}


def uncounted_of(documents):
    return {
        (index, pair["h"], pair["t"]) for index, document in enumerate(documents) for pair in document["uncounted"]
    }


def submission_of(facts, documents):
    return [
        {"title": documents[index]["title"], "h_idx": head, "t_idx": tail, "r": RELATIONS[relation]}
        for index, head, tail, relation in facts
    ]


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
        held_out = naive_held_out(margins_of(packed), gold, uncounted_of(documents))
        expected[f"{name}_cross_calibrated_f1"] = f1_of({fact for fact in held_out if fact in counted}, gold)
        of_held_out = score_facts(submission_of(held_out, documents), documents)
        expected[f"{name}_infer_cross_calibrated_f1"] = of_held_out["infer_f1"]
        assert expected[f"{name}_cross_calibrated_f1"] < expected[f"{name}_calibrated_f1"]
    last = facts_and_scores(predictions[-1])
    submitted = submission_of([fact for fact, score in last.items() if score > 0.5], documents)
    expected |= score_facts(submitted, documents, {("entity 0", "entity 1", "P1")})
    for score in ("calibrated_f1", "cross_calibrated_f1", "infer_cross_calibrated_f1"):
        expected[score] = expected[f"iteration_2_{score}"]
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


@pytest.mark.parametrize("num_documents", [8, 3, 1])
@pytest.mark.parametrize("has_filter", [False, True])
def test_held_out_thresholds_by_loops(evaluated, num_documents, has_filter):
    """Also with parts that are empty, and with predictions in any order and without padding."""
    all_documents, (_, packed, _), _ = evaluated
    documents = all_documents[-num_documents:]
    if not has_filter:
        documents = [{**document, "uncounted": []} for document in documents]
    facts = packed[packed[..., 0] >= 8 - num_documents][::-1].copy()
    facts[:, 0] -= 8 - num_documents
    before = facts.copy()
    moved = held_out_predictions(facts, documents, RELATIONS)
    expected = naive_held_out(
        margins_of(facts[None]), gold_of(documents, range(num_documents)), uncounted_of(documents)
    )
    assert {fact for fact, score in facts_and_scores(moved[None]).items() if score > 0.5} == expected
    assert np.array_equal(facts, before) and np.array_equal(moved[:, :4], facts[:, :4])
    if num_documents == 1:
        # There is nothing to fit on, and the threshold stays.
        assert moved[:, 4] == pytest.approx(facts[:, 4])


def test_held_out_thresholds_without_predictions(evaluated):
    documents, _, _ = evaluated
    nothing = np.full((2, 1, 5), -100.0)
    assert np.array_equal(held_out_predictions(nothing, documents, RELATIONS), nothing)


@pytest.mark.parametrize("has_filter", [False, True])
def test_gain_over_the_base_is_tested_at_held_out_thresholds(evaluated, has_filter):
    documents, predictions, _ = evaluated
    if not has_filter:
        documents = [{name: document[name] for name in ("title", "vertexSet", "labels")} for document in documents]
    gold = gold_of(documents, range(8))
    uncounted = uncounted_of(documents) if has_filter else set()
    base, last = (
        submission_of(naive_held_out(margins_of(predictions[place]), gold, uncounted), documents) for place in (0, -1)
    )
    names = ["filtered_f1" if has_filter else "f1", "infer_f1"]
    gains = gain_over_base(predictions, documents, RELATIONS)
    assert gains == {name: paired_bootstrap(last, base, documents, name) for name in names}
    assert list(gains) == names and gains[names[0]]["difference"] != 0


def test_results_that_are_out_of_date_are_removed(tmp_path):
    save_results(tmp_path, "eval", {"eval_f1": 50.0})
    save_results(tmp_path, "predict", {"predict_f1": 40.0})
    for _ in range(2):
        remove_results(tmp_path, "predict")
        assert json.loads((tmp_path / "all_results.json").read_text()) == {"eval_f1": 50.0}
        assert {path.name for path in tmp_path.iterdir()} == {"eval_results.json", "all_results.json"}


EARLIER = '{"train_loss": 1.5, "eval_f1": 1.0, "eval_iteration_3_f1": 2.0}'


@pytest.mark.parametrize("earlier", [None, EARLIER, '{"train_l', "", "[1]"])
def test_results_are_added_to_those_of_before_if_they_can_be_read(tmp_path, earlier):
    if earlier is not None:
        (tmp_path / "all_results.json").write_text(earlier)
    save_results(tmp_path, "eval", {"eval_f1": 50.0})

    assert json.loads((tmp_path / "eval_results.json").read_text()) == {"eval_f1": 50.0}
    kept = {"train_loss": 1.5} if earlier and earlier.endswith("}") else {}
    assert json.loads((tmp_path / "all_results.json").read_text()) == kept | {"eval_f1": 50.0}
    assert {path.name for path in tmp_path.iterdir()} == {"eval_results.json", "all_results.json"}
