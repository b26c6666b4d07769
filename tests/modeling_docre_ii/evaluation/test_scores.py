"""The scores against counts made by hand, and against the definition of DocRED's official script."""

import random

import pytest

from modeling_docre_ii import PredictionError, named_facts, score_facts, score_relations
from modeling_docre_ii.evaluation.scores import count_facts


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


def sentences_of(document, *sentences):
    """The document with the sentences of the mentions of each entity."""
    entities = [
        [mention | {"sent_id": index} for mention, index in zip(mentions, indices, strict=True)]
        for mentions, indices in zip(document["vertexSet"], sentences, strict=True)
    ]
    return document | {"vertexSet": entities}


# Paris is in sentences 0 and 2, France in 1, Ada in 2: of the gold facts (2, 0) alone is intra-sentence.
SPREAD = sentences_of(FIRST, [0, 2], [1], [2])
SECOND_SPREAD = sentences_of(SECOND, [0], [1])


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
            "document 'x': labeled .0, 1, 'P27'., but it has 1 entities",
        ),
        ([], [FIRST, FIRST], "two documents have the title 'first'"),
        ([*predicted("first", (0, 1, "P17")), {"title": "first", "h_idx": 0, "r": "P17"}], [FIRST], "item 1: 't_idx'"),
        (predicted("first", (0, 1, 5)), [FIRST], "item 0: 'r' is 5, expected a relation id, a string"),
    ],
)
def test_what_cannot_be_scored_is_an_error(predictions, documents, message):
    with pytest.raises(PredictionError, match=message):
        score_facts(predictions, documents)


def official_scores(submission, gold, train):
    """
    The definition of DocRED's evaluation.py as loops. Every distinct item counts as predicted, whether or not its
    title is known; evidence counts where the title is known.
    """
    in_train = set()
    for document in train:
        for label in document["labels"]:
            for first in document["vertexSet"][label["h"]]:
                for second in document["vertexSet"][label["t"]]:
                    in_train.add((first["name"], second["name"], label["r"]))
    answers = {}
    for fact in submission:
        answers.setdefault((fact["title"], fact["h_idx"], fact["t_idx"], fact["r"]), fact.get("evidence", []))
    standard, entities, sentences = {}, {}, 0
    for document in gold:
        entities[document["title"]] = document["vertexSet"]
        for label in document["labels"]:
            standard[document["title"], label["h"], label["t"], label["r"]] = label["evidence"]
            sentences += len(label["evidence"])
    correct = correct_in_train = correct_sentences = predicted_sentences = 0
    for (title, head, tail, relation), evidence in answers.items():
        if title in entities:
            predicted_sentences += len(set(evidence))
        if (title, head, tail, relation) in standard:
            correct += 1
            correct_sentences += sum(sentence in standard[title, head, tail, relation] for sentence in set(evidence))
            known = False
            for first in entities[title][head]:
                for second in entities[title][tail]:
                    if (first["name"], second["name"], relation) in in_train:
                        known = True
            correct_in_train += known
    precision, recall = correct / len(answers), correct / len(standard)
    ignoring = (correct - correct_in_train) / (len(answers) - correct_in_train)
    evidence_precision, evidence_recall = correct_sentences / predicted_sentences, correct_sentences / sentences
    return {
        "precision": 100 * precision,
        "recall": 100 * recall,
        "f1": 100 * 2 * precision * recall / (precision + recall),
        "ign_precision": 100 * ignoring,
        "ign_f1": 100 * 2 * ignoring * recall / (ignoring + recall),
        "evidence_f1": 100 * 2 * evidence_precision * evidence_recall / (evidence_precision + evidence_recall),
    }


def random_predictions(gold):
    """Half of the facts and 30 random ones a document, some of them twice, all with random evidence."""
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
    for prediction in predictions:
        prediction["evidence"] = generator.choices(range(4), k=generator.randrange(3))
    predictions += predictions[::7]
    generator.shuffle(predictions)
    return predictions


def test_random_predictions_on_real_documents(sample_documents):
    train, gold = sample_documents["train"], sample_documents["dev"]
    predictions = random_predictions(gold)
    scores = score_facts(predictions, gold, named_facts(train))
    expected = official_scores(predictions, gold, train)
    assert {name: scores[name] for name in expected} == pytest.approx(expected)
    assert scores["ign_f1"] < scores["f1"]


