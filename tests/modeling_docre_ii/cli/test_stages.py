"""Which stages a run trains, and where it resumes."""

import json
from pathlib import Path

import pytest

from modeling_docre_ii import DocREIITrainingArguments
from modeling_docre_ii.cli.parsing import parse_arguments
from modeling_docre_ii.cli.stages import find_resumption, reuse_precision_of_stages, stages_of
from modeling_docre_ii.training.precision import Precision, PrecisionRecord
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
    write_record(checkpoint, requested=BF16, used=FLOAT32)
    arguments = ["--output_dir", str(tmp_path), "--do_train", "true", "--bf16", "true", "--use_cpu", "true"]
    assert [stage.args.bf16 for stage in stages_of(parse_arguments(arguments))] == [True, True]
    resumed = [*arguments, "--resume_from_checkpoint", "last"]
    assert [stage.args.bf16 for stage in stages_of(parse_arguments(resumed))] == [False, False]


def test_there_is_nothing_to_resume(tmp_path):
    arguments = ["--output_dir", str(tmp_path), "--do_train", "true", "--resume_from_checkpoint", "last"]
    with pytest.raises(ValueError, match="there is no checkpoint in"):
        starts(arguments)


BF16, FLOAT32 = Precision(bf16=True), Precision()


@pytest.fixture
def both_stages(set_bf16_trial, tmp_path):
    """Makes the arguments of a run of both stages on a CPU that is faster in bf16."""

    def make(**stage_2):
        set_bf16_trial(BF16Trial(slowdown=0.4))
        out = tmp_path / "out"
        settings = {1: {"output_dir": str(out / "stage_1")}, 2: {"output_dir": str(out)} | stage_2}
        return {
            stage: DocREIITrainingArguments(**({"bf16": True, "use_cpu": True} | of_stage))
            for stage, of_stage in settings.items()
        }

    return make


@pytest.fixture
def record(tmp_path):
    """Writes what a checkpoint records of its precision."""

    def write(requested, used, folder="checkpoint-3"):
        (tmp_path / folder).mkdir(parents=True)
        return write_record(tmp_path / folder, requested, used)

    return write


def write_record(folder, requested, used):
    state = PrecisionRecord(requested._asdict(), used._asdict()).state()
    (folder / "trainer_state.json").write_text(json.dumps({"stateful_callbacks": {"PrecisionRecord": state}}))
    return str(folder)


def test_stage_2_uses_the_precision_of_a_finished_stage_1(both_stages, record):
    record(BF16, FLOAT32, folder="out/stage_1")
    training = both_stages()
    reuse_precision_of_stages(training, first_stage=2, checkpoint=None)
    assert training[2].precision == FLOAT32


def test_stage_2_that_asks_for_something_else_gets_it(both_stages, record):
    record(BF16, FLOAT32, folder="out/stage_1")
    training = both_stages(bf16=True, bf16_full_eval=True)
    reuse_precision_of_stages(training, first_stage=2, checkpoint=None)
    assert training[2].precision == Precision(bf16=True, bf16_full_eval=True)


@pytest.mark.parametrize("stage", [1, 2])
def test_both_stages_use_the_precision_of_the_resumed_one(both_stages, record, stage):
    checkpoint = record(BF16, FLOAT32)
    training = both_stages()
    reuse_precision_of_stages(training, first_stage=stage, checkpoint=checkpoint)
    assert [args.precision for args in training.values()] == [FLOAT32, FLOAT32]


def test_request_of_the_resumed_stage_is_that_of_its_checkpoint(both_stages, record):
    training = both_stages(bf16=False)
    with pytest.raises(ValueError, match="was trained with `bf16=True`"):
        reuse_precision_of_stages(training, first_stage=2, checkpoint=record(BF16, BF16))


def test_run_that_begins_reuses_nothing(both_stages, record):
    record(BF16, FLOAT32, folder="out/stage_1")
    training = both_stages()
    reuse_precision_of_stages(training, first_stage=1, checkpoint=None)
    assert [args.precision for args in training.values()] == [BF16, BF16]
