"""Two processes learn from each document once an epoch, and predict it once, for any number of documents."""

import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.nn.utils import parameters_to_vector

from modeling_docre_ii.training.predictions import unpack_facts


pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
RELATIONS = ["Na", "P1", "P2", "P3"]
SCRIPT = """
class RecordingTrainer(DocREIITrainer):
    def training_step(self, model, inputs, num_items_in_batch=None):
        has_pairs = inputs["pair_mask"].flatten(1).any(-1)
        self.seen += [(int(self.state.epoch or 0), str(row.tolist())) for row in inputs["input_ids"][has_pairs]]
        return super().training_step(model, inputs, num_items_in_batch)


def make_trainer(name):
    train_dataset = Dataset.from_list(rows[: runs[name]["documents"]]).remove_columns("document_index")
    trainer = RecordingTrainer(
        model=load_model(name), args=make_args(name), train_dataset=train_dataset, data_collator=collate
    )
    trainer.seen = []
    return trainer


def losses(trainer):
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


for name, run in runs.items():
    trainer, result = make_trainer(name), {"predictions": {}}
    for count in run.get("predict", []):
        output = trainer.predict(Dataset.from_list(rows[:count]))
        unlabelled = trainer.predict(Dataset.from_list(rows[:count]).remove_columns("labels"))
        result["predictions"][count] = output.predictions, output.metrics["test_loss"], unlabelled.predictions
    trainer.train()
    result |= {"losses": losses(trainer), "seen": trainer.seen, "weights": trainer.model.state_dict()}
    if "resume" in run:
        resumed = make_trainer(name)
        resumed.train(resume_from_checkpoint=str(folder / name / run["resume"]))
        result["resumed"] = resumed.model.state_dict()
    torch.save(result, folder / f"{name} {trainer.args.process_index}.pt")
"""
CURVE = {"num_train_epochs": 3, "optim": "sgd", "learning_rate": 0.1, "encoder_learning_rate": 0.1, "logging_steps": 1}
CURVE |= {"base_learning_rate": 0.1, "warmup_steps": 0, "max_grad_norm": 0, "save_strategy": "no"}
PAIRS_OF_TWO = {"per_device_train_batch_size": 2, "per_device_eval_batch_size": 2}
ACCUMULATED = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 2}
BUDGET = {"max_tokens_per_batch": 60, "max_pairs_per_batch": 20, "per_device_train_batch_size": 4}
BUDGET |= {"per_device_eval_batch_size": 4}
WHOLE_EPOCH = {"gradient_accumulation_steps": 100}
RUNS = {
    "base": {"model": "base", "documents": 7, "settings": PAIRS_OF_TWO, "predict": [1, 2, 3, 4, 5, 7]},
    "all parts": {"model": "iterating", "documents": 7, "settings": PAIRS_OF_TWO, "predict": [1, 2, 3, 5]},
    "five documents": {"model": "iterating", "documents": 5, "settings": PAIRS_OF_TWO},
    "accumulated": {"model": "iterating", "documents": 7, "settings": ACCUMULATED},
    "budget": {"model": "iterating", "documents": 7, "settings": BUDGET | WHOLE_EPOCH, "predict": [1, 2, 3, 5, 7]},
    "each alone": {
        "model": "iterating",
        "documents": 7,
        "settings": BUDGET | WHOLE_EPOCH | {"max_tokens_per_batch": 1},
        "predict": [1, 5],
    },
    "interrupted": {
        "model": "base",
        "documents": 7,
        "settings": BUDGET | {"max_tokens_per_batch": 40, "save_strategy": "steps", "save_steps": 1, "max_steps": 9},
        "resume": "checkpoint-5",
    },
}
CURVES = [name for name in RUNS if name != "interrupted"]


@pytest.fixture(scope="module")
def two_processes(launch, features):
    """Runs all of `RUNS` in two processes: `results` is {run: what was found, and what each process saw}, `load`
    gives the model at its start."""
    config = ROOT / "configuration" / "accelerate" / "cpu_2_processes.yaml"
    launcher = ["accelerate.commands.launch", "--main_process_port=0", f"--config_file={config}"]
    runs = {name: run | {"settings": CURVE | run["settings"]} for name, run in RUNS.items()}
    folder, load = launch(SCRIPT, features, runs, *launcher)
    results = {}
    for name in RUNS:
        first, second = (torch.load(folder / f"{name} {rank}.pt", weights_only=False) for rank in range(2))
        for weight_name, weight in first["weights"].items():
            assert torch.equal(weight, second["weights"][weight_name]), (name, weight_name)
        results[name] = first | {"seen": [first["seen"], second["seen"]]}
    return SimpleNamespace(results=results, load=load)


@pytest.mark.parametrize("name", CURVES)
def test_loss_curve_is_that_of_one_process(two_processes, features, make_trainer, name):
    """Predicting before training does not change the training."""
    run, model, found = RUNS[name], two_processes.load(name), two_processes.results[name]
    size = run["documents"] if "max_tokens_per_batch" in run["settings"] else 4
    trainer = make_trainer(model, features[: run["documents"]], **CURVE, per_device_train_batch_size=size)
    trainer.train()

    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(losses) == 3 * -(-run["documents"] // size)
    assert found["losses"] == pytest.approx(losses, rel=2e-3)
    start = parameters_to_vector(two_processes.load(name).parameters())
    assert (parameters_to_vector(model.parameters()) - start).abs().max() > 1e-2
    for weight_name, weight in model.state_dict().items():
        torch.testing.assert_close(found["weights"][weight_name], weight, rtol=1e-2, atol=1e-3, msg=weight_name)


@pytest.mark.parametrize("name", list(RUNS))
def test_every_document_is_learned_from_once_an_epoch(two_processes, features, name):
    seen = [document for process in two_processes.results[name]["seen"] for document in process]
    texts = [row["input_ids"] for row in features[: RUNS[name]["documents"]] if len(row["pair_mask"]) > 1]
    for epoch in range(3 if name != "interrupted" else 1):
        found = Counter(tuple(t for t in json.loads(text) if t) for number, text in seen if number == epoch)
        assert found == {tuple(text): 1 for text in texts}


@pytest.mark.parametrize("name, count", [(name, count) for name in RUNS for count in RUNS[name].get("predict", [])])
def test_every_document_is_predicted_once(two_processes, features, make_trainer, name, count):
    trainer = make_trainer(two_processes.load(name), evaluation=features[:count], per_device_eval_batch_size=3)
    expected = trainer.predict(trainer.eval_dataset)
    predictions, loss, unlabelled = two_processes.results[name]["predictions"][count]

    assert loss == pytest.approx(expected.metrics["test_loss"], rel=1e-4)
    for found, found_unlabelled, of_one in zip(predictions, unlabelled, expected.predictions, strict=True):
        for packed in (found, found_unlabelled):
            assert [sorted(of_document) for of_document in unpack_facts(packed, RELATIONS, count)] == [
                [fact._replace(score=pytest.approx(fact.score, abs=1e-5)) for fact in sorted(of_document)]
                for of_document in unpack_facts(of_one, RELATIONS, count)
            ]
    assert count == 1 or any(unpack_facts(predictions[-1], RELATIONS, count))


def test_training_resumed_in_the_middle_of_an_epoch_sees_the_same_batches(two_processes):
    found = two_processes.results["interrupted"]
    for name, weight in found["weights"].items():
        torch.testing.assert_close(found["resumed"][name], weight, rtol=1e-5, atol=1e-6, msg=name)
