"""The Trainer: learning-rate groups, schedule, the losses over accumulated batches, predictions as triples."""

import copy
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from modeling_docre_ii import (
    DataCollatorForRelationExtraction,
    DocREIIForRelationExtraction,
    DocREIITrainer,
    DocREIITrainingArguments,
    facts_by_document,
    make_compute_metrics,
    predicted_facts,
    score_facts,
    simsiam_loss,
    submission,
    training_args,
)
from modeling_docre_ii.losses import adaptive_threshold_loss


RELATIONS = ["Na", "P1", "P2", "P3"]


TOKENIZER = PreTrainedTokenizerFast(
    tokenizer_object=Tokenizer(models.WordLevel({"[PAD]": 0, "[UNK]": 1}, unk_token="[UNK]")),
    pad_token="[PAD]",
    unk_token="[UNK]",
)
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
DETERMINISTIC = {"num_iterations": 2, "max_noise_rate": 0, "encoder_changes": NO_DROPOUT}
WEIGHTS = {"base_loss_weight": 0.5, "contrastive_loss_weight": 0.25}
PARTS = ("base_loss", "inference_loss", "contrastive_loss")
ONE_SGD_STEP = {
    "max_steps": 1,
    "warmup_steps": 0,
    "optim": "sgd",
    "learning_rate": 1.0,
    "base_learning_rate": 1.0,
    "encoder_learning_rate": 1.0,
    "max_grad_norm": 0,
    "logging_steps": 1,
    "save_strategy": "no",
}
# At learning rates of 0 the losses of all steps are those of the first.
STANDING_STILL = {"learning_rate": 0.0, "base_learning_rate": 0.0, "save_strategy": "no"}


def random_rows():
    """Seven random documents of one to four entities."""
    generator = torch.Generator().manual_seed(0)

    def number(low, high):
        return int(torch.randint(low, high, (), generator=generator))

    rows = []
    for index in range(7):
        entities, length = 1 + index % 4, number(12, 30)
        facts = [[head, (head + 1) % entities, number(1, 4)] for head in range(entities) if entities > 1]
        rows.append(
            {
                "input_ids": [number(3, 100) for _ in range(length)],
                "mention_positions": [number(1, length - 1) for _ in range(entities)],
                "mention_entities": list(range(entities)),
                "pair_mask": [[head != tail for tail in range(entities)] for head in range(entities)],
                "labels": facts,
                "document_index": index,
            }
        )
    return rows


@pytest.fixture
def features():
    return random_rows()


@pytest.fixture
def make_trainer(tiny_model, tmp_path):
    def make(model=None, train=None, evaluation=None, compute_metrics=None, **settings):
        args = DocREIITrainingArguments(output_dir=str(tmp_path), disable_tqdm=True, **settings)
        return DocREIITrainer(
            model=model or tiny_model(),
            args=args,
            train_dataset=train,
            eval_dataset=evaluation,
            data_collator=DataCollatorForRelationExtraction(TOKENIZER),
            compute_metrics=compute_metrics,
        )

    return make


def without_index(rows):
    return Dataset.from_list(rows).remove_columns("document_index")


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


def test_accumulated_batches_learn_as_one(tiny_model, features, make_trainer):
    """One step of 6 documents, three of 2, or six of 1: the same gradient, for it is averaged over all pairs."""
    start = tiny_model(encoder_changes=NO_DROPOUT)
    weights = []
    for size, accumulation in ((6, 1), (2, 3), (1, 6)):
        model = copy.deepcopy(start)
        trainer = make_trainer(
            model,
            without_index(features[:6]),
            per_device_train_batch_size=size,
            gradient_accumulation_steps=accumulation,
            max_steps=1,
            warmup_steps=0,
            optim="sgd",
            learning_rate=1.0,
            encoder_learning_rate=1.0,
            max_grad_norm=0,
            save_strategy="no",
        )
        trainer.train()
        weights.append(torch.cat([parameter.detach().flatten() for parameter in model.parameters()]))
    before = torch.cat([parameter.detach().flatten() for parameter in start.parameters()])
    assert (weights[0] - before).abs().max() > 1e-3
    for other in weights[1:]:
        torch.testing.assert_close(other, weights[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 3, 7])
@pytest.mark.parametrize("sampling", ["random", "group_by_length"])
def test_predictions_are_those_of_the_model_document_by_document(
    tiny_model, features, make_trainer, batch_size, sampling
):
    model = tiny_model().eval()
    trainer = make_trainer(model, per_device_eval_batch_size=batch_size, train_sampling_strategy=sampling)
    (predictions,) = trainer.predict(Dataset.from_list(features)).predictions
    found = facts_by_document(predictions)

    collate = DataCollatorForRelationExtraction(TOKENIZER)
    expected = {}
    for row in features:
        batch = collate([row])
        index = batch.pop("document_index").item()
        with torch.no_grad():
            facts, scores = predicted_facts(model(**batch).logits, model.config.max_labels_per_pair)
        if len(facts):
            expected[index] = [(*fact[1:], score) for fact, score in zip(facts.tolist(), scores.tolist())]
    assert expected, "the tiny model has to predict something for this test to say anything"
    assert found.keys() == expected.keys()
    for index, facts in expected.items():
        assert [fact[:3] for fact in found[index]] == [fact[:3] for fact in facts]
        assert [fact[3] for fact in found[index]] == pytest.approx([fact[3] for fact in facts], abs=1e-5)


