"""The report of predictions against counts made by hand, a naive count on real documents, and hostile text."""

import random
from collections import Counter

import pytest

from modeling_docre_ii import DocumentError, PredictionError, score_facts
from modeling_docre_ii.evaluation.error_report import report_data, write_error_report
from tests.html_page import HOSTILE, Page, references_of


NAMES = {"P17": "country", "P19": "place of birth", "P27": "country of citizenship"}


def entity(*mentions):
    """Mentions as (name, sentence, start, end, type)."""
    return [
        {"name": name, "sent_id": sentence, "pos": [start, end], "type": type}
        for name, sentence, start, end, type in mentions
    ]


def labels(*facts):
    return [{"h": head, "t": tail, "r": relation, "evidence": evidence} for head, tail, relation, evidence in facts]


def predicted(title, *facts):
    """Facts as (head, tail, relation) or (head, tail, relation, score)."""
    names = ("h_idx", "t_idx", "r", "score")
    return [{"title": title, **dict(zip(names, fact))} for fact in facts]


# Ada (0) and Paris (1) are in sentence 0, Paris again and France (2) in sentence 1.
ADA = {
    "title": "Ada",
    "sents": [["Ada", "was", "born", "in", "Paris", "."], ["Paris", "is", "in", "France", "."]],
    "vertexSet": [
        entity(("Ada", 0, 0, 1, "PER")),
        entity(("Paris", 0, 4, 5, "LOC"), ("Paris", 1, 0, 1, "LOC")),
        entity(("France", 1, 3, 4, "LOC")),
    ],
    "labels": labels((0, 1, "P19", [0]), (1, 2, "P17", [1]), (0, 2, "P27", [1, 0])),
}
ITERATIONS = {
    "base": predicted("Ada", (0, 1, "P19", 0.9), (0, 2, "P27", 0.61239), (1, 0, "P17", 0.8)),
    "iteration_1": predicted("Ada", (0, 1, "P19", 0.8), (0, 2, "P27", 0.6), (2, 1, "P17", 0.7)),
    "iteration_2": predicted("Ada", (0, 1, "P19", 0.7), (1, 2, "P17", 0.9), (2, 1, "P17", 0.75)),
}


def triples_of(data, document=0):
    return {(row["h"], row["t"], row["r"]): row for row in data["documents"][document]["triples"]}


def test_triples_by_hand():
    triples = triples_of(report_data([ADA], ITERATIONS, NAMES))
    assert {fact: triple["outcome"] for fact, triple in triples.items()} == {
        (0, 1, "P19"): "correct",
        (1, 2, "P17"): "correct",
        (0, 2, "P27"): "missed",
        (2, 1, "P17"): "wrong",
        (1, 0, "P17"): "removed",
    }
    assert triples[0, 2, "P27"] == {
        "h": 0,
        "t": 2,
        "r": "P27",
        "outcome": "missed",
        "found": [0, 1],
        "first": 0,
        "vanished": True,
        "history": "found by base, lost in iteration 2",
        "inter": True,
        "score": 0.6,
        "evidence": [0, 1],
        "predicted_evidence": [],
    }
    firsts = {fact: (triple["first"], triple["score"], triple["inter"]) for fact, triple in triples.items()}
    assert firsts[0, 1, "P19"] == (0, 0.7, False)
    assert firsts[1, 2, "P17"] == (2, 0.9, False)
    assert firsts[2, 1, "P17"] == (1, 0.75, False)
    assert triples[2, 1, "P17"]["history"] == "found in iteration 1"


def test_predicted_evidence_is_that_of_the_last_prediction():
    predictions = {
        "base": [fact | {"evidence": [1, 0, 1]} for fact in predicted("Ada", (0, 1, "P19"), (1, 0, "P17"))],
        "iteration_1": [fact | {"evidence": [2]} for fact in predicted("Ada", (0, 1, "P19"))],
    }
    triples = triples_of(report_data([ADA], predictions, NAMES))
    assert triples[0, 1, "P19"]["predicted_evidence"] == [2]
    assert (triples[1, 0, "P17"]["evidence"], triples[1, 0, "P17"]["predicted_evidence"]) == ([], [0, 1])
    assert (triples[0, 2, "P27"]["evidence"], triples[0, 2, "P27"]["predicted_evidence"]) == ([0, 1], [])


