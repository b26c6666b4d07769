"""The stages that a run trains, and the model or checkpoint that each starts from."""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..training.arguments import DocREIITrainingArguments
from ..training.checkpoints import flaw_of_checkpoint, flaw_of_files, last_whole_checkpoint
from ..training.precision import read_precision
from ..utils.suggestions import did_you_mean_path
from .arguments import Arguments
from .process_setup import logger


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


def stages_of(arguments: Arguments, finished: Collection[int] = ()) -> list[Stage]:
    """
    Returns the stages of a run, without those that a resumed run has finished.

    A run that does not train has one stage. A resumed run keeps the precision it was started in.

    Args:
        arguments ([`Arguments`]):
            All arguments of the run.
        finished (`Collection[int]`, *optional*):
            The stages that the run has finished before.

    Returns:
        `list[Stage]`

    Raises:
        `ValueError`: the checkpoint to resume from is not complete, or its precision does not work here.
    """
    training, start = arguments.training, arguments.model.model_name_or_path
    last = max(training)
    if not training[last].do_train:
        return [Stage(last, training[last], start)]
    first, checkpoint = find_resumption(training, finished)
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


def find_resumption(
    training: Mapping[int, DocREIITrainingArguments], finished: Collection[int] = ()
) -> tuple[int, str | None]:
    """
    Finds where a run resumes.

    Args:
        training (`dict[int, DocREIITrainingArguments]`):
            The training arguments of each stage, in order.
        finished (`Collection[int]`, *optional*):
            The stages that the run has finished before.

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
        flaw = flaw_of_checkpoint(asked)
        if flaw is not None:
            raise ValueError(f"`resume_from_checkpoint`: cannot resume from {asked!r}: {flaw}")
        folders = {stage: Path(args.output_dir).resolve() for stage, args in training.items()}
        inside = [stage for stage, folder in folders.items() if Path(asked).resolve().parent == folder]
        return (inside or stages)[0], asked
    for stage in reversed(stages):
        folder = training[stage].output_dir
        if stage in finished and stage != stages[-1]:
            flaw = flaw_of_files(folder)
            if flaw is None:
                return stages[-1], None
            logger.warning("stage %d in %s was finished, but %s", stage, folder, flaw)
        checkpoint, skipped = last_whole_checkpoint(folder)
        for path, flaw in skipped.items():
            logger.warning("skipping %s: %s", path, flaw)
        if checkpoint is not None:
            return stage, checkpoint
    logger.warning("there is no complete checkpoint in %s: starting again", training[stages[-1]].output_dir)
    return stages[0], None
