"""What a run tells the model card: corpus, language, license and encoder."""

from pathlib import Path

import pytest
import yaml

from dataset_scripts.known_corpora import KNOWN_CORPORA
from modeling_docre_ii.cli.parsing import parse_arguments, parse_data_arguments
from modeling_docre_ii.cli.publishing import card_kwargs, describe_corpus
from modeling_docre_ii.hub.model_card import make_model_card
from modeling_docre_ii.hub.training_record import TrainingRecord


ROOT = Path(__file__).parents[3]


@pytest.fixture
def arguments_of(tmp_path):
    """Parses arguments in which FILE and FOLDER are there."""
    file = tmp_path / "file.json"
    file.write_text("{}", encoding="utf-8")
    paths = {"FILE": str(file), "FOLDER": str(tmp_path)}

    def parse(**values):
        values = {name: paths.get(value, value) if isinstance(value, str) else value for name, value in values.items()}
        if "train_file" in values:
            values["train_file"] = [values["train_file"]]
        path = tmp_path / "configuration.yaml"
        path.write_text(yaml.safe_dump({"output_dir": str(tmp_path)} | values), encoding="utf-8")
        return parse_arguments([str(path)])

    return parse


def test_stage_1_is_pushed_alone_but_never_before_stage_2(arguments_of):
    training = arguments_of(push_to_hub=True, stage_2={"seed": 1}).training
    assert {stage: args.push_to_hub for stage, args in training.items()} == {1: False, 2: True}
    assert arguments_of(push_to_hub=True, stages=[1]).training[1].push_to_hub


@pytest.mark.parametrize(
    ("values", "name", "hub_id", "language"),
    [
        ({"dataset_name": "cdr", "train_file": "FILE"}, "BioCreative V CDR", "bigbio/bc5cdr", "en"),
        ({"dataset_name": "gda", "data_dir": "FOLDER"}, "GDA", None, "en"),
        ({"train_file": "FILE", "relations_file": "FILE"}, "Own documents", None, None),
        ({"dataset_name": "org/corpus"}, "corpus", "org/corpus", None),
        ({"dataset_name": "FOLDER"}, "FOLDER", None, None),
    ],
)
def test_corpus_is_described(arguments_of, tmp_path, values, name, hub_id, language):
    corpus = describe_corpus(arguments_of(**values).data)
    expected = (tmp_path.name if name == "FOLDER" else name, hub_id, language)
    assert (corpus.name, corpus.hub_id, corpus.language) == expected
    assert (corpus.texts is None) is (corpus.caution is None) is (language is None)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"model_name_or_path": "org/scibert"}, {"finetuned_from": "org/scibert"}),
        ({"model_name_or_path": "FOLDER"}, {}),
        ({"model_name_or_path": "FOLDER", "hub_base_model": "org/encoder"}, {"finetuned_from": "org/encoder"}),
        (
            {"model_name_or_path": "FOLDER", "hub_language": "de", "hub_license": "mit", "hub_dataset": "org/mine"},
            {"language": "de", "license": "mit", "dataset_tags": "org/mine"},
        ),
        (
            {"model_name_or_path": "FOLDER", "dataset_name": "org/corpus", "dataset_config_name": "small"},
            {"dataset_args": "small"},
        ),
        (
            {
                "model_name_or_path": "FOLDER",
                "dataset_name": "cdr",
                "dataset_config_name": "preprocessed",
                "train_file": "FILE",
            },
            {},
        ),
    ],
)
def test_card_is_told_what_the_command_line_says(arguments_of, values, expected):
    told = card_kwargs(arguments_of(**values))
    assert {name: value for name, value in told.items() if value is not None} == expected


def test_quickstart_names_its_encoder_and_license():
    told = card_kwargs(parse_arguments([str(ROOT / "configuration" / "quickstart.yaml")]))
    assert told["finetuned_from"] == "sentence-transformers/all-MiniLM-L6-v2"
    assert told["license"] == "apache-2.0"


