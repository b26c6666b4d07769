"""Bulk extraction as a Ray Data job: both workers work, and write what one process writes, even if one is killed."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from dataset_scripts.corpus import load_corpus
from modeling_docre_ii import DocREIIForRelationExtraction, DocREIIProcessor, extract_to_parquet
from tests.hub_model import SAMPLE, save_checkpoint


pytestmark = pytest.mark.slow
pytest.importorskip("ray")
psutil = pytest.importorskip("psutil")

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """40 documents, which are 20 files."""
    documents = json.loads((SAMPLE / "train.json").read_text(encoding="utf-8"))[:40]
    path = tmp_path_factory.mktemp("corpus") / "corpus.jsonl"
    path.write_text("".join(json.dumps(document | {"labels": []}) + "\n" for document in documents), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def expected(checkpoint, corpus, tmp_path_factory):
    """The bytes of the files of one process with one thread."""
    folder, num_threads = tmp_path_factory.mktemp("expected"), torch.get_num_threads()
    torch.set_num_threads(1)
    model = DocREIIForRelationExtraction.from_pretrained(checkpoint)
    documents = load_corpus(files={"test": [str(corpus)]}).splits["test"]
    extract_to_parquet(model, DocREIIProcessor.from_pretrained(checkpoint), documents, folder, documents_per_shard=2)
    torch.set_num_threads(num_threads)
    return files_of(folder)


@pytest.fixture
def start(checkpoint, corpus, tmp_path):
    """Starts the job, with the files that Ray keeps in a home of its own."""

    def start_job():
        command = [sys.executable, "examples/extract_with_ray.py", checkpoint, corpus, tmp_path / "triples"]
        (tmp_path / "home").mkdir()
        return subprocess.Popen(
            [*map(str, command), "--documents_per_shard=2", "--num_workers=2", "--num_cpus=0.5"],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT), "HOME": str(tmp_path / "home")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start_job


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.parquet")}


def workers_of(job):
    """Finds the processes of a job that have a model."""
    found = psutil.Process(job.pid).children(recursive=True)
    return [process for process in found if "ShardExtractor" in " ".join(process.cmdline())]


def counts_in(printed):
    return {int(process): int(count) for process, count in re.findall(r"process (\d+): (\d+) files", printed)}


def test_both_workers_write_the_bits_of_one_process(start, expected, tmp_path):
    job = start()
    printed, errors = job.communicate(timeout=600)
    assert job.returncode == 0, errors[-5000:]

    assert len(expected) == 20
    assert files_of(tmp_path / "triples") == expected
    counts = counts_in(printed)
    assert len(counts) == 2 and min(counts.values()) >= 1 and sum(counts.values()) == 20
    assert printed.endswith("20 files are complete\n")
    assert "Dashboard" not in errors


def test_killed_worker_is_replaced(start, expected, tmp_path):
    job = start()
    while job.poll() is None and len(files_of(tmp_path / "triples")) < 3:
        time.sleep(0.02)
    killed = workers_of(job)[0].pid
    os.kill(killed, signal.SIGKILL)
    num_done = len(files_of(tmp_path / "triples"))
    printed, errors = job.communicate(timeout=600)
    assert job.returncode == 0, errors[-5000:]

    assert num_done < 20, "it was killed too late"
    assert files_of(tmp_path / "triples") == expected
    counts = counts_in(printed)
    assert sum(counts.values()) == 20 and set(counts) - {killed}
