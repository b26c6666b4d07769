"""Which stages a run trains, and where it resumes."""

import json
from pathlib import Path

import pytest

from modeling_docre_ii.cli.parsing import parse_arguments
from modeling_docre_ii.cli.stages import find_resumption, stages_of
from modeling_docre_ii.training.precision import PrecisionRecord
from modeling_docre_ii.utils.cpu_bf16 import BF16Trial


def folders(path, *names):
    for name in names:
        (path / name).mkdir(parents=True)
    return path


@pytest.mark.parametrize(
    ("left", "ended", "expected"),
    [
        (["stage_1/checkpoint-5", "stage_1/checkpoint-10"], False, (1, "stage_1/checkpoint-10")),
        (["stage_1/checkpoint-5"], True, (2, None)),
        (["stage_1/checkpoint-5", "checkpoint-7"], True, (2, "checkpoint-7")),
    ],
)
def test_run_resumes_in_the_stage_that_was_interrupted(tmp_path, left, ended, expected):
    output = folders(tmp_path / "out", *left)
    if ended:
        (output / "stage_1" / "trainer_state.json").write_text("{}")
    arguments = ["--output_dir", str(output), "--resume_from_checkpoint", "last"]
    stage, checkpoint = find_resumption(parse_arguments(arguments).training)
    assert (stage, checkpoint and str(Path(checkpoint).relative_to(output))) == expected


@pytest.mark.parametrize(("name", "stage"), [("stage_1/checkpoint-5", 1), ("checkpoint-7", 2)])
def test_resuming_from_a_named_checkpoint_finds_its_stage(tmp_path, name, stage):
    output = folders(tmp_path / "out", "stage_1/checkpoint-5", "checkpoint-7")
    path = str(output / name)
    arguments = ["--output_dir", str(output), "--resume_from_checkpoint", path]
    assert find_resumption(parse_arguments(arguments).training) == (stage, path)


def test_run_that_does_not_resume_starts_with_stage_1(tmp_path):
    output = folders(tmp_path / "out", "stage_1/checkpoint-5")
    training = parse_arguments(["--output_dir", str(output)]).training
    assert find_resumption(training) == (1, None)


def starts(arguments):
    return [(stage.number, stage.start, stage.checkpoint) for stage in stages_of(parse_arguments(arguments))]


def test_stage_2_starts_from_the_model_of_stage_1(tmp_path):
    arguments = ["--model_name_or_path", "org/encoder", "--output_dir", str(tmp_path), "--do_train", "true"]
    stage_1 = str(tmp_path / "stage_1")
    assert starts(arguments) == [(1, "org/encoder", None), (2, stage_1, None)]
    assert starts([*arguments, "--stages", "1"]) == [(1, "org/encoder", None)]
    assert starts([*arguments, "--stages", "2"]) == [(2, "org/encoder", None)]


def test_resumed_stage_2_starts_from_the_model_of_stage_1(tmp_path):
    folder = folders(tmp_path, "stage_1", "checkpoint-7")
    (folder / "stage_1" / "trainer_state.json").write_text("{}")
    arguments = ["--output_dir", str(tmp_path), "--do_train", "true", "--resume_from_checkpoint", "last"]
    assert starts(arguments) == [(2, str(tmp_path / "stage_1"), str(tmp_path / "checkpoint-7"))]


def test_run_that_does_not_train_has_one_stage_and_its_own_model(tmp_path):
    arguments = ["--model_name_or_path", "org/model", "--output_dir", str(tmp_path), "--do_predict", "true"]
    assert starts([*arguments, "--resume_from_checkpoint", "last"]) == [(2, "org/model", None)]
    assert starts([*arguments, "--stages", "1"]) == [(1, "org/model", None)]


def test_resumed_run_keeps_the_precision_of_its_checkpoint(set_bf16_trial, tmp_path):
    set_bf16_trial(BF16Trial(slowdown=0.4))
    checkpoint = folders(tmp_path, "stage_1/checkpoint-5") / "stage_1" / "checkpoint-5"
    record = PrecisionRecord(requested={"bf16": True}, used={"bf16": False})
    state = {"stateful_callbacks": {"PrecisionRecord": record.state()}}
    (checkpoint / "trainer_state.json").write_text(json.dumps(state))
    arguments = ["--output_dir", str(tmp_path), "--do_train", "true", "--bf16", "true", "--use_cpu", "true"]
    assert [stage.args.bf16 for stage in stages_of(parse_arguments(arguments))] == [True, True]
    resumed = [*arguments, "--resume_from_checkpoint", "last"]
    assert [stage.args.bf16 for stage in stages_of(parse_arguments(resumed))] == [False, False]


def test_there_is_nothing_to_resume(tmp_path):
    arguments = ["--output_dir", str(tmp_path), "--do_train", "true", "--resume_from_checkpoint", "last"]
    with pytest.raises(ValueError, match="there is no checkpoint in"):
        starts(arguments)


def test_run_that_does_nothing_is_refused(tmp_path):
    with pytest.raises(ValueError, match="nothing to do: set `do_train`, `do_eval` or `do_predict`"):
        starts(["--output_dir", str(tmp_path)])


def test_missing_checkpoint_to_resume_from_is_named(tmp_path):
    output = folders(tmp_path / "out", "checkpoint-70")
    arguments = ["--output_dir", str(output), "--do_train", "true", "--resume_from_checkpoint"]
    with pytest.raises(ValueError, match="`resume_from_checkpoint`: .*checkpoint-7', did you mean '.*checkpoint-70'"):
        starts([*arguments, str(output / "checkpoint-7")])
