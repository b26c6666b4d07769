"""The scores against counts made by hand and against a second, naive implementation."""

import random
from collections import Counter

import pytest

from modeling_docre_ii import DocREDMetric, DocumentError, TypePairBaseline, named_facts, score_facts


def document_of(title, entities, facts=()):
    """Entities as lists of (name, type); facts as (head, tail, relation)."""
    return {
        "title": title,
        "vertexSet": [[{"name": name, "type": type} for name, type in mentions] for mentions in entities],
        "labels": [{"h": head, "t": tail, "r": relation} for head, tail, relation in facts],
    }


def predicted(title, *facts):
    return [{"title": title, "h_idx": head, "t_idx": tail, "r": relation} for head, tail, relation in facts]


PARIS, FRANCE, ADA = [("Paris", "LOC"), ("Lutetia", "LOC")], [("France", "LOC")], [("Ada", "PER")]
FIRST = document_of("first", [PARIS, FRANCE, ADA], [(0, 1, "P17"), (2, 0, "P19"), (2, 1, "P27"), (0, 1, "P131")])
SECOND = document_of("second", [FRANCE, ADA], [(1, 0, "P27")])


def test_f1_by_hand():
    predictions = predicted("first", (0, 1, "P17"), (2, 0, "P19"), (1, 0, "P17")) + predicted("second", (1, 0, "P27"))
    # 4 predicted, 3 of them among the 5 gold facts.
    assert score_facts(predictions, [FIRST, SECOND]) == {
        "precision": pytest.approx(75.0),
        "recall": pytest.approx(60.0),
        "f1": pytest.approx(2 * 75 * 60 / 135),
    }


def test_ign_f1_by_hand():
    # In training, Lutetia -P17-> France: the first document's (0, 1, P17) is known through another name of Paris.
    train = [document_of("train", [[("Lutetia", "LOC")], FRANCE], [(0, 1, "P17")])]
    predictions = predicted("first", (0, 1, "P17"), (2, 0, "P19"), (1, 0, "P17"))
    scores = score_facts(predictions, [FIRST], named_facts(train))
    # 2 of 3 correct, 1 of the correct in train: P_ign = (2 - 1) / (3 - 1); the recall stays 2 / 4.
    assert scores["ign_f1"] == pytest.approx(50.0)
    assert scores["recall"] == pytest.approx(50.0)
    assert scores["precision"] == pytest.approx(200 / 3)


def test_a_wrong_prediction_that_is_in_train_is_not_ignored():
    train = [document_of("train", [FRANCE, PARIS], [(0, 1, "P36")])]
    scores = score_facts(predicted("first", (1, 0, "P36"), (0, 1, "P17")), [FIRST], named_facts(train))
    # 1 of 2 correct and not in train: P_ign = 1 / 2, R = 1 / 4.
    assert scores["ign_f1"] == pytest.approx(2 * 50 * 25 / 75)


def test_what_is_said_twice_counts_once():
    doubled = document_of("first", [PARIS, FRANCE, ADA], [(0, 1, "P17"), (0, 1, "P17")])
    predictions = predicted("first", (0, 1, "P17"), (0, 1, "P17"))
    assert score_facts(predictions, [doubled])["f1"] == pytest.approx(100.0)


@pytest.mark.parametrize("documents", [[FIRST], [document_of("first", [PARIS, FRANCE])]])
def test_nothing_predicted_scores_zero(documents):
    assert set(score_facts([], documents, set()).values()) == {0.0}


def test_only_facts_of_the_training_set_predicted():
    scores = score_facts(predicted("second", (1, 0, "P27")), [SECOND], named_facts([SECOND]))
    assert scores["f1"] == pytest.approx(100.0)
    assert scores["ign_f1"] == 0.0


@pytest.mark.parametrize(
    ("predictions", "documents", "message"),
    [
        (predicted("third", (0, 1, "P17")), [FIRST], "document 'third': .* no gold document"),
        (predicted("second", (0, 2, "P17")), [SECOND], "document 'second': .* 2 entities"),
        ([], [FIRST, FIRST], "document 'first' is there twice"),
    ],
)
def test_what_cannot_be_scored_is_an_error(predictions, documents, message):
    with pytest.raises(DocumentError, match=message):
        score_facts(predictions, documents)


def test_metric_gives_the_same_as_the_function():
    train = [document_of("train", [[("Lutetia", "LOC")], FRANCE], [(0, 1, "P17")])]
    references = [
        {
            "title": document["title"],
            "vertexSet": [[{"name": mention["name"]} for mention in mentions] for mentions in document["vertexSet"]],
            "labels": document["labels"],
        }
        for document in (FIRST, SECOND)
    ]
    predictions = [[{"h_idx": 0, "t_idx": 1, "r": "P17"}, {"h_idx": 1, "t_idx": 0, "r": "P17"}], []]
    flat = predicted("first", (0, 1, "P17"), (1, 0, "P17"))
    computed = DocREDMetric().compute(predictions=predictions, references=references, train_facts=named_facts(train))
    assert computed == score_facts(flat, [FIRST, SECOND], named_facts(train))


