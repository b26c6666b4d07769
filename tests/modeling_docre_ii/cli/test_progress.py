"""What is printed of an evaluation during training."""

import pytest
from transformers import TrainerControl, TrainerState
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from modeling_docre_ii import DocREIITrainer, DocREIITrainingArguments
from modeling_docre_ii.cli.progress import shorten_logs


EVALUATION = {"eval_loss": 0.5, "eval_f1": 24.25, "eval_ign_f1": 20.0, "eval_base_f1": 1.0, "eval_runtime": 1.0}


@pytest.mark.parametrize("disable_tqdm", [True, False])
@pytest.mark.parametrize(("best", "more"), [("f1", {}), ("eval_ign_f1", {"eval_ign_f1": "20"})])
def test_main_scores_and_the_one_for_the_best_model_are_printed(
    tiny_model, tmp_path, capsys, disable_tqdm, best, more
):
    args = DocREIITrainingArguments(
        output_dir=str(tmp_path), disable_tqdm=disable_tqdm, metric_for_best_model=best, report_to="none"
    )
    trainer = DocREIITrainer(model=tiny_model(), args=args)
    shorten_logs(trainer)
    control, state, logs = TrainerControl(), TrainerState(max_steps=1), {"loss": 1.5, **EVALUATION, "epoch": 1.0}
    trainer.callback_handler.on_train_begin(args, state, control)
    trainer.callback_handler.on_log(args, state, control, dict(logs))
    trainer.callback_handler.on_train_end(args, state, control)
    expected = {"loss": "1.5", "eval_loss": "0.5", "eval_f1": "24.25", **more, "epoch": "1"}
    assert str(expected) in capsys.readouterr().out


def test_progress_is_printed_once(tiny_model, tmp_path):
    for disable_tqdm, kind in ((False, ProgressCallback), (True, PrinterCallback)):
        args = DocREIITrainingArguments(output_dir=str(tmp_path), disable_tqdm=disable_tqdm, report_to="none")
        trainer = DocREIITrainer(model=tiny_model(), args=args)
        shorten_logs(trainer)
        callbacks = trainer.callback_handler.callbacks
        assert [isinstance(callback, (ProgressCallback, PrinterCallback)) for callback in callbacks].count(True) == 1
        assert isinstance(callbacks[-1], kind)
