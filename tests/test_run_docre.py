"""The command line: what it reads, what it refuses, and one whole run on real documents."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from datasets import Dataset

import run_docre
from dataset_scripts.docred import DocRED
from modeling_docre_ii import DocREIIForRelationExtraction, DocREIIProcessor, DocREIITrainingArguments


ROOT = Path(__file__).parents[1]
QUICKSTART = ROOT / "configuration" / "quickstart.yaml"
CONFIGURATIONS = sorted((ROOT / "configuration").glob("*.yaml"))


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch):
    monkeypatch.chdir(ROOT)


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
    overrides = []
    for name, file in files.items():
        file.write_text("[]", encoding="utf-8")
        overrides += [f"--{name}", str(file)]
    model_args, data_args, training_args = run_docre.parse_arguments([str(path), *overrides])
    written = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert training_args.learning_rate == float(written["learning_rate"])
    assert training_args.num_train_epochs == written["num_train_epochs"]
    assert model_args.encoder_kwargs == written.get("encoder_kwargs", {})
    assert data_args.files == {"train": [str(files["train_file"])], "validation": [str(files["validation_file"])]}


def test_command_line_wins_over_the_file(configuration):
    path = configuration({"num_train_epochs": 3, "bf16": True, "seed": 1, "model_kwargs": {"pair_encoder": "concat"}})
    model_args, _, training_args = run_docre.parse_arguments([path, "--num_train_epochs", "5", "--bf16", "false"])
    assert (training_args.num_train_epochs, training_args.bf16, training_args.seed) == (5, False, 1)
    assert model_args.model_kwargs == {"pair_encoder": "concat"}


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
    _, _, training_args = run_docre.parse_arguments([path])
    assert training_args.do_eval is do_eval
    assert training_args.eval_strategy == "no"


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
    assert "--adam_beta1" not in short and "--adam_beta1" in long
    assert len(short.splitlines()) < 150


def test_documents_from_parquet_are_those_from_the_files(tmp_path):
    """What `push_to_hub` of a built corpus leaves on the Hub is Parquet; a folder of it is read in the same way."""
    sample = ROOT / "examples" / "re_docred_sample"
    files = {"train": [str(sample / "train.json")], "validation": [str(sample / "dev.json")]}
    builder = DocRED(config_name="re_docred", data_files=files, cache_dir=str(tmp_path / "cache"))
    builder.download_and_prepare()
    for split, dataset in builder.as_dataset().items():
        dataset.to_parquet(tmp_path / "corpus" / f"{split}-00000-of-00001.parquet")

    training_args = DocREIITrainingArguments(output_dir=str(tmp_path))
    data_args = run_docre.DataArguments(dataset_name=str(tmp_path / "corpus"))
    corpus = run_docre.load_corpus(data_args, training_args)
    assert corpus.relation_names == builder.relation_names
    for split, path in (("train", "train.json"), ("validation", "dev.json")):
        for document, original in zip(
            corpus.documents(split), json.loads((sample / path).read_text(encoding="utf-8")), strict=True
        ):
            assert (document["title"], document["sents"]) == (original["title"], original["sents"])
            assert [(fact["h"], fact["t"], fact["r"]) for fact in document["labels"]] == [
                (fact["h"], fact["t"], fact["r"]) for fact in original["labels"]
            ]


def test_relations_that_are_no_classes_are_refused(tmp_path):
    labels = [{"h": 0, "t": 1, "r": "P17"}]
    Dataset.from_list([{"title": "a", "sents": [["a"]], "vertexSet": [], "labels": labels}]).to_parquet(
        tmp_path / "corpus" / "train.parquet"
    )
    with pytest.raises(ValueError, match="`r` as a ClassLabel"):
        run_docre.load_corpus(
            run_docre.DataArguments(dataset_name=str(tmp_path / "corpus")),
            DocREIITrainingArguments(output_dir=str(tmp_path)),
        )


SMALL = [
    str(QUICKSTART),
    "--max_train_documents=8",
    "--max_eval_documents=3",
    "--num_train_epochs=2",
    "--disable_tqdm=true",
    "--model_kwargs",
    json.dumps({"pair_hidden_size": 32, "pair_intermediate_size": 32, "pair_feature_size": 32}),
]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--do_train false --do_eval false --do_predict false".split(), "nothing to do"),
        (["--model_name_or_path", "package:no_such_package/model"], "'no_such_package' is not installed"),
        (["--dataset_name", "re_docre"], "unknown name 're_docre', did you mean 're_docred'?"),
        (["--encoder_kwargs", '{"hidden_dropout": 0}'], "'bert' encoders have no setting ['hidden_dropout']"),
        (["--resume_from_checkpoint", "last"], "there is no checkpoint in"),
    ],
)
def test_a_run_that_cannot_be_made_says_why(arguments, message, tmp_path):
    with pytest.raises((ValueError, SystemExit)) as error:
        run_docre.main([*SMALL, "--output_dir", str(tmp_path / "out"), *arguments])
    assert message in str(error.value)


def test_relations_file_that_is_not_json_is_named(tmp_path):
    path = tmp_path / "relations.json"
    path.write_text("{", encoding="utf-8")
    with pytest.raises(SystemExit, match=r"`relations_file`: .*relations\.json' is not JSON"):
        run_docre.main([*SMALL, "--relations_file", str(path), "--output_dir", str(tmp_path)])


@pytest.fixture(scope="module")
def small_run(tmp_path_factory):
    """A whole run on a few real documents, as a user starts it, and what it printed."""
    folder = tmp_path_factory.mktemp("run")
    command = ["-m", "accelerate.commands.launch", "run_docre.py", *SMALL, "--output_dir", str(folder)]
    result = subprocess.run([sys.executable, *command], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    return folder, result.stdout


def test_run_leaves_a_checkpoint_that_loads(small_run, sample_documents):
    folder, _ = small_run
    model = DocREIIForRelationExtraction.from_pretrained(folder).eval()
    processor = DocREIIProcessor.from_pretrained(folder)
    document = sample_documents["dev"][0]
    outputs = model(**processor(document, return_tensors="pt"))
    size = len(document["vertexSet"])
    assert outputs.logits.shape == (1, size, size, 97)
    assert processor.relation_names["P17"] == "country"


def test_run_leaves_scores_as_the_trainer_writes_them(small_run):
    folder, printed = small_run
    results = json.loads((folder / "all_results.json").read_text(encoding="utf-8"))
    assert {"eval_f1", "eval_ign_f1", "eval_precision", "eval_recall", "eval_loss", "train_loss"} <= set(results)
    assert 0 < results["eval_type_baseline_f1"] < 100
    assert f"{results['eval_type_baseline_f1']:.2f}" in printed


def test_run_prints_what_was_read(small_run):
    # Counted by hand from the files: the first 8 and the first 3 documents.
    _, printed = small_run
    documents = json.loads((ROOT / "examples/re_docred_sample/train.json").read_text(encoding="utf-8"))[:8]
    pairs = sum(len(document["vertexSet"]) * (len(document["vertexSet"]) - 1) for document in documents)
    facts = sum(len(document["labels"]) for document in documents)
    assert f"train: 8 documents, {sum(len(d['vertexSet']) for d in documents):,} entities" in printed
    assert f"{facts:,} facts, {pairs:,} pairs, 0 documents without label" in printed


def test_predictions_and_submission_say_the_same(small_run, sample_documents):
    folder, _ = small_run
    predictions = json.loads((folder / "predictions.json").read_text(encoding="utf-8"))
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    titles = [document["title"] for document in sample_documents["dev"][:3]]
    assert [prediction["title"] for prediction in predictions] == titles
    named = {
        (prediction["title"], triple["head"]["entity"], triple["tail"]["entity"], triple["relation"])
        for prediction in predictions
        for triple in prediction["triples"]
    }
    assert named == {(fact["title"], fact["h_idx"], fact["t_idx"], fact["r"]) for fact in result}
    assert not list(folder.glob("*.partial"))


def test_checkpoint_is_evaluated_with_the_score_it_was_saved_with(small_run, tmp_path):
    folder, _ = small_run
    again = [*SMALL, "--model_name_or_path", str(folder), "--do_train", "false", "--output_dir", str(tmp_path)]
    run_docre.main(again)
    first, second = (json.loads((path / "eval_results.json").read_text()) for path in (folder, tmp_path))
    assert second["eval_f1"] == pytest.approx(first["eval_f1"])
    assert second["eval_loss"] == pytest.approx(first["eval_loss"], rel=1e-3)


def test_checkpoint_with_another_label_map_is_refused(small_run, tmp_path):
    folder, _ = small_run
    documents = json.loads((ROOT / "examples/re_docred_sample/dev.json").read_text(encoding="utf-8"))[:2]
    for document in documents:
        document["labels"] = [{"h": 0, "t": 1, "r": "LIKES", "evidence": []}]
    (tmp_path / "own.json").write_text(json.dumps(documents), encoding="utf-8")
    (tmp_path / "relations.json").write_text('{"LIKES": "likes"}', encoding="utf-8")
    own = ["--train_file", str(tmp_path / "own.json"), "--relations_file", str(tmp_path / "relations.json")]
    with pytest.raises(ValueError, match="the label map of .* is not that of the documents"):
        run_docre.main([*SMALL, *own, "--validation_file", own[1], "--model_name_or_path", str(folder)])
