"""Batches within a budget: what is in them, over epochs and processes, and a Trainer that uses them."""

import copy
from collections import Counter
from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset
from torch.nn.utils import parameters_to_vector

from modeling_docre_ii import DocREIITrainingArguments
from modeling_docre_ii.training.batching import BudgetBatchSampler, document_sizes


# One document exceeds both budgets, another only that of pairs.
TOKENS = [30, 500, 12, 45, 80, 33, 61, 20, 22, 90, 41, 17, 25, 70, 55, 38, 29]
ENTITIES = [3, 40, 2, 5, 9, 14, 6, 1, 2, 8, 4, 3, 1, 7, 5, 4, 2]
BUDGETS = {"max_tokens": 150, "max_pairs": 120}


def batches_of(process=0, processes=1, epoch=0, **changes):
    settings = {"max_batch_size": 4, **BUDGETS, "epoch": None if epoch is None else lambda: epoch} | changes
    return list(BudgetBatchSampler(TOKENS, ENTITIES, num_processes=processes, process_index=process, **settings))


def fits(batch, max_batch_size=4, max_tokens=150, max_pairs=120):
    tokens, pairs = (len(batch) * max(sizes[i] for i in batch) for sizes in (TOKENS, [n * n for n in ENTITIES]))
    return len(batch) <= max_batch_size and tokens <= max_tokens and pairs <= max_pairs


@pytest.mark.parametrize("epoch", [None, *range(10)])
def test_batches_keep_to_the_budgets_and_hold_every_document_once(epoch):
    batches = batches_of(epoch=epoch)

    assert Counter(document for batch in batches for document in batch) == Counter(range(len(TOKENS)))
    for batch in batches:
        assert fits(batch) or len(batch) == 1
    assert [1] in batches and [5] in batches
    assert max(map(len, batches)) > 1


def test_each_budget_alone_and_neither():
    for batch in batches_of(max_tokens=None, max_batch_size=17):
        assert fits(batch, 17, max_tokens=10**6) or len(batch) == 1
    for batch in batches_of(max_pairs=None, max_batch_size=17):
        assert fits(batch, 17, max_pairs=10**6) or len(batch) == 1
    assert {len(batch) for batch in batches_of(epoch=None, max_tokens=None, max_pairs=None)} == {1, 4}


def test_order_is_that_of_seed_and_epoch():
    assert batches_of(epoch=3) == batches_of(epoch=3)
    orders = [batches_of(epoch=0), batches_of(epoch=1), batches_of(epoch=8), batches_of(epoch=0, seed=7)]
    for index, order in enumerate(orders):
        assert order not in orders[:index]
    # Epoch 8 has the groups of epoch 0 again.
    assert sorted(batches_of(epoch=8)) == sorted(batches_of(epoch=0))


def test_evaluation_starts_with_the_largest():
    batches = batches_of(epoch=None)

    assert batches[0] == [1]
    assert batches == batches_of(epoch=None, seed=7)


