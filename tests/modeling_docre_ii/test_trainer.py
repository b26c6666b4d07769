"""The Trainer: learning-rate groups, schedule, the loss over accumulated batches, predictions as triples."""

import copy

import numpy as np
import pytest
import torch
from datasets import Dataset
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from modeling_docre_ii import (
    DataCollatorForRelationExtraction,
    DocREIITrainer,
    DocREIITrainingArguments,
    facts_by_document,
    make_compute_metrics,
    predicted_facts,
    score_facts,
    submission,
)


RELATIONS = ["Na", "P1", "P2", "P3"]


TOKENIZER = PreTrainedTokenizerFast(
    tokenizer_object=Tokenizer(models.WordLevel({"[PAD]": 0, "[UNK]": 1}, unk_token="[UNK]")),
    pad_token="[PAD]",
    unk_token="[UNK]",
)
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


@pytest.fixture
def features():
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
    found = facts_by_document(trainer.predict(Dataset.from_list(features)).predictions)

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
    assert output.predictions.shape[0] == len(features)
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
    assert facts_by_document(trainer.predict(Dataset.from_list(features)).predictions) == {}


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
    facts = facts_by_document(trainer.predict(dataset).predictions)
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
    predictions = np.array([[[3, 0, 1, 7, 0.75], padding], [padding, padding], [[1, 2, 0, 4, 0.5], [1, 0, 2, 4, 0.9]]])
    assert facts_by_document(predictions) == {3: [(0, 1, 7, 0.75)], 1: [(2, 0, 4, 0.5), (0, 2, 4, 0.9)]}


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
    trainer = make_trainer(model, evaluation=dataset, compute_metrics=make_compute_metrics(documents, RELATIONS))
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