# Predictions on unknown titles


def test_unknown_titles_on_real_documents_as_the_official_script_counts_them(sample_documents):
    """The predictions on the last documents are left, the documents are not."""
    train, everything = sample_documents["train"], sample_documents["dev"]
    predictions, gold = random_predictions(everything), everything[:-5]
    scores = score_facts(predictions, gold, named_facts(train), unknown_titles="wrong")
    expected = official_scores(predictions, gold, train)
    assert {name: scores[name] for name in expected} == pytest.approx(expected)

    titles = {document["title"] for document in gold}
    known = score_facts([item for item in predictions if item["title"] in titles], gold, named_facts(train))
    assert known.keys() == scores.keys()
    changed = {name for name in scores if scores[name] != known[name]}
    assert changed == {"f1", "precision", "ign_f1", "ign_precision"}
    assert scores["f1"] < known["f1"] and scores["ign_f1"] < known["ign_f1"]


def test_unknown_titles_by_hand():
    filtered = SPREAD | {"uncounted": [{"h": 0, "t": 2}]}
    known = predicted("first", (2, 0, "P19"), (0, 2, "P19"), (0, 1, "P17"))
    # Three distinct facts, one of them repeated. Another document has the pair (0, 2) uncounted.
    unknown = predicted("third", (0, 1, "P17"), (0, 1, "P17"), (0, 2, "P19")) + predicted("fourth", (7, 9, "P6"))
    unknown[0]["evidence"] = [0]
    counts = count_facts(known + unknown, [filtered, SECOND_SPREAD], set(), set(), unknown_titles="wrong")
    counted = {"f1", "ign_f1", "ign_distant_f1", "filtered_f1"}
    uncounted = {"intra_f1", "inter_f1", "infer_f1", "filtered_intra_f1", "filtered_inter_f1"}
    assert counts.keys() == counted | uncounted
    for name, rows in counts.items():
        assert rows.shape == (3, 4)
        assert rows[-1].tolist() == ([0, 3, 0, 0] if name in counted else [0, 0, 0, 0]), name

    # 2 of 6 predictions are correct, of 5 facts; without the pair (0, 2), 2 of 5.
    scores = score_facts(known + unknown, [filtered, SECOND_SPREAD], unknown_titles="wrong")
    assert (scores["precision"], scores["recall"], scores["f1"]) == pytest.approx((100 / 3, 40, 400 / 11))
    assert scores_of(scores, "filtered") == pytest.approx((40, 40, 40))
    without = score_facts(known, [filtered, SECOND_SPREAD])
    for kind in ("intra", "inter", "infer", "filtered_intra", "filtered_inter"):
        assert scores_of(scores, kind) == scores_of(without, kind)


def test_relations_of_unknown_titles_count_as_predicted():
    predictions = predicted("first", (0, 1, "P17")) + predicted("third", (0, 1, "P17"), (0, 1, "P6"), (0, 1, "P6"))
    rows = {row["relation"]: row for row in score_relations(predictions, [FIRST], unknown_titles="wrong")}
    counts = {name: (row["correct"], row["predicted"], row["gold"]) for name, row in rows.items()}
    assert counts == {
        "P131": (0, 0, 1),
        "P17": (1, 2, 1),
        "P19": (0, 0, 1),
        "P27": (0, 0, 1),
        "P6": (0, 1, 0),
    }
    assert rows["P17"]["precision"] == 50.0


def test_without_documents_every_title_is_unknown():
    predictions = predicted("third", (0, 1, "P17"))
    assert count_facts(predictions, [], unknown_titles="wrong")["f1"].tolist() == [[0, 1, 0, 0]]
    assert score_facts(predictions, [], unknown_titles="wrong") == {"f1": 0.0, "precision": 0.0, "recall": 0.0}


@pytest.mark.parametrize("function", [count_facts, score_facts, score_relations])
def test_unknown_titles_are_an_error_by_default_and_for_nothing_else(function):
    predictions = predicted("third", (0, 1, "P17"))
    with pytest.raises(PredictionError, match="document 'third': predicted .* no gold document has this title"):
        function(predictions, [FIRST])
    with pytest.raises(ValueError, match="`unknown_titles` must be one of .*, got 'ignore'"):
        function(predictions, [FIRST], unknown_titles="ignore")
    with pytest.raises(PredictionError, match="document 'first': predicted .* it has 3 entities"):
        function(predicted("first", (0, 3, "P17")), [FIRST], unknown_titles="wrong")


