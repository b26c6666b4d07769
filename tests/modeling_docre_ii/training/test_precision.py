"""A training keeps its precision when it resumes, and in several processes."""

import json
import re

import pytest
import torch
from datasets import Dataset

from modeling_docre_ii import DocREIITrainer, DocREIITrainingArguments
from modeling_docre_ii.training.checkpoints import FILE_LIST
from modeling_docre_ii.training.precision import Precision, read_precision
from modeling_docre_ii.utils.cpu_bf16 import BF16Trial


FASTER, SLOWER = BF16Trial(slowdown=0.4), BF16Trial(slowdown=1.7)
BF16, FLOAT32 = Precision(bf16=True), Precision()
DTYPES = {BF16: {torch.bfloat16}, FLOAT32: {torch.float32}}


@pytest.fixture
def make_watched(tiny_model, related, collate, tmp_path):
    """Makes a Trainer, and the set of dtypes that its model will have computed in."""

    def make(reused=None, **settings):
        model, dtypes = tiny_model(), set()
        model.base_model.classifier.register_forward_hook(lambda module, args, output: dtypes.add(output.dtype))
        steps = {"max_steps": 4, "save_steps": 2, "per_device_train_batch_size": 2, "disable_tqdm": True}
        args = DocREIITrainingArguments(output_dir=str(tmp_path), use_cpu=True, **steps | {"bf16": True} | settings)
        if reused is not None:
            args.reuse_precision(reused)
        rows = Dataset.from_list(related).remove_columns("document_index")
        return DocREIITrainer(model=model, args=args, train_dataset=rows, data_collator=collate), dtypes

    return make


@pytest.fixture
def trained(make_watched, faster_in_bf16, set_bf16_trial, tmp_path):
    """Trains in a precision, and gives the checkpoint of its second step."""

    def train(used):
        set_bf16_trial(FASTER if used.bf16 else SLOWER)
        trainer, dtypes = make_watched()
        trainer.train()
        trainer.save_state()
        assert dtypes == DTYPES[used]
        return str(tmp_path / "checkpoint-2")

    return train


@pytest.mark.parametrize("used", [BF16, FLOAT32])
def test_checkpoints_and_a_finished_training_record_their_precision(trained, tmp_path, used):
    trained(used)
    for folder in ("checkpoint-2", "checkpoint-4", "."):
        record = read_precision(str(tmp_path / folder))
        assert (record.requested, record.used) == (BF16, used), folder


@pytest.mark.parametrize(("used", "trial_here"), [(BF16, SLOWER), (FLOAT32, FASTER)])
def test_resumed_training_computes_in_the_precision_it_was_started_in(
    trained, make_watched, set_bf16_trial, tmp_path, used, trial_here
):
    checkpoint = trained(used)
    set_bf16_trial(trial_here)
    trainer, dtypes = make_watched(reused=checkpoint)
    trainer.train(resume_from_checkpoint=checkpoint)

    assert trainer.state.global_step == 4
    assert dtypes == DTYPES[used]
    assert read_precision(str(tmp_path / "checkpoint-4")).used == used


@pytest.mark.parametrize("settings", [{}, {"restore_callback_states_from_checkpoint": True}])
@pytest.mark.parametrize(("used", "trial_here"), [(BF16, SLOWER), (FLOAT32, FASTER)])
def test_trainer_refuses_to_resume_in_another_precision(
    trained, make_watched, set_bf16_trial, used, trial_here, settings
):
    checkpoint = trained(used)
    set_bf16_trial(trial_here)
    trainer, dtypes = make_watched(**settings)
    message = f"was trained with `bf16={used.bf16}` .* set `bf16=True` and .* `args.reuse_precision"
    with pytest.raises(ValueError, match=message):
        trainer.train(resume_from_checkpoint=checkpoint)
    assert not dtypes


def test_checkpoint_without_a_record_is_resumed_and_has_one_from_then_on(
    trained, make_watched, set_bf16_trial, tmp_path
):
    checkpoint = trained(BF16)
    path = tmp_path / "checkpoint-2" / "trainer_state.json"
    state = json.loads(path.read_text())
    del state["stateful_callbacks"]["PrecisionRecord"]
    path.write_text(json.dumps(state))
    (path.parent / FILE_LIST).unlink()  # as in a checkpoint of an earlier version
    set_bf16_trial(SLOWER)
    trainer, dtypes = make_watched(reused=checkpoint)
    trainer.train(resume_from_checkpoint=checkpoint)

    assert dtypes == DTYPES[FLOAT32]
    assert read_precision(str(tmp_path / "checkpoint-4")).used == FLOAT32


# Several processes

SCRIPT = """
import os

from modeling_docre_ii.utils import cpu_bf16

rank = int(os.environ["RANK"])
for name in runs:
    trial = cpu_bf16.BF16Trial(**runs[name]["trials"][rank])
    cpu_bf16.try_bf16 = lambda: trial
    cpu_bf16._worst_trial.cache_clear()
    warnings = []
    cpu_bf16.logger.warning_once = warnings.append
    model, dtypes = load_model(name), set()
    model.base_model.classifier.register_forward_hook(lambda module, args, output: dtypes.add(str(output.dtype)))
    args = make_args(name)
    train_dataset = Dataset.from_list(rows[:4]).remove_columns("document_index")
    DocREIITrainer(model=model, args=args, train_dataset=train_dataset, data_collator=collate).train()
    found = {"dtypes": sorted(dtypes), "warnings": warnings}
    (folder / f"{name}, process {rank}.json").write_text(json.dumps(found))
"""
WORKS, IS_SLOWER = {"slowdown": 0.4}, {"slowdown": 1.7}
DIES = {"failure": "ends the process with SIGILL"}
TRIALS = {
    "faster in both": ([WORKS, WORKS], "torch.bfloat16", None),
    "slower in the first": ([IS_SLOWER, WORKS], "torch.float32", "bf16 takes 1.7 times .* on this CPU"),
    "slower in the second": ([WORKS, IS_SLOWER], "torch.float32", "bf16 takes 1.7 times .* on the CPU of process 1"),
    "dying in the second": ([IS_SLOWER, DIES], "torch.float32", "SIGILL on the CPU of process 1"),
}


@pytest.mark.slow
def test_all_processes_train_in_one_precision(launch, related, one_sgd_step, faster_in_bf16):
    settings = one_sgd_step | {"per_device_train_batch_size": 2, "bf16": True}
    runs = {name: {"model": "base", "settings": settings, "trials": trials} for name, (trials, *_) in TRIALS.items()}
    folder, _ = launch(SCRIPT, related, runs, "torch.distributed.run", "--standalone", "--nproc_per_node=2")

    for name, (_, dtype, warning) in TRIALS.items():
        first, second = (json.loads((folder / f"{name}, process {rank}.json").read_text()) for rank in (0, 1))
        assert first["dtypes"] == second["dtypes"] == [dtype], name
        assert not second["warnings"] and len(first["warnings"]) == (warning is not None), name
        assert warning is None or re.search(warning, first["warnings"][0]), name
