"""The Trainer in stage 1: learning rates, accumulated batches, predictions as triples, checkpoints, calibration."""

import copy

import numpy as np
import pytest
import torch
from torch.nn.utils import parameters_to_vector

from modeling_docre_ii import score_facts, to_submission
from modeling_docre_ii.decoding import predicted_facts
from modeling_docre_ii.training.predictions import unpack_facts


RELATIONS = ["Na", "P1", "P2", "P3"]


def test_every_parameter_learns_at_the_rate_of_its_group(make_trainer):
    trainer = make_trainer(learning_rate=3e-3, encoder_learning_rate=2e-4, weight_decay=0.1)
    optimizer = trainer.create_optimizer()

    assert isinstance(optimizer, torch.optim.AdamW)
    rates = {id(p): (group["lr"], group["weight_decay"]) for group in optimizer.param_groups for p in group["params"]}
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(trainer.model.parameters()))
    for name, parameter in trainer.model.named_parameters():
        rate = 2e-4 if ".encoder." in name else 3e-3
        decays = not name.endswith("bias") and "norm" not in name.lower()
        assert rates[id(parameter)] == (rate, 0.1 if decays else 0.0), name


def test_rates_warm_up_over_6_percent_and_fall_to_zero(make_trainer):
    trainer = make_trainer(learning_rate=1e-3, encoder_learning_rate=1e-4)
    trainer.create_optimizer_and_scheduler(num_training_steps=100)
    seen = []
    for _ in range(100):
        seen.append([group["lr"] for group in trainer.optimizer.param_groups])
        trainer.optimizer.step()
        trainer.lr_scheduler.step()

    peaks = [group["initial_lr"] for group in trainer.optimizer.param_groups]
    assert sorted(set(peaks)) == [1e-4, 1e-3]
    for step, rates in enumerate(seen):
        share = step / 6 if step < 6 else (100 - step) / 94
        assert rates == pytest.approx([peak * share for peak in peaks])
    assert trainer.optimizer.param_groups[0]["lr"] == 0.0


def test_accumulated_batches_learn_as_one(deterministic_model, features, make_trainer, one_sgd_step):
    """One step of 6 documents, three of 2, or six of 1: the same gradient, for it is averaged over all pairs."""
    start = deterministic_model()
    weights = []
    for size, accumulation in ((6, 1), (2, 3), (1, 6)):
        model = copy.deepcopy(start)
        make_trainer(
            model,
            features[:6],
            per_device_train_batch_size=size,
            gradient_accumulation_steps=accumulation,
            **one_sgd_step,
        ).train()
        weights.append(parameters_to_vector(model.parameters()).detach())

    assert (weights[0] - parameters_to_vector(start.parameters())).abs().max() > 1e-3
    for other in weights[1:]:
        torch.testing.assert_close(other, weights[0], rtol=1e-4, atol=1e-5)


# Predictions


@pytest.mark.parametrize("batch_size", [1, 3, 7])
@pytest.mark.parametrize("sampling", ["random", "group_by_length"])
def test_predictions_are_those_of_the_model_document_by_document(
    tiny_model, features, make_trainer, one_by_one, batch_size, sampling
):
    model = tiny_model()
    trainer = make_trainer(
        model, evaluation=features, per_device_eval_batch_size=batch_size, train_sampling_strategy=sampling
    )
    (predictions,) = trainer.predict(trainer.eval_dataset).predictions
    found = unpack_facts(predictions, RELATIONS, len(features))

    with torch.no_grad():
        expected = [
            [
                (head, tail, RELATIONS[relation], pytest.approx(score, abs=1e-5), ())
                for (_, head, tail, relation), score in zip(facts.tolist(), scores.tolist())
            ]
            for _, output in one_by_one(model, features)
            for facts, scores in [predicted_facts(output.logits, 4)]
        ]
    assert any(expected), "the tiny model has to predict something for this test to say anything"
    assert found == expected


def test_unlabelled_documents_are_predicted_without_a_loss(features, make_trainer):
    trainer = make_trainer(evaluation=features)
    output = trainer.predict(trainer.eval_dataset.remove_columns("labels"))

    assert [predictions.shape[0] for predictions in output.predictions] == [len(features)]
    assert output.label_ids is None
    assert "test_loss" not in output.metrics