def test_unlabelled_documents_are_predicted_without_a_loss(features, make_trainer):
    unlabelled = Dataset.from_list(features).remove_columns("labels")
    output = make_trainer().predict(unlabelled)
    assert [predictions.shape[0] for predictions in output.predictions] == [len(features)]
    assert output.label_ids is None
    assert "test_loss" not in output.metrics


def test_a_model_that_predicts_nothing_scores_zero(tiny_model, features, make_trainer):
    model = tiny_model()
    with torch.no_grad():
        model.docre_ii.classifier.weight.zero_()
        model.docre_ii.classifier.bias.zero_()
        model.docre_ii.classifier.bias[0] = 5.0
    documents = documents_of(features)
    trainer = make_trainer(
        model, evaluation=Dataset.from_list(features), compute_metrics=make_compute_metrics(documents, RELATIONS)
    )
    metrics = trainer.evaluate()
    assert (metrics["eval_f1"], metrics["eval_precision"], metrics["eval_recall"]) == (0.0, 0.0, 0.0)
    assert facts_by_document(trainer.predict(Dataset.from_list(features)).predictions[0]) == {}
    assert metrics["eval_calibrated_f1"] == 0.0


def documents_of(rows):
    return [
        {
            "title": f"document {row['document_index']}",
            "vertexSet": [[{"name": f"entity {entity}"}] for entity in row["mention_entities"]],
            "labels": [{"h": head, "t": tail, "r": RELATIONS[relation]} for head, tail, relation in row["labels"]],
        }
        for row in rows
    ]


def test_evaluation_scores_what_is_predicted(features, make_trainer):
    documents = documents_of(features)
    dataset = Dataset.from_list(features)
    trainer = make_trainer(
        evaluation=dataset,
        compute_metrics=make_compute_metrics(documents, RELATIONS, train_facts=set()),
        per_device_eval_batch_size=2,
    )
    metrics = trainer.evaluate()
    facts = facts_by_document(trainer.predict(dataset).predictions[-1])
    scores = score_facts(submission(facts, documents, RELATIONS), documents, set())
    assert {name: metrics[f"eval_{name}"] for name in scores} == pytest.approx(scores)