def test_what_came_back_and_what_never_came():
    there, gone = predicted("Ada", (0, 1, "P19")), []
    flickering = {"base": there, "iteration_1": gone, "iteration_2": there, "iteration_3": gone}
    triples = triples_of(report_data([ADA], flickering, NAMES))
    history = "found by base, lost in iteration 1, back in iteration 2, lost in iteration 3"
    assert triples[0, 1, "P19"]["history"] == history
    never = triples[1, 2, "P17"]
    assert (never["first"], never["vanished"], never["history"], never["score"]) == (None, False, "", None)


def test_iteration_table_by_hand():
    base, first, second = report_data([ADA], ITERATIONS, NAMES)["summary"]["iterations"]
    # The base has 2 of its 3 right, of 3 gold facts; so have the others.
    scores = {"precision": 200 / 3, "recall": 200 / 3, "f1": 200 / 3}
    counts = {"correct": 2, "predicted": 3, "gold": 3}
    for row, label in zip((base, first, second), ("base", "iteration 1", "iteration 2")):
        assert row.pop("label") == label
        changes = row.pop("changes")
        assert row == pytest.approx(counts | scores)
    assert changes == {"correct gained": 1, "correct lost": 1, "wrong added": 0, "wrong removed": 0}
    changes = report_data([ADA], ITERATIONS, NAMES)["summary"]["iterations"][1]["changes"]
    assert changes == {"correct gained": 0, "correct lost": 0, "wrong added": 1, "wrong removed": 1}


def test_frequency_groups_by_hand():
    # P0 is in 40 documents, P1 in 39, ..., P39 in one; P40 in none.
    relations = [f"P{index}" for index in range(41)]
    train = [{"labels": labels(*((0, 1, relation, []) for relation in relations[:size]))} for size in range(1, 41)]
    gold = {**ADA, "labels": labels(*((0, 1, relation, []) for relation in relations))}
    right = predicted("Ada", *((0, 1, relation) for relation in relations[:20]))
    data = report_data([gold], {"base": right}, {}, train)
    assert data["frequency_source"] == "training"
    rows = [(row["label"], row["correct"], row["gold"]) for row in data["summary"]["frequency"]]
    assert rows == [
        ("10 most frequent", 10, 10),
        ("rank 11 to 30", 10, 20),
        ("from rank 31", 0, 10),
        ("not in training", 0, 1),
    ]
    assert [row["label"] for row in data["summary"]["relations"]] == relations
    assert data["relations"]["P3"] == {"name": "P3", "frequency": 37, "group": "10 most frequent"}


def test_without_training_documents_the_gold_facts_say_how_frequent_a_relation_is():
    data = report_data([ADA], {"base": predicted("Ada", (0, 1, "P6"))}, NAMES)
    assert data["frequency_source"] == "gold"
    assert data["relations"]["P17"] == {"name": "country", "frequency": 1, "group": "10 most frequent"}
    assert data["relations"]["P6"] == {"name": "P6", "frequency": 0, "group": "not in gold"}


def test_pairs_that_do_not_count():
    document = {**ADA, "uncounted": [{"h": 2, "t": 1}]}
    data = report_data([document], ITERATIONS, NAMES)
    assert triples_of(data)[2, 1, "P17"]["outcome"] == "not counted"
    result = data["summary"]["iterations"][-1]
    assert (result["correct"], result["predicted"], result["gold"]) == (2, 3, 3)
    # Without the prediction on (2, 1), 2 of 2 are correct.
    assert result["filtered"]["predicted"] == 2
    assert result["filtered"]["precision"] == pytest.approx(100.0)
    assert result["filtered"]["f1"] == pytest.approx(80.0)
    intra, inter = data["summary"]["distance"]
    assert (intra["filtered"]["predicted"], inter["filtered"]["predicted"]) == (2, 0)
    scores = score_facts(ITERATIONS["iteration_2"], [document])
    for row, prefix in ((result, ""), (intra, "intra_"), (inter, "inter_")):
        assert row["f1"] == pytest.approx(scores[f"{prefix}f1"])
        assert row["filtered"]["f1"] == pytest.approx(scores[f"filtered_{prefix}f1"])


