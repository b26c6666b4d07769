"""The arguments of a run: what is read from file and command line, and what is refused."""

import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import run_docre
from modeling_docre_ii.cli.parsing import as_arguments, parse_arguments, parse_data_arguments


ROOT = Path(__file__).parents[3]
QUICKSTART = ROOT / "configuration" / "quickstart.yaml"
pytestmark = pytest.mark.usefixtures("in_the_repository")


@pytest.fixture
def configuration(tmp_path):
    """Writes a configuration file and returns its path."""

    def write(content):
        path = tmp_path / "configuration.yaml"
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content), encoding="utf-8")
        return str(path)

    return write


def test_command_line_overrides_the_file(configuration):
    path = configuration({"num_train_epochs": 3, "bf16": True, "seed": 1, "model_kwargs": {"pair_encoder": "concat"}})
    arguments = parse_arguments([path, "--num_train_epochs", "5", "--bf16", "false"])
    for args in arguments.training.values():
        assert (args.num_train_epochs, args.bf16, args.seed) == (5, False, 1)
    assert arguments.model.model_kwargs == {"pair_encoder": "concat"}


def test_stage_2_has_its_own_arguments_and_the_rest_from_stage_1(configuration):
    path = configuration(
        {"num_train_epochs": 3, "learning_rate": 1e-3, "stage_2": {"num_train_epochs": 7, "freeze_base": True}}
    )
    training = parse_arguments([path, "--output_dir", "out", "--weight_decay", "0.5"]).training
    assert [args.num_train_epochs for args in training.values()] == [3, 7]
    assert [args.freeze_base for args in training.values()] == [False, True]
    assert [args.output_dir for args in training.values()] == ["out/stage_1", "out"]
    assert {(args.learning_rate, args.weight_decay) for args in training.values()} == {(1e-3, 0.5)}


@pytest.mark.parametrize("name", ["freeze_base", "calibrate_iterations"])
def test_what_needs_an_inference_module_is_for_stage_2_only(configuration, name):
    training = parse_arguments([configuration({}), f"--{name}", "true"]).training
    assert [getattr(args, name) for args in training.values()] == [False, True]
    training = parse_arguments([configuration({}), f"--{name}", "true", "--stages", "1"]).training
    assert not getattr(training[1], name)


@pytest.mark.parametrize(("metric", "expected"), [("loss", False), ("eval_loss", False), ("f1", True)])
def test_best_loss_is_the_lowest(configuration, metric, expected):
    training = parse_arguments([configuration({"metric_for_best_model": metric})]).training
    assert all(args.greater_is_better is expected for args in training.values())


def test_mention_model_of_a_file_can_be_left_out():
    assert parse_arguments([str(QUICKSTART)]).mention_model is not None
    assert parse_arguments([str(QUICKSTART), *as_arguments({"mention_model": None})]).mention_model is None