# Scores


def test_evaluation_scores_what_is_predicted(features, documents_of, make_trainer):
    documents = documents_of(features)
    trainer = make_trainer(evaluation=features, documents=documents, train_facts=set(), per_device_eval_batch_size=2)
    metrics = trainer.evaluate()

    facts = unpack_facts(trainer.predict(trainer.eval_dataset).predictions[-1], RELATIONS, len(documents))
    scores = score_facts(to_submission(facts, documents), documents, set())
    assert {name: metrics[f"eval_{name}"] for name in scores} == pytest.approx(scores)


def test_a_model_that_predicts_nothing_scores_zero(tiny_model, features, documents_of, make_trainer):
    model = tiny_model()
    with torch.no_grad():
        model.docre_ii.classifier.weight.zero_()
        model.docre_ii.classifier.bias.copy_(torch.tensor([5.0, 0.0, 0.0, 0.0]))
    trainer = make_trainer(model, evaluation=features, documents=documents_of(features))
    metrics = trainer.evaluate()

    # A base module has no scores by iteration.
    names = ("eval_f1", "eval_calibrated_f1", "eval_cross_calibrated_f1")
    assert {name: score for name, score in metrics.items() if "f1" in name} == dict.fromkeys(names, 0)
    assert (metrics["eval_precision"], metrics["eval_recall"]) == (0.0, 0.0)
    (predictions,) = trainer.predict(trainer.eval_dataset).predictions
    assert unpack_facts(predictions, RELATIONS, len(features)) == [[] for _ in features]


# Checkpoints


def test_best_checkpoint_on_validation_f1_is_loaded_at_the_end(
    deterministic_model, features, documents_of, make_trainer
):
    trainer = make_trainer(
        deterministic_model(),
        features,
        features,
        documents_of(features),
        num_train_epochs=25,
        per_device_train_batch_size=4,
        learning_rate=0.01,
        encoder_learning_rate=0.001,
        eval_strategy="epoch",
        save_strategy="epoch",
        load_best_model_at_end=True,
    )
    trainer.train()

    scores = [entry["eval_f1"] for entry in trainer.state.log_history if "eval_f1" in entry]
    assert len(set(scores)) > 1
    assert trainer.state.best_metric == max(scores)
    assert trainer.evaluate()["eval_f1"] == pytest.approx(max(scores))


def test_training_resumed_ends_with_the_weights_of_training_in_one_go(tiny_model, features, make_trainer, tmp_path):
    start, results = tiny_model(), []
    for checkpoint in (None, str(tmp_path / "checkpoint-6")):
        model = copy.deepcopy(start)
        trainer = make_trainer(
            model,
            features,
            num_train_epochs=4,
            per_device_train_batch_size=3,
            learning_rate=0.01,
            save_strategy="steps",
            save_steps=6,
            seed=3,
        )
        trainer.train(resume_from_checkpoint=checkpoint)
        results.append(parameters_to_vector(model.parameters()))

    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-6)


# Calibration


def test_calibrated_threshold_is_the_best_of_all(tiny_model, features, documents_of, make_trainer):
    model = tiny_model()
    bias = model.docre_ii.classifier.bias
    with torch.no_grad():
        bias[0] += 2.0
    trainer = make_trainer(model, evaluation=features, documents=documents_of(features), calibrate_threshold=True)
    start, before = bias.detach().clone(), trainer.evaluate()["eval_f1"]
    shift = trainer.calibrate_threshold()

    assert bias[0].item() == pytest.approx(start[0].item() + shift, abs=1e-5)
    assert torch.equal(bias[1:], start[1:])
    assert bias.requires_grad
    after, scores = trainer.evaluate()["eval_f1"], []
    for other in np.linspace(-4, 4, 161):
        with torch.no_grad():
            bias[0] = start[0] + other
        scores.append(trainer.evaluate()["eval_f1"])
    assert after >= max(scores) - 1e-9
    assert after > before
