"""What the file of an experiment says, and one-line errors for what it cannot say."""

import re

import pytest

from modeling_docre_ii.experiments.definition import Measure, merge_arguments, read_experiment


def test_read_by_hand(definition, write, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    experiment = read_experiment(write(definition))
    assert (experiment.title, experiment.seeds, experiment.plot) == ("Two rows", [1, 2], "points")
    assert str(experiment.configuration) == "base.yaml"
    assert experiment.columns == {"F1": Measure("f1"), "after one": Measure("infer_f1", 1)}
    assert experiment.gain == Measure("f1")
    full, shallow = experiment.rows
    assert (full.name, full.stages, full.paper) == ("full", [1, 2], {"F1": 62.5})
    # What the file gives to all rows comes first, and mappings are merged name by name.
    assert full.both == shallow.both == definition["both"]
    assert full.stage_2 == {"model_kwargs": {"max_noise_rate": 0.125}}
    assert shallow.stage_2 == {
        "model_kwargs": {"max_noise_rate": 0.125, "num_inference_layers": 1},
        "freeze_base": True,
    }


def test_later_arguments_win_and_mappings_are_merged():
    first = {"a": 1, "m": {"x": 1, "y": 2}, "kept": [1]}
    assert merge_arguments(first, {"a": 2}, {"m": {"y": 3}}) == {"a": 2, "m": {"x": 1, "y": 3}, "kept": [1]}
    assert merge_arguments(first, {"m": None}, {"m": {"z": 1}})["m"] == {"z": 1}
    assert first == {"a": 1, "m": {"x": 1, "y": 2}, "kept": [1]}


CHANGES = [
    ({"tittle": "x"}, "unknown name 'tittle', did you mean 'title'"),
    ({"title": 3}, "`title` must be a text, got 3"),
    ({"seeds": []}, r"`seeds` must be a list of integers, got \[\]"),
    ({"seeds": [1, "2"]}, "`seeds` must be a list of integers"),
    ({"seeds": [1, 2, 1]}, "seeds: 1 is there twice"),
    ({"configuration": "bases.yaml"}, "configuration: there is no file '.*bases.yaml', did you mean '.*base.yaml'"),
    ({"columns": {"F1": "f1"}}, "`columns` must be a list of mappings"),
    ({"columns": [{"score": "f1"}]}, "columns, item 0: `name` must be a text, got None"),
    (
        {"columns": [{"name": "F1", "score": "ing_f1"}]},
        "column 'F1': score: unknown name 'ing_f1', did you mean 'ign_f1'",
    ),
    ({"columns": [{"name": "F1"}]}, "column 'F1': `score` is missing"),
    ({"columns": [{"name": "F1", "score": "f1", "iteration": -1}]}, "column 'F1': `iteration` must be an integer"),
    ({"columns": [{"name": "F1", "score": None}]}, "column 'F1': `score` must be the name of a score, got None"),
    (
        {"columns": [{"name": "F1", "score": "rule_correct_evidence_f1"}]},
        "column 'F1': score: unknown name 'rule_correct_evidence_f1'",
    ),
    ({"gain": "f"}, "gain: score: unknown name 'f'"),
    ({"gain": "precision"}, "gain: `score` must be an F1, of which the gain is tested, got 'precision'"),
    ({"both": {1: 1}}, "row 'full': `both` must be a mapping whose keys are names, got 1"),
    ({"rows": [{"name": "a", "paper": {2019: 1}}]}, "row 'a': paper: unknown name '2019'"),
    (
        {"rows": [{"name": "a", "stage_2": {"mention_anchor": "marker"}}]},
        "row 'a': stage_2: `mention_anchor` is kept from stage 1: set it in `both` or in `stage_1`",
    ),
    ({"plot": "pie"}, r"`plot` must be one of \('points', 'lines'\), got 'pie'"),
    ({"both": [1]}, r"`both` must be a mapping, got \[1\]"),
    ({"rows": []}, r"`rows` must be at least one, got \[\]"),
    ({"rows": [{"name": "a"}, {"name": "b"}, {"name": "a"}]}, "rows: 'a' is there twice"),
    ({"rows": [{"name": "a", "stage2": {}}]}, "row 'a': unknown name 'stage2', did you mean 'stage_2'"),
    ({"rows": [{"name": "a", "stages": [2, 1]}]}, r"row 'a': `stages` must be \[1\], \[2\] or \[1, 2\]"),
    ({"rows": [{"name": "a", "stages": [1], "stage_2": {"seed": 1}}]}, "row 'a': `stage_2` has no effect"),
    ({"rows": [{"name": "a", "stage_1": "x"}]}, "row 'a': `stage_1` must be a mapping, got 'x'"),
    (
        {"rows": [{"name": "a", "paper": {"after on": 1}}]},
        "row 'a': paper: unknown name 'after on', did you mean 'after one'",
    ),
]


@pytest.mark.parametrize(("changes", "message"), CHANGES, ids=[message for _, message in CHANGES])
def test_errors_name_file_and_field(definition, write, changes, message):
    path = write(definition | changes)
    with pytest.raises(ValueError, match=f"^{re.escape(path)}: .*{message}") as error:
        read_experiment(path)
    assert "\n" not in str(error.value)


def test_missing_fields_and_files_are_named(definition, write, tmp_path):
    for name in ("title", "configuration", "seeds", "columns", "rows"):
        path = write({key: value for key, value in definition.items() if key != name})
        with pytest.raises(ValueError, match=f"experiment.yaml: `{name}` is missing"):
            read_experiment(path)
    with pytest.raises(ValueError, match="there is no experiment '.*/experimint.yaml', did you mean '.*experiment"):
        read_experiment(str(tmp_path / "experimint.yaml"))
    with pytest.raises(ValueError, match="'train.json' is no experiment, which is a YAML file"):
        read_experiment("train.json")
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(ValueError, match=r"list.yaml must be a mapping, got \[1\]"):
        read_experiment(str(tmp_path / "list.yaml"))
    (tmp_path / "broken.yaml").write_text("a: [1\n")
    with pytest.raises(ValueError, match="cannot read the experiment '.*broken.yaml'"):
        read_experiment(str(tmp_path / "broken.yaml"))
