"""Small runs of `run_docre.py` as commands, for tests that kill them or fill their disk."""

import json
import os
import subprocess
import sys
from pathlib import Path

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
    "mention_model": "null",
}
STRATEGIES = {
    "steps": {"save_strategy": "steps", "save_steps": 1, "eval_strategy": "steps", "eval_steps": 1},
    "epoch": {"save_strategy": "epoch", "eval_strategy": "epoch"},
    "best": {"save_strategy": "best", "eval_strategy": "epoch"},
}
WIDTHS = ("pair_hidden_size", "pair_bilinear_rank", "pair_intermediate_size", "pair_feature_size")
WIDTHS += ("inference_hidden_size", "inference_intermediate_size")


def save_encoder(folder, documents):
    """Saves a tiny text encoder with dropout: a resumed run must draw what the uninterrupted one draws."""
    tokenizer = make_tokenizer(documents)
    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    BertModel(BertConfig(vocab_size=len(tokenizer), **sizes)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def make_command(encoder, cache, output_dir, strategy, *arguments, processes=1):
    """Makes the command of a run of both stages. With a common cache, runs start faster."""
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


def run(command):
    """Runs a command to its end, and returns what it printed."""
    done = subprocess.run(**command, capture_output=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def contents(folder):
    """Returns the results of a run."""
    return {name: (folder / name).read_bytes() for name in RESULTS}
