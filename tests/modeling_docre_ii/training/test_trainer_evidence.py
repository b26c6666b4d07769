"""The Trainer of a model that learns to find evidence: its loss, its predictions and their scores."""

import copy

import pytest
import torch
from torch.nn.utils import parameters_to_vector

from modeling_docre_ii import score_facts, to_submission
from modeling_docre_ii.evidence import add_evidence, evidence_loss, with_rule_evidence
from modeling_docre_ii.training.predictions import unpack_facts, unpack_with_evidence


@pytest.fixture(scope="module")
def annotated(features):
    """The rows with sentences of four tokens, and evidence of every second fact."""
    return [
        row
        | {
            "sentence_ids": [-1, *(place // 4 for place in range(len(row["input_ids"]) - 2)), -1],
            "evidence": [[0, 1][: 1 + index % 2] if index % 2 == 0 else [] for index in range(len(row["labels"]))],
        }
        for row in features
    ]


@pytest.fixture(scope="module")
def documents(annotated, documents_of):
    """Their documents. The one mention of an entity is in the sentence of its token."""
    return [
        document
        | {
            "vertexSet": [
                [mentions[0] | {"sent_id": max(row["sentence_ids"][position], 0)}]
                for mentions, position in zip(document["vertexSet"], row["mention_positions"])
            ],
            "labels": [label | {"evidence": found} for label, found in zip(document["labels"], row["evidence"])],
        }
        for document, row in zip(documents_of(annotated), annotated)
    ]


@pytest.mark.parametrize("num_iterations", [0, 2])
def test_accumulated_batches_learn_evidence_as_one(
    deterministic_model, annotated, make_trainer, one_sgd_step, num_iterations
):
    """Its loss is averaged over the annotated facts of a step, wherever they are in its batches."""
    start = deterministic_model(num_iterations=num_iterations, evidence_loss_weight=0.5, contrastive_loss_weight=0.0)
    weights, logs = [], []
    for size, accumulation in ((6, 1), (2, 3), (1, 6)):
        trainer = make_trainer(
            copy.deepcopy(start),
            annotated[:6],
            per_device_train_batch_size=size,
            gradient_accumulation_steps=accumulation,
            **one_sgd_step,
        )
        trainer.train()
        weights.append(parameters_to_vector(trainer.model.parameters()))
        logs.append(next(entry for entry in trainer.state.log_history if "loss" in entry))

    assert not torch.equal(weights[0], parameters_to_vector(start.parameters()))
    for other, log in zip(weights[1:], logs[1:]):
        torch.testing.assert_close(other, weights[0], rtol=1e-4, atol=1e-5)
        assert log["evidence_loss"] == pytest.approx(logs[0]["evidence_loss"], rel=1e-4)
    parts = logs[0]["base_loss"] + logs[0].get("inference_loss", 0.0) + 0.5 * logs[0]["evidence_loss"]
    assert logs[0]["loss"] == pytest.approx(parts, rel=1e-3)


def test_logged_evidence_loss_is_the_mean_over_annotated_facts(
    deterministic_model, annotated, collate, make_trainer, one_sgd_step
):
    model = deterministic_model(evidence_loss_weight=0.5)
    total, count = 0.0, 0
    for row in annotated[:6]:
        batch = collate([row])
        del batch["document_index"]
        num_facts = sum(map(bool, row["evidence"]))
        with torch.no_grad():
            shares = model(**batch).sentence_shares
        total += evidence_loss(shares, batch["labels"], batch["evidence"]).item() * num_facts
        count += num_facts
    trainer = make_trainer(model, annotated[:6], per_device_train_batch_size=6, **one_sgd_step)
    trainer.train()

    log = next(entry for entry in trainer.state.log_history if "loss" in entry)
    assert count > 3 and log["evidence_loss"] == pytest.approx(total / count, rel=1e-3)


@pytest.mark.parametrize("num_iterations", [0, 2])
def test_predictions_have_the_evidence_of_the_model(
    tiny_model, annotated, documents, collate, make_trainer, num_iterations
):
    model = tiny_model(evidence_loss_weight=0.1, num_iterations=num_iterations)
    trainer = make_trainer(model, evaluation=annotated, documents=documents, per_device_eval_batch_size=3)
    output = trainer.predict(trainer.eval_dataset)
    relations = list(model.config.id2label.values())
    facts = unpack_with_evidence(output.predictions[-1], relations, documents)
    assert len(output.predictions) == 1 + num_iterations
    assert sum(map(len, facts)) > 10

    shares = []
    for row in annotated:
        batch = collate([row])
        del batch["document_index"]
        with torch.no_grad():
            shares += model(**batch).sentence_shares
    assert facts == add_evidence(facts, documents, "model", shares)
    scores = score_facts(to_submission(facts, documents), documents)
    by_rule = [with_rule_evidence(rows, document) for rows, document in zip(facts, documents)]
    of_rule = score_facts(to_submission(by_rule, documents), documents)
    for name in ("evidence_f1", "correct_evidence_f1", "correct_evidence_recall"):
        assert output.metrics[f"test_{name}"] == pytest.approx(scores[name])
    assert output.metrics["test_rule_correct_evidence_f1"] == pytest.approx(of_rule["correct_evidence_f1"])
    assert output.metrics["test_f1"] == pytest.approx(scores["f1"])


def test_model_that_was_not_trained_for_it_is_scored_by_the_rule(tiny_model, annotated, documents, make_trainer):
    model = tiny_model()
    trainer = make_trainer(model, evaluation=annotated, documents=documents)
    output = trainer.predict(trainer.eval_dataset)
    facts = unpack_facts(output.predictions[-1], list(model.config.id2label.values()), len(documents))

    assert output.predictions[-1].shape[-1] == 5 and not any(fact.evidence for rows in facts for fact in rows)
    by_rule = [with_rule_evidence(rows, document) for rows, document in zip(facts, documents)]
    scores = score_facts(to_submission(by_rule, documents), documents)
    assert output.metrics["test_correct_evidence_f1"] == pytest.approx(scores["correct_evidence_f1"])
    assert not any("rule" in name for name in output.metrics)