def test_triples_are_sorted_by_score_and_those_never_predicted_come_last():
    document = {**ADA, "labels": labels((0, 1, "P19", []), (1, 2, "P17", []), (0, 2, "P27", []))}
    base = predicted("Ada", (0, 1, "P19", 0.6), (2, 0, "P17", 0.95), (1, 0, "P17", 0.7))
    rows = report_data([document], {"base": base}, NAMES)["documents"][0]["triples"]
    assert [row["score"] for row in rows] == [0.95, 0.7, 0.6, None, None]
    assert [(row["h"], row["t"]) for row in rows[:3]] == [(2, 0), (1, 0), (0, 1)]


@pytest.mark.parametrize("score", [float("nan"), float("inf"), "x"])
def test_score_that_is_no_number_is_named(score):
    base = predicted("Ada", (0, 1, "P19", 0.6), (2, 0, "P17", score))
    with pytest.raises(PredictionError, match=r"document 'Ada': 'score' of \(2, 0, 'P17'\) is .*, expected a finite"):
        report_data([ADA], {"base": base}, NAMES)


UNLABELED = {**ADA, "labels": []}


def test_documents_without_labels_show_what_was_predicted():
    data = report_data([UNLABELED], ITERATIONS, NAMES)
    assert data["has_gold"] is False and data["heading"] == "What the model predicts"
    assert {fact: triple["outcome"] for fact, triple in triples_of(data).items()} == {
        (1, 2, "P17"): "predicted",
        (2, 1, "P17"): "predicted",
        (0, 1, "P19"): "predicted",
        (0, 2, "P27"): "removed",
        (1, 0, "P17"): "removed",
    }
    summary = data["summary"]
    assert summary["iterations"] == [
        {"label": "base", "predicted": 3, "changes": None},
        {"label": "iteration 1", "predicted": 3, "changes": {"added": 1, "removed": 1}},
        {"label": "iteration 2", "predicted": 3, "changes": {"added": 1, "removed": 1}},
    ]
    assert summary["distance"] == [
        {"label": "intra", "predicted": 3, "predicted_by_iteration": [2, 2, 3]},
        {"label": "inter", "predicted": 0, "predicted_by_iteration": [1, 1, 0]},
    ]
    by_relation = {row["label"]: row["predicted"] for row in summary["relations"]}
    assert by_relation == {"P17": 2, "P19": 1, "P27": 0}


def test_one_document_with_labels_makes_the_others_count_as_without_facts():
    other = {**UNLABELED, "title": "Eve"}
    data = report_data([ADA, other], {"base": predicted("Eve", (0, 1, "P19"))}, NAMES)
    assert data["has_gold"] is True
    assert triples_of(data, 1)[0, 1, "P19"]["outcome"] == "wrong"


def perturbed(documents, seed=0):
    """Four iterations: gold facts come and go, and so do facts made up, some of them twice."""
    generator = random.Random(seed)
    facts, predictions = set(), {}
    for name in ("base", "iteration_1", "iteration_2", "iteration_3"):
        facts = {fact for fact in sorted(facts) if generator.random() < 0.9}
        for document in documents:
            entities, relations = range(len(document["vertexSet"])), [label["r"] for label in document["labels"]]
            for label in document["labels"]:
                if generator.random() < 0.4:
                    facts.add((document["title"], label["h"], label["t"], label["r"]))
                if generator.random() < 0.2:
                    head, tail = generator.sample(entities, 2)
                    facts.add((document["title"], head, tail, generator.choice(relations)))
        rows = [row for title, *fact in sorted(facts) for row in predicted(title, (*fact, generator.random()))]
        predictions[name] = rows + rows[::9]
    return predictions


