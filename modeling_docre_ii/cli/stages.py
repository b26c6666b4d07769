"""The stages that a run trains, and the model or checkpoint that each starts from."""

import copy
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from transformers.trainer_utils import IntervalStrategy, SaveStrategy
from transformers.utils import CONFIG_NAME

from ..configuration_docre_ii import DocREIIConfig
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
        fold (`int`, *optional*):
            For a base that is trained without one share of the documents: the share, counted from 0.
    """

    number: int
    args: DocREIITrainingArguments
    start: str
    checkpoint: str | None = None
    fold: int | None = None

    def __str__(self) -> str:
        return f"stage {self.number}" if self.fold is None else f"stage {self.number}, fold {self.fold + 1}"


def stages_of(
    arguments: Arguments, finished: Collection[int] = (), finished_folds: Collection[int] = ()
) -> list[Stage]:
    """
    Returns the stages of a run, without those that a resumed run has finished.

    A run that does not train has one stage. A resumed run keeps the precision it was started in.

    Args:
        arguments ([`Arguments`]):
            All arguments of the run.
        finished (`Collection[int]`, *optional*):
            The stages that the run has finished before.
        finished_folds (`Collection[int]`, *optional*):
            The folds of a cross-fit that it has finished before.

    Returns:
        `list[Stage]`: with `cross_fit_folds`, the bases of the folds come between stage 1 and stage 2.

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
    if arguments.cross_fit_folds > 1 and stages[-1].checkpoint is None:
        folds = [fold for fold in range(arguments.cross_fit_folds) if first == 1 or fold not in finished_folds]
        is_resumed = first == 2
        stages[-1:-1] = [_stage_of_fold(training[1], start, fold, is_resumed) for fold in folds]
    return stages


def fold_folder(stage_1_dir: str, fold: int) -> str:
    """Returns the folder of a fold of a cross-fit, `stage_1/fold_1` for fold 0."""
    return os.path.join(stage_1_dir, f"fold_{fold + 1}")


def _stage_of_fold(args: DocREIITrainingArguments, start: str, fold: int, is_resumed: bool) -> Stage:
    """A stage 1 without evaluation: all of its documents are known, and its last weights are used."""
    args = copy.copy(args)
    args.output_dir = fold_folder(args.output_dir, fold)
    args.do_eval = args.eval_on_start = args.load_best_model_at_end = args.calibrate_threshold = False
    args.eval_strategy, args.save_total_limit = IntervalStrategy.NO, 1
    if args.save_strategy == SaveStrategy.BEST:
        args.save_strategy = SaveStrategy.EPOCH
    checkpoint = last_whole_checkpoint(args.output_dir)[0] if is_resumed else None
    return Stage(1, args, start, checkpoint, fold)


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


def _stage_of(checkpoint: str) -> int | None:
    """Returns the stage that wrote a checkpoint, by its configuration, which sharded ones may lack."""
    if not os.path.isfile(os.path.join(checkpoint, CONFIG_NAME)):
        return None
    return 2 if DocREIIConfig.from_pretrained(checkpoint).num_iterations else 1


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
        stage = (inside or [_stage_of(asked) or stages[0]])[0]
        if stage not in stages:
            raise ValueError(f"`resume_from_checkpoint`: {asked!r} is of stage {stage}, which this run does not train")
        return stage, asked
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
