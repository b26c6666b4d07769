"""The tables of an experiment, cell by cell."""

import csv
import io
from dataclasses import replace

import pytest

from modeling_docre_ii.experiments.definition import Measure, read_experiment
from modeling_docre_ii.experiments.plots import write_plot
from modeling_docre_ii.experiments.reports import Setting, markdown_report, runs_csv, summary_csv
from modeling_docre_ii.experiments.scoring import RowResult


GAIN = {"score": 51.0, "other_score": 50.0, "difference": 1.0, "low": -0.5, "high": 2.25, "p_value": 0.0421}
RESULTS = [
    RowResult(
        "full",
        [1, 2],
        {"F1": [50.0, 52.0], "after one": [40.0, 41.0]},
        {
            "F1": {"mean": 51.0, "std": 1.41421, "runs": 2},
            "after one": {"mean": 40.5, "std": 0.70711, "runs": 2},
        },
        GAIN,
    ),
    RowResult("shallow", [1], {"F1": [49.0], "after one": [None]}, {"F1": {"mean": 49.0, "std": None, "runs": 1}}),
]


@pytest.fixture
def experiment(definition, write):
    return read_experiment(write(definition))


@pytest.fixture
def setting(experiment):
    documents = "100 validation documents"
    return Setting(str(experiment.configuration), "", [1, 2], documents, "400", "at held-out thresholds")


def rows_of(page):
    lines = [line for line in page.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_table_by_hand(experiment, setting):
    page = markdown_report(experiment, setting, RESULTS)
    header, ruler, full, shallow = rows_of(page)
    gain = ["gain over the base", "95% interval", "p"]
    assert header == ["", "F1", "F1, paper", "after one", *gain, "runs"]
    assert len(ruler) == len(header)
    assert full == ["full", "51.00 ± 1.41", "62.5", "40.50 ± 0.71", "+1.00", "-0.50 to +2.25", "0.042", "2"]
    assert shallow == ["shallow", "49.00", "", "", "", "", "", "1"]
    assert "Training documents: 400. Scored on 100 validation documents, at held-out thresholds." in page
    assert "Not as in" not in page and "No finished run" not in page and "![" not in page


def test_page_says_what_was_reduced(experiment, setting):
    reduced = replace(setting, configuration="small.yaml", overrides="--max_train_documents 100", seeds=[7])
    page = markdown_report(experiment, reduced, RESULTS[:1], plot="experiment.svg")
    (line,) = [line for line in page.splitlines() if "Not as in" in line]
    assert f"`small.yaml` instead of `{experiment.configuration}`" in line
    assert "seeds 7 instead of 1, 2" in line and "arguments `--max_train_documents 100`" in line
    assert "- No finished run yet: shallow." in page
    assert "![Two rows](experiment.svg)" in page


def test_weights_have_more_decimals_and_names_may_hold_pipes(definition, write, setting):
    columns = [{"name": "relations", "score": "relation_weight"}]
    rows = [{"name": "a | b"}]
    experiment = read_experiment(write(definition | {"columns": columns, "rows": rows, "gain": None}))
    result = RowResult("a | b", [1], {"relations": [0.02346]}, {"relations": {"mean": 0.02346, "std": None}})
    page = markdown_report(experiment, setting, [result])
    assert "| a \\| b | 0.0235 | 1 |" in page
    assert experiment.columns == {"relations": Measure("relation_weight")}


def test_csv_has_every_run_and_every_summary(experiment):
    runs = list(csv.reader(io.StringIO(runs_csv(experiment, RESULTS))))
    assert runs == [
        ["row", "seed", "F1", "after one"],
        ["full", "1", "50.0", "40.0"],
        ["full", "2", "52.0", "41.0"],
        ["shallow", "1", "49.0", ""],
    ]
    header, full, shallow = csv.reader(io.StringIO(summary_csv(experiment, RESULTS)))
    assert dict(zip(header, full)) == {
        "row": "full",
        "runs": "2",
        "F1, mean": "51.0",
        "F1, deviation": "1.41421",
        "after one, mean": "40.5",
        "after one, deviation": "0.70711",
        "gain": "1.0",
        "gain, low": "-0.5",
        "gain, high": "2.25",
        "gain, p": "0.0421",
    }
    assert shallow == ["shallow", "1", "49.0", *[""] * 7]


@pytest.mark.parametrize("plot", ["points", "lines"])
def test_plot_names_rows_and_columns(definition, write, tmp_path, plot):
    pytest.importorskip("matplotlib", reason='needs `pip install "docre-ii[experiments]"`')
    experiment = read_experiment(write(definition | {"plot": plot}))
    for name in ("first.svg", "second.svg"):
        write_plot(tmp_path / name, experiment, RESULTS)
    drawn = (tmp_path / "first.svg").read_text(encoding="utf-8")
    for text in ("Two rows", "full", "shallow", "F1", "after one"):
        assert f"<!-- {text} -->" in drawn
    assert drawn == (tmp_path / "second.svg").read_text(encoding="utf-8")


def test_plot_without_matplotlib_says_what_to_install(experiment, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"a plot needs matplotlib: `pip install \"docre-ii\[experiments\]\"`"):
        write_plot(tmp_path / "plot.svg", experiment, RESULTS)
