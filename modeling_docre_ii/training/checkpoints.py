"""Whole checkpoints: written completely or not at all, checked before use."""

import json
import os
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import HfHubHTTPError
from safetensors import SafetensorError
from transformers import Trainer
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_callback import TrainerState
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, rotate_checkpoints, sort_checkpoints
from transformers.utils import logging

from ..utils.atomic_write import atomic_write, flush_to_disk


logger = logging.get_logger(__name__)

# Lists the files of a checkpoint with their sizes. It is the last file to be written.
FILE_LIST = "checkpoint_files.json"
# The folder in the output folder in which checkpoints and models are written.
UNFINISHED = "unfinished_checkpoint"
# The weights of an adapter, and those of a model in one file or in several with an index. Neither loads without them.
_WEIGHTS = (
    ("adapter_model.safetensors",),
    ("model.safetensors", "model-*-of-*.safetensors", "model.safetensors.index.json"),
)
# torch reports a full disk as a RuntimeError, safetensors by an error of its own.
_WRITE_ERRORS = (OSError, RuntimeError, SafetensorError)


class CheckpointError(OSError):
    """A checkpoint cannot be written, or is not complete enough to resume from."""


class WholeCheckpointTrainer(Trainer):
    """
    [`Trainer`] whose checkpoints are whole or not there.

    A checkpoint is written in another folder and renamed when all its files are on the disk. If the process dies while
    it saves, or the disk is full, the earlier checkpoints stay as they are. Resuming from a checkpoint that lacks a
    file, or has a truncated one, is refused: the training would end with other weights.

    `save_model` writes in another folder too, so that a folder never holds the configuration of one model and the
    weights of another ([`replace_model`]).
    """

    _unfinished: Path | None = None
    _push_when_whole = False

    def train(self, resume_from_checkpoint: str | bool | None = None, **kwargs: Any) -> Any:
        """
        Trains as [`Trainer.train`], after a check of the checkpoint to resume from.

        Args:
            resume_from_checkpoint (`str` or `bool`, *optional*):
                A checkpoint, or `True` for the last complete one in the output folder. Later ones are named in a
                warning.
            kwargs:
                Further arguments of [`Trainer.train`].

        Returns:
            `TrainOutput`

        Raises:
            [`CheckpointError`]: the checkpoint is not complete, there is none, or one cannot be saved.
        """
        if resume_from_checkpoint is True:
            last, skipped = last_whole_checkpoint(self.args.output_dir)
            for path, found in skipped.items():
                logger.warning(f"skipping {path}: {found}")
            if last is None:
                raise CheckpointError(f"there is no complete checkpoint in {self.args.output_dir!r}")
            resume_from_checkpoint = last
        elif isinstance(resume_from_checkpoint, str):
            flaw = flaw_of_checkpoint(resume_from_checkpoint)
            if flaw is not None:
                raise CheckpointError(f"cannot resume from {resume_from_checkpoint!r}: {flaw}")
        return super().train(resume_from_checkpoint=resume_from_checkpoint, **kwargs)

    def _init_training_state(
        self,
        max_steps: int,
        num_update_steps_per_epoch: int,
        num_train_epochs: int,
        resume_from_checkpoint: str | None,
        trial: Any,
    ) -> tuple[int, int]:
        begun = super()._init_training_state(
            max_steps, num_update_steps_per_epoch, num_train_epochs, resume_from_checkpoint, trial
        )
        if resume_from_checkpoint is not None and self.state.best_model_checkpoint is None:
            self.state.best_model_checkpoint = self._moved_best_checkpoint(Path(resume_from_checkpoint))
        return begun

    def _moved_best_checkpoint(self, checkpoint: Path) -> str | None:
        """Finds the best checkpoint beside another. Its path was recorded, and they may have been moved since."""
        recorded = TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME)).best_model_checkpoint
        best = None if recorded is None else checkpoint.parent / Path(recorded).name
        flaw = None if best is None else flaw_of_checkpoint(best)
        if flaw is not None and self.args.load_best_model_at_end:
            raise CheckpointError(
                f"cannot resume from {str(checkpoint)!r}: the best checkpoint was {str(best)!r}, but {flaw}"
            )
        return None if best is None or flaw is not None else str(best)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        try:
            super().save_model(output_dir, _internal_call)
        except HfHubHTTPError:
            # With `push_to_hub`, the model is saved and pushed.
            raise
        except _WRITE_ERRORS as error:
            folder = output_dir or self.args.output_dir
            raise CheckpointError(f"cannot save the model in {folder!r}: {error}{_free_space(folder)}") from error

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        folder = Path(output_dir or self.args.output_dir)
        if self._unfinished is not None and folder.is_relative_to(self._unfinished):
            super()._save(output_dir, state_dict)
            return
        written = folder / UNFINISHED
        if not self.args.should_save:
            super()._save(str(written), state_dict)
            return
        shutil.rmtree(written, ignore_errors=True)
        try:
            if (folder / "README.md").exists():
                # peft adds to the model card that it finds.
                written.mkdir()
                shutil.copy(folder / "README.md", written)
            super()._save(str(written), state_dict)
            replace_model(written, folder)
        finally:
            shutil.rmtree(written, ignore_errors=True)

    def _get_output_dir(self, trial: Any) -> str:
        return super()._get_output_dir(trial) if self._unfinished is None else str(self._unfinished)

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        run_dir = Path(self._get_output_dir(trial))
        name = f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        self._unfinished = run_dir / UNFINISHED
        if self.args.should_save:
            shutil.rmtree(self._unfinished, ignore_errors=True)
        self.accelerator.wait_for_everyone()
        try:
            super()._save_checkpoint(model, trial)
            self.accelerator.wait_for_everyone()
            if self.state.best_model_checkpoint == str(self._unfinished / name):
                self.state.best_model_checkpoint = str(run_dir / name)
            if self.args.should_save:
                # Again: the state has the name of the best checkpoint.
                self.state.save_to_json(str(self._unfinished / name / TRAINER_STATE_NAME))
                finish_checkpoint(self._unfinished / name, run_dir / name)
        except _WRITE_ERRORS as error:
            free = _free_space(run_dir)
            shutil.rmtree(self._unfinished, ignore_errors=True)
            raise CheckpointError(
                f"cannot save a checkpoint in {str(run_dir)!r} at step {self.state.global_step}: {error}{free}; "
                "earlier checkpoints are complete, resume from them once the folder can be written"
            ) from error
        finally:
            self._unfinished = None
        if self.args.should_save:
            shutil.rmtree(run_dir / UNFINISHED, ignore_errors=True)
            rotate_checkpoints(
                output_dir=str(run_dir),
                save_total_limit=self.args.save_total_limit,
                best_model_checkpoint=self.state.best_model_checkpoint,
                use_mtime=True,
            )
        self.accelerator.wait_for_everyone()
        if self._push_when_whole:
            self._push_when_whole = False
            self._push_from_checkpoint(str(run_dir / name))

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        if self._unfinished is not None:
            self._push_when_whole = True
            return
        # Trainer takes configuration and weights from the checkpoint, but not the code that loads them.
        if self.is_world_process_zero():
            folder = Path(checkpoint_folder)
            for file in (*folder.glob("*.py"), *folder.glob("requirements.txt")):
                with atomic_write(Path(self.args.output_dir) / file.name) as partial_file:
                    shutil.copy(file, partial_file)
        super()._push_from_checkpoint(checkpoint_folder)