# The scores of the literature, by hand


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
    wrong = [predictions[0] | {"evidence": [5]}]
    assert scores_of(score_facts(wrong, [document | {"labels": labels}]), "evidence") == (0.0, 0.0, 0.0)
    assert not any(name.startswith("evidence") for name in score_facts(predictions, [document]))


def test_evidence_of_correct_facts_by_hand():
    facts = [(0, 1, "P17"), (2, 0, "P19"), (2, 1, "P27"), (1, 2, "P6")]
    document = document_of("first", [PARIS, FRANCE, ADA], facts)
    # The third was not annotated, and the last is not predicted.
    evidence = [[0, 1], [2], [], [0, 1, 2]]
    labels = [label | {"evidence": sentences} for label, sentences in zip(document["labels"], evidence)]
    predictions = predicted("first", (0, 1, "P17"), (2, 0, "P19"), (2, 1, "P27"), (0, 2, "P6"))
    for prediction, sentences in zip(predictions, ([1, 1, 5], [2], [7, 8], [0])):
        prediction["evidence"] = sentences

    # Of (0, 1, P17) and (2, 0, P19): correct 1 and 2, predicted 1, 5 and 2, gold 0, 1 and 2.
    scores = score_facts(predictions, [document | {"labels": labels}])
    assert scores_of(scores, "correct_evidence") == pytest.approx((200 / 3, 200 / 3, 200 / 3))
    # A label that is there twice: sentences 0, 1 and 5 of the first are gold, and correct.
    twice = [*labels, labels[0] | {"evidence": [5]}]
    scores = score_facts(predictions, [document | {"labels": twice}])
    assert scores_of(scores, "correct_evidence") == pytest.approx((100, 75, 600 / 7))
    # Of the others, one is not annotated and one is wrong.
    scores = score_facts(predictions[2:], [document | {"labels": labels}])
    assert "evidence_f1" in scores and not any("correct_evidence" in name for name in scores)


@pytest.mark.parametrize("evidence", [{}, {"evidence": []}, {"evidence": None}])
def test_system_without_evidence_has_no_score_for_it(evidence):
    """0.00 would say that it tried."""
    labels = [{"h": 0, "t": 1, "r": "P17", "evidence": [0]}]
    prediction = {"title": "first", "h_idx": 0, "t_idx": 1, "r": "P17"} | evidence
    scores = score_facts([prediction], [FIRST | {"labels": labels}])
    assert scores["f1"] == 100
    assert not any(name.startswith("evidence") for name in scores)


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
    # An empty filter counts as a filter.
    assert scores_of(score_facts(predictions, [SPREAD | {"uncounted": []}]), "filtered_intra") == pytest.approx(
        scores_of(scores, "intra")
    )
    assert not any(name.startswith("filtered") for name in score_facts(predictions, [SPREAD]))


def test_without_sentences_there_is_no_intra_and_inter():
    names = {name.rpartition("_")[0] for name in score_facts([], [FIRST | {"uncounted": []}])}
    assert names == {"", "infer", "filtered"}


def test_some_mentions_without_their_sentence_are_an_error():
    with pytest.raises(PredictionError, match="document 'second', entity 0: a mention has no 'sent_id'"):
        score_facts([], [SPREAD, SECOND])


def test_no_documents_score_zero():
    assert set(score_facts([], [], set()).values()) == {0.0}


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
    with pytest.raises(PredictionError, match="document 'third'"):
        score_relations(predicted("third", (0, 1, "P17")), [FIRST])


@pytest.mark.parametrize("name", ["train_facts", "distant_facts"])
def test_documents_in_place_of_a_set_of_facts_are_named(sample_documents, name):
    gold = sample_documents["dev"]
    with pytest.raises(ValueError, match=rf"^`{name}` is a list, expected a set of facts: `named_facts\(documents\)`"):
        score_facts([], gold, **{name: sample_documents["train"]})
