"""The files of configuration/: arguments that all of them set, and the purpose of single files."""

from pathlib import Path

import pytest
import yaml

from modeling_docre_ii import DocREIIConfig
from modeling_docre_ii.cli.parsing import parse_arguments


ROOT = Path(__file__).parents[1]
CONFIGURATIONS = sorted((ROOT / "configuration").glob("*.yaml"))
PAPER = ["cdr_scibert", "docred_bert", "docred_roberta_large", "gda_scibert"]
every_configuration = pytest.mark.parametrize("path", CONFIGURATIONS, ids=lambda path: path.stem)
pytestmark = pytest.mark.usefixtures("in_the_repository")


def read(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@every_configuration
def test_it_can_be_read(path, tmp_path):
    files = {f"{split}_file": tmp_path / f"{split}.json" for split in ("train", "validation")}
    overrides = ["--data_dir", str(tmp_path), "--mesh_tree_file", str(path)]
    for name, file in files.items():
        file.write_text("[]", encoding="utf-8")
        overrides += [f"--{name}", str(file)]
    arguments = parse_arguments([str(path), *overrides])
    written = read(path)
    stage_1, stage_2 = arguments.training[1], arguments.training[2]
    for name in ("learning_rate", "encoder_learning_rate", "weight_decay", "adam_epsilon"):
        assert getattr(stage_1, name) == float(written.get(name, getattr(type(stage_1), name, 0.0)))
    assert stage_1.num_train_epochs == written["num_train_epochs"]
    assert stage_1.output_dir == f"{written['output_dir']}/stage_1"
    assert stage_2.num_train_epochs == written["stage_2"]["num_train_epochs"]
    assert stage_2.learning_rate == float(written["stage_2"]["learning_rate"])
    assert stage_2.freeze_base == written["stage_2"].get("freeze_base", False)
    if not stage_2.freeze_base:
        assert stage_2.base_learning_rate == float(written["stage_2"]["base_learning_rate"])
    assert stage_2.output_dir == written["output_dir"]
    assert stage_2.seed == stage_1.seed == written["seed"]
    assert arguments.model.encoder_kwargs == written.get("encoder_kwargs", {})
    assert arguments.data.files == {"train": [str(files["train_file"])], "validation": [str(files["validation_file"])]}


@every_configuration
def test_its_model_can_be_configured(path):
    written = read(path)["model_kwargs"]
    config = DocREIIConfig(**written)
    assert {name: getattr(config, name) for name in written} == written


@every_configuration
def test_it_is_named_after_its_output_folder_and_stays_inside_the_repository(path):
    written = read(path)
    assert written["output_dir"] == f"outputs/{path.stem}"
    paths = [str(value) for name, value in written.items() if name.endswith(("_file", "_dir"))]
    assert all((ROOT / name).resolve().is_relative_to(ROOT) for name in paths)
    # Files that it names are in the repository. The command line names other files.
    parse_arguments([str(path)])


@every_configuration
def test_it_says_what_represents_a_mention(path):
    others = dict.fromkeys([*PAPER, "docred_bert_released_code"], "marker")
    assert read(path)["mention_anchor"] == others.get(path.stem, "span")


@every_configuration
def test_corpora_of_one_relation_decode_one_a_pair(path):
    most = parse_arguments([str(path)]).model.max_labels_per_pair
    assert most == (1 if read(path)["dataset_name"] in ("cdr", "gda") else None)


def test_configuration_of_the_released_code_has_all_of_its_variants():
    path = ROOT / "configuration" / "docred_bert_released_code.yaml"
    written, paper = read(path), read(ROOT / "configuration" / "docred_bert.yaml")
    variants = {
        "pair_encoder": "grouped_bilinear",
        "relation_embedding": "multi_label",
        "iteration_update": "accumulate",
        "training_relations": "gold",
        "relation_noise": "by_label",
        "negatives_per_positive": 5,
        "inference_hidden_size": 512,
        "num_inference_layers": 1,
    }
    assert variants.items() <= written["model_kwargs"].items()
    assert (float(written["adam_epsilon"]), float(written["weight_decay"])) == (1e-6, 1e-4)
    # Everything else follows the paper.
    changed = {name for name in written.keys() | paper.keys() if written.get(name) != paper.get(name)}
    assert changed == {"model_kwargs", "output_dir", "adam_epsilon", "weight_decay"}