def _free_space(folder: str | os.PathLike) -> str:
    """Says how full a disk is: torch's errors do not."""
    try:
        return f" ({shutil.disk_usage(folder).free / 2**20:,.1f} MiB are free on that disk)"
    except OSError:
        return ""


def finish_checkpoint(written: Path, checkpoint: Path) -> None:
    """
    Gives a complete checkpoint its name, after its files are on the disk.

    Args:
        written (`Path`):
            The folder that holds all files of the checkpoint.
        checkpoint (`Path`):
            Its final name, in the parent of that folder's parent. A checkpoint of that name is replaced.

    Raises:
        `OSError`: the files cannot be flushed to the disk or the folder cannot be renamed.
    """
    list_files(written)
    flush_to_disk(written)
    if checkpoint.exists():
        checkpoint.rename(written.parent / f"replaced-{checkpoint.name}")
    written.rename(checkpoint)
    flush_to_disk(checkpoint.parent, recursive=False)


def replace_model(written: Path, folder: Path) -> None:
    """
    Moves a saved model into a folder, in place of the one that may be there.

    The old weights are removed first and the new ones are moved last. If the process dies in between, the folder does
    not load, instead of loading a mixture of two models.

    Args:
        written (`Path`):
            The folder that holds all files of the new model.
        folder (`Path`):
            The folder that receives them.

    Raises:
        `OSError`: the files cannot be flushed to the disk or moved.
    """
    flush_to_disk(written)
    files = [path.relative_to(written) for path in written.rglob("*") if path.is_file()]
    weights: list[Path] = []
    for patterns in _WEIGHTS:
        found = [path.relative_to(written) for pattern in patterns for path in sorted(written.glob(pattern))]
        weights += found
        # The index first. A model in one file would hide another one in several, and the other way round.
        for path in [path for pattern in reversed(patterns) for path in folder.glob(pattern) if found]:
            path.unlink()
    flush_to_disk(folder, recursive=False)
    for file in [*(file for file in files if file not in weights), *weights]:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (written / file).replace(folder / file)
    flush_to_disk(folder, recursive=False)


