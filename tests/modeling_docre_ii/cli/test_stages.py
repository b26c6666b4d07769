"""Which stages a run trains, and where it resumes."""

import json
from pathlib import Path

import pytest

from modeling_docre_ii import DocREIIConfig
from modeling_docre_ii.cli.parsing import parse_arguments
from modeling_docre_ii.cli.stages import find_resumption, stages_of
from modeling_docre_ii.training.checkpoints import list_files
from modeling_docre_ii.training.precision import PrecisionRecord
from modeling_docre_ii.utils.cpu_bf16 import BF16Trial


def checkpoints(path, *names):
    """Writes folders with the files that a training resumes from."""
    for name in names:
        folder = path / name
        folder.mkdir(parents=True)
        for file in ("model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth"):
            (folder / file).write_bytes(b"content")
        (folder / "trainer_state.json").write_text("{}")
    return path


@pytest.mark.parametrize(
    ("left", "finished", "expected"),
    [
        ([], (), (1, None)),
        (["stage_1/checkpoint-5", "stage_1/checkpoint-10"], (), (1, "stage_1/checkpoint-10")),
        (["stage_1/checkpoint-5"], (1,), (2, None)),
        (["stage_1/checkpoint-5", "checkpoint-7"], (1,), (2, "checkpoint-7")),
        (["stage_1/checkpoint-5", "checkpoint-7"], (1, 2), (2, "checkpoint-7")),
    ],
)
def test_run_resumes_in_the_stage_that_was_interrupted(tmp_path, left, finished, expected):
    output = checkpoints(tmp_path / "out", *left)
    if finished:
        list_files(output / "stage_1", "*")
    arguments = ["--output_dir", str(output), "--resume_from_checkpoint", "last"]
    stage, checkpoint = find_resumption(parse_arguments(arguments).training, finished)
    assert (stage, checkpoint and str(Path(checkpoint).relative_to(output))) == expected


def test_checkpoints_that_are_not_complete_are_skipped_and_named(tmp_path, caplog):
    output = checkpoints(tmp_path, "stage_1/checkpoint-5", "stage_1/checkpoint-10")
    (output / "stage_1" / "checkpoint-10" / "optimizer.pt").unlink()
    training = parse_arguments(["--output_dir", str(output), "--resume_from_checkpoint", "last"]).training
    assert find_resumption(training) == (1, str(output / "stage_1" / "checkpoint-5"))
    assert "checkpoint-10: its optimizer (optimizer*) is missing" in caplog.text

    named = ["--output_dir", str(output), "--resume_from_checkpoint", str(output / "stage_1" / "checkpoint-10")]
    with pytest.raises(ValueError, match="cannot resume from .*checkpoint-10': its optimizer .* is missing"):
        find_resumption(parse_arguments(named).training)


def test_finished_stage_1_that_was_damaged_since_is_resumed(tmp_path, caplog):
    output = checkpoints(tmp_path, "stage_1/checkpoint-5")
    (output / "stage_1" / "model.safetensors").write_bytes(b"weights")
    list_files(output / "stage_1", "*")
    (output / "stage_1" / "model.safetensors").write_bytes(b"weig")
    training = parse_arguments(["--output_dir", str(output), "--resume_from_checkpoint", "last"]).training
    assert find_resumption(training, finished=[1]) == (1, str(output / "stage_1" / "checkpoint-5"))
    assert "was finished, but its model.safetensors has 4 bytes instead of 7" in caplog.text


@pytest.mark.parametrize(("name", "stage"), [("stage_1/checkpoint-5", 1), ("checkpoint-7", 2)])
def test_resuming_from_a_named_checkpoint_finds_its_stage(tmp_path, name, stage):
    output = checkpoints(tmp_path / "out", "stage_1/checkpoint-5", "checkpoint-7")
    path = str(output / name)
    arguments = ["--output_dir", str(output), "--resume_from_checkpoint", path]
    assert find_resumption(parse_arguments(arguments).training) == (stage, path)


