"""All scores on real documents against a second, naive implementation, and against each other."""

import json
import random
from pathlib import Path

import numpy as np
import pytest

from modeling_docre_ii import named_facts, score_facts, score_relations
from modeling_docre_ii.evaluation.scores import count_facts


# All of Re-DocRED, which is not part of the package. Without it, its tests are skipped.
RE_DOCRED = Path(__file__).resolve().parents[4] / "shared" / "data" / "re-docred"


def as_percent(correct, predicted, gold, in_train=0):
    precision = (correct - in_train) / (predicted - in_train) if predicted > in_train else 0
    recall = correct / gold if gold else 0
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0
    return {"precision": 100 * precision, "recall": 100 * recall, "f1": 100 * f1}


def share_a_sentence(document, head, tail):
    for first in document["vertexSet"][head]:
        for second in document["vertexSet"][tail]:
            if first["sent_id"] == second["sent_id"]:
                return True
    return False


def follows(document, head, tail):
    for label in document["labels"]:
        for other in document["labels"]:
            is_chain = label["h"] == head and label["t"] == other["h"] and other["t"] == tail
            if is_chain and label["t"] not in (head, tail):
                return True
    return False


def is_counted(document, head, tail):
    return {"h": head, "t": tail} not in document.get("uncounted", [])


KINDS = {
    "": lambda *pair: True,
    "intra_": share_a_sentence,
    "inter_": lambda *pair: not share_a_sentence(*pair),
    "infer_": follows,
    "filtered_": is_counted,
    "filtered_intra_": lambda *pair: share_a_sentence(*pair) and is_counted(*pair),
    "filtered_inter_": lambda *pair: not share_a_sentence(*pair) and is_counted(*pair),
}


def naive_scores(predictions, documents, train, distant):
    by_title = {document["title"]: document for document in documents}
    answers = {}
    for item in predictions:
        key = (item["title"], item["h_idx"], item["t_idx"], item["r"])
        if key not in answers:
            answers[key] = item["evidence"]
    standard = {}
    for document in documents:
        for label in document["labels"]:
            standard[document["title"], label["h"], label["t"], label["r"]] = label["evidence"]
    scores = {}
    for kind, holds in KINDS.items():
        chosen = [key for key in answers if holds(by_title[key[0]], key[1], key[2])]
        gold = [key for key in standard if holds(by_title[key[0]], key[1], key[2])]
        correct = [key for key in chosen if key in gold]
        for score, value in as_percent(len(correct), len(chosen), len(gold)).items():
            scores[kind + score] = value
    correct = [key for key in answers if key in standard]
    for kind, training in (("ign_", train), ("ign_distant_", distant)):
        in_train = 0
        for title, head, tail, relation in correct:
            heads = [mention["name"] for mention in by_title[title]["vertexSet"][head]]
            tails = [mention["name"] for mention in by_title[title]["vertexSet"][tail]]
            in_train += any(
                label["r"] == relation
                and any(mention["name"] in heads for mention in document["vertexSet"][label["h"]])
                and any(mention["name"] in tails for mention in document["vertexSet"][label["t"]])
                for document in training
                for label in document["labels"]
            )
        ignoring = as_percent(len(correct), len(answers), len(standard), in_train)
        scores[kind + "f1"], scores[kind + "precision"] = ignoring["f1"], ignoring["precision"]
    found = sum(sentence in standard[key] for key in correct for sentence in set(answers[key]))
    named = sum(len(set(evidence)) for evidence in answers.values())
    listed = sum(len(label["evidence"]) for document in documents for label in document["labels"])
    scores |= {f"evidence_{score}": value for score, value in as_percent(found, named, listed).items()}
    annotated = [key for key in correct if standard[key]]
    found = sum(sentence in standard[key] for key in annotated for sentence in set(answers[key]))
    named, listed = (sum(len(set(of[key])) for key in annotated) for of in (answers, standard))
    return scores | {f"correct_evidence_{score}": value for score, value in as_percent(found, named, listed).items()}