def list_files(folder: str | os.PathLike, pattern: str = "**/*", skipped: Collection[str] = ()) -> None:
    """
    Lists the files of a folder with their sizes, for [`flaw_of_files`].

    Args:
        folder (`str` or `os.PathLike`):
            The folder.
        pattern (`str`, *optional*, defaults to `"**/*"`):
            Which files to list; `"*"` for those that are not in folders inside.
        skipped (`Collection[str]`, *optional*):
            Patterns of names of files that are not listed.

    Raises:
        `OSError`: the folder cannot be written.
    """
    folder = Path(folder)
    skipped = {FILE_LIST, *skipped}
    files = [path for path in sorted(folder.glob(pattern)) if path.is_file() and not any(map(path.match, skipped))]
    sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}
    with atomic_write(folder / FILE_LIST) as partial:
        partial.write_text(json.dumps(sizes, indent=1), encoding="utf-8")


def flaw_of_files(folder: str | os.PathLike) -> str | None:
    """
    Returns which of the listed files of a folder is missing or truncated.

    Args:
        folder (`str` or `os.PathLike`):
            A folder with the list that [`list_files`] writes.

    Returns:
        `str` or `None`: the flaw in a few words, `None` if there is none.
    """
    folder = Path(folder)
    try:
        sizes = dict(json.loads((folder / FILE_LIST).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return f"its {FILE_LIST} is missing"
    except (TypeError, ValueError):
        return f"its {FILE_LIST} is damaged"
    for name, size in sizes.items():
        path = folder / name
        if not path.is_file():
            return f"its {name} is missing"
        if path.stat().st_size != size:
            return f"its {name} has {path.stat().st_size:,} bytes instead of {size:,}"
    return None


def flaw_of_checkpoint(folder: str | os.PathLike) -> str | None:
    """
    Returns what a checkpoint lacks to resume from it.

    Args:
        folder (`str` or `os.PathLike`):
            The checkpoint. Those of transformers' `Trainer`, which have no list of files, need a readable
            `trainer_state.json`, weights, optimizer, scheduler and the state of the random number generators.

    Returns:
        `str` or `None`: the flaw in a few words, `None` if there is none.
    """
    folder = Path(folder)
    if not folder.is_dir():
        return "there is no such folder"
    flaw = flaw_of_files(folder) if (folder / FILE_LIST).exists() else None
    return flaw or _missing_file(folder)


def _missing_file(folder: Path) -> str | None:
    try:
        TrainerState.load_from_json(str(folder / TRAINER_STATE_NAME))
    except FileNotFoundError:
        return f"its {TRAINER_STATE_NAME} is missing"
    except (ValueError, TypeError):
        return f"its {TRAINER_STATE_NAME} is damaged"
    # One file for each process; shards of FSDP and DeepSpeed are folders.
    patterns = {
        "weights": ("*.safetensors", "pytorch_model*", "global_step*"),
        "optimizer": ("optimizer*", "global_step*"),
        "scheduler": ("scheduler.pt",),
        "state of the random number generators": ("rng_state*.pth",),
    }
    for part, names in patterns.items():
        if not any(any(folder.glob(name)) for name in names):
            return f"its {part} ({names[0]}) is missing"
    return None


def last_whole_checkpoint(folder: str | os.PathLike) -> tuple[str | None, dict[str, str]]:
    """
    Finds the last complete checkpoint of a training.

    Args:
        folder (`str` or `os.PathLike`):
            The output folder of the training.

    Returns:
        `tuple(str or None, dict[str, str])`: the checkpoint with the highest step, `None` if there is none, and the
        flaws of the later ones by their path.
    """
    skipped: dict[str, str] = {}
    for checkpoint in reversed(sort_checkpoints(str(folder)) if os.path.isdir(folder) else []):
        flaw = flaw_of_checkpoint(checkpoint)
        if flaw is None:
            return checkpoint, skipped
        skipped[checkpoint] = flaw
    return None, skipped


__all__ = [
    "FILE_LIST",
    "CheckpointError",
    "WholeCheckpointTrainer",
    "finish_checkpoint",
    "flaw_of_checkpoint",
    "flaw_of_files",
    "last_whole_checkpoint",
    "list_files",
    "replace_model",
]
