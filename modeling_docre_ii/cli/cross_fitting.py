"""The documents of the stages of a cross-fit, and what its folds leave."""

import shutil
from pathlib import Path

from dataset_scripts.corpus import Corpus

from ..training.checkpoints import UNFINISHED
from ..training.cross_fitting import (
    CrossFittedDocuments,
    held_out_documents,
    split_fold,
    write_held_out_logits,
)
from ..training.encoding import EncodedDocuments
from ..training.trainer import DocREIITrainer
from .arguments import Arguments
from .stages import Stage, fold_folder


_LOGITS_FILE = "held_out_logits.safetensors"


def check_folds(arguments: Arguments, corpus: Corpus) -> None:
    """
    Checks that there are documents for all folds of a cross-fit.

    Raises:
        `ValueError`: there are more folds than documents.
    """
    if arguments.cross_fit_folds > 1 and arguments.last.do_train:
        split_fold(len(corpus.splits["train"]), arguments.cross_fit_folds, 0)


def training_documents(encoded: EncodedDocuments, stage: Stage, arguments: Arguments) -> EncodedDocuments:
    """
    Returns what a stage trains on.

    Args:
        encoded ([`EncodedDocuments`]):
            All training documents.
        stage ([`Stage`]):
            The stage. A fold trains on the documents outside it, stage 2 of a cross-fit on all, with the predictions
            of the folds.
        arguments ([`Arguments`]):
            All arguments of the run.
    """
    folds = arguments.cross_fit_folds
    if folds == 1 or (stage.number == 1 and stage.fold is None):
        return encoded
    if stage.fold is not None:
        return held_out_documents(encoded, split_fold(len(encoded), folds, stage.fold)[0])
    stage_1_dir = arguments.training[1].output_dir
    return CrossFittedDocuments(encoded, [Path(fold_folder(stage_1_dir, fold), _LOGITS_FILE) for fold in range(folds)])


def finish_fold(trainer: DocREIITrainer, encoded: EncodedDocuments, fold: int, num_folds: int) -> None:
    """
    Predicts the documents of a fold and removes its checkpoints.

    Nothing needs them any more.

    Args:
        trainer ([`DocREIITrainer`]):
            The Trainer of the fold, after training.
        encoded ([`EncodedDocuments`]):
            All training documents.
        fold, num_folds (`int`):
            The fold, counted from 0, and the number of folds.

    Raises:
        [`NonFiniteLogitsError`]: the logits of a document are NaN or infinite.
        `OSError`: the predictions cannot be written.
    """
    held_out = held_out_documents(encoded, split_fold(len(encoded), num_folds, fold)[1])
    folder = Path(trainer.args.output_dir)
    write_held_out_logits(trainer, held_out, folder / _LOGITS_FILE)
    if trainer.args.should_save:
        for path in [*folder.glob("checkpoint-*"), folder / UNFINISHED]:
            shutil.rmtree(path, ignore_errors=True)
    trainer.accelerator.wait_for_everyone()
