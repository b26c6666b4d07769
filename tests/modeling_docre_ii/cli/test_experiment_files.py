"""The experiments of the repository: the tables of the paper, and that of the documentation."""

from pathlib import Path

import pytest
import yaml

from modeling_docre_ii.cli.experiments import Runner
from modeling_docre_ii.cli.parsing import parse_arguments
from modeling_docre_ii.experiments.definition import read_experiment
from tests.documentation import blocks_of


ROOT = Path(__file__).parents[3]
PAPER = sorted((ROOT / "configuration" / "paper").glob("*.yaml"))
SMALL = {"docred": "redocred_minilm", "cdr": "cdr_minilm", "gda": "gda_minilm"}
each_file = pytest.mark.parametrize("path", PAPER, ids=lambda path: path.stem)


def command_of(runner, name, seed=0):
    """The parsed arguments of a row: of its stage 1, if it has one, and of its model."""
    (row,) = [row for row in runner.rows if row.row.name == name]
    run = row.runs[seed]
    return (run.start and parse_arguments(runner.command(run.start))), parse_arguments(runner.command(run))


def config_of(arguments):
    return arguments.model.config_fields


def test_every_table_of_the_paper_has_a_file():
    names = ["figure_5", *(f"table_{n}" for n in ("1", "2", "3_cdr", "3_gda", "4", "5", "6", "8_cdr", "8_gda"))]
    assert [path.stem for path in PAPER] == names


@each_file
@pytest.mark.parametrize("is_small", [False, True])
def test_every_argument_of_a_file_is_an_argument_of_a_run(path, is_small, tmp_path, in_the_repository):
    """Also on the small configuration of the corpus, on which no two rows are the same either."""
    experiment = read_experiment(str(path))
    corpus = yaml.safe_load(experiment.configuration.read_text(encoding="utf-8"))["dataset_name"]
    base = f"configuration/{SMALL[corpus]}.yaml" if is_small else None
    runner = Runner(experiment, base, None, tmp_path)
    assert [row.row.name for row in runner.rows] == [row.name for row in experiment.rows]
    assert all(len(row.runs) == 5 for row in runner.rows) and experiment.seeds == [1, 2, 3, 4, 5]
    # All rows that have a stage 1 share it.
    assert len({run.group for run in runner.runs if run.stages == [1]}) == 1
    for row in runner.rows:
        stage_1, last = command_of(runner, row.row.name, seed=2)
        assert last.last.seed == 3 and last.last.do_train and last.last.do_eval
        assert list(last.training) == row.row.stages[-1:]
        if stage_1 is not None:
            assert last.model.model_name_or_path == stage_1.last.output_dir


def test_rows_of_training_documents_train_both_stages_on_as_many(tmp_path, in_the_repository):
    experiment = read_experiment("configuration/experiments/training_documents.yaml")
    runner = Runner(experiment, None, None, tmp_path)
    for row, number in zip(runner.rows, (100, 200, 400), strict=True):
        arguments = command_of(runner, row.row.name)
        assert [of_stage.data.max_train_documents for of_stage in arguments] == [number] * 2


def test_rows_of_table_4_change_what_their_names_say(tmp_path, in_the_repository):
    runner = Runner(read_experiment("configuration/paper/table_4.yaml"), None, None, tmp_path)
    full = config_of(command_of(runner, "DocRE-II")[1])
    assert full == {"pair_encoder": "concat", "contrastive_loss_weight": 1.0}
    changed = {
        "w/o fusion sub-layer": {"use_fusion": False},
        "w/o ECA": {"cross_attention": "full"},
        "w/o contrastive loss": {"contrastive_loss_weight": 0.0},
        "w/ negative pairs": {"contrastive_loss": "simclr"},
    }
    for name, changes in changed.items():
        assert config_of(command_of(runner, name)[1]) == full | changes
    _, frozen = command_of(runner, "w/ frozen base module")
    assert frozen.last.freeze_base and frozen.last.num_train_epochs == 15
    none, whole = command_of(runner, "w/o pre-training")
    assert none is None and whole.model.model_name_or_path == "google-bert/bert-base-cased"
    # As long and as fast as stage 1, in stage 2 of the others 15 epochs at 1e-5.
    assert (whole.last.num_train_epochs, whole.last.base_learning_rate) == (30, 5e-5)
    stage_1, full = command_of(runner, "DocRE-II")
    assert (stage_1.last.num_train_epochs, stage_1.last.encoder_learning_rate) == (30, 5e-5)
    assert (full.last.num_train_epochs, full.last.base_learning_rate) == (15, 1e-5)


def test_experiment_in_the_documentation_is_one(tmp_path, in_the_repository):
    (block,) = [block for block in blocks_of(ROOT / "docs" / "reproduce.md") if block.language == "yaml"]
    path = tmp_path / "experiment.yaml"
    text = block.text.replace("../redocred_minilm.yaml", str(ROOT / "configuration" / "redocred_minilm.yaml"))
    path.write_text(text, encoding="utf-8")
    runner = Runner(read_experiment(str(path)), None, None, tmp_path)
    _, two = command_of(runner, "two layers")
    _, one = command_of(runner, "one layer")
    assert config_of(one) == config_of(two) | {"num_inference_layers": 1}
    assert (one.last.num_train_epochs, one.last.weight_decay, config_of(one)["max_noise_rate"]) == (8, 0.02, 0.2)
    assert len({run.group for run in runner.runs if run.stages == [1]}) == 2


def test_tables_of_the_paper_share_their_runs(tmp_path, in_the_repository):
    of_table = {}
    for name in ("table_1", "table_4", "table_6", "figure_5"):
        runner = Runner(read_experiment(f"configuration/paper/{name}.yaml"), None, None, tmp_path)
        of_table[name] = {run.folder for run in runner.runs}
    assert of_table["table_1"] < of_table["table_4"]
    assert of_table["table_6"] < of_table["table_4"]
    assert of_table["figure_5"] < of_table["table_4"]
