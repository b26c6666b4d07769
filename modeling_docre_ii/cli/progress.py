"""Short logs of evaluations during training."""

import re
from collections.abc import Mapping
from typing import Any

from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import PrinterCallback, ProgressCallback


# The scores of an evaluation that are printed during training. All of them are in the Trainer's log.
_PRINTED = re.compile("eval_(loss|f1|precision|recall|filtered_f1|calibrated_f1)")


def shorten_logs(trainer: Trainer) -> None:
    """
    Makes a Trainer print only the main scores of each evaluation during training.

    Args:
        trainer ([`Trainer`]):
            The Trainer, with or without a progress bar.
    """
    for verbose, short in ((ProgressCallback, _ShortProgress), (PrinterCallback, _ShortPrinter)):
        if trainer.pop_callback(verbose) is not None:
            trainer.add_callback(short)


def shortened(logs: Mapping[str, Any], best: str | None = None) -> dict[str, Any]:
    """
    Leaves out all but the main scores of an evaluation.

    Args:
        logs (`dict[str, Any]`):
            What a Trainer logs.
        best (`str`, *optional*):
            The metric for the best model, which is kept as well.

    Returns:
        `dict[str, Any]`
    """
    kept = f"eval_{(best or '').removeprefix('eval_')}"
    return {
        name: value
        for name, value in logs.items()
        if not name.startswith("eval_") or name == kept or _PRINTED.fullmatch(name)
    }


class _ShortLogs(TrainerCallback):
    """Shortens the logs of the callback class that follows it among the bases."""

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().on_log(args, state, control, logs=shortened(logs or {}, args.metric_for_best_model), **kwargs)


class _ShortProgress(_ShortLogs, ProgressCallback):
    pass


class _ShortPrinter(_ShortLogs, PrinterCallback):
    pass


__all__ = ["shorten_logs", "shortened"]