def test_best_checkpoint_on_validation_f1_is_loaded_at_the_end(tiny_model, features, make_trainer):
    trainer = make_trainer(
        tiny_model(encoder_changes=NO_DROPOUT),
        train=without_index(features),
        evaluation=Dataset.from_list(features),
        compute_metrics=make_compute_metrics(documents_of(features), RELATIONS),
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
    start = tiny_model()
    settings = {
        "num_train_epochs": 4,
        "per_device_train_batch_size": 3,
        "learning_rate": 0.01,
        "save_strategy": "steps",
        "save_steps": 6,
        "seed": 3,
    }
    whole = copy.deepcopy(start)
    make_trainer(whole, without_index(features), **settings).train()
    resumed = copy.deepcopy(start)
    trainer = make_trainer(resumed, without_index(features), **settings)
    trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-6"))
    for (name, first), second in zip(whole.named_parameters(), resumed.parameters()):
        torch.testing.assert_close(first, second, msg=name, rtol=1e-4, atol=1e-6)


def test_facts_by_document_by_hand():
    padding = [-100.0] * 5
    predictions = np.array(
        [
            [[3, 0, 1, 7, 0.75], padding, padding],
            [padding, padding, padding],
            [[1, 2, 0, 4, 0.51], [1, 2, 1, 4, 0.5], [1, 0, 2, 4, 0.9]],
            [[2, 0, 1, 1, 0.3], padding, padding],
        ]
    )
    assert facts_by_document(predictions) == {3: [(0, 1, 7, 0.75)], 1: [(2, 0, 4, 0.51), (0, 2, 4, 0.9)]}


def test_submission_is_in_the_official_form():
    documents = [{"title": "first"}, {"title": "second"}]
    assert submission({1: [(0, 2, 1, 0.9)]}, documents, ["Na", "P17"]) == [
        {"title": "second", "h_idx": 0, "t_idx": 2, "r": "P17", "evidence": []}
    ]


def test_calibrated_threshold_is_the_best_of_all(tiny_model, features, make_trainer):
    documents, dataset = documents_of(features), Dataset.from_list(features)
    model = tiny_model()
    with torch.no_grad():
        model.docre_ii.classifier.bias[0] += 2.0
    trainer = make_trainer(
        model,
        evaluation=dataset,
        compute_metrics=make_compute_metrics(documents, RELATIONS),
        calibrate_threshold=True,
    )
    bias = model.docre_ii.classifier.bias
    start, before = bias.detach().clone(), trainer.evaluate()["eval_f1"]

    shift = trainer.calibrate_threshold()

    assert bias[0].item() == pytest.approx(start[0].item() + shift, abs=1e-5)
    assert torch.equal(bias[1:], start[1:])
    after = trainer.evaluate()["eval_f1"]
    scores = {}
    for other in np.linspace(-4, 4, 161):
        with torch.no_grad():
            bias[0] = start[0] + other
        scores[other] = trainer.evaluate()["eval_f1"]
    assert after >= max(scores.values()) - 1e-9
    assert after > before
    assert bias.requires_grad


# With an inference module


@pytest.fixture
def related(features):
    """The five documents with pairs of entities: 2, 3, 4, 2 and 3 entities."""
    return [row for row in features if len(row["mention_entities"]) > 1]


def naive_threshold_loss(logits, relations):
    """Equation 13 of one pair, from its logits and its relations."""
    others = [r for r in range(1, len(logits)) if r not in relations]
    loss = math.log(sum(math.exp(logits[r]) for r in [0, *others])) - logits[0]
    for relation in relations:
        loss += math.log(sum(math.exp(logits[r]) for r in [0, *relations])) - logits[relation]
    return loss


def cosine(first, second):
    return sum(a * b for a, b in zip(first, second)) / math.hypot(*first) / math.hypot(*second)


def naive_simsiam_loss(predicted, encoded, pair):
    first, second = (view[pair].tolist() for view in predicted)
    first_target, second_target = (view[pair].tolist() for view in encoded)
    return 2 - cosine(second, first_target) - cosine(first, second_target)


def naive_simclr_loss(predicted, pair, temperature):
    """Of one document: both views of all its pairs, each against its partner among all the others."""
    views = [row for view in predicted for row in view.tolist()]
    count, loss = len(views) // 2, 0.0
    for own, partner in ((pair, pair + count), (pair + count, pair)):
        scores = {k: cosine(views[own], views[k]) / temperature for k in range(2 * count) if k != own}
        loss += math.log(sum(math.exp(score) for score in scores.values())) - scores[partner]
    return loss / 2


def naive_parts(model, rows):
    """The three losses, averaged over the candidate pairs of all documents, from one document at a time."""
    collate, model = DataCollatorForRelationExtraction(TOKENIZER), copy.deepcopy(model).train()
    sums, num_pairs = dict.fromkeys(PARTS, 0.0), 0
    for row in rows:
        batch = collate([row])
        batch.pop("document_index", None)
        with torch.no_grad():
            output = model(**batch)
        for index, (_, head, tail) in enumerate(batch["pair_mask"].nonzero().tolist()):
            relations = [fact[2] for fact in row["labels"] if fact[:2] == [head, tail]]
            sums["base_loss"] += naive_threshold_loss(output.base_logits[0, head, tail].tolist(), relations)
            sums["inference_loss"] += naive_threshold_loss(output.logits[0, head, tail].tolist(), relations)
            if model.config.contrastive_loss == "simsiam":
                sums["contrastive_loss"] += naive_simsiam_loss(output.predicted_views, output.views, index)
            else:
                temperature = model.config.contrastive_temperature
                sums["contrastive_loss"] += naive_simclr_loss(output.predicted_views, index, temperature)
            num_pairs += 1
    return {name: value / num_pairs for name, value in sums.items()}


def weighted(parts, config):
    return (
        config.base_loss_weight * parts["base_loss"]
        + parts["inference_loss"]
        + config.contrastive_loss_weight * parts["contrastive_loss"]
    )


def training_logs(trainer):
    return [entry for entry in trainer.state.log_history if "loss" in entry]


def flat_weights(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def test_base_module_learns_at_a_rate_of_its_own(tiny_model, make_trainer):
    trainer = make_trainer(
        tiny_model(num_iterations=2),
        learning_rate=3e-3,
        base_learning_rate=2e-5,
        encoder_learning_rate=0.7,
        weight_decay=0.1,
    )
    optimizer = trainer.create_optimizer()
    rates = {id(p): (group["lr"], group["weight_decay"]) for group in optimizer.param_groups for p in group["params"]}
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(trainer.model.parameters()))
    modules = set()
    for name, parameter in trainer.model.named_parameters():
        rate = 2e-5 if name.startswith("docre_ii.") else 3e-3
        decays = not name.endswith("bias") and "norm" not in name.lower()
        assert rates[id(parameter)] == (rate, 0.1 if decays else 0.0), name
        modules.add(name.split(".")[0])
    assert modules == {"docre_ii", "inference_module", "contrastive_predictor"}


def test_frozen_base_module_stays_and_the_rest_learns(tiny_model, related, make_trainer):
    model = tiny_model(num_iterations=2)
    before = copy.deepcopy(model.state_dict())
    trainer = make_trainer(
        model,
        without_index(related),
        freeze_base=True,
        max_steps=3,
        weight_decay=0.1,
        per_device_train_batch_size=2,
        learning_rate=0.01,
        base_learning_rate=0.01,
        save_strategy="no",
    )
    trainer.train()
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, before[name]) == name.startswith("docre_ii."), name
    trained = [parameter for group in trainer.optimizer.param_groups for parameter in group["params"]]
    assert len(trained) == sum(not name.startswith("docre_ii.") for name, _ in model.named_parameters())


def test_a_model_without_anything_but_the_base_cannot_freeze_it(make_trainer):
    with pytest.raises(ValueError, match="`freeze_base` leaves nothing to train"):
        make_trainer(freeze_base=True)


