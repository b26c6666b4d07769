"""The record of a trained stage: plain values, whatever the Trainer's types are."""

import json

import pytest
from transformers import TrainerState

from modeling_docre_ii import DocREIITrainingArguments
from modeling_docre_ii.hub.training_record import STAGE_ARGUMENTS, TrainingRecord
from modeling_docre_ii.training.stage_record import complete_record, record_stage


def test_arguments_are_plain_values(tmp_path):
    args = DocREIITrainingArguments(
        output_dir=str(tmp_path),
        per_device_train_batch_size=3,
        learning_rate=2e-4,
        lr_scheduler_type="cosine",
        optim="adamw_torch",
        max_steps=7,
        report_to=[],
    )
    log = [{"loss": 1.0, "step": 1}]
    stage = record_stage(args, log)
    assert set(stage.arguments) == set(STAGE_ARGUMENTS)
    assert json.loads(json.dumps(stage.arguments)) == stage.arguments
    expected = {
        "train_batch_size": 3 * max(1, args.n_gpu),
        "learning_rate": 2e-4,
        "lr_scheduler_type": "cosine",
        "optim": "adamw_torch",
        "max_steps": 7,
        "world_size": 1,
        "freeze_base": False,
    }
    assert {name: stage.arguments[name] for name in expected} == expected
    assert all(type(stage.arguments[name]) is str for name in ("lr_scheduler_type", "optim"))
    log.append({"loss": 0.5, "step": 2})
    assert stage.log_history == [{"loss": 1.0, "step": 1}]


def evaluation(step, f1):
    return {"step": step, "eval_f1": f1, "eval_calibrated_f1": f1 + 1, "eval_base_calibrated_f1": f1 - 1}


@pytest.mark.parametrize(("keeps_best", "f1"), [(True, 30.0), (False, 20.0)])
def test_a_record_is_completed_by_the_stage_and_the_scores_of_the_kept_weights(tmp_path, keeps_best, f1):
    args = DocREIITrainingArguments(
        output_dir=str(tmp_path),
        load_best_model_at_end=keeps_best,
        eval_strategy="steps",
        report_to=[],
    )
    log = [evaluation(1, 30.0), evaluation(2, 20.0), {"train_runtime": 1.0, "step": 2}]
    state = TrainerState(global_step=2, best_global_step=1, log_history=log)
    record = TrainingRecord()
    completed = complete_record(record, args, state, stage=2)

    assert completed.stages == {2: record_stage(args, log)}
    assert completed.scores == {"validation": {"f1": f1}}
    assert record == TrainingRecord()


@pytest.mark.parametrize("changed", ["calibrate_threshold", "calibrate_iterations"])
def test_a_calibrated_model_has_only_scores_from_after_the_training(tmp_path, changed):
    """Those from before are of another threshold, or of other iterations."""
    args = DocREIITrainingArguments(output_dir=str(tmp_path), report_to=[], **{changed: True})
    log = [evaluation(1, 30.0), evaluation(2, 20.0), {"train_runtime": 1.0, "step": 2}]
    state = TrainerState(global_step=2, best_global_step=1, log_history=log)
    assert complete_record(TrainingRecord(), args, state, stage=2).scores == {"validation": {}}

    log.append(evaluation(2, 40.0))
    scores = complete_record(TrainingRecord(), args, state, stage=2).scores
    best = {"calibrated_f1": 41.0, "base_calibrated_f1": 39.0} if changed == "calibrate_threshold" else {}
    assert scores == {"validation": {"f1": 40.0, **best}}


def test_scores_of_the_record_stay_and_an_untrained_stage_is_not_recorded(tmp_path):
    args = DocREIITrainingArguments(output_dir=str(tmp_path), report_to=[])
    record = TrainingRecord(scores={"test": {"f1": 10.0, "calibrated_f1": 11.0}})
    completed = complete_record(record, args, TrainerState(log_history=[evaluation(0, 5.0)]), stage=1)

    assert completed.scores == {"test": {"f1": 10.0}}
    assert completed.stages == {}
    assert record.scores == {"test": {"f1": 10.0, "calibrated_f1": 11.0}}