@pytest.mark.parametrize("processes", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("max_tokens", [1, 150, 400])
def test_processes_share_the_documents(processes, max_tokens):
    """All have the same number of batches in all epochs, and only documents that fill up the end are repeated."""
    lengths = set()
    for epoch in (None, *range(9)):
        found = [batches_of(p, processes, epoch, max_tokens=max_tokens) for p in range(processes)]
        lengths |= {len(batches) for batches in found} if epoch is not None else set()
        sampler = BudgetBatchSampler(TOKENS, ENTITIES, 4, max_tokens, 120, num_processes=processes)
        last = -(-len(TOKENS) // processes) * processes - len(TOKENS)
        assert sampler.num_repeated == (last if max_tokens == 1 else 0)
        own = [batches[:-1] if p >= processes - sampler.num_repeated else batches for p, batches in enumerate(found)]
        documents = [document for batches in own for batch in batches for document in batch]
        assert Counter(documents) == Counter(range(len(TOKENS)))
    assert len(lengths) == 1


def test_no_document_and_fewer_documents_than_processes():
    assert list(BudgetBatchSampler([], [], 4, 100)) == []
    samplers = [BudgetBatchSampler([9], [2], 4, 100, num_processes=3, process_index=p) for p in range(3)]
    assert [list(sampler) for sampler in samplers] == [[[0]]] * 3
    assert samplers[0].num_repeated == 2


def test_sizes_are_those_that_are_padded(features):
    sizes = [len(row["input_ids"]) for row in features], [1, 2, 3, 4, 1, 2, 3]

    assert document_sizes(Dataset.from_list(features)) == sizes
    assert document_sizes(features) == sizes


@pytest.mark.parametrize("name", ["max_tokens_per_batch", "max_pairs_per_batch"])
def test_a_budget_of_nothing_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match=f"`{name}` must be at least 1, got 0"):
        DocREIITrainingArguments(output_dir=str(tmp_path), **{name: 0})


# In training


def recorded(trainer):
    """Makes a Trainer record the shapes of its batches."""
    seen, step = [], trainer.training_step

    def training_step(model, inputs, num_items_in_batch=None):
        seen.append(SimpleNamespace(tokens=inputs["input_ids"].shape, pairs=inputs["pair_mask"].shape))
        return step(model, inputs, num_items_in_batch)

    trainer.training_step = training_step
    return seen


@pytest.mark.parametrize("accumulation", [1, 3])
def test_training_within_a_budget(deterministic_model, features, make_trainer, accumulation):
    settings = {"max_tokens_per_batch": 60, "max_pairs_per_batch": 20, "per_device_train_batch_size": 4}
    settings |= {"num_train_epochs": 3, "gradient_accumulation_steps": accumulation}
    trainer = make_trainer(deterministic_model(), features, save_strategy="no", **settings)
    seen = recorded(trainer)
    trainer.train()

    per_epoch = len(trainer.get_train_dataloader())
    assert len(seen) == 3 * per_epoch
    assert trainer.state.global_step == 3 * -(-per_epoch // accumulation)
    assert sum(batch.tokens[0] for batch in seen) == 3 * len(features)
    for batch in seen:
        assert batch.tokens.numel() <= 60 and batch.pairs.numel() <= 20


def test_all_batches_of_an_epoch_accumulated_are_one_batch(deterministic_model, features, make_trainer, one_sgd_step):
    start, weights = deterministic_model(), []
    budgeted = {"max_tokens_per_batch": 60, "gradient_accumulation_steps": 100, "per_device_train_batch_size": 4}
    for settings in (budgeted, {"per_device_train_batch_size": 7}):
        model = copy.deepcopy(start)
        make_trainer(model, features, **one_sgd_step | settings).train()
        weights.append(parameters_to_vector(model.parameters()).detach())

    assert (weights[0] - parameters_to_vector(start.parameters())).abs().max() > 1e-3
    torch.testing.assert_close(*weights, rtol=1e-4, atol=1e-5)


def test_training_resumed_sees_the_same_batches(tiny_model, features, make_trainer, tmp_path):
    start, weights = tiny_model(), []
    for checkpoint in (None, str(tmp_path / "checkpoint-7")):
        model = copy.deepcopy(start)
        trainer = make_trainer(
            model,
            features,
            num_train_epochs=4,
            max_tokens_per_batch=60,
            learning_rate=0.01,
            save_strategy="steps",
            save_steps=7,
        )
        trainer.train(resume_from_checkpoint=checkpoint)
        assert 7 % len(trainer.get_train_dataloader())
        weights.append(parameters_to_vector(model.parameters()))

    torch.testing.assert_close(*weights, rtol=1e-4, atol=1e-6)


def test_evaluation_does_not_depend_on_the_budget(features, documents_of, make_trainer):
    found = []
    for settings in ({"per_device_eval_batch_size": 3}, {"max_tokens_per_batch": 40}, {"max_pairs_per_batch": 1}):
        trainer = make_trainer(evaluation=features, documents=documents_of(features), **settings)
        metrics = trainer.evaluate()
        found.append({name: value for name, value in metrics.items() if name.endswith(("loss", "f1", "recall"))})

    assert found[0]["eval_loss"] > 0
    assert found[1] == pytest.approx(found[0], rel=1e-4) and found[2] == pytest.approx(found[0], rel=1e-4)