@pytest.mark.parametrize("kind", ["simsiam", "simclr"])
@pytest.mark.parametrize(("size", "accumulation"), [(4, 1), (2, 2), (1, 4)])
def test_loss_is_the_weighted_sum_over_all_pairs_of_the_step(
    tiny_model, related, make_trainer, kind, size, accumulation
):
    model = tiny_model(**DETERMINISTIC | WEIGHTS, contrastive_loss=kind)
    expected = naive_parts(model, related[:4])
    trainer = make_trainer(
        model,
        without_index(related[:4]),
        per_device_train_batch_size=size,
        gradient_accumulation_steps=accumulation,
        **ONE_SGD_STEP,
    )
    trainer.train()
    (logs,) = training_logs(trainer)
    assert {name: logs[name] for name in PARTS} == pytest.approx(expected, rel=1e-4)
    assert logs["loss"] == pytest.approx(weighted(expected, model.config), rel=1e-4)


@pytest.mark.parametrize(("size", "accumulation"), [(4, 1), (1, 4), (3, 2)])
def test_gradient_is_that_of_the_mean_over_all_pairs_of_the_step(
    tiny_model, related, make_trainer, size, accumulation
):
    model = tiny_model(**DETERMINISTIC | WEIGHTS)
    oracle, collate, losses, num_pairs = (
        copy.deepcopy(model).train(),
        DataCollatorForRelationExtraction(TOKENIZER),
        0,
        0,
    )
    for row in related[:4]:
        batch = collate([{key: value for key, value in row.items() if key != "document_index"}])
        output, pairs = oracle(**batch), batch["pair_mask"]
        labels = torch.zeros(int(pairs.sum()), 4, dtype=torch.bool)
        for index, pair in enumerate(pairs[0].nonzero().tolist()):
            labels[index, [fact[2] for fact in row["labels"] if fact[:2] == pair]] = True
        losses = losses + 0.5 * adaptive_threshold_loss(output.base_logits[pairs], labels).sum()
        losses = losses + adaptive_threshold_loss(output.logits[pairs], labels).sum()
        losses = losses + 0.25 * simsiam_loss(output.predicted_views, output.views).sum()
        num_pairs += len(labels)
    (losses / num_pairs).backward()

    make_trainer(
        model,
        without_index(related[:4]),
        per_device_train_batch_size=size,
        gradient_accumulation_steps=accumulation,
        **ONE_SGD_STEP,
    ).train()
    for (name, weight), start in zip(model.named_parameters(), oracle.parameters()):
        torch.testing.assert_close(weight, start - start.grad, rtol=1e-3, atol=1e-5, msg=name)
    assert max(parameter.grad.abs().max() for parameter in oracle.inference_module.parameters()) > 1e-3
    assert max(parameter.grad.abs().max() for parameter in oracle.contrastive_predictor.parameters()) > 1e-3


@pytest.mark.parametrize(("accumulation", "logging_steps"), [(1, 1), (1, 3), (2, 1), (2, 3)])
def test_logged_parts_are_means_over_the_steps(tiny_model, related, make_trainer, accumulation, logging_steps):
    """Every step sees all four documents and changes nothing, so that every log has the same losses."""
    model = tiny_model(**DETERMINISTIC | WEIGHTS)
    trainer = make_trainer(
        model,
        without_index(related[:4]),
        per_device_train_batch_size=4 // accumulation,
        gradient_accumulation_steps=accumulation,
        num_train_epochs=7,
        logging_steps=logging_steps,
        **STANDING_STILL,
    )
    trainer.train()
    expected = naive_parts(model, related[:4])
    logs = training_logs(trainer)
    assert len(logs) == 7 // logging_steps
    for entry in logs:
        assert {name: entry[name] for name in PARTS} == pytest.approx(expected, rel=1e-4)
        assert entry["loss"] == pytest.approx(weighted(expected, model.config), rel=1e-4)


def test_logged_parts_add_up_to_the_loss_while_learning(tiny_model, related, make_trainer):
    model = tiny_model(num_iterations=3, inference_dropout=0.1, **WEIGHTS)
    trainer = make_trainer(
        model,
        without_index(related),
        evaluation=Dataset.from_list(related),
        per_device_train_batch_size=1,
        gradient_accumulation_steps=2,
        num_train_epochs=4,
        learning_rate=0.01,
        logging_steps=3,
        # An evaluation between two logs has a loss of its own, which is no part of those.
        metric_for_best_model="loss",
        eval_strategy="steps",
        eval_steps=2,
        save_strategy="no",
    )
    trainer.train()
    logs = training_logs(trainer)
    assert len(logs) == 4
    for entry in logs:
        assert entry["loss"] == pytest.approx(weighted(entry, model.config), rel=1e-4)
    assert len({entry["contrastive_loss"] for entry in logs}) == 4


@pytest.mark.parametrize("changes", [{"contrastive_loss_weight": 0.0}, {"base_loss_weight": 0.0}])
def test_parts_without_a_weight(tiny_model, related, make_trainer, changes):
    model = tiny_model(**DETERMINISTIC | changes)
    trainer = make_trainer(model, without_index(related[:4]), per_device_train_batch_size=4, **ONE_SGD_STEP)
    trainer.train()
    (logs,) = training_logs(trainer)
    assert ("contrastive_loss" in logs) == bool(model.config.contrastive_loss_weight)
    parts = {"contrastive_loss": 0.0} | {name: logs[name] for name in PARTS if name in logs}
    assert logs["loss"] == pytest.approx(weighted(parts, model.config), rel=1e-4)