def naive_scores(predictions, documents, keep):
    """Precision, recall and F1 of the facts that `keep` keeps, by loops."""
    answers, truths, hits = [], [], 0
    for document in documents:
        gold = {(label["h"], label["t"], label["r"]) for label in document["labels"]}
        rows = [row for row in predictions if row["title"] == document["title"]]
        answer = {(row["h_idx"], row["t_idx"], row["r"]) for row in rows}
        truths += [fact for fact in gold if keep(document, *fact)]
        for fact in answer:
            if keep(document, *fact):
                answers.append(fact)
                hits += fact in gold
    precision, recall = 100 * hits / max(len(answers), 1), 100 * hits / max(len(truths), 1)
    f1 = 2 * precision * recall / (precision + recall) if hits else 0
    counts = {"correct": hits, "predicted": len(answers), "gold": len(truths)}
    return counts | {"precision": precision, "recall": recall, "f1": f1}


def shares_a_sentence(document, head, tail, relation):
    first, second = (document["vertexSet"][entity] for entity in (head, tail))
    return any(one["sent_id"] == other["sent_id"] for one in first for other in second)


def test_real_documents_by_a_naive_count(sample_documents):
    documents, train = sample_documents["dev"], sample_documents["train"]
    predictions = perturbed(documents)
    data = report_data(documents, predictions, {}, train)
    result, summary = predictions["iteration_3"], data["summary"]

    def check(row, keep):
        expected = naive_scores(result, documents, keep)
        assert {name: row[name] for name in expected} == pytest.approx(expected)
        f1_by_iteration = [naive_scores(rows, documents, keep)["f1"] for rows in predictions.values()]
        assert row["f1_by_iteration"] == pytest.approx(f1_by_iteration)

    for row, rows in zip(summary["iterations"], predictions.values(), strict=True):
        expected = score_facts(rows, documents)
        assert {name: row[name] for name in ("f1", "precision", "recall")} == pytest.approx(
            {name: expected[name] for name in ("f1", "precision", "recall")}
        )
    intra, inter = summary["distance"]
    check(intra, shares_a_sentence)
    check(inter, lambda *fact: not shares_a_sentence(*fact))
    for row, name in ((intra, "intra_f1"), (inter, "inter_f1")):
        assert row["f1"] == pytest.approx(score_facts(result, documents)[name])
    for row in summary["relations"]:
        check(row, lambda document, head, tail, relation, wanted=row["label"]: relation == wanted)
    for row in summary["frequency"]:
        group = {name for name, relation in data["relations"].items() if relation["group"] == row["label"]}
        check(row, lambda document, head, tail, relation, group=group: relation in group)
    frequencies = Counter(label["r"] for document in train for label in document["labels"])
    assert {name: frequencies[name] for name in data["relations"]} == {
        name: relation["frequency"] for name, relation in data["relations"].items()
    }


def test_triples_of_real_documents_add_up(sample_documents):
    documents = sample_documents["dev"]
    data = report_data(documents, perturbed(documents), {})
    result = data["summary"]["iterations"][-1]
    outcomes = Counter(triple["outcome"] for document in data["documents"] for triple in document["triples"])
    assert outcomes["correct"] == result["correct"]
    assert outcomes["wrong"] == result["predicted"] - result["correct"]
    assert outcomes["missed"] == result["gold"] - result["correct"]
    assert outcomes["removed"] > 0
    for before, after in zip(data["summary"]["iterations"], data["summary"]["iterations"][1:]):
        changes = after["changes"]
        assert after["correct"] - before["correct"] == changes["correct gained"] - changes["correct lost"]
        wrong = [row["predicted"] - row["correct"] for row in (before, after)]
        assert wrong[1] - wrong[0] == changes["wrong added"] - changes["wrong removed"]


