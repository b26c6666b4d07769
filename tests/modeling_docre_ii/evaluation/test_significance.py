"""The bootstrap against a loop over resamples, and against probabilities counted by hand."""

import random

import numpy as np
import pytest

from modeling_docre_ii import PredictionError, named_facts, paired_bootstrap, score_facts
from modeling_docre_ii.evaluation.significance import paired_bootstrap_of_runs, summarize_runs


def some_predictions(documents, share, seed):
    """A share of the facts, and a random fact for each."""
    generator = random.Random(seed)
    predictions = []
    for document in documents:
        for label in document["labels"]:
            if generator.random() < share:
                head, tail = generator.sample(range(len(document["vertexSet"])), 2)
                for fact in ((label["h"], label["t"]), (head, tail)):
                    named = {"title": document["title"], "h_idx": fact[0], "t_idx": fact[1], "r": label["r"]}
                    predictions.append(named)
    return predictions


@pytest.fixture(scope="module")
def systems(sample_documents):
    """Two systems that are nearly as good as each other."""
    gold = sample_documents["dev"]
    return some_predictions(gold, 0.52, 0), some_predictions(gold, 0.5, 1)


def draws_of(num_documents, num_resamples, seed):
    """How often each resample has each document, drawn one resample after the other."""
    generator = np.random.default_rng(seed)
    share = [1 / num_documents] * num_documents
    return [generator.multinomial(num_documents, share).tolist() for _ in range(num_resamples)]


def resampled(predictions, documents, draws):
    """The drawn documents, as often as they are drawn, under other titles, and the predictions on them."""
    drawn_documents, drawn_predictions = [], []
    for document, times in zip(documents, draws):
        for copy in range(times):
            title = f"{document['title']} {copy}"
            drawn_documents.append({**document, "title": title})
            drawn_predictions += [
                {**item, "title": title} for item in predictions if item["title"] == document["title"]
            ]
    return drawn_predictions, drawn_documents


def expected_of(observed, other, differences):
    kept = [difference * (observed - other) > 0 for difference in differences]
    low, high = np.percentile(differences, [2.5, 97.5])
    return {
        "score": observed,
        "other_score": other,
        "difference": observed - other,
        "low": low,
        "high": high,
        "p_value": 1 - sum(kept) / len(kept),
    }


@pytest.mark.parametrize("score", ["f1", "ign_f1", "inter_f1", "infer_f1"])
def test_bootstrap_scores_the_drawn_documents(sample_documents, systems, score):
    gold, train_facts = sample_documents["dev"], named_facts(sample_documents["train"])
    differences = []
    for draws in draws_of(len(gold), 40, seed=3):
        first, second = (score_facts(*resampled(system, gold, draws), train_facts)[score] for system in systems)
        differences.append(first - second)
    observed, other = (score_facts(system, gold, train_facts)[score] for system in systems)
    found = paired_bootstrap(*systems, gold, score, num_resamples=40, seed=3, train_facts=train_facts)
    assert found == pytest.approx(expected_of(observed, other, differences))
    assert found["low"] < found["difference"] < found["high"]


def test_bootstrap_ignores_the_facts_of_distant_documents(sample_documents, systems):
    """Against both sets at once, each Ign F1 is that of its own."""
    gold, facts = sample_documents["dev"], named_facts(sample_documents["dev"][:8])
    alone = paired_bootstrap(*systems, gold, "ign_f1", num_resamples=40, train_facts=facts)
    settings = {"num_resamples": 40, "train_facts": named_facts(sample_documents["train"]), "distant_facts": facts}
    assert paired_bootstrap(*systems, gold, "ign_distant_f1", **settings) == alone
    assert paired_bootstrap(*systems, gold, "ign_f1", **settings)["score"] != alone["score"]


