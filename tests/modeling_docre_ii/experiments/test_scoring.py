"""Scores of runs and their summary, against counts by hand."""

import numpy as np
import pytest

from modeling_docre_ii import paired_bootstrap
from modeling_docre_ii.experiments.definition import Measure
from modeling_docre_ii.experiments.scoring import EvaluatedRun, evaluate_predictions, summarize_row
from modeling_docre_ii.training.metrics import held_out_predictions
from modeling_docre_ii.training.predictions import unpack_facts


DOCUMENTS = [
    {
        "title": f"document {index}",
        "vertexSet": [[{"name": name, "sent_id": 0}] for name in "abc"],
        "labels": [{"h": 0, "t": 1, "r": "P1"}, {"h": 1, "t": 2, "r": "P1"}],
    }
    for index in range(4)
]
GOLD = [(index, head, head + 1) for index in range(4) for head in (0, 1)]


def run_of(*numbers_correct, num_wrong=0, **fields):
    """A run that predicts this many correct facts, and some wrong ones."""
    submissions = []
    for number in numbers_correct:
        facts = GOLD[:number] + [(index, 2, 0) for index in range(num_wrong)]
        submissions.append([{"title": f"document {d}", "h_idx": h, "t_idx": t, "r": "P1"} for d, h, t in facts])
    return EvaluatedRun(submissions, DOCUMENTS, **fields)


def test_values_by_hand():
    run = run_of(2, 4, 6, num_wrong=2, weights={"feature_weight": 0.5})
    assert run.value(Measure("precision")) == pytest.approx(100 * 6 / 8)
    assert run.value(Measure("recall", 1)) == pytest.approx(50.0)
    assert run.value(Measure("f1", 0)) == pytest.approx(200 * 2 / (4 + 8))
    assert run.value(Measure("feature_weight")) == 0.5
    # The model has no such iteration, no such weight.
    assert run.value(Measure("f1", 3)) is None
    assert run.value(Measure("relation_weight")) is None
    with pytest.raises(ValueError, match="the documents have no score 'filtered_f1', they have f1, precision"):
        run.value(Measure("filtered_f1"))


def test_ign_scores_have_the_plain_recall():
    run = run_of(6, train_facts={("a", "b", "P1")})
    assert run.value(Measure("ign_recall")) == run.value(Measure("recall")) == 75.0


def test_means_deviations_and_gain_by_hand():
    # F1 = 200 c / (c + 8): 4 of 8 gives 66.67, 6 gives 85.71, 2 gives 40.
    runs, bases = {1: run_of(2, 4), 5: run_of(2, 6)}, {1: run_of(2), 5: run_of(4)}
    columns = {"F1": Measure("f1"), "base": Measure("f1", 0), "third": Measure("f1", 3)}
    result = summarize_row("a", runs, bases, columns, Measure("f1"))
    low, high = 200 * 4 / 12, 200 * 6 / 14
    assert (result.name, result.seeds) == ("a", [1, 5])
    assert result.values["F1"] == pytest.approx([low, high])
    assert result.values["third"] == [None, None] and "third" not in result.summary
    assert result.summary["F1"]["mean"] == pytest.approx((low + high) / 2)
    assert result.summary["F1"]["std"] == pytest.approx((high - low) / 2**0.5)
    assert result.summary["base"]["std"] == 0.0
    assert result.gain["difference"] == pytest.approx((low + high) / 2 - (40 + low) / 2)


def test_gain_of_one_seed_is_the_paired_bootstrap():
    runs, bases = {1: run_of(3, 5, 7)}, {1: run_of(4, num_wrong=1)}
    for measure, place in ((Measure("f1"), 2), (Measure("f1", 1), 1)):
        expected = paired_bootstrap(runs[1].submissions[place], bases[1].submissions[0], DOCUMENTS)
        assert summarize_row("a", runs, bases, {}, measure).gain == expected