def test_the_page_holds_the_data(tmp_path, sample_documents):
    documents = sample_documents["dev"]
    arguments = (documents, perturbed(documents), {"P17": "country"}, sample_documents["train"], "A heading")
    write_error_report(tmp_path / "new" / "report.html", *arguments)
    text = (tmp_path / "new" / "report.html").read_text(encoding="utf-8")
    assert Page(text).data == report_data(*arguments)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["report.html"]


def test_a_page_without_labels_is_written(tmp_path):
    write_error_report(tmp_path / "report.html", [UNLABELED], ITERATIONS, NAMES)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert Page(text).data == report_data([UNLABELED], ITERATIONS, NAMES)


def test_hostile_text_stays_text(tmp_path):
    document = {
        "title": HOSTILE,
        "sents": [[HOSTILE, "Paris"]],
        "vertexSet": [entity((HOSTILE, 0, 0, 1, HOSTILE)), entity(("Paris", 0, 0, 2, "LOC"))],
        "labels": labels((0, 1, HOSTILE, None)),
    }
    arguments = ([document], {HOSTILE: predicted(HOSTILE, (1, 0, HOSTILE))}, {HOSTILE: HOSTILE}, (), HOSTILE)
    write_error_report(tmp_path / "hostile.html", *arguments)
    write_error_report(tmp_path / "harmless.html", [ADA], {"base": []}, {})
    hostile, harmless = (
        Page((tmp_path / f"{name}.html").read_text(encoding="utf-8")) for name in ("hostile", "harmless")
    )
    assert hostile.data == report_data(*arguments)
    assert hostile.tags == harmless.tags
    assert hostile.scripts[1:] == harmless.scripts[1:]
    assert "<" not in hostile.raw_data and hostile.raw_data.isascii()


def test_the_page_asks_for_nothing_outside(tmp_path):
    write_error_report(tmp_path / "report.html", [ADA], ITERATIONS, NAMES)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert list(references_of(text)) == []
    assert "default-src 'none'" in text


@pytest.mark.parametrize(
    ("documents", "rows", "error", "message"),
    [
        ([ADA], predicted("Eve", (0, 1, "P17")), PredictionError, "document 'Eve': .* no gold document"),
        ([ADA], predicted("Ada", (0, 3, "P17")), PredictionError, "document 'Ada': .* 3 entities"),
        ([ADA], predicted("Ada", (-1, 0, "P17")), PredictionError, "document 'Ada': .* 3 entities"),
        ([ADA], [{"title": "Ada", "h_idx": 0, "t_idx": 1}], PredictionError, "'r' is missing"),
        ([ADA, ADA], [], PredictionError, "two documents have the title 'Ada'"),
        ([{**ADA, "sents": None}], [], DocumentError, "document 'Ada': 'sents'"),
    ],
)
def test_what_cannot_be_compared_is_an_error_and_leaves_no_file(tmp_path, documents, rows, error, message):
    with pytest.raises(error, match=message):
        write_error_report(tmp_path / "report.html", documents, {"base": [], "iteration_1": rows}, NAMES)
    assert not list(tmp_path.iterdir())


def test_no_predictions_at_all():
    with pytest.raises(ValueError, match="at least the predictions of `base`"):
        report_data([ADA], {}, NAMES)
    summary = report_data([ADA], {"base": []}, NAMES)["summary"]
    assert summary["iterations"][0]["f1"] == 0.0


def test_a_failed_write_leaves_no_file(tmp_path):
    (tmp_path / "report.html").mkdir()
    with pytest.raises(OSError):
        write_error_report(tmp_path / "report.html", [ADA], ITERATIONS, NAMES)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    nan = {"base": predicted("Ada", (0, 1, "P19", float("nan")))}
    with pytest.raises(ValueError):
        write_error_report(tmp_path / "nan.html", [ADA], nan, NAMES)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