@pytest.mark.parametrize("score", ["f1", "infer_f1"])
def test_mean_of_several_runs_is_compared_on_the_same_documents(sample_documents, score):
    gold = sample_documents["dev"]
    runs, others = ([some_predictions(gold, share, seed) for seed in (5, 6, 7)] for share in (0.53, 0.5))

    def mean_difference(draws):
        scores = [[score_facts(*resampled(run, gold, draws))[score] for run in system] for system in (runs, others)]
        return sum(scores[0]) / 3 - sum(scores[1]) / 3

    differences = [mean_difference(draws) for draws in draws_of(len(gold), 25, seed=3)]
    observed, other = (sum(score_facts(run, gold)[score] for run in system) / 3 for system in (runs, others))
    found = paired_bootstrap_of_runs(runs, others, gold, score, num_resamples=25, seed=3)
    assert found == pytest.approx(expected_of(observed, other, differences))


def test_systems_need_equally_many_runs(sample_documents, systems):
    first, second = systems
    for runs, others in (([first], [second, second]), ([], [])):
        with pytest.raises(ValueError, match=f"{len(runs)} runs against {len(others)}, expected equally many"):
            paired_bootstrap_of_runs(runs, others, sample_documents["dev"])


@pytest.mark.parametrize("score", ["f1", "ign_f1", "inter_f1"])
def test_predictions_on_unknown_titles_are_in_every_resample(sample_documents, systems, score):
    gold, train_facts = sample_documents["dev"], named_facts(sample_documents["train"])
    unknown = [found_in("unknown A", "unknown B"), found_in(*(f"unknown {index}" for index in range(40)))]
    differences = []
    for draws in draws_of(len(gold), 40, seed=3):
        scores = []
        for system, others in zip(systems, unknown):
            drawn, documents = resampled(system, gold, draws)
            scores.append(score_facts(drawn + others, documents, train_facts, unknown_titles="wrong")[score])
        differences.append(scores[0] - scores[1])
    both = [system + others for system, others in zip(systems, unknown)]
    observed, other = (score_facts(system, gold, train_facts, unknown_titles="wrong")[score] for system in both)
    settings = {"num_resamples": 40, "seed": 3, "train_facts": train_facts}
    found = paired_bootstrap(*both, gold, score, **settings, unknown_titles="wrong")
    assert found == pytest.approx(expected_of(observed, other, differences))
    known_alone = paired_bootstrap(*systems, gold, score, **settings)
    # Unknown titles are neither intra- nor inter-sentence.
    assert (found == known_alone) == (score == "inter_f1")


def f1_of(correct, predicted, gold):
    return 200 * correct / (predicted + gold)


def test_bootstrap_of_many_resamples(sample_documents, systems):
    gold = sample_documents["dev"]
    counts = []
    for system in systems:
        of_system = []
        for document in gold:
            facts = {(label["h"], label["t"], label["r"]) for label in document["labels"]}
            found = {
                (item["h_idx"], item["t_idx"], item["r"]) for item in system if item["title"] == document["title"]
            }
            of_system.append((len(facts & found), len(found), len(facts)))
        counts.append(of_system)

    def f1s(draws):
        return [
            f1_of(*(sum(times * row[column] for times, row in zip(draws, of_system)) for column in range(3)))
            for of_system in counts
        ]

    differences = [first - second for first, second in map(f1s, draws_of(len(gold), 2300, seed=42))]
    found = paired_bootstrap(*systems, gold, num_resamples=2300)
    assert found == pytest.approx(expected_of(*f1s([1] * len(gold)), differences))
    assert 0 < found["p_value"] < 0.5


def one_fact(title):
    return {"title": title, "vertexSet": [[{"name": "a"}], [{"name": "b"}]], "labels": [{"h": 0, "t": 1, "r": "P1"}]}


def found_in(*titles):
    return [{"title": title, "h_idx": 0, "t_idx": 1, "r": "P1"} for title in titles]


def test_p_value_by_hand():
    documents = [one_fact("A"), one_fact("B"), one_fact("C")]
    # The first finds two of three facts, the other the third one: it is ahead where C is drawn at most once. C is
    # drawn twice or more with probability 3 (1/3)^2 (2/3) + (1/3)^3 = 7/27.
    found = paired_bootstrap(found_in("A", "B"), found_in("C"), documents, num_resamples=20000)
    assert found["p_value"] == pytest.approx(7 / 27, abs=0.015)
    assert (found["score"], found["other_score"], found["difference"]) == pytest.approx((80, 50, 30))
    # C alone, and C not at all, are drawn in more than 2.5% of the resamples.
    assert (found["low"], found["high"]) == pytest.approx((-100, 100))


