"""The runs of an experiment: their arguments, and what rows share."""

from pathlib import Path

import pytest

from modeling_docre_ii.experiments.definition import read_experiment
from modeling_docre_ii.experiments.planning import ArgumentKinds, distinct_runs, plan_runs


CONFIGURATION = {
    "learning_rate": 0.5,
    "encoder_learning_rate": 0.25,
    "logging_steps": 10,
    "model_kwargs": {"pair_hidden_size": 16, "max_noise_rate": 0.5},
    "stage_2": {"num_train_epochs": 4, "learning_rate": 0.0625},
}
KINDS = ArgumentKinds(
    {"learning_rate", "weight_decay", "freeze_base", "base_learning_rate", "num_train_epochs", "calibrate_iterations"},
    {"logging_steps"},
)
OUT = Path("out")


@pytest.fixture
def plan(definition, write):
    def plan_of(configuration=CONFIGURATION, seeds=(1, 2), folder=OUT, **changes):
        return plan_runs(read_experiment(write(definition | changes)), configuration, seeds, folder, KINDS)

    return plan_of


def test_arguments_of_both_stages_by_hand(plan):
    full, shallow = plan()
    of_stage_1 = {
        "weight_decay": 0.5,
        "model_kwargs": {"pair_hidden_size": 16, "max_noise_rate": 0.5, "pair_dropout": 0.25},
    }
    assert [run.arguments for row in (full, shallow) for run in row.bases] == [of_stage_1] * 4
    of_model = {"pair_hidden_size": 16, "max_noise_rate": 0.125, "pair_dropout": 0.25}
    # Without training arguments of its own, stage 2 has those of the configuration.
    assert full.runs[0].arguments == {"weight_decay": 0.5, "model_kwargs": of_model}
    assert shallow.runs[0].arguments == {
        "weight_decay": 0.5,
        "model_kwargs": of_model | {"num_inference_layers": 1},
        "stage_2": {"num_train_epochs": 4, "learning_rate": 0.0625, "freeze_base": True},
    }


def test_rows_share_stage_1_and_every_run_is_there_once(plan):
    full, shallow = plan()
    assert full.bases == shallow.bases == [full.runs[0].start, full.runs[1].start]
    runs = distinct_runs([full, shallow])
    # All of the first seed come first, stage 1 before stage 2.
    assert [(run.seed, run.stages) for run in runs] == [(1, [1]), (1, [2]), (1, [2]), (2, [1]), (2, [2]), (2, [2])]
    assert len({run.folder for run in runs}) == 6
    assert full.runs[0].folder.parent == full.runs[1].folder.parent
    assert full.runs[0].folder.name == "seed_1"


def test_a_row_that_differs_in_stage_1_has_its_own(plan):
    rows = [{"name": "a"}, {"name": "b", "stage_1": {"learning_rate": 0.125}}, {"name": "c", "both": {"bf16": True}}]
    a, b, c = plan(rows=rows)
    assert len({row.bases[0].folder for row in (a, b, c)}) == 3
    # The arguments of stage 2 are the same in a and b, but they start from other models.
    assert a.runs[0].arguments == b.runs[0].arguments
    assert len({row.runs[0].folder for row in (a, b, c)}) == 3


def test_base_alone_is_the_run_that_others_start_from(plan):
    base, full = plan(rows=[{"name": "base", "stages": [1]}, {"name": "full"}])
    assert base.runs == full.bases and base.bases == []
    assert len(distinct_runs([base, full])) == 4


def test_without_stage_1_the_whole_model_is_trained_as_the_base_otherwise(plan):
    full, whole = plan(rows=[{"name": "full"}, {"name": "whole", "stages": [2], "stage_2": {"weight_decay": 0.0}}])
    assert [run.start for run in whole.runs] == [None, None]
    assert whole.runs[0].arguments["stage_2"] == {"base_learning_rate": 0.25, "weight_decay": 0.0}
    assert whole.bases == full.bases, "which other rows train"
    (alone,) = plan(rows=[{"name": "whole", "stages": [2]}])
    assert alone.bases == [] and len(distinct_runs([alone])) == 2


@pytest.mark.parametrize(
    ("changes", "is_shared"),
    [
        ({"logging_steps": 20}, True),
        ({"model_kwargs": CONFIGURATION["model_kwargs"] | {"use_fusion": True}}, True),
        ({"model_kwargs": CONFIGURATION["model_kwargs"] | {"use_fusion": False}}, False),
        ({"model_kwargs": CONFIGURATION["model_kwargs"] | {"entity_pooling": "logsumexp"}}, False),
        ({"learning_rate": 0.75}, False),
        ({"stage_2": CONFIGURATION["stage_2"] | {"freeze_base": False}}, True),
        ({"stage_2": CONFIGURATION["stage_2"] | {"freeze_base": True}}, False),
        ({"stage_2": CONFIGURATION["stage_2"] | {"freeze_base": False}, "freeze_base": True}, False),
    ],
)
def test_tables_share_runs_with_the_same_effective_arguments(plan, changes, is_shared):
    """Not those that only concern the log; a field at its default is as good as none."""
    (first, *_), (other, *_) = plan(), plan(CONFIGURATION | changes, title="Another table")
    assert (first.runs[0].folder == other.runs[0].folder) == is_shared