@pytest.mark.parametrize(
    ("command_line", "kept"),
    [
        ([], "base license dataset language"),
        (["--seed", "3"], "base license dataset language"),
        (["--model_name_or_path", "org/encoder"], "base license dataset language"),
        (["--model_name_or_path", "org/other"], "dataset language"),
        (["--model-name-or-path=org/other"], "dataset language"),
        (["--model_name_or_path", "org/other", "--hub_license", "mit"], "license dataset language"),
        (["--train_file", "OTHER"], "base license"),
        (["--dataset_name", "cdr"], "base license"),
        (["--validation_file", "OTHER"], "base license dataset language"),
        (["--dataset_name", "cdr", "--hub_language", "de", "--model_name_or_path", "org/other"], "language"),
    ],
)
def test_a_statement_about_a_replaced_model_or_corpus_is_dropped(tmp_path, command_line, kept):
    """What YAML says of its encoder and corpus must not be claimed of those that the command line names instead."""
    for name in ("train.json", "other.json"):
        (tmp_path / name).write_text("{}", encoding="utf-8")
    values = {
        "output_dir": str(tmp_path),
        "model_name_or_path": "org/encoder",
        "train_file": str(tmp_path / "train.json"),
        "hub_base_model": "org/base",
        "hub_license": "apache-2.0",
        "hub_dataset": "org/corpus",
        "hub_language": "fr",
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    command_line = [str(tmp_path / "other.json") if word == "OTHER" else word for word in command_line]
    told = card_kwargs(parse_arguments([str(tmp_path / "run.yaml"), *command_line]))
    found = {
        "base": told["finetuned_from"] == "org/base",
        "license": told["license"] is not None,
        "dataset": told["dataset_tags"] is not None,
        "language": told["language"] is not None,
    }
    assert {name for name, is_there in found.items() if is_there} == set(kept.split())


@pytest.mark.parametrize("parse", [lambda argv: parse_arguments(argv).data, parse_data_arguments])
@pytest.mark.parametrize(
    ("configuration", "command_line", "name"),
    [
        ("cdr_minilm", ["--relations_file", "OWN"], "docred"),
        ("gda_scibert", ["--relations_file=OWN"], "docred"),
        ("gda_minilm", ["--relations_file", "OWN"], "docred"),
        ("cdr_minilm", ["--seed", "3"], "cdr"),
        ("cdr_minilm", ["--relations_file", "OWN", "--dataset_name", "gda"], "gda"),
        ("quickstart", ["--relations_file", "OWN"], "re_docred"),
    ],
)
def test_the_corpus_of_a_configuration_is_replaced_by_your_own(tmp_path, parse, configuration, command_line, name):
    """Configurations of abstracts are starting points for other corpora: docs/faq.md."""
    own = tmp_path / "relations.json"
    own.write_text("{}", encoding="utf-8")
    if parse is parse_data_arguments:
        command_line = [word for word in command_line if word not in ("--seed", "3")]
    command_line = [word.replace("OWN", str(own)) for word in command_line]
    data = parse([str(ROOT / "configuration" / f"{configuration}.yaml"), *command_line])
    assert (data.dataset_name, data.dataset_config_name) == (name, None)


def test_quickstart_with_another_encoder_claims_neither_minilm_nor_its_license():
    quickstart = str(ROOT / "configuration" / "quickstart.yaml")
    told = card_kwargs(parse_arguments([quickstart, "--model_name_or_path", "google-bert/bert-base-cased"]))
    assert told["finetuned_from"] == "google-bert/bert-base-cased"
    assert told["license"] is None


@pytest.mark.parametrize("name", list(KNOWN_CORPORA))
def test_every_known_corpus_has_its_card(arguments_of, docre_config, name):
    """A corpus that a run accepts has all that the card needs, before anything is trained."""
    known = KNOWN_CORPORA[name]
    corpus = describe_corpus(arguments_of(dataset_name=name, train_file="FILE").data)
    card = make_model_card(docre_config(), None, TrainingRecord(corpus=corpus), model_id="org/name")
    assert card.data.language == known.language
    assert card.data.datasets == ([known.hub_id] if known.hub_id else None)
    assert known.name in card.text and known.texts in card.text and known.caution in card.text