@pytest.mark.parametrize("stage", [1, 2])
def test_stage_that_is_trained_alone_stays_in_the_output_folder(configuration, stage):
    path = configuration({"num_train_epochs": 3, "stage_2": {"num_train_epochs": 7}})
    training = parse_arguments([path, "--output_dir", "out", "--stages", str(stage)]).training
    assert list(training) == [stage]
    assert training[stage].output_dir == "out"
    assert training[stage].num_train_epochs == {1: 3, 2: 7}[stage]


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        ({"num_train_epoch": 3}, [], "unknown name 'num_train_epoch', did you mean 'num_train_epochs'?"),
        ({"trian_file": "x"}, [], "unknown name 'trian_file', did you mean 'train_file'?"),
        ({"zzzz": 1}, [], "unknown name 'zzzz'"),
        ("hub_language: no\n", [], "`hub_language` is false, which YAML makes of no, off, yes and on: quote the word"),
        ("eval_strategy: no\n", [], "`eval_strategy` is false, which YAML makes of no"),
        ({"model_kwargs": {"pair_encodr": "concat"}}, [], "unknown name 'pair_encodr', did you mean 'pair_encoder'?"),
        ("- a\n- b\n", [], "must be a mapping"),
        ("a: [", [], "cannot read the configuration"),
        ({"model_kwargs": {"max_labels_per_pair": 1}}, [], "'max_labels_per_pair' is an argument of its own"),
        ({"model_kwargs": {"mark_types": True}}, [], "'mark_types' is an argument of its own"),
        ({}, ["--train_file", "nowhere.json"], "`train_file`: there is no file 'nowhere.json'"),
        ({}, ["--encoder_kwargs", "[1]"], "`encoder_kwargs` must be a mapping"),
        ({}, ["--encoder_kwargs", "{"], "`encoder_kwargs` is not JSON"),
        ({}, ["--candidate_types", "[PER"], "`candidate_types` is not JSON"),
        ({}, ["--compare_with", str(QUICKSTART)], "`compare_with` needs one file in `score_files`"),
        ({}, ["--triples_dir", "triples"], "`triples_dir` is where `do_predict` writes"),
        ({}, ["--data_dir", "nowhere"], "`data_dir`: there is no folder 'nowhere'"),
        ({"stage_2": {"num_train_epoch": 3}}, [], "stage_2: unknown name 'num_train_epoch', did you mean"),
        ({"stage_2": {"output_dir": "out"}}, [], "stage_2: `output_dir` is the same in both stages, set it beside"),
        ({"stage_2": {"do_train": False}}, [], "stage_2: `do_train` is the same in both stages"),
        ({"stage_2": {"max_steps": None}}, [], "stage_2: `max_steps` is null: give it a value, or leave it out"),
        ({"stage_2": [3]}, [], "`stage_2` must be a mapping"),
        ({"stages": [2, 1]}, [], "`stages` must be 1, 2, or both, got [2, 1]"),
        ({"stages": [3]}, [], "`stages` must be 1, 2, or both, got [3]"),
        ({"num_train_epochs": "many"}, [], "argument --num_train_epochs: invalid float value: 'many'"),
        ({}, ["--eval_strategy", "epochs"], "argument --eval_strategy: invalid choice: 'epochs'"),
        ({}, ["--num_train_epoch", "3"], "unknown argument '--num_train_epoch', did you mean '--num_train_epochs'?"),
        ({}, ["--train-flie=a.json"], "unknown argument '--train-flie', did you mean '--train_file'?"),
        ({}, ["output_dir=out"], "unknown argument 'output_dir', did you mean '--output_dir'?"),
        ({}, ["--zzzz"], "unknown argument '--zzzz'"),
        ({}, ["other.yaml"], "'other.yaml' must be the first argument, if it is the configuration file"),
        ({}, ["--per_device_train_batch_size", "0"], "`per_device_train_batch_size` must be at least 1, got 0"),
        ({"stage_2": {"num_train_epochs": -1}}, [], "`num_train_epochs` must be at least 0, got -1.0"),
        ({"max_train_documents": 0}, [], "`max_train_documents` must be at least 1, got 0"),
        ({"max_labels_per_pair": 0}, [], "`max_labels_per_pair` must be at least 1, got 0"),
        ({"num_printed_triples": -1}, [], "`num_printed_triples` must be at least 0, got -1"),
        ({}, ["--hub_model_id", "a/b/c"], "`hub_model_id`: Repo id must be in the form"),
        ({}, ["--data_dir", "exmples"], "`data_dir`: there is no folder 'exmples', did you mean 'examples'?"),
        ({"do_train": True}, [], "`output_dir` is missing"),
        ({"do_eval": True}, [], "`output_dir` is missing"),
        ({}, ["--do_predict"], "`output_dir` is missing"),
        ({"prediction_loss_only": True}, [], "`prediction_loss_only`: a run scores its predictions"),
        ({"label_smoothing_factor": 0.1}, [], "`label_smoothing_factor` is not supported"),
        ({"dataloader_drop_last": True}, [], "`dataloader_drop_last` is not supported"),
        ({"eval_do_concat_batches": False}, [], "`eval_do_concat_batches=False` is not supported"),
        (
            {"do_train": True, "output_dir": "out", "model_kwargs": {"num_iterations": 0}},
            [],
            "`model_kwargs` has `num_iterations` 0, the base module alone: set `stages: [1]`",
        ),
    ],
)
def test_what_cannot_be_read_is_one_clear_error(configuration, content, arguments, message):
    with pytest.raises(SystemExit) as error:
        run_docre.main([configuration(content), *arguments])
    assert str(error.value).startswith("run_docre.py: ") and message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("do_eval", [True, False])
def test_prediction_alone_needs_no_validation_documents(configuration, do_eval):
    content = {"do_train": False, "do_eval": do_eval, "do_predict": True, "eval_strategy": "epoch"}
    path = configuration(content | {"output_dir": "out"})
    for args in parse_arguments([path]).training.values():
        assert args.do_eval is do_eval
        assert args.eval_strategy == "no"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nowhere.yaml", "there is no configuration file 'nowhere.yaml'$"),
        ("configuration/quickstrat.yaml", "there is no .*, did you mean 'configuration/quickstart.yaml'\\?$"),
        ("configuration", "cannot read the configuration 'configuration'"),
    ],
)
def test_missing_configuration_file(path, message):
    with pytest.raises(SystemExit, match=message):
        run_docre.main([path])