def official_scores(submission, gold, train):
    """A reading of DocRED's evaluation.py: sorted submission, neighbours compared, counters kept by hand."""
    in_train = set()
    for document in train:
        for label in document["labels"]:
            for first in document["vertexSet"][label["h"]]:
                for second in document["vertexSet"][label["t"]]:
                    in_train.add((first["name"], second["name"], label["r"]))
    answers = sorted((fact["title"], fact["h_idx"], fact["t_idx"], fact["r"]) for fact in submission)
    answers = [answer for index, answer in enumerate(answers) if index == 0 or answer != answers[index - 1]]
    standard, entities = {}, {}
    for document in gold:
        entities[document["title"]] = document["vertexSet"]
        for label in document["labels"]:
            standard[document["title"], label["r"], label["h"], label["t"]] = True
    correct = correct_in_train = 0
    for title, head, tail, relation in answers:
        if (title, relation, head, tail) in standard:
            correct += 1
            known = False
            for first in entities[title][head]:
                for second in entities[title][tail]:
                    if (first["name"], second["name"], relation) in in_train:
                        known = True
            correct_in_train += known
    precision, recall = correct / len(answers), correct / len(standard)
    ignoring = (correct - correct_in_train) / (len(answers) - correct_in_train)
    return {
        "precision": 100 * precision,
        "recall": 100 * recall,
        "f1": 100 * 2 * precision * recall / (precision + recall),
        "ign_f1": 100 * 2 * ignoring * recall / (ignoring + recall),
    }


def test_random_predictions_on_real_documents(sample_documents):
    train, gold = sample_documents["train"], sample_documents["dev"]
    generator = random.Random(0)
    predictions = []
    for document in gold:
        size = len(document["vertexSet"])
        relations = [label["r"] for label in document["labels"]]
        for label in document["labels"]:
            if generator.random() < 0.5:
                predictions += predicted(document["title"], (label["h"], label["t"], label["r"]))
        for _ in range(30):
            fact = (generator.randrange(size), generator.randrange(size), generator.choice(relations))
            predictions += predicted(document["title"], fact)
    predictions += predictions[::7]
    generator.shuffle(predictions)
    scores = score_facts(predictions, gold, named_facts(train))
    assert scores == pytest.approx(official_scores(predictions, gold, train))
    assert scores["ign_f1"] < scores["f1"]


def test_type_baseline_by_hand():
    train = [
        document_of("one", [PARIS, FRANCE], [(0, 1, "P17")]),
        document_of("two", [ADA, FRANCE], [(0, 1, "P27")]),
        document_of("three", [ADA, FRANCE], [(0, 1, "P27"), (0, 1, "P19")]),
    ]
    # P27 holds for 2 of 2 pairs (PER, LOC), P17 for 1 of 2 (LOC, LOC), P19 for 1 of 2 (PER, LOC). F1 on these
    # documents of the first rule alone is 4 / (2 + 4) = 0.67, of the first two 6 / (4 + 4) = 0.75,
    # of all three 8 / (6 + 4) = 0.8.
    baseline = TypePairBaseline(train)
    assert {types: sorted(relations) for types, relations in baseline.relations.items()} == {
        ("PER", "LOC"): ["P19", "P27"],
        ("LOC", "LOC"): ["P17"],
    }
    predictions = baseline.predict([document_of("new", [FRANCE, ADA])])
    assert predictions == predicted("new", (1, 0, "P27"), (1, 0, "P19"))


def test_type_baseline_on_real_documents_by_brute_force(sample_documents):
    """The chosen rules are the best prefix, by training F1, of all rules sorted by precision."""
    train = sample_documents["train"]
    baseline = TypePairBaseline(train)
    chosen = Counter((*types, relation) for types, names in baseline.relations.items() for relation in names)
    best = score_facts(baseline.predict(train), train)["f1"]
    for types, relation in [(("PER", "LOC"), "P19"), (("ORG", "LOC"), "P159"), (("LOC", "LOC"), "P150")]:
        if (*types, relation) not in chosen:
            more = TypePairBaseline(train)
            more.relations.setdefault(types, []).append(relation)
            assert score_facts(more.predict(train), train)["f1"] <= best
    for rule in chosen:
        fewer = TypePairBaseline(train)
        fewer.relations[rule[:2]].remove(rule[2])
        assert score_facts(fewer.predict(train), train)["f1"] <= best
