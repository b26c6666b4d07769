"""The documents of a run: what is logged about them, and what is refused."""

import json
import logging
import re
from pathlib import Path

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value
from transformers import BertConfig

from dataset_scripts.corpus import Corpus
from modeling_docre_ii import DocREIIConfig, DocREIITrainingArguments
from modeling_docre_ii.cli.arguments import DataArguments
from modeling_docre_ii.cli.corpora import check_labels, check_metrics, check_splits, read_corpus
from modeling_docre_ii.cli.parsing import parse_arguments


SAMPLE = Path(__file__).resolve().parents[3] / "examples" / "re_docred_sample"
FILES = {"train": [str(SAMPLE / "train.json")], "validation": [str(SAMPLE / "dev.json")]}
LABELS = List({"h": Value("int32"), "t": Value("int32"), "r": ClassLabel(names=["Na", "P17"])})


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))


def read(path):
    return json.loads(Path(path).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["docred", "cdr"])
def test_corpus_of_files_needs_files(name, tmp_path, monkeypatch):
    """Also in a folder that has one of its name."""
    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=f"^no documents were given: '{name}' is read from files, set `train_file`"):
        read_corpus(DataArguments(dataset_name=name))


@pytest.fixture
def uncountable(tmp_path):
    """A corpus whose rows cannot be counted: their entities are null."""
    texts = List(List(Value("string")))
    features = Features({"title": Value("string"), "sents": texts, "vertexSet": texts, "labels": LABELS})
    columns = {"title": ["a", "b"], "sents": [[], []], "vertexSet": [None, None], "labels": [[], []]}
    for split in ("train", "test"):
        rows = Dataset.from_dict(columns, features=features)
        rows.to_parquet(tmp_path / "corpus" / f"{split}-00000-of-00001.parquet")
    return str(tmp_path / "corpus")


def test_documents_are_counted_where_the_counts_are_shown(uncountable, caplog):
    caplog.set_level(logging.INFO, logger="docre_ii")
    with pytest.raises(TypeError, match="NoneType"):
        read_corpus(DataArguments(dataset_name=uncountable))
    caplog.set_level(logging.WARNING, logger="docre_ii")
    assert len(read_corpus(DataArguments(dataset_name=uncountable)).splits["test"]) == 2


def test_documents_that_are_predicted_in_bulk_are_not_read_at_the_start(uncountable, tmp_path, caplog):
    (tmp_path / "corpus" / "train-00000-of-00001.parquet").unlink()
    caplog.set_level(logging.INFO, logger="docre_ii")
    read_corpus(DataArguments(dataset_name=uncountable, triples_dir=str(tmp_path / "triples")))
    assert caplog.messages == ["test: 2 documents"]


def test_documents_of_training_are_counted_before_a_bulk_prediction_as_well(tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="docre_ii")
    arguments = DataArguments(dataset_name="re_docred", train_file=FILES["train"], test_file=FILES["validation"])
    arguments.triples_dir = str(tmp_path / "triples")
    read_corpus(arguments)
    documents = read(SAMPLE / "train.json")
    entities = sum(len(document["vertexSet"]) for document in documents)
    assert caplog.messages[0].startswith(f"train: {len(documents)} documents, {entities:,} entities, ")
    assert caplog.messages[1] == f"test: {len(read(SAMPLE / 'dev.json'))} documents"


FACT = {"h": 0, "t": 1, "r": 1}


def corpus_of(**labels):
    """A corpus of one document a split, with these labels."""
    features = Features({"title": Value("string"), "labels": LABELS})
    rows = {
        split: Dataset.from_dict({"title": ["a"], "labels": [facts]}, features=features)
        for split, facts in labels.items()
    }
    return Corpus(DatasetDict(rows), {"Na": "no relation", "P17": "country"})


@pytest.mark.parametrize(
    ("corpus", "settings", "message"),
    [
        ({"validation": [FACT]}, {"do_train": True}, "no train documents were given.*set `train_file`"),
        ({"train": []}, {"do_train": True}, "none of the train documents has a label"),
        ({"train": [FACT]}, {"do_train": True, "calibrate_threshold": True}, "no validation documents were given"),
        ({"test": [FACT]}, {"do_eval": True}, "no validation documents were given"),
        ({"test": [FACT], "validation": []}, {"do_eval": True}, "none of the validation documents has a label"),
        ({"train": [FACT]}, {"do_predict": True}, "no test documents were given.*set `test_file`"),
    ],
)
def test_run_without_its_documents_is_refused(tmp_path, corpus, settings, message):
    args = DocREIITrainingArguments(output_dir=str(tmp_path), **settings)
    with pytest.raises(ValueError, match=message):
        check_splits(corpus_of(**corpus), args)