def test_the_other_way_round_is_the_mirror_image(sample_documents, systems):
    there, back = (
        paired_bootstrap(*ordered, sample_documents["dev"], num_resamples=200) for ordered in (systems, systems[::-1])
    )
    assert (back["difference"], back["low"], back["high"]) == pytest.approx(
        (-there["difference"], -there["high"], -there["low"])
    )
    assert back["p_value"] == there["p_value"]


def test_a_system_is_not_better_than_itself(sample_documents, systems):
    found = paired_bootstrap(systems[0], systems[0], sample_documents["dev"])
    assert (found["difference"], found["low"], found["high"], found["p_value"]) == (0.0, 0.0, 0.0, 1.0)


def test_a_system_that_is_better_on_every_document(sample_documents):
    gold = sample_documents["dev"]
    found = paired_bootstrap(some_predictions(gold, 1.0, 0), some_predictions(gold, 0.2, 1), gold)
    assert found["p_value"] == 0.0
    assert 0 < found["low"] < found["high"]


def test_seeds_draw_other_resamples(sample_documents, systems):
    first, same, other = (
        paired_bootstrap(*systems, sample_documents["dev"], num_resamples=100, seed=seed) for seed in (1, 1, 2)
    )
    assert first == same
    assert first["low"] != other["low"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"score": "precision"}, "no score 'precision' on these documents for both systems, expected one of f1"),
        ({"score": "ign_f1"}, "no score 'ign_f1'"),
        ({"num_resamples": 0}, "0 resamples of 1 documents"),
        ({"documents": []}, "1000 resamples of 0 documents"),
    ],
)
def test_what_cannot_be_compared_is_an_error(changes, message):
    with pytest.raises(ValueError, match=message):
        paired_bootstrap([], [], **({"documents": [one_fact("A")]} | changes))


def test_unknown_titles_are_an_error_by_default():
    with pytest.raises(PredictionError, match="document 'B': predicted"):
        paired_bootstrap(found_in("A"), found_in("B"), [one_fact("A")])


def test_runs_by_hand():
    summary = summarize_runs([{"f1": 60.0, "ign_f1": 58.0}, {"f1": 61.0}, {"f1": 63.5}])
    assert summary == {
        # The squares of -1.5, -0.5 and 2 add up to 6.5, over n - 1 = 2.
        "f1": {"mean": pytest.approx(61.5), "std": pytest.approx(3.25**0.5), "runs": 3},
        "ign_f1": {"mean": 58.0, "std": None, "runs": 1},
    }
    assert summarize_runs([]) == {}


def test_score_of_one_system_alone_is_not_compared():
    document = one_fact("A")
    document["labels"][0]["evidence"] = [0]
    with_evidence = [fact | {"evidence": [0]} for fact in found_in("A")]
    assert paired_bootstrap(with_evidence, with_evidence, [document], "evidence_f1")["score"] == 100
    for systems in ((with_evidence, found_in("A")), (found_in("A"), with_evidence)):
        with pytest.raises(ValueError, match="no score 'evidence_f1' on these documents for both systems"):
            paired_bootstrap(*systems, [document], "evidence_f1")


def test_runs_in_another_order_are_no_difference(sample_documents):
    gold = sample_documents["dev"]
    runs = [some_predictions(gold, 0.4 + 0.03 * seed, seed) for seed in range(3)]
    for order in ([0, 1, 2], [1, 0, 2], [2, 0, 1], [2, 1, 0]):
        result = paired_bootstrap_of_runs(runs, [runs[index] for index in order], gold, num_resamples=50)
        assert (result["difference"], result["low"], result["high"], result["p_value"]) == (0.0, 0.0, 0.0, 1.0)
