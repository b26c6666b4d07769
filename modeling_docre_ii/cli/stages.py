"""The stages that a run trains, and the model or checkpoint that each starts from."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from transformers.trainer_utils import get_last_checkpoint

from ..training.arguments import DocREIITrainingArguments
from ..training.precision import read_precision
from ..utils.suggestions import did_you_mean_path
from .arguments import Arguments


@dataclass
class Stage:
    """
    A stage of a run.

    Args:
        number (`int`):
            1, the base module, or 2, the inference module on top of it.
        args ([`DocREIITrainingArguments`]):
            Its training arguments.
        start (`str`):
            The encoder or the checkpoint it starts from.
        checkpoint (`str`, *optional*):
            A checkpoint of this stage to resume from.
    """

    number: int
    args: DocREIITrainingArguments
    start: str
    checkpoint: str | None = None


def stages_of(arguments: Arguments) -> list[Stage]:
    """
    Returns the stages of a run, without those that a resumed run has finished.

    A run that does not train has one stage. A resumed run keeps the precision it was started in.

    Args:
        arguments ([`Arguments`]):
            All arguments of the run.

    Returns:
        `list[Stage]`

    Raises:
        `ValueError`: the run does nothing, there is no checkpoint to resume it from, or its precision does not work
            here.
    """
    training, start = arguments.training, arguments.model.model_name_or_path
    last = max(training)
    if not (training[last].do_train or training[last].do_eval or training[last].do_predict):
        raise ValueError("nothing to do: set `do_train`, `do_eval` or `do_predict`")
    if not training[last].do_train:
        return [Stage(last, training[last], start)]
    first, checkpoint = find_resumption(training)
    reuse_precision_of_stages(training, first, checkpoint)
    stages = [Stage(number, args, start) for number, args in training.items() if number >= first]
    stages[0].checkpoint = checkpoint
    if len(training) == 2:
        # Stage 2 starts from the model of stage 1, of this run or the resumed one.
        stages[-1].start = training[1].output_dir
    return stages


def reuse_precision_of_stages(
    training: Mapping[int, DocREIITrainingArguments], first_stage: int, checkpoint: str | None
) -> None:
    """
    Uses the precision that a run was started in for all of its stages.

    A stage keeps its own precision if the requested one differs from that of the recorded run.

    Args:
        training (`dict[int, DocREIITrainingArguments]`):
            The arguments of each stage.
        first_stage (`int`):
            The first stage that is left to train.
        checkpoint (`str`, *optional*):
            The checkpoint to resume that stage from. Without one, it starts after a finished stage.

    Raises:
        `ValueError`: as [`~DocREIITrainingArguments.reuse_precision`].
    """
    finished = [args.output_dir for stage, args in training.items() if stage < first_stage]
    if checkpoint is None and not finished:
        return
    folder = checkpoint or finished[-1]
    record = read_precision(folder)
    for stage, args in training.items():
        is_resumed = checkpoint is not None and stage == first_stage
        if record is not None and (is_resumed or args.requested_precision == record.requested):
            args.reuse_precision(folder)


def find_resumption(training: Mapping[int, DocREIITrainingArguments]) -> tuple[int, str | None]:
    """
    Finds where a run resumes.

    Args:
        training (`dict[int, DocREIITrainingArguments]`):
            The training arguments of each stage, in order.

    Returns:
        `tuple(int, str or None)`: the first stage that is left to train, and its checkpoint to resume from, `None` to
        start the stage from its beginning.

    Raises:
        `ValueError`: there is nothing to resume.
    """
    stages = list(training)
    asked = training[stages[0]].resume_from_checkpoint
    if asked is None or asked.lower() == "false":
        return stages[0], None
    if asked.lower() not in ("true", "last"):
        if not os.path.isdir(asked):
            raise ValueError(f"`resume_from_checkpoint`: there is no folder {asked!r}{did_you_mean_path(asked)}")
        folders = {stage: Path(args.output_dir).resolve() for stage, args in training.items()}
        inside = [stage for stage, folder in folders.items() if Path(asked).resolve().parent == folder]
        return (inside or stages)[0], asked
    for stage in reversed(stages):
        folder = training[stage].output_dir
        # A finished stage writes this file last, after its model.
        if stage != stages[-1] and os.path.exists(os.path.join(folder, "trainer_state.json")):
            return stages[-1], None
        checkpoint = get_last_checkpoint(folder) if os.path.isdir(folder) else None
        if checkpoint is not None:
            return stage, checkpoint
    raise ValueError(f"`resume_from_checkpoint`: there is no checkpoint in {training[stages[-1]].output_dir!r}")
