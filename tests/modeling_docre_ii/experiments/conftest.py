"""Files of experiments."""

import pytest
import yaml


@pytest.fixture
def definition():
    """The contents of a small experiment."""
    return {
        "title": "Two rows",
        "configuration": "base.yaml",
        "seeds": [1, 2],
        "columns": [{"name": "F1", "score": "f1"}, {"name": "after one", "score": "infer_f1", "iteration": 1}],
        "gain": "f1",
        "both": {"weight_decay": 0.5, "model_kwargs": {"pair_dropout": 0.25}},
        "stage_2": {"model_kwargs": {"max_noise_rate": 0.125}},
        "rows": [
            {"name": "full", "paper": {"F1": 62.5}},
            {"name": "shallow", "stage_2": {"model_kwargs": {"num_inference_layers": 1}, "freeze_base": True}},
        ],
    }


@pytest.fixture
def write(tmp_path):
    """Writes an experiment beside a configuration, and returns its path."""

    def write_experiment(definition):
        (tmp_path / "base.yaml").write_text("seed: 42\n", encoding="utf-8")
        path = tmp_path / "experiment.yaml"
        path.write_text(yaml.safe_dump(definition, sort_keys=False), encoding="utf-8")
        return str(path)

    return write_experiment
