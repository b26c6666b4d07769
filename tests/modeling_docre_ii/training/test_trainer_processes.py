"""The Trainer in two processes learns and predicts as in one."""

from types import SimpleNamespace

import pytest
import torch
from torch.nn.utils import parameters_to_vector

from modeling_docre_ii.training.predictions import unpack_facts


pytestmark = pytest.mark.slow

RELATIONS = ["Na", "P1", "P2", "P3"]
PARTS = ("base_loss", "inference_loss", "contrastive_loss")
SCRIPT = """
for name in runs:
    model, untrained, args = load_model(name), load_model(name), make_args(name)
    train_dataset = Dataset.from_list(rows[:4]).remove_columns("document_index")
    trainer = DocREIITrainer(model=model, args=args, train_dataset=train_dataset, data_collator=collate)
    trainer.train()
    predictor = DocREIITrainer(model=untrained, args=args, data_collator=collate)
    predictions = predictor.predict(Dataset.from_list(rows)).predictions
    if trainer.is_world_process_zero():
        (log,) = [entry for entry in trainer.state.log_history if "loss" in entry]
        torch.save({"weights": model.state_dict(), "log": log, "predictions": predictions}, folder / f"{name}.pt")
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
def two_processes(launch, related, one_sgd_step):
    """Runs all of `RUNS` in two processes: `results` is {run: weights, log, predictions}, `load` gives the model at
    its start."""
    runs = {name: run | {"settings": one_sgd_step | run["settings"]} for name, run in RUNS.items()}
    folder, load = launch(SCRIPT, related, runs, "torch.distributed.run", "--standalone", "--nproc_per_node=2")
    return SimpleNamespace(
        results={name: torch.load(folder / f"{name}.pt", weights_only=False) for name in RUNS}, load=load
    )


@pytest.mark.parametrize("name", ["stage 1", "one batch a process", "two batches a process", "frozen base"])
def test_two_processes_learn_as_one(two_processes, related, make_trainer, one_sgd_step, name):
    model, start, found = two_processes.load(name), two_processes.load(name), two_processes.results[name]
    one_batch = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 1}
    trainer = make_trainer(model, related[:4], **one_sgd_step | RUNS[name]["settings"] | one_batch)
    trainer.train()

    (log,) = [entry for entry in trainer.state.log_history if "loss" in entry]
    losses = ["loss"] if name == "stage 1" else ["loss", *PARTS]
    assert {part: found["log"][part] for part in losses} == pytest.approx({p: log[p] for p in losses}, rel=1e-4)
    for weight_name, weight in model.state_dict().items():
        torch.testing.assert_close(found["weights"][weight_name], weight, rtol=1e-3, atol=1e-5, msg=weight_name)
    moved = parameters_to_vector(model.parameters()) - parameters_to_vector(start.parameters())
    assert moved.abs().max() > 1e-3


@pytest.mark.parametrize("name", ["stage 1", "one batch a process"])
def test_two_processes_predict_as_one(two_processes, related, make_trainer, name):
    """Of five documents, which two processes do not share evenly."""
    trainer = make_trainer(two_processes.load(name), evaluation=related)
    expected = trainer.predict(trainer.eval_dataset).predictions
    found = two_processes.results[name]["predictions"]

    assert len(found) == len(expected) == (1 if name == "stage 1" else 3)
    for predictions, expected_predictions in zip(found, expected):
        facts = unpack_facts(predictions, RELATIONS, 7)
        assert any(facts)
        assert facts == [
            [fact._replace(score=pytest.approx(fact.score, abs=1e-5)) for fact in of_document]
            for of_document in unpack_facts(expected_predictions, RELATIONS, 7)
        ]


def test_parts_add_up_to_the_loss_where_each_process_has_its_own_mean(two_processes):
    """With `average_tokens_across_devices=False` the loss is the mean over the processes of their means."""
    log = two_processes.results["mean of the means"]["log"]
    total = 0.5 * log["base_loss"] + log["inference_loss"] + 0.25 * log["contrastive_loss"]
    assert total == pytest.approx(log["loss"], rel=1e-4)
