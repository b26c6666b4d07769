"""`docre-ii experiments`: the plan, and a real table of tiny runs, interrupted and resumed."""

import csv
import json
import re
import shlex
import shutil
import statistics

import pytest
import torch
import yaml
from safetensors.torch import load_file
from transformers import BertConfig, BertModel

from modeling_docre_ii import DocREIITrainer
from modeling_docre_ii.cli import main
from modeling_docre_ii.cli.parsing import parse_arguments
from tests.hub_model import make_tokenizer


TINY = {
    "pair_hidden_size": 16,
    "pair_intermediate_size": 16,
    "pair_bilinear_rank": 8,
    "pair_feature_size": 16,
    "inference_hidden_size": 16,
    "inference_intermediate_size": 16,
    "contrastive_hidden_size": 8,
    "initializer_range": 0.5,
}


@pytest.fixture(scope="module")
def folder(sample_documents, tmp_path_factory):
    """A tiny encoder, a few short documents, a configuration, and an experiment of two rows and two seeds."""
    folder = tmp_path_factory.mktemp("experiment")
    documents = {
        split: sorted(of_split, key=lambda document: len(document["vertexSet"]))[1:6]
        for split, of_split in sample_documents.items()
    }
    for split, of_split in documents.items():
        (folder / f"{split}.json").write_text(json.dumps(of_split[: 4 if split == "train" else 5]), encoding="utf-8")
    tokenizer = make_tokenizer(sum(documents.values(), []))
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    torch.manual_seed(0)
    BertModel(BertConfig(vocab_size=len(tokenizer), **sizes)).save_pretrained(folder / "encoder")
    tokenizer.save_pretrained(folder / "encoder")
    configuration = {
        "model_name_or_path": str(folder / "encoder"),
        "model_kwargs": TINY,
        "dataset_name": "re_docred",
        "output_dir": "unused",
        "num_train_epochs": 2,
        "per_device_train_batch_size": 2,
        "learning_rate": 0.01,
        "calibrate_threshold": True,
        "save_strategy": "epoch",
        "save_total_limit": 1,
        "disable_tqdm": True,
        "report_to": "none",
        "use_cpu": True,
    }
    experiment = {
        "title": "Tiny",
        "configuration": "tiny.yaml",
        "seeds": [1, 2],
        "columns": [
            {"name": "F1", "score": "f1"},
            {"name": "base", "score": "f1", "iteration": 0},
            {"name": "W", "score": "relation_weight"},
        ],
        "gain": "f1",
        "rows": [
            {"name": "base", "stages": [1]},
            {"name": "w/o fusion", "stage_2": {"model_kwargs": {"use_fusion": False}}},
        ],
    }
    (folder / "tiny.yaml").write_text(yaml.safe_dump(configuration), encoding="utf-8")
    (folder / "experiment.yaml").write_text(yaml.safe_dump(experiment), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def argv(folder):
    files = ["--train_file", str(folder / "train.json"), "--validation_file", str(folder / "dev.json")]
    return ["experiments", str(folder / "experiment.yaml"), "--output_dir", str(folder / "out"), *files]


def test_dry_run_prints_the_plan_and_writes_nothing(argv, folder, tmp_path, capsys):
    main([*argv, "--output_dir", str(tmp_path / "out"), "--dry_run", "--seeds", "3", "--num_train_epochs", "4"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "2 rows and 1 seed: 2 runs, 0 finished, 0 to resume"
    # Of each row: 4 epochs of stage 1, and 4 of stage 2.
    assert lines[2] == "stage 1: 1 run instead of 2, since rows share it; 8 epochs instead of 12"
    commands = [shlex.split(line) for line in lines[3:]]
    assert [command[:2] for command in commands] == [["docre-ii", "train"]] * 2
    first, second = (parse_arguments(command[2:]) for command in commands)
    assert list(first.training) == [1] and list(second.training) == [2]
    assert second.model.model_name_or_path == first.last.output_dir
    assert second.model.config_fields == TINY | {"use_fusion": False} and first.model.config_fields == TINY
    assert (second.last.seed, second.last.num_train_epochs) == (3, 4)
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def finished(argv, folder):
    """
    The experiment, interrupted in the second epoch of its second run and resumed. Gives its folder, and the number of
    steps of training in both calls.
    """
    step, steps = DocREIITrainer.training_step, []

    def training_step(*args, **kwargs):
        # Two steps an epoch, two epochs a run: the first step of the second epoch of the second run.
        if len(steps) == 4 + 2 and not (folder / "interrupted").exists():
            (folder / "interrupted").touch()
            raise KeyboardInterrupt
        steps.append(1)
        return step(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DocREIITrainer, "training_step", training_step)
        with pytest.raises(SystemExit, match="130"):
            main(argv)
        table = (folder / "out" / "experiment.md").read_text(encoding="utf-8")
        main(argv)
    return folder / "out", len(steps), table


def results_of(folder, stage):
    (of_stage,) = (folder / "runs").glob(f"stage_{stage}_*")
    results = [json.loads((of_stage / f"seed_{seed}" / "eval_results.json").read_text()) for seed in (1, 2)]
    return of_stage, results


def test_interrupted_table_has_the_finished_rows_and_resumes_without_repeating_a_step(finished):
    _, num_steps, interrupted = finished
    assert "- No finished run yet: w/o fusion." in interrupted
    assert re.search(r"^\| base \| [\d.]+ \| [\d.]+ \|  \| 1 \|$", interrupted, re.MULTILINE)
    assert num_steps == 4 * 4


def test_table_has_mean_deviation_and_gain_at_held_out_thresholds(finished):
    folder, _, _ = finished
    page = (folder / "experiment.md").read_text(encoding="utf-8")
    assert "Not as in" not in page, "an experiment leaves its documents to the command line"
    assert "Training documents: 4. Scored on 5 validation documents, at held-out thresholds." in page
    rows = {line.split(" | ")[0].strip("| "): line.strip("| ").split(" | ") for line in page.splitlines() if line}
    base, full = (
        [results[f"eval_{prefix}cross_calibrated_f1"] for results in results_of(folder, stage)[1]]
        for stage, prefix in ((1, ""), (2, "iteration_3_"))
    )
    assert max(base + full) > 0
    for name, values in (("base", base), ("w/o fusion", full)):
        assert rows[name][1] == f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f}"
        assert rows[name][-1] == "2"
    gain = statistics.mean(full) - statistics.mean(base)
    assert rows["w/o fusion"][4] == f"{gain:+.2f}"
    low, high = map(float, rows["w/o fusion"][5].split(" to "))
    assert low <= gain + 0.01 and gain - 0.01 <= high and 0 <= float(rows["w/o fusion"][6]) <= 1
    # The base module inside the full model, after stage 2.
    inside = [results["eval_base_cross_calibrated_f1"] for results in results_of(folder, 2)[1]]
    assert rows["w/o fusion"][2] == f"{statistics.mean(inside):.2f} ± {statistics.stdev(inside):.2f}"


def test_weights_are_those_of_the_classifier(finished):
    """Its second half reads the relation matrix."""
    folder, _, _ = finished
    of_stage, _ = results_of(folder, 2)
    expected = []
    for seed in (1, 2):
        weights = load_file(of_stage / f"seed_{seed}" / "model.safetensors")["inference_module.classifier.weight"]
        expected.append(weights[:, weights.shape[1] // 2 :].abs().mean().item())
    with (folder / "experiment.csv").open(newline="") as file:
        base, full = csv.DictReader(file)
    assert float(full["W, mean"]) == pytest.approx(statistics.mean(expected))
    assert float(full["W, deviation"]) == pytest.approx(statistics.stdev(expected), rel=1e-3)
    assert base["W, mean"] == ""


def test_labeled_test_documents_are_scored_at_the_thresholds_of_the_models(folder, argv, tmp_path):
    definition = yaml.safe_load((folder / "experiment.yaml").read_text(encoding="utf-8"))
    path = folder / "test_documents.yaml"
    path.write_text(yaml.safe_dump(definition | {"rows": definition["rows"][:1], "seeds": [4]}), encoding="utf-8")
    arguments = ["--output_dir", str(tmp_path), "--test_file", str(folder / "train.json"), "--do_predict", "true"]
    main(["experiments", str(path), *argv[2:], *arguments])
    page = (tmp_path / "test_documents.md").read_text(encoding="utf-8")
    assert "Scored on 4 test documents, at the thresholds of the models." in page
    (results,) = tmp_path.glob("runs/*/seed_4/predict_results.json")
    assert f"| base | {json.loads(results.read_text())['predict_f1']:.2f} |" in page


def test_cross_fit_is_one_run_and_compared_with_its_own_stage_1(folder, argv, tmp_path, capsys):
    definition = yaml.safe_load((folder / "experiment.yaml").read_text(encoding="utf-8"))
    path = folder / "cross_fit.yaml"
    arguments = {"cross_fit_folds": 2, "model_kwargs": {"inference_features": "logits"}}
    path.write_text(yaml.safe_dump(definition | {"rows": [{"name": "a", "stage_2": arguments}], "seeds": [4]}))
    main(["experiments", str(path), *argv[2:], "--output_dir", str(tmp_path), "--num_train_epochs", "1"])
    # One epoch of the base, of two more bases, and of stage 2.
    assert "stage 1: 1 run instead of 1, since rows share it; 4 epochs instead of 4" in capsys.readouterr().out
    (run,) = tmp_path.glob("runs/stage_1_and_2_*/seed_4")
    base, full = (json.loads((of / "eval_results.json").read_text()) for of in (run / "stage_1", run))
    gain = full["eval_cross_calibrated_f1"] - base["eval_cross_calibrated_f1"]
    page = (tmp_path / "cross_fit.md").read_text(encoding="utf-8")
    assert f"| a | {full['eval_cross_calibrated_f1']:.2f} |" in page and f" | {gain:+.2f} | " in page


def test_csv_has_the_scores_of_every_run(finished):
    folder, _, _ = finished
    with (folder / "experiment_runs.csv").open(newline="") as file:
        found = {(line["row"], line["seed"]): float(line["F1"]) for line in csv.DictReader(file)}
    expected = {}
    for name, stage in (("base", 1), ("w/o fusion", 2)):
        for seed, results in zip("12", results_of(folder, stage)[1]):
            expected[name, seed] = results["eval_cross_calibrated_f1"]
    assert found == pytest.approx(expected)
    assert (folder / "experiment.csv").exists()


def test_finished_runs_are_not_trained_again(finished, argv, capsys):
    folder, _, _ = finished
    times = {path: path.stat().st_mtime_ns for path in folder.glob("runs/*/*/model.safetensors")}
    main(argv)
    printed = capsys.readouterr().out
    assert "2 rows and 2 seeds: 4 runs, 4 finished, 0 to resume" in printed and "docre-ii train" not in printed
    assert not list(folder.glob("runs/*/*/checkpoint-*")), "a finished run keeps its model alone"
    assert len(times) == 4 and times == {path: path.stat().st_mtime_ns for path in times}
    assert (folder / "experiment.md").read_text(encoding="utf-8") in printed


def test_finished_run_on_other_documents_is_refused(finished, argv, folder):
    """The folder is that of the same arguments, but the file has changed."""
    path = folder / "train.json"
    content = path.read_text(encoding="utf-8")
    path.write_text(content[:-1] + " ]", encoding="utf-8")
    try:
        with pytest.raises(SystemExit, match="stage 1, seed 1: .* holds another run: `train_file`"):
            main(argv)
    finally:
        path.write_text(content, encoding="utf-8")


def test_predictions_of_another_evaluation_in_the_folder_of_a_run_are_refused(finished, argv, folder):
    """What they would be scored on is not what they were predicted on."""
    (run,) = (folder / "out").glob("runs/stage_2_*/seed_1")
    saved = {path: path.read_bytes() for path in run.iterdir() if path.is_file()}
    evaluate = ["--do_train", "false", "--do_eval", "true", "--do_predict", "false", "--model_name_or_path", str(run)]
    evaluate += ["--output_dir", str(run), "--max_eval_documents", "2"]
    try:
        main(["train", str(folder / "tiny.yaml"), *argv[4:], *evaluate[:-2]])
        table = (folder / "out" / "experiment.csv").read_text(encoding="utf-8")
        main(argv)
        assert table == (folder / "out" / "experiment.csv").read_text(encoding="utf-8")
        main(["train", str(folder / "tiny.yaml"), *argv[4:], *evaluate])
        again = rf"Remove {str(run)!r}, and the same command trains it again"
        with pytest.raises(SystemExit, match=f"are on other documents, which were evaluated there later. {again}"):
            main(argv)
        (run / "validation_predictions.npz").write_bytes(b"PK")
        with pytest.raises(SystemExit, match=again):
            main(argv)
    finally:
        for path in set(run.iterdir()) - set(saved):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        for path, content in saved.items():
            path.write_bytes(content)


def test_checkpoints_that_a_killed_command_left_are_removed(finished, argv, folder):
    (run,) = (folder / "out").glob("runs/stage_1_*/seed_2")
    (run / "checkpoint-4").mkdir()
    main(argv)
    assert not (run / "checkpoint-4").exists() and (run / "model.safetensors").exists()


ERRORS = [
    (
        {"stage_2": {"model_kwargs": {"use_fusoin": False}}},
        "row 'a': stage_2: model_kwargs: unknown name 'use_fusoin', did",
    ),
    ({"stage_2": {"freeze": True}}, "row 'a': stage_2: unknown name 'freeze'"),
    ({"stage_2": {"model_kwargs": {"use_fusion": 3}}}, "row 'a': stage 2: .*use_fusion"),
    ({"stage_1": {"num_train_epochs": "many"}}, "row 'a': stage 1: argument --num_train_epochs: invalid float value"),
    ({"both": {"seed": 3}}, "row 'a': both: `seed` cannot be set here"),
    ({"both": {"model_kwargs": '{"num_iterations": 3}'}}, "row 'a': both: `model_kwargs` is .*, expected a mapping"),
]


@pytest.mark.parametrize(("changes", "message"), ERRORS, ids=[message for _, message in ERRORS])
def test_wrong_arguments_are_found_before_the_first_run(folder, argv, changes, message):
    definition = yaml.safe_load((folder / "experiment.yaml").read_text(encoding="utf-8"))
    path = folder / "wrong.yaml"
    path.write_text(yaml.safe_dump(definition | {"rows": [{"name": "a"} | changes]}), encoding="utf-8")
    with pytest.raises(SystemExit, match=f"^docre-ii experiments: .*wrong.yaml: {message}.*$"):
        main(["experiments", str(path), *argv[2:]])


@pytest.mark.parametrize("place", ["column 'late'", "the gain"])
def test_iteration_that_no_model_has_is_found_before_the_first_run(folder, argv, place):
    definition = yaml.safe_load((folder / "experiment.yaml").read_text(encoding="utf-8"))
    late = {"score": "f1", "iteration": 4}
    if place == "the gain":
        definition |= {"gain": late}
    else:
        definition["columns"].append({"name": "late"} | late)
    path = folder / "late.yaml"
    path.write_text(yaml.safe_dump(definition), encoding="utf-8")
    with pytest.raises(SystemExit, match=f"late.yaml: {place} is of iteration 4, but the last one of the models is 3"):
        main(["experiments", str(path), *argv[2:]])


def test_score_that_the_documents_lack_is_found_before_the_first_run(folder, argv, tmp_path):
    definition = yaml.safe_load((folder / "experiment.yaml").read_text(encoding="utf-8"))
    path = folder / "filtered.yaml"
    path.write_text(yaml.safe_dump(definition | {"gain": "filtered_f1"}), encoding="utf-8")
    with pytest.raises(
        SystemExit, match="^docre-ii experiments: the documents have no score 'filtered_f1', they have"
    ):
        main(["experiments", str(path), *argv[2:], "--output_dir", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_labeled_test_documents_that_no_run_predicts_are_found_before_the_first_run(folder, argv, tmp_path):
    arguments = ["--output_dir", str(tmp_path / "out"), "--test_file", str(folder / "train.json")]
    with pytest.raises(SystemExit, match="the test documents have labels and are scored: set `do_predict` to true"):
        main([*argv, *arguments, "--do_predict", "false"])
    assert not (tmp_path / "out").exists()


def test_other_test_documents_are_another_run(folder, argv, tmp_path, capsys):
    path, plans = tmp_path / "test.json", []
    for count in (2, 2, 1):
        path.write_text(json.dumps(json.loads((folder / "train.json").read_text())[:count]), encoding="utf-8")
        main([*argv, "--test_file", str(path), "--do_predict", "true", "--dry_run"])
        plans.append(capsys.readouterr().out)
    assert plans[0] == plans[1] != plans[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sed", "1"], "the command line: unknown name 'sed', did you mean 'seed'"),
        (["--stages", "1"], "the command line: `stages` cannot be set here"),
        (["--model_kwargs", "{"], "`model_kwargs` is not JSON"),
        (["--model_kwargs", "[1]"], "`model_kwargs` must be a mapping"),
        (["--base", "no.yaml"], "there is no configuration file 'no.yaml'"),
        (["--train_file", "no.json"], "`train_file`: there is no file 'no.json'"),
    ],
)
def test_wrong_command_line_is_one_line(argv, arguments, message):
    with pytest.raises(SystemExit, match=f"^docre-ii experiments: .*{message}.*$"):
        main([*argv, *arguments])
