"""Checkpoints are complete or not there, and a training resumes only from complete ones."""

import itertools
import multiprocessing
import os
import re
import resource
import shutil
import signal
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from torch.nn.utils import parameters_to_vector

from modeling_docre_ii import DocREIIForRelationExtraction
from modeling_docre_ii.training.checkpoints import (
    FILE_LIST,
    UNFINISHED,
    CheckpointError,
    flaw_of_checkpoint,
    flaw_of_files,
    last_whole_checkpoint,
    list_files,
)


SETTINGS = {"num_train_epochs": 3, "per_device_train_batch_size": 2, "learning_rate": 0.01, "logging_steps": 1}


@pytest.fixture
def train(features, make_trainer, tiny_model):
    """Trains a model of the inference module, with dropout, and returns its weights and the Trainer."""

    def run(model=None, resume_from_checkpoint=None, evaluation=None, **settings):
        torch.manual_seed(5)
        trainer = make_trainer(tiny_model(num_iterations=2), features[:6], evaluation, **SETTINGS | settings)
        trainer.train(resume_from_checkpoint=resume_from_checkpoint)
        return parameters_to_vector(trainer.model.parameters()).detach(), trainer

    return run


# Which checkpoints are complete


def test_checkpoint_lists_its_files_and_leaves_nothing_beside_it(train, tmp_path):
    train(save_strategy="epoch")

    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint-3", "checkpoint-6", "checkpoint-9"}
    for checkpoint in tmp_path.iterdir():
        assert flaw_of_checkpoint(checkpoint) is None


