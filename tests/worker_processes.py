"""Runs scripts that train in several processes on the CPU, and their common start."""

import os
import subprocess
import sys
from pathlib import Path


ROOT = Path(__file__).parents[1]
WORKER_START = """
import json, sys
from pathlib import Path

import torch
from datasets import Dataset
from transformers import AutoTokenizer

from modeling_docre_ii import (
    DataCollatorForRelationExtraction, DocREIIForRelationExtraction, DocREIITrainer, DocREIITrainingArguments
)

torch.set_num_threads(1)
folder = Path(sys.argv[1])
rows, runs = (json.loads((folder / name).read_text()) for name in ("rows.json", "runs.json"))
collate = DataCollatorForRelationExtraction(AutoTokenizer.from_pretrained(folder / "tokenizer"))


def load_model(name):
    return DocREIIForRelationExtraction.from_pretrained(folder / runs[name]["model"])


def make_args(name):
    args = DocREIITrainingArguments(
        output_dir=str(folder / name), use_cpu=True, ddp_backend="gloo", disable_tqdm=True, **runs[name]["settings"]
    )
    assert args.world_size == 2
    return args
"""


def run_worker(folder, script, *launcher):
    """
    Runs a script in the processes of a launcher, as `"torch.distributed.run", "--nproc_per_node=2"`.

    The script finds `folder`, `rows`, `runs` and `collate`, read from the folder, and `load_model` and `make_args`,
    which take the name of a run.
    """
    path = folder / "worker.py"
    path.write_text(WORKER_START + script)
    finished = subprocess.run(
        [sys.executable, "-m", *launcher, str(path), str(folder)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert finished.returncode == 0, finished.stderr[-5000:]
