"""Runs that are killed and resumed end as if nothing had happened: real processes, killed at random moments."""

import os
import random
import signal
import subprocess
import time
from functools import partial

import psutil
import pytest

from tests.small_runs import STRATEGIES, contents, make_command, run, save_encoder


SIGNALS = (signal.SIGKILL, signal.SIGTERM)


@pytest.fixture(scope="module")
def command(sample_documents, tmp_path_factory):
    """The command of a run; all share an encoder and a cache."""
    encoder, cache = tmp_path_factory.mktemp("encoder"), tmp_path_factory.mktemp("cache")
    save_encoder(encoder, sample_documents["train"])
    return partial(make_command, encoder, cache)


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
