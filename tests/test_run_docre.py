"""The command line: what it reads, what it refuses, and where it goes on."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import run_docre
from modeling_docre_ii.training.precision import PrecisionRecord
from modeling_docre_ii.utils.cpu_bf16 import BF16Trial


ROOT = Path(__file__).parents[1]
QUICKSTART = ROOT / "configuration" / "quickstart.yaml"
CONFIGURATIONS = sorted((ROOT / "configuration").glob("*.yaml"))
pytestmark = pytest.mark.usefixtures("in_the_repository")


@pytest.fixture
def configuration(tmp_path):
    """Writes a configuration file and returns its path."""

    def write(content):
        path = tmp_path / "configuration.yaml"
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content), encoding="utf-8")
        return str(path)

    return write


@pytest.mark.parametrize("path", CONFIGURATIONS, ids=lambda path: path.name)
def test_every_configuration_is_one_that_can_be_read(path, tmp_path):
    files = {f"{split}_file": tmp_path / f"{split}.json" for split in ("train", "validation")}
    overrides = ["--data_dir", str(tmp_path), "--mesh_tree_file", str(path)]
    for name, file in files.items():
        file.write_text("[]", encoding="utf-8")
        overrides += [f"--{name}", str(file)]
    arguments = run_docre.parse_arguments([str(path), *overrides])
    written = yaml.safe_load(path.read_text(encoding="utf-8"))
    stage_1, stage_2 = arguments.training[1], arguments.training[2]
    assert stage_1.learning_rate == float(written["learning_rate"])
    assert stage_1.num_train_epochs == written["num_train_epochs"]
    assert stage_1.output_dir == f"{written['output_dir']}/stage_1"
    assert stage_2.num_train_epochs == written["stage_2"]["num_train_epochs"]
    assert stage_2.learning_rate == float(written["stage_2"]["learning_rate"])
    assert stage_2.output_dir == written["output_dir"]
    assert stage_2.seed == stage_1.seed == written["seed"]
    assert arguments.model.encoder_kwargs == written.get("encoder_kwargs", {})
    assert arguments.data.files == {"train": [str(files["train_file"])], "validation": [str(files["validation_file"])]}


def test_command_line_wins_over_the_file(configuration):
    path = configuration({"num_train_epochs": 3, "bf16": True, "seed": 1, "model_kwargs": {"pair_encoder": "concat"}})
    arguments = run_docre.parse_arguments([path, "--num_train_epochs", "5", "--bf16", "false"])
    for args in arguments.training.values():
        assert (args.num_train_epochs, args.bf16, args.seed) == (5, False, 1)
    assert arguments.model.model_kwargs == {"pair_encoder": "concat"}


def test_stage_2_has_its_own_arguments_and_the_rest_from_stage_1(configuration):
    path = configuration(
        {"num_train_epochs": 3, "learning_rate": 1e-3, "stage_2": {"num_train_epochs": 7, "freeze_base": True}}
    )
    training = run_docre.parse_arguments([path, "--output_dir", "out", "--weight_decay", "0.5"]).training
    assert [args.num_train_epochs for args in training.values()] == [3, 7]
    assert [args.freeze_base for args in training.values()] == [False, True]
    assert [args.output_dir for args in training.values()] == ["out/stage_1", "out"]
    assert {(args.learning_rate, args.weight_decay) for args in training.values()} == {(1e-3, 0.5)}


def test_base_is_frozen_in_stage_2_only(configuration):
    training = run_docre.parse_arguments([configuration({}), "--freeze_base", "true"]).training
    assert [args.freeze_base for args in training.values()] == [False, True]


@pytest.mark.parametrize("stage", [1, 2])
def test_stage_that_is_trained_alone_stays_in_the_output_folder(configuration, stage):
    path = configuration({"num_train_epochs": 3, "stage_2": {"num_train_epochs": 7}})
    training = run_docre.parse_arguments([path, "--output_dir", "out", "--stages", str(stage)]).training
    assert list(training) == [stage]
    assert training[stage].output_dir == "out"
    assert training[stage].num_train_epochs == {1: 3, 2: 7}[stage]


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        ({"num_train_epoch": 3}, [], "unknown name 'num_train_epoch', did you mean 'num_train_epochs'?"),
        ({"trian_file": "x"}, [], "unknown name 'trian_file', did you mean 'train_file'?"),
        ({"zzzz": 1}, [], "unknown name 'zzzz'"),
        ({"model_kwargs": {"pair_encodr": "concat"}}, [], "unknown name 'pair_encodr', did you mean 'pair_encoder'?"),
        ("- a\n- b\n", [], "has to be a mapping"),
        ("a: [", [], "cannot read the configuration"),
        ({}, ["--train_file", "nowhere.json"], "`train_file`: there is no file 'nowhere.json'"),
        ({}, ["--encoder_kwargs", "[1]"], "`encoder_kwargs` has to be a mapping"),
        ({}, ["--encoder_kwargs", "{"], "`encoder_kwargs` is not JSON"),
        ({}, ["--candidate_types", "[PER"], "`candidate_types` is not JSON"),
        ({}, ["--compare_with", str(QUICKSTART)], "`compare_with` needs one file in `score_files`"),
        ({}, ["--data_dir", "nowhere"], "`data_dir`: there is no folder 'nowhere'"),
        ({"stage_2": {"num_train_epoch": 3}}, [], "stage_2: unknown name 'num_train_epoch', did you mean"),
        ({"stage_2": [3]}, [], "`stage_2` has to be a mapping"),
        ({"stages": [2, 1]}, [], "`stages` has to be 1, 2, or both, got [2, 1]"),
        ({"stages": [3]}, [], "`stages` has to be 1, 2, or both, got [3]"),
    ],
)
def test_what_cannot_be_read_is_one_clear_error(configuration, content, arguments, message):
    with pytest.raises(SystemExit) as error:
        run_docre.main([configuration(content), *arguments])
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        (
            {"num_train_epochs": "many"},
            [],
            "argument --num_train_epochs/--num-train-epochs: invalid float value: 'many'",
        ),
        ({}, ["--num_train_epoch", "3"], "unrecognized arguments: --num_train_epoch 3"),
    ],
)
def test_wrong_value_or_argument_is_named(configuration, capsys, content, arguments, message):
    with pytest.raises(SystemExit):
        run_docre.main([configuration(content), *arguments])
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("do_eval", [True, False])
def test_prediction_alone_needs_no_validation_documents(configuration, do_eval):
    path = configuration({"do_train": False, "do_eval": do_eval, "do_predict": True, "eval_strategy": "epoch"})
    for args in run_docre.parse_arguments([path]).training.values():
        assert args.do_eval is do_eval
        assert args.eval_strategy == "no"


def test_missing_configuration_file():
    with pytest.raises(SystemExit, match="cannot read the configuration 'nowhere.yaml'"):
        run_docre.main(["nowhere.yaml"])


def test_help_shows_what_is_usual_and_help_all_the_rest():
    def help_text(flag):
        command = [sys.executable, "run_docre.py", flag]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    short, long = help_text("--help"), help_text("--help-all")
    for name in ("--model_name_or_path", "--train_file", "--encoder_learning_rate", "--resume_from_checkpoint"):
        assert name in short
    assert "--stages" in short and "--base_learning_rate" in short
    assert "--adam_beta1" not in short and "--adam_beta1" in long
    assert len(short.splitlines()) < 200


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
def test_resuming_goes_on_in_the_stage_that_was_interrupted(configuration, tmp_path, left, ended, expected):
    output = folders(tmp_path / "out", *left)
    if ended:
        (output / "stage_1" / "trainer_state.json").write_text("{}")
    arguments = [configuration({}), "--output_dir", str(output), "--resume_from_checkpoint", "last"]
    stage, checkpoint = run_docre.find_resumption(run_docre.parse_arguments(arguments).training)
    assert (stage, checkpoint and str(Path(checkpoint).relative_to(output))) == expected


@pytest.mark.parametrize(("name", "stage"), [("stage_1/checkpoint-5", 1), ("checkpoint-7", 2)])
def test_resuming_from_a_named_checkpoint_finds_its_stage(configuration, tmp_path, name, stage):
    output = folders(tmp_path / "out", "stage_1/checkpoint-5", "checkpoint-7")
    path = str(output / name)
    arguments = [configuration({}), "--output_dir", str(output), "--resume_from_checkpoint", path]
    assert run_docre.find_resumption(run_docre.parse_arguments(arguments).training) == (stage, path)


def test_without_a_word_of_resuming_stage_1_begins(configuration, tmp_path):
    output = folders(tmp_path / "out", "stage_1/checkpoint-5")
    training = run_docre.parse_arguments([configuration({}), "--output_dir", str(output)]).training
    assert run_docre.find_resumption(training) == (1, None)


def test_run_in_bf16_is_not_resumed_on_a_cpu_without(set_bf16_trial, tmp_path):
    set_bf16_trial(BF16Trial(failure="ends the process with SIGILL"))
    checkpoint = tmp_path / "out" / "stage_1" / "checkpoint-5"
    checkpoint.mkdir(parents=True)
    record = PrecisionRecord(requested={"bf16": True}, used={"bf16": True})
    state = {"stateful_callbacks": {"PrecisionRecord": record.state()}}
    (checkpoint / "trainer_state.json").write_text(json.dumps(state))
    arguments = ["--bf16=true", "--use_cpu=true", "--resume_from_checkpoint=last", f"--output_dir={tmp_path / 'out'}"]
    with pytest.raises(
        SystemExit, match="^run_docre.py: .*checkpoint-5 was trained in bf16, but .* SIGILL on this CPU"
    ):
        run_docre.main([str(QUICKSTART), *arguments])
