"""Runs with `cross_fit_folds`: what the folds predict, and how a run that was interrupted among them goes on."""

import json
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

import run_docre
from modeling_docre_ii import DocREIIForRelationExtraction, DocREIIProcessor
from modeling_docre_ii.cli.parsing import parse_arguments
from modeling_docre_ii.cli.stages import stages_of
from tests.tiny_run import SIZES, arguments_of


pytestmark = pytest.mark.usefixtures("in_the_repository")
MODULE = {"inference_features": "logits", "inference_hidden_size": 16, "contrastive_loss_weight": 0.0}
SETTINGS = {
    "max_train_documents": 4,
    "max_eval_documents": 1,
    "num_train_epochs": 1,
    "per_device_train_batch_size": 2,
    "do_eval": True,
    "do_predict": False,
    "eval_strategy": "no",
    "save_strategy": "epoch",
    "load_best_model_at_end": False,
    "calibrate_threshold": False,
    "disable_tqdm": True,
    "bf16": False,
    "mention_model": "null",
    "stage_2": {"num_train_epochs": 2},
    "model_kwargs": SIZES | MODULE,
}


arguments = partial(arguments_of, SETTINGS)


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory, request):
    folder = tmp_path_factory.mktemp("cross_fit") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(request.config.rootpath)
        run_docre.main(arguments(folder, cross_fit_folds=2))
    return folder


def held_out(folder):
    logits = {}
    for path in sorted(folder.glob("stage_1/fold_*/held_out_logits.safetensors")):
        with safe_open(path, framework="pt") as file:
            logits |= {int(name): file.get_tensor(name) for name in file.keys()}
    return logits


def test_logits_of_a_fold_are_those_of_a_base_trained_on_the_other_documents(whole_run, tmp_path):
    documents = json.loads(Path("examples/re_docred_sample/train.json").read_text(encoding="utf-8"))[:4]
    (tmp_path / "others.json").write_text(json.dumps(documents[1::2]))
    alone = tmp_path / "alone"
    run_docre.main(arguments(alone, stages=1, train_file=str(tmp_path / "others.json")))
    model = DocREIIForRelationExtraction.from_pretrained(alone).eval()
    processor = DocREIIProcessor.from_pretrained(alone)
    logits = held_out(whole_run)

    assert sorted(logits) == [0, 1, 2, 3]
    for place in (0, 2):
        batch = processor([documents[place]], return_tensors="pt")
        with torch.no_grad():
            expected = model(**batch).base_logits[batch["pair_mask"]]
        torch.testing.assert_close(logits[place].float(), expected, rtol=2e-3, atol=2e-3)


def test_base_stays_as_stage_1_left_it_and_folds_leave_only_their_logits(whole_run):
    first, last = (load_file(folder / "model.safetensors") for folder in (whole_run / "stage_1", whole_run))

    assert all(torch.equal(last[name], value) for name, value in first.items())
    assert any(name.startswith("inference_module.") for name in last)
    assert [path.name for path in (whole_run / "stage_1" / "fold_2").iterdir()] == ["held_out_logits.safetensors"]
    record = json.loads((whole_run / "run.json").read_text())
    assert record["finished_folds"] == [0, 1] and record["is_finished"]


def test_run_that_was_interrupted_in_a_fold_ends_as_if_it_had_not_been(whole_run, tmp_path, monkeypatch):
    """It ends before the second fold writes its logits, when the checkpoint of that fold is there."""
    folder, write = tmp_path / "out", run_docre.finish_fold

    def interrupted(trainer, encoded, fold, num_folds):
        if fold == 1:
            raise KeyboardInterrupt
        write(trainer, encoded, fold, num_folds)

    with monkeypatch.context() as patch:
        patch.setattr(run_docre, "finish_fold", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_docre.main(arguments(folder, cross_fit_folds=2))
    resumed = arguments(folder, cross_fit_folds=2, resume_from_checkpoint="last")
    stages = stages_of(parse_arguments(resumed), finished=[1], finished_folds=[0])
    assert [(stage.number, stage.fold) for stage in stages] == [(1, 1), (2, None)]
    assert stages[0].checkpoint == str(folder / "stage_1" / "fold_2" / "checkpoint-1")
    run_docre.main(resumed)

    expected, found = (load_file(path / "model.safetensors") for path in (whole_run, folder))
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_cross_fit_of_a_sharded_model_is_refused(tmp_path, monkeypatch):
    """As `accelerate launch --use_fsdp` asks for it."""
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(ValueError, match="FSDP and DeepSpeed shard the model"):
        parse_arguments(arguments(tmp_path, cross_fit_folds=2))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stages": 2}, "`cross_fit_folds` needs both stages"),
        ({"model_kwargs": SIZES}, "the bases of different folds have different features"),
        ({"cross_fit_folds": 0}, "`cross_fit_folds` must be at least 1"),
        ({"cross_fit_folds": 5}, "5 folds of 4 documents"),
    ],
)
def test_cross_fit_that_cannot_be_made_says_why(tmp_path, changes, message):
    with pytest.raises(SystemExit, match="^run_docre.py: .*$") as error:
        run_docre.main(arguments(tmp_path, **{"cross_fit_folds": 2} | changes))
    assert message in str(error.value)