def test_checkpoint_without_one_of_its_files_or_with_half_of_it_is_not_resumed(train, tmp_path):
    train(save_strategy="epoch", num_train_epochs=1)
    checkpoint = tmp_path / "checkpoint-3"
    files = [path for path in checkpoint.iterdir() if path.name != FILE_LIST]
    assert {"model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"} <= {
        path.name for path in files
    }
    for path in files:
        content = path.read_bytes()
        for half, words in ((None, "is missing"), (content[: len(content) // 2], "bytes")):
            path.unlink() if half is None else path.write_bytes(half)
            with pytest.raises(CheckpointError, match=rf"checkpoint-3.*{re.escape(path.name)} .*{words}"):
                train(resume_from_checkpoint=str(checkpoint))
            assert last_whole_checkpoint(tmp_path) == (None, {str(checkpoint): flaw_of_checkpoint(checkpoint)})
            path.write_bytes(content)
    assert flaw_of_checkpoint(checkpoint) is None


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth"])
def test_checkpoint_without_a_list_needs_all_that_a_training_resumes_from(train, tmp_path, name):
    """Those that transformers' `Trainer` or an earlier version wrote."""
    train(save_strategy="epoch", num_train_epochs=1)
    (tmp_path / "checkpoint-3" / FILE_LIST).unlink()
    assert flaw_of_checkpoint(tmp_path / "checkpoint-3") is None

    (tmp_path / "checkpoint-3" / name).unlink()
    assert "is missing" in flaw_of_checkpoint(tmp_path / "checkpoint-3")


def test_last_whole_checkpoint_is_resumed_and_later_ones_are_named(train, tmp_path):
    whole, _ = train(save_strategy="epoch")
    os.truncate(tmp_path / "checkpoint-9" / "optimizer.pt", 100)
    (tmp_path / "checkpoint-6" / "trainer_state.json").unlink()

    checkpoint, skipped = last_whole_checkpoint(tmp_path)
    assert checkpoint == str(tmp_path / "checkpoint-3")
    assert list(skipped) == [str(tmp_path / "checkpoint-9"), str(tmp_path / "checkpoint-6")]

    resumed, _ = train(resume_from_checkpoint=True, save_strategy="epoch")
    assert torch.equal(resumed, whole)


@pytest.mark.parametrize("save_strategy", ["epoch", "best"])
def test_best_checkpoint_is_kept_under_its_final_name(
    train, features, documents_of, make_trainer, tiny_model, save_strategy, tmp_path
):
    rows = features[:6]
    trainer = make_trainer(
        tiny_model(num_iterations=2),
        rows,
        rows,
        documents=documents_of(rows),
        save_strategy=save_strategy,
        eval_strategy="epoch",
        save_total_limit=1,
        load_best_model_at_end=True,
        **SETTINGS,
    )
    trainer.train()

    best = Path(trainer.state.best_model_checkpoint)
    assert best == tmp_path / f"checkpoint-{trainer.state.best_global_step}"
    assert flaw_of_checkpoint(best) is None
    assert UNFINISHED not in {path.name for path in tmp_path.iterdir()}


@pytest.fixture
def run_that_was_best_early(features, make_trainer, tiny_model):
    """Trains with a falling score, so that the first of three checkpoints is the best; returns weights and state."""

    def run(resume_from_checkpoint=None, **settings):
        rows = features[:6]
        settings = {"eval_strategy": "epoch", "save_strategy": "epoch", "load_best_model_at_end": True} | settings
        trainer = make_trainer(tiny_model(num_iterations=2), rows, rows, **SETTINGS | settings)
        trainer.compute_metrics = lambda _: {"f1": -trainer.state.global_step}
        trainer.train(resume_from_checkpoint=resume_from_checkpoint)
        return parameters_to_vector(trainer.model.parameters()).detach(), trainer.state

    return run


def test_the_best_checkpoint_of_a_folder_that_was_moved_is_found(run_that_was_best_early, tmp_path):
    whole, _ = run_that_was_best_early(output_dir=str(tmp_path / "there"))
    shutil.rmtree(tmp_path / "there" / "checkpoint-9")
    (tmp_path / "there").rename(tmp_path / "here")
    here = {"output_dir": str(tmp_path / "here")}
    resumed, state = run_that_was_best_early(str(tmp_path / "here" / "checkpoint-6"), **here)

    assert state.best_model_checkpoint == str(tmp_path / "here" / "checkpoint-3")
    assert torch.equal(resumed, whole)


def test_a_best_checkpoint_that_is_gone_is_named(run_that_was_best_early, tmp_path):
    run_that_was_best_early()
    shutil.rmtree(tmp_path / "checkpoint-3")

    with pytest.raises(CheckpointError, match=r"cannot resume .*checkpoint-3', but there is no such folder"):
        run_that_was_best_early(str(tmp_path / "checkpoint-6"))
    # Without it, the training goes on.
    run_that_was_best_early(str(tmp_path / "checkpoint-6"), load_best_model_at_end=False)


def test_files_that_readers_alone_need_may_be_missing(tmp_path):
    for name in ("model.safetensors", "config.json", "report.html", "all_results.json"):
        (tmp_path / name).write_text(name)
    list_files(tmp_path, "*", skipped=("report*.html", "*_results.json"))

    for name in ("report.html", "all_results.json"):
        (tmp_path / name).unlink()
        assert flaw_of_files(tmp_path) is None
    (tmp_path / "config.json").unlink()
    assert flaw_of_files(tmp_path) == "its config.json is missing"


# Processes that die, and folders that cannot be written


def in_another_process(function):
    """Runs a function in a process of its own, and returns how that ended."""
    process = multiprocessing.get_context("fork").Process(target=function)
    process.start()
    process.join(120)
    assert process.exitcode is not None
    return process.exitcode


@pytest.mark.parametrize(
    "name", ["model.safetensors", "optimizer.pt", "rng_state.pth", "trainer_state.json", FILE_LIST]
)
def test_process_killed_while_it_saves_leaves_the_checkpoints_before(train, tmp_path, monkeypatch, name):
    """Killed at the moment that a file of the second checkpoint appears."""
    whole, _ = train(save_strategy="epoch")
    for path in list(tmp_path.iterdir()):
        shutil.rmtree(path)

    def train_and_die():
        watched = tmp_path / UNFINISHED / "checkpoint-6" / name

        def die_when_it_appears(event, _):
            # Python calls this for each file that is opened, and for the signal as well.
            if event == "open" and watched.exists():
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(die_when_it_appears)
        train(save_strategy="epoch")

    assert in_another_process(train_and_die) == -signal.SIGKILL
    assert (tmp_path / UNFINISHED).exists() or (tmp_path / "checkpoint-6").exists()

    resumed, _ = train(resume_from_checkpoint=True, save_strategy="epoch")
    assert torch.equal(resumed, whole)
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint-3", "checkpoint-6", "checkpoint-9"}


def test_checkpoint_that_does_not_fit_on_the_disk_is_one_error_and_the_training_resumes(train, tmp_path):
    """A limit on the size of files acts as a full disk: the optimizer's state is larger than the weights."""
    whole, _ = train(save_strategy="epoch")
    limit = (tmp_path / "checkpoint-6" / "optimizer.pt").stat().st_size - 1
    for step in (6, 9):
        shutil.rmtree(tmp_path / f"checkpoint-{step}")
    message = tmp_path / "message"

    def train_on_a_full_disk():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        try:
            train(resume_from_checkpoint=True, save_strategy="epoch")
        except CheckpointError as error:
            message.write_text(str(error))

    assert in_another_process(train_on_a_full_disk) == 0
    assert message.read_text().startswith(f"cannot save a checkpoint in {str(tmp_path)!r} at step 6: ")
    message.unlink()
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint-3"}

    resumed, _ = train(resume_from_checkpoint=True, save_strategy="epoch")
    assert torch.equal(resumed, whole)


# The saved model


def test_process_killed_while_it_saves_a_model_leaves_one_model_or_none(make_trainer, tiny_model, tmp_path):
    """Killed at every JSON and every file of weights that is removed or renamed, with another model in the folder."""
    folder = tmp_path / "saved"
    torch.manual_seed(1)
    old = tiny_model(num_iterations=2)
    torch.manual_seed(2)
    trainer = make_trainer(tiny_model(num_iterations=1))

    def save_and_die(moment):
        num_left = moment

        def die(event, paths):
            nonlocal num_left
            if event in ("os.rename", "os.remove") and str(paths[0]).endswith((".json", ".safetensors")):
                num_left -= 1
                if num_left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(die)
        trainer.save_model(str(folder))
        os._exit(0)

    found = []
    for moment in itertools.count(1):
        shutil.rmtree(folder, ignore_errors=True)
        # In several files, for a model in one file to replace.
        old.save_pretrained(folder, max_shard_size="40KB")
        ended = in_another_process(partial(save_and_die, moment))
        found.append(model_in(folder, {"old": old, "new": trainer.model}))
        if ended == 0:
            break

    assert [name for name, _ in itertools.groupby(found)] == ["old", "none", "new"]
    trainer.save_model(str(folder))
    assert UNFINISHED not in os.listdir(folder) and len(list(folder.glob("*.safetensors"))) == 1


def model_in(folder, models):
    """The name of the model that a folder holds, with the configuration and the weights of that one."""
    try:
        found = DocREIIForRelationExtraction.from_pretrained(folder)
    except OSError as error:
        assert "no file named model.safetensors" in str(error)
        return "none"
    for name, model in models.items():
        if found.config.num_iterations == model.config.num_iterations:
            assert torch.equal(*(parameters_to_vector(each.parameters()) for each in (found, model)))
            return name


# Evaluation


def test_evaluation_does_not_change_the_training(train, features):
    alone, _ = train(save_strategy="no")
    evaluating = {"eval_strategy": "steps", "eval_steps": 1, "metric_for_best_model": "loss"}
    evaluated, _ = train(save_strategy="no", evaluation=features[:4], **evaluating)

    assert torch.equal(evaluated, alone)
