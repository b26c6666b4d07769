"""Files of predictions, scored from the command line: one, several runs, two compared, and malformed ones."""

import json
from pathlib import Path

import pytest

import run_docre
from dataset_scripts.cdr import CDR
from modeling_docre_ii import write_submission
from modeling_docre_ii.cli.scoring import main


ROOT = Path(__file__).parents[3]
SAMPLE = ROOT / "tests" / "dataset_scripts" / "cdr_sample.PubTator.txt"
DOCUMENTS = ["--dataset_name", "cdr", "--validation_file", str(SAMPLE)]
DOCUMENTS += ["--mesh_tree_file", str(SAMPLE.with_name("mesh_sample.txt"))]


@pytest.fixture(scope="module")
def facts(tmp_path_factory):
    """All facts of five real abstracts."""
    builder = CDR(data_files={"train": str(SAMPLE)}, cache_dir=str(tmp_path_factory.mktemp("cache")))
    builder.download_and_prepare()
    return [
        {"title": row["title"], "h_idx": label["h"], "t_idx": label["t"], "r": "CID", "evidence": []}
        for row in builder.as_dataset(split="train")
        for label in row["labels"]
    ]


@pytest.fixture
def scored(tmp_path, capsys):
    """Writes files of predictions, scores them and returns what is printed."""

    def score(*options, **files):
        for name, predictions in files.items():
            write_submission(tmp_path / f"{name}.json", predictions)
        options = [str(tmp_path / f"{option}.json") if option in files else option for option in options]
        main([*DOCUMENTS, *options])
        return capsys.readouterr().out

    return score


def table_row(printed, name):
    """The numbers behind a name at the beginning of a line."""
    (line,) = [line for line in printed.splitlines() if line.startswith(name + "  ")]
    return line.removeprefix(name).split()


def fewer_f1(count):
    """F1 of all facts but one, from its definition."""
    return 200 * (count - 1) / (2 * count - 1)


def test_one_file_is_scored_by_relation_as_well(scored, facts):
    printed = scored("--score_files", "fewer", fewer=facts[1:])
    f1, recall = fewer_f1(len(facts)), 100 * (len(facts) - 1) / len(facts)
    assert table_row(printed, "all facts") == [f"{f1:.2f}", "100.00", f"{recall:.2f}"]
    assert f"{f1:.2f}" in table_row(printed, "chemical-induced disease (CID)")


def test_runs_of_several_seeds_are_summed_up(scored, facts):
    printed = scored("--score_files", "all", "fewer", all=facts, fewer=facts[1:])
    fewer = fewer_f1(len(facts))
    mean, deviation = (100 + fewer) / 2, (100 - fewer) / 2**0.5
    assert table_row(printed.partition("2 runs")[2], "all facts") == [f"{mean:.2f}", f"{deviation:.2f}", "2"]


def test_two_files_are_compared(scored, facts):
    printed = scored("--score_files", "all", "--compare_with", "fewer", all=facts, fewer=facts[1:])
    fewer = fewer_f1(len(facts))
    row = table_row(printed.partition("1,000 resamples")[2], "filtered: without uncounted pairs")
    assert row[:3] == ["100.00", f"{fewer:.2f}", f"{100 - fewer:+.2f}"]


def test_prediction_on_an_unknown_title_is_refused(scored, facts):
    unknown = facts[0] | {"title": "no such abstract"}
    with pytest.raises(SystemExit, match="^docre-ii score: .*'no such abstract'"):
        scored("--score_files", "more", more=[*facts, unknown])


@pytest.mark.parametrize("options", [(), ("--compare_with", "all")])
def test_prediction_on_an_unknown_title_can_count_as_wrong(scored, facts, options):
    unknown = facts[0] | {"title": "no such abstract"}
    files = {"more": [*facts, unknown], "all": facts}
    printed = scored("--score_files", "more", *options, "--unknown_titles", "wrong", **files)
    precision = 100 * len(facts) / (len(facts) + 1)
    assert table_row(printed.partition("resamples")[0], "all facts")[1] == f"{precision:.2f}"


@pytest.mark.parametrize(("program", "prog"), [(main, "docre-ii score"), (run_docre.main, "run_docre.py")])
def test_file_that_is_no_submission_is_named(tmp_path, program, prog):
    path = tmp_path / "result.json"
    path.write_text('[{"title": "1", "h_idx": 0, "t_idx": 1}]', encoding="utf-8")
    with pytest.raises(SystemExit) as error:
        program([*DOCUMENTS, "--score_files", str(path)])
    assert str(error.value).startswith(f"{prog}: {path}: item 0: 'r' is missing")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (DOCUMENTS, "there is nothing to score: set `score_files`"),
        (["--train_file", "FILE", "--score_files", "FILE"], "no validation documents were given"),
        (["--validation_file", "FILE", "--score_files", "nowhere.json"], "`score_files`: there is no file"),
    ],
)
def test_what_cannot_be_scored_is_one_clear_error(tmp_path, arguments, message):
    path = tmp_path / "documents.json"
    document = {"title": "a", "sents": [["a", "b"]], "vertexSet": [], "labels": []}
    path.write_text(json.dumps([document]), encoding="utf-8")
    with pytest.raises(SystemExit, match=f"^docre-ii score: {message}"):
        main([str(path) if argument == "FILE" else argument for argument in arguments])