def test_first_stage_logs_no_parts(related, make_trainer):
    trainer = make_trainer(
        train=without_index(related), num_train_epochs=2, logging_steps=1, per_device_train_batch_size=4
    )
    trainer.train()
    assert len(training_logs(trainer)) == 4
    assert not any(name in entry for entry in trainer.state.log_history for name in PARTS)


def test_evaluation_has_the_loss_of_both_modules(tiny_model, related, make_trainer):
    """Outside training, of the last iteration, and without a contrastive loss."""
    model = tiny_model(num_iterations=3, base_loss_weight=0.5)
    trainer = make_trainer(model, evaluation=Dataset.from_list(related), per_device_eval_batch_size=5)
    found = trainer.evaluate()["eval_loss"]
    total, num_pairs = 0.0, 0
    collate = DataCollatorForRelationExtraction(TOKENIZER)
    for row in related:
        batch = collate([{key: value for key, value in row.items() if key != "document_index"}])
        with torch.no_grad():
            output = model(**batch)
        for _, head, tail in batch["pair_mask"].nonzero().tolist():
            relations = [fact[2] for fact in row["labels"] if fact[:2] == [head, tail]]
            total += 0.5 * naive_threshold_loss(output.base_logits[0, head, tail].tolist(), relations)
            total += naive_threshold_loss(output.iteration_logits[2][0, head, tail].tolist(), relations)
            num_pairs += 1
    assert found == pytest.approx(total / num_pairs, rel=1e-4)


def test_documents_without_a_pair_train_in_a_batch_of_their_own(tiny_model, features, make_trainer):
    """As those of one batch with others: they add nothing."""
    start = tiny_model(**DETERMINISTIC)
    weights = []
    for size, accumulation in ((4, 1), (1, 4)):
        model = copy.deepcopy(start)
        make_trainer(
            model,
            without_index(features[:4]),
            per_device_train_batch_size=size,
            gradient_accumulation_steps=accumulation,
            **ONE_SGD_STEP,
        ).train()
        weights.append(flat_weights(model))
    assert len(features[0]["mention_entities"]) == 1
    torch.testing.assert_close(weights[1], weights[0], rtol=1e-3, atol=1e-5)


def test_training_twice_logs_the_parts_of_each(tiny_model, related, make_trainer):
    model = tiny_model(**DETERMINISTIC | WEIGHTS)
    trainer = make_trainer(
        model,
        without_index(related[:4]),
        per_device_train_batch_size=4,
        num_train_epochs=3,
        logging_steps=2,
        **STANDING_STILL,
    )
    expected = naive_parts(model, related[:4])
    for _ in range(2):
        trainer.train()
        (entry,) = training_logs(trainer)
        assert {name: entry[name] for name in PARTS} == pytest.approx(expected, rel=1e-4)


# Resuming


def test_training_of_the_inference_module_resumes_where_it_was(tiny_model, related, make_trainer, tmp_path):
    """Dropout and the noise on the relations are drawn from the random state of the checkpoint."""
    start = tiny_model(num_iterations=2, inference_dropout=0.1, **WEIGHTS)
    settings = {
        "num_train_epochs": 2,
        "per_device_train_batch_size": 2,
        "learning_rate": 0.01,
        "base_learning_rate": 0.001,
        "save_strategy": "epoch",
        "logging_steps": 1,
        "seed": 3,
    }
    whole = copy.deepcopy(start)
    first = make_trainer(whole, without_index(related), **settings)
    first.train()
    results, trainers = [], []
    for with_random_state in (True, False):
        resumed = copy.deepcopy(start)
        trainer = make_trainer(resumed, without_index(related), **settings)
        if not with_random_state:
            (tmp_path / "checkpoint-3" / "rng_state.pth").unlink()
        # Whatever was drawn before does not matter.
        torch.rand(7)
        trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
        results.append(flat_weights(resumed))
        trainers.append(trainer)
    torch.testing.assert_close(results[0], flat_weights(whole), rtol=1e-4, atol=1e-6)
    # Only a run in which something is drawn says that the draws are the same.
    assert (results[1] - results[0]).abs().max() > 1e-4
    for entry, expected in zip(training_logs(trainers[0]), training_logs(first), strict=True):
        assert entry["loss"] == pytest.approx(expected["loss"], rel=1e-4)


def test_resumed_training_logs_the_parts_of_its_own_steps(tiny_model, related, make_trainer, tmp_path):
    start = tiny_model(num_iterations=2, **WEIGHTS)
    settings = {
        "num_train_epochs": 2,
        "per_device_train_batch_size": 2,
        "save_strategy": "epoch",
        "logging_steps": 1,
    }
    make_trainer(copy.deepcopy(start), without_index(related), **settings).train()
    trainer = make_trainer(copy.deepcopy(start), without_index(related), **settings)
    trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    logs = training_logs(trainer)
    assert [entry["step"] for entry in logs] == [1, 2, 3, 4, 5, 6]
    for entry in logs:
        assert weighted(entry, start.config) == pytest.approx(entry["loss"], rel=1e-4), entry["step"]


# bfloat16


