"""Fixtures of all tests: the bundled documents, and the outcome of the bf16 trial. Tests run offline."""

import json
import os
from pathlib import Path


os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest  # noqa: E402
import torch  # noqa: E402

from modeling_docre_ii.utils import cpu_bf16  # noqa: E402


ROOT = Path(__file__).parents[1]
# Each process takes 2 GB of memory.
MOST_PROCESSES = 4


def pytest_xdist_auto_num_workers(config):
    """Shares the tests among the cores. Those that the command line selects run here: processes start slowly."""
    if config.args_source is not pytest.Config.ArgsSource.TESTPATHS or config.option.keyword:
        return 0
    return min(MOST_PROCESSES, os.cpu_count() or 1)


# Tiny matrices are faster on one thread, and processes that tests fork can hang on several.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def one_thread():
    """Goes back to one thread, after a test of a run, which uses all cores."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def sample_documents():
    """The bundled Re-DocRED documents, by split: 80 in `train`, 20 in `dev`."""
    folder = ROOT / "examples" / "re_docred_sample"
    return {split: json.loads((folder / f"{split}.json").read_text(encoding="utf-8")) for split in ("train", "dev")}


@pytest.fixture
def in_the_repository(monkeypatch):
    """Runs in the root of the repository, where the paths in the configurations start."""
    monkeypatch.chdir(ROOT)


@pytest.fixture
def set_bf16_trial(monkeypatch):
    """Sets the outcome of the bf16 trial, as on another CPU, and clears warnings that are shown once."""

    def forget():
        cpu_bf16.try_bf16.cache_clear()
        cpu_bf16._worst_trial.cache_clear()
        cpu_bf16.logger.warning_once.cache_clear()

    def set_trial(trial):
        for name in ("try_in_fork", "try_in_new_process"):
            monkeypatch.setattr(cpu_bf16, name, lambda *args, **kwargs: trial)
        forget()

    yield set_trial
    forget()


@pytest.fixture
def faster_in_bf16(set_bf16_trial):
    """Uses bf16 even if it is slower than float32. Skips the test if bf16 does not work."""
    found = cpu_bf16.try_bf16()
    if not found.is_alive:
        pytest.skip(str(found))
    set_bf16_trial(cpu_bf16.BF16Trial(slowdown=0.5))
