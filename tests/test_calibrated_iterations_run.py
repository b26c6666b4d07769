"""A run with `calibrate_iterations`: it keeps what does best on its validation documents, and says so."""

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

import run_docre
from modeling_docre_ii import DocREIIForRelationExtraction
from tests.tiny_run import SIZES, arguments_of


pytestmark = pytest.mark.usefixtures("in_the_repository")
MODULE = {"inference_hidden_size": 16, "inference_intermediate_size": 16, "contrastive_loss_weight": 0.0}
# With `prior_bias`, a base that was hardly trained predicts nothing, so that no pair is refined: iterations repeat it.
NONE_REFINED = {"inference_margin": 0.0}
SETTINGS = {
    "max_train_documents": 4,
    "max_eval_documents": 3,
    "max_steps": 2,
    "per_device_train_batch_size": 2,
    "do_eval": True,
    "do_predict": True,
    "eval_strategy": "no",
    "save_strategy": "no",
    "load_best_model_at_end": False,
    "calibrate_iterations": True,
    "disable_tqdm": True,
    "bf16": False,
    "mention_model": "null",
    "calibrate_threshold": False,
    "stage_2": {"max_steps": 1},
    "model_kwargs": SIZES | MODULE | NONE_REFINED,
}


arguments = partial(arguments_of, SETTINGS)


def test_run_leaves_the_base_module_where_iterations_do_not_help(tmp_path, caplog):
    folder = tmp_path / "out"
    run_docre.main(arguments(folder))
    assert "kept none of 3 iterations: F1 at the best threshold" in caplog.text
    results = json.loads((folder / "all_results.json").read_text())
    assert results["num_iterations"] == 0
    # Only what is left is scored, and explained, and it is a whole model.
    assert "eval_f1" in results and not any(name.startswith("eval_iteration") for name in results)
    model, info = DocREIIForRelationExtraction.from_pretrained(folder, output_loading_info=True)
    assert model.config.num_iterations == 0 and not any(info.values())
    assert json.loads((folder / "predictions.json").read_text())
    card = (folder / "README.md").read_text()
    assert "Stage 2 trained an inference module too, which is left out" in card
    assert "The number of iterations was chosen on the validation documents" in card
    # Such a folder is one of a finished run, and a base module for another stage 2.
    assert json.loads((folder / "run.json").read_text())["is_finished"]
    run_docre.main(arguments(folder, resume_from_checkpoint="last"))
    other = tmp_path / "other"
    run_docre.main(arguments(other, stages=2, model_name_or_path=str(folder), calibrate_iterations=False))
    assert DocREIIForRelationExtraction.from_pretrained(other).config.num_iterations == 3


@pytest.mark.slow
def test_two_processes_choose_as_one(tmp_path):
    launch = ["-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2", "run_docre.py"]
    command = [sys.executable, *launch, *arguments(tmp_path, per_device_train_batch_size=1)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("kept none of 3 iterations") == 1
    assert DocREIIForRelationExtraction.from_pretrained(tmp_path).config.num_iterations == 0


def test_iterations_need_labels_to_choose_by(tmp_path):
    path = tmp_path / "dev.json"
    documents = json.loads(Path("examples/re_docred_sample/dev.json").read_text(encoding="utf-8"))[:2]
    path.write_text(json.dumps([{**document, "labels": []} for document in documents]))
    with pytest.raises(SystemExit, match="none of the validation documents has a label"):
        run_docre.main(arguments(tmp_path / "out", validation_file=str(path), do_eval=False))