@pytest.mark.parametrize(("num_iterations", "stage"), [(0, 1), (2, 2)])
def test_named_checkpoint_of_another_folder_has_the_stage_of_its_model(tmp_path, num_iterations, stage):
    path = checkpoints(tmp_path / "other", "checkpoint-7") / "checkpoint-7"
    DocREIIConfig(num_iterations=num_iterations).save_pretrained(path)
    resumed = ["--output_dir", str(tmp_path / "out"), "--resume_from_checkpoint", str(path)]
    assert find_resumption(parse_arguments(resumed).training) == (stage, str(path))

    other = parse_arguments([*resumed, "--stages", str(3 - stage)]).training
    with pytest.raises(ValueError, match=f"checkpoint-7' is of stage {stage}, which this run does not train"):
        find_resumption(other)


def test_run_that_does_not_resume_starts_with_stage_1(tmp_path):
    output = checkpoints(tmp_path / "out", "stage_1/checkpoint-5")
    training = parse_arguments(["--output_dir", str(output)]).training
    assert find_resumption(training) == (1, None)


def starts(arguments, finished=()):
    return [(stage.number, stage.start, stage.checkpoint) for stage in stages_of(parse_arguments(arguments), finished)]


def test_stage_2_starts_from_the_model_of_stage_1(tmp_path):
    arguments = ["--model_name_or_path", "org/encoder", "--output_dir", str(tmp_path), "--do_train", "true"]
    stage_1 = str(tmp_path / "stage_1")
    assert starts(arguments) == [(1, "org/encoder", None), (2, stage_1, None)]
    assert starts([*arguments, "--stages", "1"]) == [(1, "org/encoder", None)]
    assert starts([*arguments, "--stages", "2"]) == [(2, "org/encoder", None)]


def test_resumed_stage_2_starts_from_the_model_of_stage_1(tmp_path):
    checkpoints(tmp_path, "stage_1", "checkpoint-7")
    list_files(tmp_path / "stage_1", "*")
    arguments = ["--output_dir", str(tmp_path), "--do_train", "true", "--resume_from_checkpoint", "last"]
    expected = [(2, str(tmp_path / "stage_1"), str(tmp_path / "checkpoint-7"))]
    assert starts(arguments, finished=[1]) == expected


def test_run_that_does_not_train_has_one_stage_and_its_own_model(tmp_path):
    arguments = ["--model_name_or_path", "org/model", "--output_dir", str(tmp_path), "--do_predict", "true"]
    assert starts([*arguments, "--resume_from_checkpoint", "last"]) == [(2, "org/model", None)]
    assert starts([*arguments, "--stages", "1"]) == [(1, "org/model", None)]


def test_resumed_run_keeps_the_precision_of_its_checkpoint(set_bf16_trial, tmp_path):
    set_bf16_trial(BF16Trial(slowdown=0.4))
    checkpoint = checkpoints(tmp_path, "stage_1/checkpoint-5") / "stage_1" / "checkpoint-5"
    record = PrecisionRecord(requested={"bf16": True}, used={"bf16": False})
    state = {"stateful_callbacks": {"PrecisionRecord": record.state()}}
    (checkpoint / "trainer_state.json").write_text(json.dumps(state))
    arguments = ["--output_dir", str(tmp_path), "--do_train", "true", "--bf16", "true", "--use_cpu", "true"]
    assert [stage.args.bf16 for stage in stages_of(parse_arguments(arguments))] == [True, True]
    resumed = [*arguments, "--resume_from_checkpoint", "last"]
    assert [stage.args.bf16 for stage in stages_of(parse_arguments(resumed))] == [False, False]


def test_missing_checkpoint_to_resume_from_is_named(tmp_path):
    output = checkpoints(tmp_path / "out", "checkpoint-70")
    arguments = ["--output_dir", str(output), "--do_train", "true", "--resume_from_checkpoint"]
    with pytest.raises(ValueError, match="`resume_from_checkpoint`: .*checkpoint-7', did you mean '.*checkpoint-70'"):
        starts([*arguments, str(output / "checkpoint-7")])