def test_training_in_bfloat16_has_finite_losses(tiny_model, related, make_trainer, monkeypatch):
    monkeypatch.setattr(training_args, "cpu_has_bf16", lambda: True)
    model = tiny_model(num_iterations=2, initializer_range=0.1, **WEIGHTS)
    dtypes = set()
    model.inference_module.classifier.register_forward_hook(lambda module, args, output: dtypes.add(output.dtype))
    trainer = make_trainer(
        model,
        without_index(related),
        evaluation=Dataset.from_list(related),
        bf16=True,
        use_cpu=True,
        max_steps=3,
        per_device_train_batch_size=2,
        logging_steps=1,
        save_strategy="no",
    )
    trainer.train()
    assert dtypes == {torch.bfloat16}
    logs = training_logs(trainer)
    assert len(logs) == 3
    for entry in logs:
        assert all(math.isfinite(entry[name]) for name in ("loss", *PARTS))
        assert entry["loss"] == pytest.approx(weighted(entry, model.config), rel=1e-3)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert flat_weights(model).isfinite().all()
    assert math.isfinite(trainer.evaluate()["eval_loss"])


@pytest.mark.parametrize("has_bf16", [False, True])
def test_bfloat16_is_switched_off_where_a_cpu_would_emulate_it(tmp_path, monkeypatch, caplog, has_bf16):
    monkeypatch.setattr(training_args, "cpu_has_bf16", lambda: has_bf16)
    args = DocREIITrainingArguments(output_dir=str(tmp_path), use_cpu=True, bf16=True)
    assert args.bf16 is has_bf16
    assert ("`bf16` is switched off" in caplog.text) is not has_bf16