def some_predictions(documents, seed):
    """Half of the facts and as many random ones, some of them twice with other evidence, in any order."""
    generator = random.Random(seed)
    predictions = []
    for document in documents:
        facts = [(label["h"], label["t"], label["r"]) for label in document["labels"] if generator.random() < 0.5]
        for _ in facts[:]:
            entities = range(len(document["vertexSet"]))
            facts.append((generator.choice(entities), generator.choice(entities), generator.choice(facts)[2]))
        predictions += [
            {"title": document["title"], "h_idx": head, "t_idx": tail, "r": relation}
            for head, tail, relation in [*facts, *facts[::5]]
        ]
    for prediction in predictions:
        prediction["evidence"] = generator.choices(range(5), k=generator.randrange(3))
    generator.shuffle(predictions)
    return predictions


def with_uncounted(documents):
    """Every second document with a filter."""
    generator = random.Random(1)
    filtered = []
    for index, document in enumerate(documents):
        if index % 2:
            facts = {(label["h"], label["t"]) for label in document["labels"]}
            size = len(document["vertexSet"])
            pairs = [(head, tail) for head in range(size) for tail in range(size) if (head, tail) not in facts]
            chosen = generator.sample(pairs, len(pairs) // 2)
            document = document | {"uncounted": [{"h": head, "t": tail} for head, tail in chosen]}
        filtered.append(document)
    return filtered


@pytest.mark.parametrize("seed", range(3))
def test_all_scores_on_real_documents_against_loops(sample_documents, seed):
    gold, train = with_uncounted(sample_documents["dev"]), sample_documents["train"]
    predictions = some_predictions(gold, seed)
    training = train, [*train, *gold[:2]]
    scores = score_facts(predictions, gold, *map(named_facts, training))
    assert scores == pytest.approx(naive_scores(predictions, gold, *training))
    assert len({round(score, 6) for name, score in scores.items() if name.endswith("f1")}) == 11


@pytest.mark.skipif(not RE_DOCRED.is_dir(), reason="needs Re-DocRED")
def test_all_scores_on_re_docred_against_loops():
    gold, train = (json.loads((RE_DOCRED / f"{split}.json").read_text(encoding="utf-8")) for split in ("dev", "train"))
    gold, training = with_uncounted(gold[:60]), (train[:50], train[50:100])
    predictions = some_predictions(gold, 0)
    scores = score_facts(predictions, gold, *map(named_facts, training))
    assert scores == pytest.approx(naive_scores(predictions, gold, *training))


def test_counts_are_by_document(sample_documents):
    gold = with_uncounted(sample_documents["dev"])
    train_facts = named_facts(sample_documents["train"])
    predictions = some_predictions(gold, 0)
    counts = count_facts(predictions, gold, train_facts)
    scores = score_facts(predictions, gold, train_facts)
    assert {name for name in scores if name.endswith("f1")} == set(counts)
    for name, rows in counts.items():
        assert rows.shape == (len(gold), 4)
        assert np.issubdtype(rows.dtype, np.integer)
        assert scores[name] == pytest.approx(as_percent(*rows.sum(axis=0).tolist())["f1"])
    for index, document in enumerate(gold):
        own = [prediction for prediction in predictions if prediction["title"] == document["title"]]
        for name, rows in count_facts(own, [document], train_facts).items():
            assert counts[name][index].tolist() == rows[0].tolist()
    assert counts["ign_f1"][:, 3].any() and not counts["f1"][:, 3].any()


def test_the_order_of_documents_and_predictions_does_not_matter(sample_documents):
    gold, predictions = sample_documents["dev"], some_predictions(sample_documents["dev"], 0)
    for prediction in predictions:
        # Of doubles the first counts, which is a matter of order.
        prediction["evidence"] = [prediction["h_idx"] % 4]
    assert score_facts(predictions[::-1], gold[::-1]) == pytest.approx(score_facts(predictions, gold))


def test_a_relation_alone_scores_the_same(sample_documents):
    gold, predictions = sample_documents["dev"], some_predictions(sample_documents["dev"], 0)
    rows = score_relations(predictions, gold)
    assert [row["gold"] for row in rows] == sorted((row["gold"] for row in rows), reverse=True)
    for row in rows:
        alone = [
            document | {"labels": [label for label in document["labels"] if label["r"] == row["relation"]]}
            for document in gold
        ]
        scores = score_facts([item for item in predictions if item["r"] == row["relation"]], alone)
        assert {name: row[name] for name in ("f1", "precision", "recall")} == {
            name: scores[name] for name in ("f1", "precision", "recall")
        }
    assert len(rows) > 20