def test_an_iteration_that_no_run_has_has_no_gain():
    runs, bases = {1: run_of(3, 5), 2: run_of(3, 5, 7)}, {1: run_of(4), 2: run_of(4)}
    expected = paired_bootstrap(runs[2].submissions[2], bases[2].submissions[0], DOCUMENTS)
    assert summarize_row("a", runs, bases, {}, Measure("f1", 2)).gain == expected
    assert summarize_row("a", runs, bases, {}, Measure("f1", 3)).gain is None


def test_gain_needs_both_runs_of_a_seed():
    runs = {1: run_of(4), 2: run_of(6)}
    assert summarize_row("a", runs, {}, {}, Measure("f1")).gain is None
    assert summarize_row("a", runs, {2: run_of(4)}, {}, None).gain is None
    gain = summarize_row("a", runs, {2: run_of(4)}, {}, Measure("f1")).gain
    assert gain["difference"] == pytest.approx(200 * 6 / 14 - 200 * 4 / 12)


@pytest.mark.parametrize("is_held_out", [False, True])
def test_predictions_are_decoded_at_their_own_or_at_held_out_thresholds(is_held_out):
    relations, generator = ["Na", "P1"], np.random.default_rng(0)
    pairs = [(index, head, tail) for index in range(4) for head in range(3) for tail in range(3) if head != tail]
    packed = np.array([[*pair, 1, generator.random() * (0.9 if pair in GOLD else 0.6)] for pair in pairs])
    run = evaluate_predictions(
        [packed, packed[:3]], DOCUMENTS, relations, is_held_out, weights={"feature_weight": 1.0}
    )
    moved = held_out_predictions(packed, DOCUMENTS, relations) if is_held_out else packed
    facts = [
        (index, fact.head, fact.tail) for index, of in enumerate(unpack_facts(moved, relations, 4)) for fact in of
    ]
    titles = [(int(item["title"][-1]), item["h_idx"], item["t_idx"]) for item in run.submissions[0]]
    assert titles == facts and len(run.submissions) == 2
    assert run.weights == {"feature_weight": 1.0}
    if is_held_out:
        assert len(facts) != (packed[:, 4] > 0.5).sum(), "the thresholds have moved"


def with_evidence(*facts):
    """A run on one document, whose first fact is annotated with the first sentence."""
    labels = [{"h": 0, "t": 1, "r": "P1", "evidence": [0]}, {"h": 1, "t": 2, "r": "P1", "evidence": []}]
    predicted = [{"title": "document 0", "h_idx": h, "t_idx": t, "r": "P1", "evidence": e} for h, t, e in facts]
    return EvaluatedRun([predicted], [{**DOCUMENTS[0], "labels": labels}])


@pytest.mark.parametrize(
    ("facts", "expected", "correct_expected"),
    [
        ([(0, 1, [0])], 100.0, 100.0),
        ([], 0.0, None),  # predicts nothing
        ([(0, 1, [])], 0.0, None),  # predicts no evidence
        ([(2, 0, [0])], 0.0, None),  # no correct fact
        ([(0, 1, []), (2, 0, [0])], 0.0, 0.0),
    ],
)
def test_evidence_of_a_run_that_finds_none(facts, expected, correct_expected):
    run = with_evidence(*facts)
    assert run.value(Measure("evidence_f1")) == expected
    assert run.value(Measure("correct_evidence_f1")) == correct_expected


def test_a_seed_without_evidence_does_not_end_a_table():
    good, none = with_evidence((0, 1, [0])), with_evidence()
    columns = {"evidence": Measure("evidence_f1"), "of correct": Measure("correct_evidence_f1")}

    result = summarize_row("row", {1: good, 2: none}, {1: good, 2: good}, columns, Measure("evidence_f1"))
    assert result.summary["evidence"] == {"mean": 50.0, "std": pytest.approx(50 * 2**0.5), "runs": 2}
    assert result.summary["of correct"]["runs"] == 1
    assert result.gain["difference"] == 0.0  # of seed 1
    assert summarize_row("row", {2: none}, {2: good}, columns, Measure("evidence_f1")).gain is None


def test_documents_without_evidence_have_no_score_of_it():
    with pytest.raises(ValueError, match="the documents have no score 'evidence_f1', they have f1"):
        run_of(2).value(Measure("evidence_f1"))