@pytest.mark.parametrize("asked", [{"calibrate_iterations": True}, {"stage_2": {"calibrate_iterations": True}}])
def test_runs_keep_all_iterations_unless_the_row_says_otherwise(plan, asked):
    rows = [{"name": "all"}, {"name": "best", "stage_2": {"calibrate_iterations": True}}]
    kept, best = plan(CONFIGURATION | asked, rows=rows)
    assert kept.runs[0].arguments["stage_2"]["calibrate_iterations"] is False
    assert best.runs[0].arguments["stage_2"]["calibrate_iterations"] is True


def test_no_stage_2_is_an_empty_one(plan):
    without = {name: value for name, value in CONFIGURATION.items() if name != "stage_2"}
    rows = [{"name": "a", "stages": [1, 2]}]
    (first,), (other,) = (plan(configuration, rows=rows) for configuration in (without, without | {"stage_2": {}}))
    assert first.runs == other.runs


def test_without_stage_1_the_whole_model_has_its_arguments(plan):
    row = {"name": "whole", "stages": [2], "stage_1": {"num_train_epochs": 7, "model_kwargs": {"pair_dropout": 0.5}}}
    configuration = {name: value for name, value in CONFIGURATION.items() if name != "encoder_learning_rate"}
    (whole,) = plan(configuration, rows=[row])
    arguments = whole.runs[0].arguments
    assert arguments["num_train_epochs"] == 7 and arguments["model_kwargs"]["pair_dropout"] == 0.5
    # The default of a stage 1, not that of a stage 2.
    assert arguments["stage_2"] == {"base_learning_rate": 5e-5}


def test_folds_that_are_no_number_are_named(plan):
    with pytest.raises(ValueError, match="row 'full': `cross_fit_folds` must be an integer, got 'two'"):
        plan(CONFIGURATION | {"cross_fit_folds": "two"})


def test_arguments_of_stage_2_leave_stage_1_alone(plan):
    (first, *_), (other, *_) = plan(), plan(CONFIGURATION | {"stage_2": {"num_train_epochs": 9}})
    assert first.bases[0].folder == other.bases[0].folder
    assert first.runs[0].folder != other.runs[0].folder


def test_cross_fit_is_one_run_of_both_stages(plan):
    rows = [
        {"name": "plain"},
        {"name": "folds", "stage_1": {"learning_rate": 0.125}, "stage_2": {"cross_fit_folds": 3, "freeze_base": True}},
    ]
    plain, folds = plan(rows=rows)
    assert [run.stages for run in distinct_runs([plain, folds])] == [[1], [1, 2], [2]] * 2
    run, base = folds.runs[0], folds.bases[0]
    assert base.folder == run.folder / "stage_1" and base.group == run.group == run.folder.parent
    assert run.start is None and run.arguments == {
        "learning_rate": 0.125,
        "weight_decay": 0.5,
        "cross_fit_folds": 3,
        "model_kwargs": {"pair_hidden_size": 16, "max_noise_rate": 0.125, "pair_dropout": 0.25},
        "stage_2": {"num_train_epochs": 4, "learning_rate": 0.0625, "freeze_base": True},
    }
    assert "cross_fit_folds" not in plain.runs[0].arguments


def test_single_stages_of_a_cross_fit_configuration_have_no_folds(plan):
    configuration = CONFIGURATION | {"cross_fit_folds": "3"}
    rows = [{"name": "base", "stages": [1]}, {"name": "whole", "stages": [2]}, {"name": "full"}]
    base, whole, full = plan(configuration, rows=rows)
    assert base.runs[0].arguments["cross_fit_folds"] == whole.runs[0].arguments["cross_fit_folds"] == 1
    assert full.runs[0].stages == [1, 2] and "cross_fit_folds" not in full.runs[0].arguments
    # Without folds, stage 1 is that of the plain configuration.
    assert base.runs[0].folder == plan(rows=rows)[0].runs[0].folder


def test_argument_of_stage_1_that_a_cross_fit_cannot_tell_apart_is_refused(plan):
    rows = [{"name": "a", "stage_1": {"weight_decay": 0.1}, "stage_2": {"cross_fit_folds": 2}}]
    with pytest.raises(
        ValueError, match="row 'a': stage_1: with `cross_fit_folds`, `weight_decay` would change stage"
    ):
        plan(rows=rows)


def test_rows_that_are_the_same_runs_are_refused(plan):
    rows = [{"name": "a"}, {"name": "b", "stage_2": {"model_kwargs": {"use_fusion": True}}}]
    with pytest.raises(ValueError, match="experiment.yaml: rows 'a' and 'b' have the same arguments"):
        plan(rows=rows)
