"""The scores and the baseline against counts made by hand, and against DocRED's official script."""

import random
from collections import Counter

import numpy as np
import pytest

from modeling_docre_ii import (
    DocumentError,
    TypePairBaseline,
    named_facts,
    score_facts,
    score_relations,
)
from modeling_docre_ii.evaluation.scores import micro_scores


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
        # (2, 1) follows from (2, 0) and (0, 1), and is not predicted.
        "infer_precision": 0.0,
        "infer_recall": 0.0,
        "infer_f1": 0.0,
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
        (predicted("second", (-1, 0, "P17")), [SECOND], "document 'second': .* 2 entities"),
        (
            [],
            [document_of("x", [ADA], [(0, 1, "P27")])],
            "document 'x': labelled .0, 1, 'P27'., but it has 1 entities",
        ),
        ([], [FIRST, FIRST], "document 'first' is there twice"),
        ([*predicted("first", (0, 1, "P17")), {"title": "first", "h_idx": 0, "r": "P17"}], [FIRST], "item 1: 't_idx'"),
        (predicted("first", (0, 1, 5)), [FIRST], "item 0: 'r' is 5, expected a relation id, a string"),
    ],
)
def test_what_cannot_be_scored_is_an_error(predictions, documents, message):
    with pytest.raises(DocumentError, match=message):
        score_facts(predictions, documents)


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
    expected = official_scores(predictions, gold, train)
    assert {name: scores[name] for name in expected} == pytest.approx(expected)
    assert scores["ign_f1"] < scores["f1"]


# The scores of the literature, by hand


def sentences_of(document, *sentences):
    """The document with the sentences of the mentions of each entity."""
    entities = [
        [mention | {"sent_id": index} for mention, index in zip(mentions, indices, strict=True)]
        for mentions, indices in zip(document["vertexSet"], sentences, strict=True)
    ]
    return document | {"vertexSet": entities}


# Paris is in sentences 0 and 2, France in 1, Ada in 2: of the gold facts (2, 0) alone is intra-sentence.
SPREAD = sentences_of(FIRST, [0, 2], [1], [2])


def scores_of(scores, kind):
    return tuple(scores[f"{kind}_{score}"] for score in ("precision", "recall", "f1"))


def test_intra_and_inter_by_hand():
    predictions = predicted("first", (2, 0, "P19"), (0, 2, "P19"), (0, 1, "P17"), (1, 2, "P19"), (2, 1, "P27"))
    scores = score_facts(predictions, [SPREAD])
    # Intra: 1 of 2 predictions and 1 of 1 fact. Inter: 2 of 3 predictions and 2 of 3 facts.
    assert scores_of(scores, "intra") == pytest.approx((50, 100, 200 / 3))
    assert scores_of(scores, "inter") == pytest.approx((200 / 3, 200 / 3, 200 / 3))


def test_several_labels_on_a_pair_are_several_facts():
    scores = score_facts(predicted("first", (0, 1, "P17"), (0, 1, "P131"), (0, 1, "P27")), [SPREAD])
    assert (scores["precision"], scores["recall"]) == pytest.approx((200 / 3, 50))
    assert scores_of(scores, "inter")[:2] == pytest.approx((200 / 3, 200 / 3))


def test_infer_by_hand():
    # (2, 0) and (0, 1) lead from Ada to France: facts on (2, 1) are inferred. (1, 3) leads on to Bob, so that (0, 3)
    # and (2, 3) are such pairs too, though no fact says so. Bob and Eve lead to each other, and not over a third.
    entities = [PARIS, FRANCE, ADA, [("Bob", "PER")], [("Eve", "PER")]]
    facts = [(0, 1, "P17"), (2, 0, "P19"), (2, 1, "P27"), (2, 1, "P1"), (1, 3, "P6"), (3, 4, "P26"), (4, 3, "P26")]
    # The o of (0, 1) would be France itself.
    facts.append((1, 1, "P1"))
    document = document_of("first", entities, facts)
    predictions = predicted("first", (2, 1, "P27"), (2, 1, "P19"), (0, 3, "P6"), (0, 1, "P17"), (3, 4, "P26"))
    # 3 predictions on such pairs, 1 of them among the 2 gold facts.
    assert scores_of(score_facts(predictions, [document]), "infer") == pytest.approx((100 / 3, 50, 40))
    without = document_of("first", entities, [(0, 1, "P17"), (3, 4, "P26"), (4, 3, "P26")])
    assert not any(name.startswith("infer") for name in score_facts(predictions, [without]))


def test_evidence_by_hand():
    document = document_of("first", [PARIS, FRANCE, ADA], [(0, 1, "P17"), (2, 0, "P19")])
    evidence = [[0, 1], [2]]
    labels = [label | {"evidence": sentences} for label, sentences in zip(document["labels"], evidence)]
    predictions = predicted("first", (0, 1, "P17"), (0, 1, "P17"), (2, 1, "P27"), (2, 0, "P19"))
    for prediction, sentences in zip(predictions, ([1, 1, 5], [0], [2, 3], None)):
        prediction["evidence"] = sentences
    # Predicted: {1, 5} of the first (0, 1, P17), and {2, 3} of a wrong fact. Correct: 1. Gold: 0, 1 and 2.
    scores = score_facts(predictions, [document | {"labels": labels}])
    assert scores_of(scores, "evidence") == pytest.approx((25, 100 / 3, 200 / 7))
    assert scores_of(score_facts(predicted("first", (0, 1, "P17")), [document | {"labels": labels}]), "evidence") == (
        0.0,
        0.0,
        0.0,
    )
    assert not any(name.startswith("evidence") for name in score_facts(predictions, [document]))