@pytest.mark.parametrize(
    ("corpus", "settings"),
    [
        ({"train": [FACT]}, {"do_train": True}),
        ({"train": [FACT], "validation": [FACT]}, {"do_train": True, "do_eval": True, "do_predict": True}),
        ({"test": []}, {"do_predict": True}),
        ({"validation": []}, {"do_predict": True}),
    ],
)
def test_run_with_its_documents_is_made(tmp_path, corpus, settings):
    check_splits(corpus_of(**corpus), DocREIITrainingArguments(output_dir=str(tmp_path), **settings))


def test_labels_of_a_split_are_checked():
    check_labels(corpus_of(validation=[FACT]), "validation")
    with pytest.raises(ValueError, match="none of the validation documents has a label"):
        check_labels(corpus_of(validation=[]), "validation")


def check_metric(folder, metric, stage, start=None):
    """Checks the metric of a training of one stage."""
    settings = ["--do_train", "true", "--output_dir", str(folder), "--metric_for_best_model", metric]
    arguments = parse_arguments([*settings, "--stages", str(stage)])
    check_metrics(arguments, corpus_of(train=[FACT]), start or BertConfig())


@pytest.mark.parametrize(
    ("metric", "stages"),
    [
        ("f1", [1, 2]),
        ("eval_f1", [1, 2]),
        ("loss", [1, 2]),
        ("intra_recall", [1, 2]),
        ("base_f1", [2]),
        ("eval_iteration_3_calibrated_f1", [2]),
    ],
)
def test_metric_for_the_best_model_is_a_score(tmp_path, metric, stages):
    for stage in stages:
        check_metric(tmp_path, metric, stage)


def test_an_evaluation_after_the_end_is_found_before_the_first_stage(tmp_path):
    settings = "--do_train true --num_train_epochs 9 --eval_strategy epoch --eval_delay 6 --save_strategy best".split()
    stages = ["--load_best_model_at_end", "true", "--stage_2", '{"num_train_epochs": 4}']
    arguments = parse_arguments([*settings, *stages, "--output_dir", str(tmp_path)])
    with pytest.raises(ValueError, match="`eval_delay` is 6, and training ends after 4 epochs"):
        check_metrics(arguments, corpus_of(train=[FACT]), BertConfig())


def test_iterations_are_those_of_the_checkpoint_that_is_trained_further(tmp_path):
    check_metric(tmp_path, "iteration_5_f1", 2, start=DocREIIConfig(num_iterations=5))
    check_metric(tmp_path, "iteration_3_f1", 2, start=DocREIIConfig(num_iterations=0))
    with pytest.raises(ValueError, match="unknown name 'iteration_4_f1'"):
        check_metric(tmp_path, "iteration_4_f1", 2, start=DocREIIConfig(num_iterations=0))


@pytest.mark.parametrize(
    ("metric", "stage", "message"),
    [
        ("callibrated_f1", 1, "unknown name 'callibrated_f1', did you mean 'calibrated_f1'?"),
        ("eval_base_f2", 2, "unknown name 'base_f2', did you mean 'base_f1'?"),
        ("accuracy", 1, "unknown name 'accuracy'"),
        ("base_f1", 1, "'base_f1', but stage 1 has no iterations"),
        ("iteration_4_f1", 2, "unknown name 'iteration_4_f1', did you mean 'iteration_3_f1'?"),
        ("iteration_1_ign_f1", 2, "unknown name 'iteration_1_ign_f1'"),
        ("evidence_f1", 1, "'evidence_f1', which evaluations without a correct prediction do not have"),
        ("ign_distant_f1", 1, "'ign_distant_f1', which needs a `distant_file`"),
        ("iteration_1_infer_f1", 2, "'iteration_1_infer_f1', but no validation document has facts"),
        ("infer_f1", 1, "'infer_f1', but no validation document has facts (h, r, o), (o, s, t) and (h, q, t)"),
        ("filtered_f1", 1, "'filtered_f1', for which CDR needs a `mesh_tree_file`"),
    ],
)
def test_metric_that_evaluations_lack_is_refused(tmp_path, metric, stage, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        check_metric(tmp_path, metric, stage)