def test_no_word_about_bfloat16_where_it_is_not_asked_for(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(training_args, "cpu_has_bf16", lambda: False)
    DocREIITrainingArguments(output_dir=str(tmp_path), use_cpu=True)
    assert "bf16" not in caplog.text


# Predictions and scores of the iterations


def naive_margins(model, rows):
    """
    By prediction (base, iteration 1, ...), {(document, head, tail, relation): logit_r - logit_TH} of all candidates.
    """
    collate, margins = DataCollatorForRelationExtraction(TOKENIZER), []
    for row in rows:
        batch = collate([{key: value for key, value in row.items() if key not in ("document_index", "labels")}])
        with torch.no_grad():
            output = model(**batch)
        steps = (output.base_logits, *output.iteration_logits)
        margins = margins or [{} for _ in steps]
        for found, logits in zip(margins, steps, strict=True):
            for _, head, tail in batch["pair_mask"].nonzero().tolist():
                pair = logits[0, head, tail].tolist()
                for relation in range(1, len(pair)):
                    found[row["document_index"], head, tail, relation] = pair[relation] - pair[0]
    return margins


def naive_f1(margins, gold, threshold=0.0):
    predicted = {fact for fact, margin in margins.items() if margin > threshold}
    return 200 * len(predicted & gold) / (len(predicted) + len(gold))


def naive_best_f1(margins, gold):
    """Over all thresholds from 4 below the present one on."""
    thresholds = [margin - 1e-6 for margin in margins.values() if margin > -4.0]
    return max(naive_f1(margins, gold, threshold) for threshold in thresholds)


@pytest.fixture
def scored(tiny_model, related):
    """A model with two iterations, documents whose facts it finds in part, and its own margins."""
    model = tiny_model(num_iterations=2)
    with torch.no_grad():
        model.inference_module.classifier.bias[0] += 0.5
    margins = naive_margins(model, related)
    facts = [fact for fact, margin in margins[-1].items() if margin > -1.5][::2]
    rows = [
        row | {"labels": [list(fact[1:]) for fact in facts if fact[0] == row["document_index"]]} for row in related
    ]
    return model, rows, margins, set(facts)


@pytest.fixture
def by_index(features):
    def documents(rows):
        """All documents by their index, with the labels that these rows have."""
        changed = {row["document_index"]: row for row in rows}
        return documents_of([changed.get(row["document_index"], row | {"labels": []}) for row in features])

    return documents


@pytest.mark.parametrize("gather_all", [False, True])
@pytest.mark.parametrize("batch_size", [2, 5])
def test_predictions_of_every_iteration_are_those_of_the_model(scored, make_trainer, gather_all, batch_size):
    model, rows, margins, _ = scored
    trainer = make_trainer(model, per_device_eval_batch_size=batch_size, calibrate_threshold=gather_all)
    predictions = trainer.predict(Dataset.from_list(rows)).predictions
    assert len(predictions) == 3
    for found, expected in zip(predictions, margins, strict=True):
        reach = 4.0 if gather_all else 0.0
        rows_found = found[found[..., 0] >= 0]
        scores = {tuple(int(value) for value in row[:4]): row[4] for row in rows_found}
        assert len(scores) == len(rows_found)
        assert scores == pytest.approx(
            {fact: 1 / (1 + math.exp(-margin)) for fact, margin in expected.items() if margin > -reach}, abs=1e-5
        )
        facts = {(index, *fact[:3]) for index, facts in facts_by_document(found).items() for fact in facts}
        assert facts == {fact for fact, margin in expected.items() if margin > 0}


def test_scores_of_every_iteration_and_at_the_best_threshold(scored, by_index, make_trainer):
    model, rows, margins, gold = scored
    documents = by_index(rows)
    trainer = make_trainer(
        model,
        evaluation=Dataset.from_list(rows),
        compute_metrics=make_compute_metrics(documents, RELATIONS, train_facts=set()),
        per_device_eval_batch_size=3,
        calibrate_threshold=True,
    )
    metrics = trainer.evaluate()
    expected = {}
    for name, found in zip(("base", "iteration_1", "iteration_2"), margins, strict=True):
        expected[f"eval_{name}_f1"] = naive_f1(found, gold)
        expected[f"eval_{name}_calibrated_f1"] = naive_best_f1(found, gold)
    submitted = [
        {"title": documents[index]["title"], "h_idx": head, "t_idx": tail, "r": RELATIONS[relation]}
        for (index, head, tail, relation), margin in margins[-1].items()
        if margin > 0
    ]
    expected |= {f"eval_{name}": score for name, score in score_facts(submitted, documents, set()).items()}
    expected["eval_calibrated_f1"] = expected["eval_iteration_2_calibrated_f1"]
    assert {name: metrics[name] for name in expected} == pytest.approx(expected)
    assert {name for name in metrics if "f1" in name} == {name for name in expected if "f1" in name}
    assert metrics["eval_f1"] == pytest.approx(naive_f1(margins[-1], gold))
    assert 0 < metrics["eval_f1"] < metrics["eval_calibrated_f1"]


def test_a_base_module_has_no_scores_by_iteration(features, make_trainer):
    trainer = make_trainer(
        evaluation=Dataset.from_list(features), compute_metrics=make_compute_metrics(documents_of(features), RELATIONS)
    )
    names = {name for name in trainer.evaluate() if "f1" in name}
    assert names == {"eval_f1", "eval_calibrated_f1"}


# Calibration of a model with iterations


@pytest.mark.parametrize(
    "variant",
    [{}, {"iteration_update": "accumulate", "relation_embedding": "multi_label"}, {"add_base_logits": True}],
    ids=str,
)
@pytest.mark.parametrize("start", [-3.0, 0.0, 3.0])
def test_calibration_of_iterations_never_lowers_f1(tiny_model, related, by_index, make_trainer, variant, start):
    model = tiny_model(num_iterations=2, **variant)
    with torch.no_grad():
        model.inference_module.classifier.bias[0] += start
    dataset, documents = Dataset.from_list(related), by_index(related)
    trainer = make_trainer(
        model,
        evaluation=dataset,
        compute_metrics=make_compute_metrics(documents, RELATIONS),
        calibrate_threshold=True,
    )
    before, weights = trainer.evaluate()["eval_f1"], copy.deepcopy(model.state_dict())
    shift = trainer.calibrate_threshold()

    after = trainer.evaluate()["eval_f1"]
    assert after >= before
    bias = "inference_module.classifier.bias"
    for name, weight in model.state_dict().items():
        if name != bias:
            assert torch.equal(weight, weights[name]), name
    assert torch.equal(model.state_dict()[bias][1:], weights[bias][1:])
    assert model.state_dict()[bias][0].item() == pytest.approx(weights[bias][0].item() + shift, abs=1e-5)
    if start == 3.0:
        assert shift < 0 and after > before
    assert model.inference_module.classifier.bias.requires_grad


@pytest.mark.parametrize(("num_iterations", "failing_call"), [(0, 1), (2, 1), (2, 2), (2, 3)])
def test_calibration_that_fails_leaves_the_bias_as_it_was(
    tiny_model, related, make_trainer, monkeypatch, num_iterations, failing_call
):
    model = tiny_model(num_iterations=num_iterations)
    classifier = (model.inference_module if num_iterations else model.docre_ii).classifier
    with torch.no_grad():
        classifier.bias[0] += 3.0
    trainer = make_trainer(model, evaluation=Dataset.from_list(related), calibrate_threshold=True)
    before, predict, seen = classifier.bias.detach().clone(), trainer.predict, []

    def interrupted(*args, **kwargs):
        seen.append(classifier.bias.detach().clone())
        if len(seen) == failing_call:
            raise RuntimeError("out of memory")
        return predict(*args, **kwargs)

    monkeypatch.setattr(trainer, "predict", interrupted)
    with pytest.raises(RuntimeError, match="out of memory"):
        trainer.calibrate_threshold()
    assert len(seen) == failing_call
    assert failing_call == 1 or not torch.equal(seen[-1], before)
    assert torch.equal(classifier.bias, before)


# Two processes

WORKER = """
import json, sys
from pathlib import Path

import torch
from datasets import Dataset
from transformers import AutoTokenizer

from modeling_docre_ii import (
    DataCollatorForRelationExtraction, DocREIIForRelationExtraction, DocREIITrainer, DocREIITrainingArguments
)

torch.set_num_threads(1)
folder = Path(sys.argv[1])
rows = json.loads((folder / "rows.json").read_text())
for name, run in json.loads((folder / "runs.json").read_text()).items():
    model, untrained = (DocREIIForRelationExtraction.from_pretrained(folder / run["model"]) for _ in range(2))
    args = DocREIITrainingArguments(
        output_dir=str(folder / name), use_cpu=True, ddp_backend="gloo", disable_tqdm=True, **run["settings"]
    )
    assert args.world_size == 2
    collate = DataCollatorForRelationExtraction(AutoTokenizer.from_pretrained(folder / "tokenizer"))
    train_dataset = Dataset.from_list(rows[:4]).remove_columns("document_index")
    trainer = DocREIITrainer(model=model, args=args, train_dataset=train_dataset, data_collator=collate)
    trainer.train()
    predictor = DocREIITrainer(model=untrained, args=args, data_collator=collate)
    predictions = predictor.predict(Dataset.from_list(rows)).predictions
    if trainer.is_world_process_zero():
        torch.save(
            {"weights": model.state_dict(), "logs": trainer.state.log_history, "predictions": predictions},
            folder / f"{name}.pt",
        )
"""
RUNS = {
    "stage 1": {"model": "base", "settings": {"per_device_train_batch_size": 2}},
    "one batch a process": {"model": "iterating", "settings": {"per_device_train_batch_size": 2}},
    "two batches a process": {
        "model": "iterating",
        "settings": {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 2},
    },
    "frozen base": {"model": "iterating", "settings": {"per_device_train_batch_size": 2, "freeze_base": True}},
    "mean of the means": {
        "model": "iterating",
        "settings": {"per_device_train_batch_size": 2, "average_tokens_across_devices": False},
    },
}


@pytest.fixture(scope="module")
def two_processes(tiny_model, tmp_path_factory):
    """Runs all of `RUNS` in two processes on rows of five documents: {run: weights, logs, predictions}, and the
    folder with the models."""
    folder = tmp_path_factory.mktemp("two_processes")
    tiny_model(num_iterations=0, encoder_changes=NO_DROPOUT).save_pretrained(folder / "base")
    tiny_model(**DETERMINISTIC | WEIGHTS).save_pretrained(folder / "iterating")
    TOKENIZER.save_pretrained(folder / "tokenizer")
    rows = [row for row in random_rows() if len(row["mention_entities"]) > 1]
    (folder / "rows.json").write_text(json.dumps(rows))
    runs = {name: run | {"settings": ONE_SGD_STEP | run["settings"]} for name, run in RUNS.items()}
    (folder / "runs.json").write_text(json.dumps(runs))
    (folder / "worker.py").write_text(WORKER)
    root = str(Path(__file__).parents[2])
    environment = os.environ | {"PYTHONPATH": root, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    finished = subprocess.run(
        [*command, str(folder / "worker.py"), str(folder)],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert finished.returncode == 0, finished.stderr[-5000:]
    results = {name: torch.load(folder / f"{name}.pt", weights_only=False) for name in RUNS}
    return results, folder, rows


def in_one_process(two_processes, name, make_trainer):
    _, folder, rows = two_processes
    model = DocREIIForRelationExtraction.from_pretrained(folder / RUNS[name]["model"])
    settings = ONE_SGD_STEP | RUNS[name]["settings"] | {"gradient_accumulation_steps": 1}
    settings["per_device_train_batch_size"] = 4
    trainer = make_trainer(model, without_index(rows[:4]), **settings)
    trainer.train()
    return model, training_logs(trainer)[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["stage 1", "one batch a process", "two batches a process", "frozen base"])
def test_two_processes_learn_as_one(two_processes, make_trainer, name):
    model, logs = in_one_process(two_processes, name, make_trainer)
    found = two_processes[0][name]
    (found_logs,) = [entry for entry in found["logs"] if "loss" in entry]
    losses = [part for part in ("loss", *PARTS) if part in logs]
    assert len(losses) == (1 if name == "stage 1" else 4)
    assert {part: found_logs[part] for part in losses} == pytest.approx({p: logs[p] for p in losses}, rel=1e-4)
    for weight_name, weight in model.state_dict().items():
        torch.testing.assert_close(found["weights"][weight_name], weight, rtol=1e-3, atol=1e-5, msg=weight_name)
    start = DocREIIForRelationExtraction.from_pretrained(two_processes[1] / RUNS[name]["model"])
    assert (flat_weights(model) - flat_weights(start)).abs().max() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("name", ["stage 1", "one batch a process"])
def test_two_processes_predict_as_one(two_processes, make_trainer, name):
    """Of five documents, which two processes do not share evenly."""
    results, folder, rows = two_processes
    model = DocREIIForRelationExtraction.from_pretrained(folder / RUNS[name]["model"])
    expected = make_trainer(model).predict(Dataset.from_list(rows)).predictions
    found = results[name]["predictions"]
    assert len(found) == len(expected) == (1 if name == "stage 1" else 3)
    for predictions, expected_predictions in zip(found, expected):
        facts, expected_facts = facts_by_document(predictions), facts_by_document(expected_predictions)
        assert facts and facts.keys() == expected_facts.keys()
        for index, expected_of_document in expected_facts.items():
            assert [fact[:3] for fact in facts[index]] == [fact[:3] for fact in expected_of_document]
            assert [fact[3] for fact in facts[index]] == pytest.approx(
                [fact[3] for fact in expected_of_document], abs=1e-5
            )


@pytest.mark.slow
def test_parts_add_up_to_the_loss_where_each_process_has_its_own_mean(two_processes):
    """With `average_tokens_across_devices=False` the loss is the mean over the processes of their means."""
    (logs,) = [entry for entry in two_processes[0]["mean of the means"]["logs"] if "loss" in entry]
    parts = {name: logs[name] for name in PARTS}
    total = 0.5 * parts["base_loss"] + parts["inference_loss"] + 0.25 * parts["contrastive_loss"]
    assert total == pytest.approx(logs["loss"], rel=1e-4)
