"""Logs, threads and errors of a process."""

import logging

import pytest
import torch

from modeling_docre_ii.cli.process_setup import logger, one_line_errors, setup_logging, use_all_cores


def test_errors_of_the_user_are_one_line_and_others_are_not_hidden():
    with (
        pytest.raises(SystemExit, match="^docre-ii train: no such file$"),
        one_line_errors("docre-ii train", ValueError),
    ):
        raise ValueError("no such file")
    with pytest.raises(KeyError), one_line_errors("docre-ii train", ValueError, OSError):
        raise KeyError("a fault")
    with one_line_errors("docre-ii train", ValueError):
        pass


@pytest.mark.parametrize(("should_log", "level"), [(True, logging.INFO), (False, logging.WARNING)])
def test_main_process_logs_alone(should_log, level):
    setup_logging(should_log)
    assert logger.getEffectiveLevel() == level


@pytest.mark.parametrize(
    ("threads", "processes", "expected"), [("1", "1", 8), ("1", "2", 4), ("1", "16", 1), ("3", "1", 3)]
)
def test_cores_are_shared_among_the_processes(monkeypatch, threads, processes, expected):
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(8)), raising=False)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        use_all_cores()
        assert torch.get_num_threads() == expected
    finally:
        torch.set_num_threads(before)
