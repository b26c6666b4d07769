"""The bf16 trial runs in a child process, so a crash is a result and does not end the parent."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from modeling_docre_ii.utils import bf16_products, cpu_bf16
from modeling_docre_ii.utils.cpu_bf16 import BF16Trial, try_in_fork, try_in_new_process


ROOT = Path(__file__).parents[3]
has_fork = pytest.mark.skipif(not cpu_bf16._CAN_FORK, reason="this system has no fork")


def end_by_sigill():
    os.kill(os.getpid(), signal.SIGILL)


def take(milliseconds):
    return lambda: time.sleep(milliseconds / 1000)


def fail():
    raise RuntimeError("no bf16 here")


@has_fork
@pytest.mark.parametrize(
    ("bf16_product", "message"),
    [
        (end_by_sigill, "a bf16 matrix product ends the process with SIGILL on this CPU"),
        (fail, "a bf16 matrix product fails (exit code 0x1) on this CPU"),
        (lambda: os._exit(3), "a bf16 matrix product fails (exit code 0x3) on this CPU"),
    ],
)
def test_child_that_dies_is_an_answer(bf16_product, message, capfd):
    trial = try_in_fork(bf16_product, take(1))

    assert not trial.is_alive and not trial.is_faster
    assert str(trial) == message
    assert capfd.readouterr() == ("", ""), "the child has written to the terminal"


@has_fork
def test_child_that_dies_leaves_no_core_file(tmp_path, monkeypatch):
    resource = pytest.importorskip("resource")
    monkeypatch.chdir(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (limits[1], limits[1]))
    try:
        try_in_fork(end_by_sigill, take(1))
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, limits)
    assert not list(tmp_path.iterdir())


@has_fork
def test_child_that_is_slower_or_faster():
    slower, faster = try_in_fork(take(100), take(1)), try_in_fork(take(1), take(100))

    assert slower.is_alive and not slower.is_faster
    assert faster.is_alive and faster.is_faster
    assert str(BF16Trial(slowdown=1.7)) == "bf16 takes 1.7 times as long as float32 on this CPU"


@has_fork
def test_child_that_hangs_is_killed():
    trial = try_in_fork(take(1e6), take(1), time_limit=0.2)

    assert not trial.is_alive
    assert str(trial) == "a bf16 matrix product does not end within 0.2 seconds on this CPU"


@has_fork
def test_no_child_and_no_open_file_is_left():
    open_files = set(os.listdir("/dev/fd"))
    for product in (take(1), end_by_sigill, fail):
        try_in_fork(product, take(1))
    try_in_fork(take(1e6), take(1), time_limit=0.1)

    assert set(os.listdir("/dev/fd")) == open_files
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


@has_fork
def test_child_of_a_process_that_ignores_its_children():
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert try_in_fork(take(1), take(2)).is_alive
        assert not try_in_fork(end_by_sigill, take(1)).is_alive
    finally:
        signal.signal(signal.SIGCHLD, before)


@has_fork
def test_no_more_processes_is_an_answer(monkeypatch):
    def refuse():
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refuse)
    trial = try_in_fork(take(1), take(1))
    assert not trial.is_alive and "cannot be tried in a child process" in str(trial)


AFTER_THREADED_TORCH = """
import threading, warnings
import torch
from modeling_docre_ii.utils.cpu_bf16 import try_bf16

warnings.simplefilter("error", DeprecationWarning)
torch.set_num_threads(2)
ones = torch.ones(1500, 1500, requires_grad=True)
(ones @ ones).sum().backward()
threading.Thread(target=threading.Event().wait, daemon=True).start()
trial = try_bf16()
assert "does not end" not in str(trial), trial
assert try_bf16() is trial
(ones @ ones).sum().backward()
print("went on")
"""


def test_trial_does_not_hang_after_threaded_torch():
    """A fork takes only one thread along; libraries that wait for the others would wait forever."""
    command = [sys.executable, "-c", AFTER_THREADED_TORCH]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "2"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "went on\n" and "Warning" not in ended.stderr


@has_fork
def test_both_ways_of_trying_agree_on_whether_bf16_works():
    products = (bf16_products.bf16_product, bf16_products.float32_product)
    in_fork, in_new_process = try_in_fork(*products), try_in_new_process([sys.executable, bf16_products.__file__])

    assert in_fork.is_alive == in_new_process.is_alive
    if in_fork.is_alive:
        # What works in the child works here as well.
        ones = torch.ones(64, 64, dtype=torch.bfloat16)
        assert torch.equal(ones @ ones, torch.full((64, 64), 64, dtype=torch.bfloat16))
        assert in_fork.slowdown > 0


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("print('[3.0, 2.0]')", BF16Trial(slowdown=1.5)),
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", BF16Trial(failure="ends the process with SIGILL")),
        ("print('[3.0, 2.0]'); raise SystemExit(3)", BF16Trial(failure="fails (exit code 0x3)")),
    ],
)
def test_program_that_tries_where_there_is_no_fork(program, expected):
    assert try_in_new_process([sys.executable, "-c", program]) == expected


def test_program_that_hangs_is_killed():
    trial = try_in_new_process([sys.executable, "-c", "import time; time.sleep(1000)"], time_limit=0.5)
    assert trial == BF16Trial(failure="does not end within 0.5 seconds")


def test_missing_program_is_an_answer(tmp_path):
    assert "cannot be tried" in str(try_in_new_process([str(tmp_path / "python")]))


def test_functions_are_timed_in_turn():
    calls = []
    times = bf16_products.best_times(lambda: calls.append("bf16"), lambda: calls.append("float32"))

    assert len(times) == 2 and all(0 <= seconds < 1 for seconds in times)
    assert calls == ["bf16", "float32"] * (len(calls) // 2) and len(calls) > 2


@pytest.mark.parametrize("slowdown", [0.9, 1.0])
def test_bf16_has_to_be_faster(slowdown):
    assert BF16Trial(slowdown=slowdown).is_faster == (slowdown < 1)


def test_process_that_is_alone_has_its_own_answer(set_bf16_trial):
    trial = BF16Trial(slowdown=1.5)
    set_bf16_trial(trial)
    assert cpu_bf16.try_bf16_in_all_processes() == cpu_bf16.try_bf16() == trial


def test_threads_of_the_parent_are_as_before():
    threads, alive = torch.get_num_threads(), threading.active_count()
    cpu_bf16.try_bf16.cache_clear()
    cpu_bf16.try_bf16()
    assert (torch.get_num_threads(), threading.active_count()) == (threads, alive)