def test_evidence_of_a_label_that_is_there_twice():
    labels = [{"h": 0, "t": 1, "r": "P17", "evidence": evidence} for evidence in ([0], [1, 2])]
    prediction = {"title": "first", "h_idx": 0, "t_idx": 1, "r": "P17", "evidence": [0, 1]}
    # As the official script: sentence 1 of 2 predicted and of 3 listed.
    scores = score_facts([prediction], [FIRST | {"labels": labels}])
    assert scores_of(scores, "evidence") == pytest.approx((50, 100 / 3, 40))


def test_ign_f1_against_the_annotated_and_the_distant_training_set():
    annotated = [document_of("train", [[("Lutetia", "LOC")], FRANCE], [(0, 1, "P17")])]
    distant = [document_of("train", [PARIS, FRANCE, ADA], [(0, 1, "P131"), (0, 1, "P17"), (2, 0, "P20")])]
    predictions = predicted("first", (0, 1, "P17"), (0, 1, "P131"), (2, 0, "P19"), (1, 0, "P17"))
    scores = score_facts(predictions, [FIRST], named_facts(annotated), named_facts(distant))
    # 3 of 4 correct; 1 of them in the annotated set, 2 in the distant one; the recall is 3 / 4 for both.
    assert scores["ign_precision"] == pytest.approx(200 / 3)
    assert scores["ign_distant_precision"] == pytest.approx(50)
    assert scores["ign_f1"] == pytest.approx(2 * 200 / 3 * 75 / (200 / 3 + 75))
    assert scores["ign_distant_f1"] == pytest.approx(60)
    assert "ign_recall" not in scores


def test_uncounted_pairs_by_hand():
    filtered = SPREAD | {"uncounted": [{"h": 0, "t": 2}, {"h": 1, "t": 2}]}
    predictions = predicted("first", (2, 0, "P19"), (0, 2, "P19"), (0, 1, "P17"), (1, 2, "P19"))
    scores = score_facts(predictions, [filtered])
    assert (scores["precision"], scores["recall"]) == pytest.approx((50, 50))
    assert scores_of(scores, "filtered") == pytest.approx((100, 50, 200 / 3))
    assert scores_of(scores, "filtered_intra") == pytest.approx((100, 100, 100))
    assert scores_of(scores, "filtered_inter") == pytest.approx((100, 100 / 3, 50))
    # A filter that leaves nothing out is one, no filter is none.
    assert scores_of(score_facts(predictions, [SPREAD | {"uncounted": []}]), "filtered_intra") == pytest.approx(
        scores_of(scores, "intra")
    )
    assert not any(name.startswith("filtered") for name in score_facts(predictions, [SPREAD]))


def test_without_sentences_there_is_no_intra_and_inter():
    names = {name.rpartition("_")[0] for name in score_facts([], [FIRST | {"uncounted": []}])}
    assert names == {"", "infer", "filtered"}


def test_some_mentions_without_their_sentence_are_an_error():
    with pytest.raises(DocumentError, match="document 'second', entity 0: a mention has no 'sent_id'"):
        score_facts([], [SPREAD, SECOND])


def test_no_documents_score_zero():
    assert set(score_facts([], [], set()).values()) == {0.0}


def test_micro_scores_of_several_sums_at_once():
    sums = np.array([[[3, 4, 5, 0], [3, 4, 5, 1]], [[0, 0, 0, 0], [2, 2, 4, 2]]])
    f1, precision, recall = micro_scores(sums)
    assert precision == pytest.approx(np.array([[75, 200 / 3], [0, 0]]))
    assert recall == pytest.approx(np.array([[60, 60], [0, 50]]))
    assert f1 == pytest.approx(np.array([[200 / 3, 8000 / (380 / 3)], [0, 0]]))


# Relations


def test_relations_by_hand():
    predictions = predicted("first", (0, 1, "P17"), (0, 1, "P17"), (1, 0, "P17"), (2, 1, "P27"), (0, 2, "P36"))
    zero = {"f1": 0.0, "precision": 0.0, "recall": 0.0, "correct": 0}
    assert score_relations(predictions, [FIRST, SECOND]) == [
        {
            "relation": "P27",
            "f1": pytest.approx(200 / 3),
            "precision": 100.0,
            "recall": 50.0,
            "correct": 1,
            "predicted": 1,
            "gold": 2,
        },
        {"relation": "P131", **zero, "predicted": 0, "gold": 1},
        {
            "relation": "P17",
            "f1": pytest.approx(200 / 3),
            "precision": 50.0,
            "recall": 100.0,
            "correct": 1,
            "predicted": 2,
            "gold": 1,
        },
        {"relation": "P19", **zero, "predicted": 0, "gold": 1},
        {"relation": "P36", **zero, "predicted": 1, "gold": 0},
    ]


def test_relations_of_an_unknown_title_are_an_error():
    with pytest.raises(DocumentError, match="document 'third'"):
        score_relations(predicted("third", (0, 1, "P17")), [FIRST])


# The baseline


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
