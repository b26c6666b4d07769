"""The record of a trained stage: plain values, whatever the Trainer's types are."""

import json

from modeling_docre_ii import DocREIITrainingArguments
from modeling_docre_ii.hub.training_record import STAGE_ARGUMENTS
from modeling_docre_ii.training.stage_record import record_stage


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
