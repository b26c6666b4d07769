"""Runs that are killed and resumed end as if nothing had happened: real processes, killed at random moments."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from transformers import BertConfig, BertModel

from tests.hub_model import make_tokenizer


ROOT = Path(__file__).parents[1]
# What must be equal, bit for bit. Times differ, and so does the mean loss, which Trainer takes since its start.
RESULTS = ("model.safetensors", "stage_1/model.safetensors", "predictions.json", "result.json")
SETTINGS = {
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 2,
    "max_tokens_per_batch": 900,
    "num_train_epochs": 3,
    "max_train_documents": 10,
    "max_eval_documents": 4,
    "eval_delay": 0,
    "logging_steps": 1,
    "bf16": "false",
    "use_cpu": "true",
    "disable_tqdm": "true",
    "encoder_kwargs": "{}",
}
STRATEGIES = {
    "steps": {"save_strategy": "steps", "save_steps": 1, "eval_strategy": "steps", "eval_steps": 1},
    "epoch": {"save_strategy": "epoch", "eval_strategy": "epoch"},
    "best": {"save_strategy": "best", "eval_strategy": "epoch"},
}
WIDTHS = ("pair_hidden_size", "pair_bilinear_rank", "pair_intermediate_size", "pair_feature_size")
WIDTHS += ("inference_hidden_size", "inference_intermediate_size")
SIGNALS = (signal.SIGKILL, signal.SIGTERM)


@pytest.fixture(scope="module")
def encoder(sample_documents, tmp_path_factory):
    """A tiny text encoder with dropout, so that a resumed run must draw what the uninterrupted one draws."""
    folder = tmp_path_factory.mktemp("encoder")
    tokenizer = make_tokenizer(sample_documents["train"])
    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    BertModel(BertConfig(vocab_size=len(tokenizer), **sizes)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def command(encoder, tmp_path_factory):
    """The command of a run of both stages; all runs share one cache, so that each starts fast."""
    cache = tmp_path_factory.mktemp("cache")

    def make(output_dir, strategy, *arguments, processes=1):
        settings = SETTINGS | STRATEGIES[strategy] | {"model_name_or_path": encoder, "output_dir": output_dir}
        settings["model_kwargs"] = json.dumps(dict.fromkeys(WIDTHS, 32))
        settings["stage_2"] = json.dumps({"num_train_epochs": 2, "learning_rate": 1e-3})
        options = [f"--{name}={value}" for name, value in settings.items()]
        launch = ["run_docre.py"]
        if processes == 2:
            config = str(ROOT / "configuration" / "accelerate" / "cpu_2_processes.yaml")
            launch = ["-m", "accelerate.commands.launch", "--config_file", config, "run_docre.py"]
        environment = os.environ | {"HF_HOME": str(cache), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        words = [sys.executable, *launch, "configuration/quickstart.yaml", *options, *arguments]
        return {"args": words, "cwd": ROOT, "env": environment, "text": True}

    return make


def run(command):
    """Runs a command to its end, and returns what it printed."""
    done = subprocess.run(**command, capture_output=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def run_and_kill(command, delay, sent, log):
    """Runs a command, and ends it after a delay in seconds. Returns whether it was still running."""
    with log.open("a") as file:
        process = subprocess.Popen(**command, stdout=file, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            process.wait(timeout=delay)
        except subprocess.TimeoutExpired:
            # The processes of a launcher are in sessions of their own, and outlive it.
            for part in [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]:
                part.send_signal(sent)
            process.wait(timeout=60)
            return True
    assert process.returncode == 0, log.read_text()[-3000:]
    return False


def contents(folder):
    return {name: (folder / name).read_bytes() for name in RESULTS}


@pytest.mark.slow
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_run_that_is_killed_at_random_moments_ends_as_the_uninterrupted_one(command, strategy, tmp_path):
    """Up to seven kills, wherever they fall: while documents are read, in training, in saving or between stages."""
    begin = time.monotonic()
    run(command(tmp_path / "whole", strategy))
    duration = time.monotonic() - begin

    moments, log = random.Random(f"kill and resume, {strategy}"), tmp_path / "log.txt"
    kills = run_and_kill(command(tmp_path / "out", strategy), duration * 0.5, signal.SIGKILL, log)
    for number in range(6):
        # A run that was stopped before it had saved anything starts again, with the same command.
        resumed = command(tmp_path / "out", strategy, "--resume_from_checkpoint=last")
        kills += run_and_kill(resumed, moments.uniform(0.3, 0.8) * duration, SIGNALS[number % 2], log)
    run(command(tmp_path / "out", strategy, "--resume_from_checkpoint=last"))

    # A run that ends before its kill shows nothing.
    assert kills >= 2
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    again = run(command(tmp_path / "out", strategy, "--resume_from_checkpoint=last"))
    assert "this run is finished" in again and "parameters to train" not in again


@pytest.mark.slow
def test_two_processes_that_are_killed_resume_as_well(command, tmp_path):
    begin = time.monotonic()
    run(command(tmp_path / "whole", "steps", processes=2))
    duration = time.monotonic() - begin

    log = tmp_path / "log.txt"
    assert run_and_kill(command(tmp_path / "out", "steps", processes=2), duration * 0.6, signal.SIGKILL, log)
    run(command(tmp_path / "out", "steps", "--resume_from_checkpoint=last", processes=2))
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


@pytest.mark.slow
def test_another_run_does_not_take_what_an_older_one_left(command, tmp_path):
    run(command(tmp_path / "out", "epoch"))
    before = contents(tmp_path / "out")
    for arguments in (["--seed=7"], ["--seed=7", "--resume_from_checkpoint=last"], ["--learning_rate=0.01"]):
        refused = subprocess.run(**command(tmp_path / "out", "epoch", *arguments), capture_output=True)
        assert refused.returncode != 0
        assert f"run_docre.py: {str(tmp_path / 'out')!r} holds another run: `" in refused.stderr
    assert contents(tmp_path / "out") == before

    run(command(tmp_path / "out", "epoch", "--seed=7", "--overwrite_output_dir=true"))
    run(command(tmp_path / "new", "epoch", "--seed=7"))
    assert contents(tmp_path / "out") == contents(tmp_path / "new") != before


@pytest.mark.slow
def test_second_run_in_a_folder_is_refused_while_the_first_one_lives(command, tmp_path):
    first = subprocess.Popen(**command(tmp_path / "out", "steps"), stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        while not list(tmp_path.glob("out/**/checkpoint-*")):
            assert first.poll() is None
            time.sleep(0.1)
        second = command(tmp_path / "out", "steps", "--resume_from_checkpoint=last")
        refused = subprocess.run(**second, capture_output=True)
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.wait(timeout=60)
    assert refused.returncode != 0
    assert f"another process is writing into {str(tmp_path / 'out')!r}" in refused.stderr

    run(second)  # a dead process keeps no lock