@pytest.mark.parametrize(
    ("prog", "command"), [("run_docre.py", "accelerate launch run_docre.py"), ("docre-ii train", "docre-ii train")]
)
def test_without_arguments_a_user_is_told_what_to_type(prog, command):
    with pytest.raises(SystemExit) as error:
        run_docre.main([], prog)
    lines = str(error.value).splitlines()
    assert lines[0] == f"usage: {prog} [CONFIGURATION.yaml] [--argument value ...]"
    assert f"    {command} configuration/quickstart.yaml" in lines
    assert lines[-1] == f"{prog} --help shows the arguments."
    assert len(lines) < 10


def test_names_may_be_written_with_hyphens(configuration):
    assert parse_arguments([configuration({}), "--output-dir", "out"]).last.output_dir == "out"


@pytest.mark.parametrize("prog", ["run_docre.py", "docre-ii train"])
def test_errors_name_the_program_that_the_user_called(configuration, prog):
    with pytest.raises(SystemExit, match=f"^{prog}: .*nowhere.json"):
        run_docre.main([configuration({}), "--train_file", "nowhere.json"], prog)
    with pytest.raises(SystemExit, match=f"^{prog}: unknown argument '--no_such_argument'"):
        run_docre.main([configuration({}), "--no_such_argument"], prog)


def test_data_arguments_alone_ignore_the_rest_of_a_file(configuration):
    path = configuration(
        {"dataset_name": "cdr", "bf16": True, "stage_2": {"seed": 1}, "score_files": [str(QUICKSTART)]}
    )
    args = parse_data_arguments([path, "--validation_file", str(QUICKSTART), "--unknown_titles", "wrong"])
    assert (args.dataset_name, args.files) == ("cdr", {"validation": [str(QUICKSTART)]})
    assert (args.score_files, args.unknown_titles) == ([str(QUICKSTART)], "wrong")


def test_data_arguments_alone_name_an_unknown_one(configuration):
    with pytest.raises(ValueError, match="unknown name 'datset_name', did you mean 'dataset_name'"):
        parse_data_arguments([configuration({"datset_name": "cdr"})])
    with pytest.raises(ValueError, match="unknown argument '--learning_rate'"):
        parse_data_arguments(["--learning_rate", "1"])
    with pytest.raises(ValueError, match="argument --unknown_titles: invalid choice: 'ignore'"):
        parse_data_arguments(["--unknown_titles", "ignore"])


@pytest.fixture(scope="module")
def help_text():
    """Returns what `--help` or `--help-all` prints."""

    @functools.cache
    def run(flag):
        command = [sys.executable, "run_docre.py", flag]
        return subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout

    return run


def options_of(text):
    """The arguments of a help, each a line that starts with its name."""
    return re.findall(r"^  (?:-h, )?(--[a-z0-9_-]+)", text, re.MULTILINE)


def test_help_shows_what_is_usual_and_help_all_the_rest(help_text):
    short, long = help_text("--help"), help_text("--help-all")
    assert short.startswith("usage: run_docre.py [CONFIGURATION.yaml]")
    assert "--adam_beta1" not in short and "--adam_beta1" in long
    assert set(options_of(short)) < set(options_of(long))
    assert len(short.splitlines()) < 300


@pytest.mark.parametrize("flag", ["--help", "--help-all"])
def test_help_names_every_argument_once(help_text, flag):
    options = options_of(help_text(flag))
    assert len(options) == len(set(options))
    assert not [option for option in options if "-" in option[2:] and option != "--help-all"]


def test_help_shows_defaults_that_say_something(help_text):
    short = " ".join(help_text("--help").split())
    assert "Number of documents whose predicted triples are printed. Default: 2." in short
    assert "Total number of training epochs to perform. Default: 3.0." in short
    assert "Stage 2: keep the base module unchanged. --" in short, "off, as every switch without a default"
    assert "Default: None" not in short and "Default: ." not in short
    # A default in the text is not repeated.
    assert "readable name. Default: DocRED's. --" in short


def test_help_lists_what_documentation_and_configurations_use(help_text):
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))]
    used = {name for text in texts for name in re.findall(r"(?<![\w-])--([a-z0-9_]+)", text)}
    for path in (ROOT / "configuration").glob("*.yaml"):
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
        used |= {*values, *values.get("stage_2", {})}
    # Other programs have the other names.
    ours = {option.removeprefix("--") for option in options_of(help_text("--help-all"))} & used
    assert len(ours) > 30
    assert {f"--{name}" for name in ours} <= set(options_of(help_text("--help")))
