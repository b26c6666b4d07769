"""The record of a run in its output folder: its identity and its progress."""

import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from dataset_scripts.corpus import Corpus

from .. import __version__
from ..entity_finding import MENTION_MODEL_FOLDER
from ..experiments.planning import changed_fields
from ..training.arguments import DocREIITrainingArguments
from ..training.checkpoints import FILE_LIST, UNFINISHED, list_files
from ..utils.atomic_write import atomic_write
from .arguments import LEARNED_FILES, Arguments, DataArguments
from .starting_model import resolve_path


RECORD_FILE = "run.json"

# Training arguments that do not change what is learned: where a run writes, logs and publishes, and its other steps.
_WITHOUT_EFFECT = {
    "dataloader_num_workers",
    "dataloader_persistent_workers",
    "dataloader_pin_memory",
    "dataloader_prefetch_factor",
    "ddp_timeout",
    "debug",
    "disable_tqdm",
    "do_eval",
    "do_predict",
    "do_train",
    "include_num_input_tokens_seen",
    "local_rank",
    "log_level",
    "log_level_replica",
    "log_on_each_node",
    "output_dir",
    "per_device_eval_batch_size",
    "project",
    "report_to",
    "resume_from_checkpoint",
    "run_name",
    "save_on_each_node",
    "save_total_limit",
    "skip_memory_metrics",
    "trackio_space_id",
    "use_cpu",
}
_PREFIXES_WITHOUT_EFFECT = ("hub_", "push_to_hub", "logging_", "num_printed_", "preprocessing_")
# Scores and predictions of a model.
_RESULTS = ("*_results.json", "predictions.json", "result.json", "result.zip", "*_predictions.npz", "report*.html")
# Other data arguments that a training depends on. Files are compared by their contents.
_DATA_NAMES = ("dataset_name", "dataset_config_name", "candidate_types", "max_train_documents", "max_eval_documents")


@dataclass
class RunRecord:
    """
    What makes a run this run, and how far it is.

    Args:
        identity (`dict[str, Any]`):
            The arguments that change what is learned, digests of the documents and of the model it starts from, the
            number of processes and the version of this package, by name.
        finished_stages (`list[int]`):
            The stages whose model is saved.
        is_finished (`bool`, *optional*, defaults to `False`):
            Whether the run has come to its end.
        finished_folds (`list[int]`):
            The folds of a cross-fit whose predictions are saved.
    """

    identity: dict[str, Any]
    finished_stages: list[int] = field(default_factory=list)
    is_finished: bool = False
    finished_folds: list[int] = field(default_factory=list)

    @classmethod
    def read(cls, folder: str | os.PathLike) -> "RunRecord | None":
        """Reads the record of a folder; `None` if there is none or it is damaged."""
        try:
            return cls(**json.loads((Path(folder) / RECORD_FILE).read_text(encoding="utf-8")))
        except (FileNotFoundError, TypeError, ValueError):
            return None

    def write(self, folder: str | os.PathLike) -> None:
        """Writes the record into a folder."""
        with atomic_write(Path(folder) / RECORD_FILE) as partial:
            partial.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False), encoding="utf-8")

    def finish_stage(self, number: int, stage_dir: str, folder: str) -> None:
        """Records in the run's `folder` that the model of a stage is in `stage_dir`."""
        # Reports and scores are for readers: a run goes on without them.
        list_files(stage_dir, "*", skipped=_RESULTS)
        self.finished_stages = sorted({*self.finished_stages, number})
        self.write(folder)

    def finish_fold(self, fold: int, folder: str) -> None:
        """Records in the run's `folder` that the predictions of a fold are saved."""
        self.finished_folds = sorted({*self.finished_folds, fold})
        self.write(folder)

    def finish(self, folder: str) -> None:
        """Records that the run has come to its end."""
        self.is_finished = True
        self.write(folder)

    def differences(self, other: "RunRecord") -> list[str]:
        """Describes in which parts of the identity another run differs from this one."""
        names = sorted({*self.identity, *other.identity})
        mine, theirs = (json.loads(json.dumps(record.identity)) for record in (self, other))
        return [
            f"`{name}` (a file or folder with other contents)"
            if name.endswith(("_file", "_dir", "_path")) and None not in (mine.get(name), theirs.get(name))
            else f"`{name}` is {_short(theirs.get(name))} there and {_short(mine.get(name))} here"
            for name in names
            if mine.get(name) != theirs.get(name)
        ]


def identity_of(arguments: Arguments, corpus: Corpus, version: str) -> dict[str, Any]:
    """
    Returns what makes a run this run.

    Args:
        arguments ([`Arguments`]):
            All arguments of the run.
        corpus ([`Corpus`]):
            Its documents, for those that are not read from files.
        version (`str`):
            Version of this package.

    Returns:
        `dict[str, Any]`: values that JSON can hold, by the name of the argument; `stage_2.NAME` where stage 2
            differs from stage 1.
    """
    data = arguments.data
    identity: dict[str, Any] = {"docre-ii": version, "processes": arguments.last.world_size}
    identity |= {name: value for name, value in asdict(arguments.model).items() if name != "model_name_or_path"}
    if isinstance(arguments.model.model_kwargs, dict):  # parsed, as always here
        identity["model_kwargs"] = changed_fields(arguments.model.model_kwargs)
    identity["model_name_or_path"] = _digest_of_model(arguments.model.model_name_or_path)
    identity |= {name: getattr(data, name) for name in _DATA_NAMES} | _digests_of_files(data)
    if data.data_dir is not None:
        # Only what was read: the folder may hold other files, and the output folder itself.
        identity["data_dir"] = {os.path.relpath(path, data.data_dir): digest_of_file(path) for path in corpus.files}
    if data.data_dir is None and not data.files:
        identity["dataset"] = {split: corpus.splits[split]._fingerprint for split in sorted(corpus.splits)}
    first, *others = (_effective(args) for args in arguments.training.values())
    identity |= first
    for stage_2 in others:
        identity |= {f"stage_2.{name}": value for name, value in stage_2.items() if value != first[name]}
    identity["stages"] = list(arguments.training)
    identity["cross_fit_folds"] = arguments.cross_fit_folds
    identity["mention_model"] = arguments.mention_model
    return identity


def has_effect(name: str) -> bool:
    """Returns whether an argument may change what a run learns or predicts."""
    return name not in _WITHOUT_EFFECT and not name.startswith(_PREFIXES_WITHOUT_EFFECT)


def _effective(args: DocREIITrainingArguments) -> dict[str, Any]:
    values = {name: value for name, value in args.to_dict().items() if has_effect(name)}
    # What was requested: where bf16 does not work, the precision used is another on each machine.
    return values | args.requested_precision._asdict()


def _digests_of_files(data: DataArguments) -> dict[str, Any]:
    return {name: [digest_of_file(path) for path in _paths(data, name)] for name in LEARNED_FILES}


def _paths(data: DataArguments, name: str) -> list[str]:
    paths = getattr(data, name) or []
    return [paths] if isinstance(paths, str) else paths


def _digest_of_model(name_or_path: str) -> Any:
    path = Path(resolve_path(name_or_path))
    if not path.is_dir():
        return name_or_path
    names = ("config.json", "processor_config.json", "tokenizer.json", "*.safetensors", "*.bin")
    return {file.name: digest_of_file(file) for pattern in names for file in sorted(path.glob(pattern))}


def digest_of_file(path: str | os.PathLike) -> str:
    """Returns a digest of the content of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()[:16]


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


def open_run(arguments: Arguments, corpus: Corpus) -> RunRecord:
    """
    Checks that the output folder belongs to this run, and records a new run.

    Args:
        arguments ([`Arguments`]):
            All arguments of the run. Only the main process changes the folder.
        corpus ([`Corpus`]):
            The documents of the run.

    Returns:
        [`RunRecord`]: the one in the folder, if this run began there before.

    Raises:
        `ValueError`: the folder holds another run, or this one, unfinished, and the run is not asked to resume.
    """
    args, record = arguments.last, RunRecord(identity_of(arguments, corpus, __version__))
    overwrite = arguments.overwrite_output_dir
    folder, resumed_from = Path(args.output_dir), (args.resume_from_checkpoint or "false").lower()
    if overwrite and resumed_from != "false":
        raise ValueError("`overwrite_output_dir` removes the checkpoints that `resume_from_checkpoint` needs")
    if overwrite:
        start = Path(resolve_path(arguments.model.model_name_or_path)).resolve()
        if start.is_relative_to(folder.resolve()):
            raise ValueError(f"`overwrite_output_dir` removes {str(folder)!r}, which holds the `model_name_or_path`")
        for name in LEARNED_FILES:
            for path in map(Path, _paths(arguments.data, name)):
                if any(path.resolve().is_relative_to(left.resolve()) for left in _remains(folder)):
                    raise ValueError(f"`overwrite_output_dir` removes {str(path)!r}, the `{name}`")
        if args.should_save:
            remove_training(folder)
    found, left = RunRecord.read(folder), _traces(folder)
    if found is not None and not found.is_finished:
        # The mention model is trained last, so an unfinished run has none yet.
        found.identity["mention_model"] = record.identity["mention_model"]
    differences = [] if found is None else record.differences(found)
    otherwise = "choose another folder, or remove this one, or the training in it with `--overwrite_output_dir true`"
    if not left and (found is None or differences or found.is_finished):
        # Nothing was trained here, as after an error in the first minute, or it was deleted.
        if resumed_from in ("true", "last"):
            raise ValueError(f"`resume_from_checkpoint`: this run has not begun in {str(folder)!r}")
        if args.should_save:
            record.write(folder)
        return record
    if found is None:
        raise ValueError(
            f"{str(folder)!r} holds a training that no readable {RECORD_FILE} describes ({left[0].name} is there): "
            f"{otherwise}"
        )
    if differences:
        shown = "; ".join(differences[:4]) + (f"; and {len(differences) - 4} more" if len(differences) > 4 else "")
        raise ValueError(f"{str(folder)!r} holds another run: {shown}: {otherwise}")
    if left and not found.is_finished and resumed_from == "false":
        raise ValueError(
            f"{str(folder)!r} holds this run, unfinished: add `--resume_from_checkpoint last` to continue it, or "
            f"{otherwise}"
        )
    return found


def remove_training(folder: Path) -> None:
    """Removes a training, its scores and its predictions from an output folder."""
    for path in _remains(folder):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _remains(folder: Path) -> list[Path]:
    results = [path for name in _RESULTS for path in sorted(folder.glob(name))]
    return [*_traces(folder), *results, folder / RECORD_FILE, folder / UNFINISHED, folder / FILE_LIST]


def has_begun(folder: Path) -> bool:
    """Returns whether a training has left something in its folder, to resume from."""
    return bool(_traces(folder))


def _traces(folder: Path) -> list[Path]:
    """What a training leaves in its folder."""
    names = (
        f"{PREFIX_CHECKPOINT_DIR}-*",
        "stage_1",
        MENTION_MODEL_FOLDER,
        f"{MENTION_MODEL_FOLDER}.partial",
        # Others are not of the training: predictions of teachers, for example.
        "model*.safetensors",
        "adapter_model.safetensors",
        "trainer_state.json",
    )
    return [path for name in names for path in sorted(folder.glob(name)) if _is_filled(path)]


def _is_filled(path: Path) -> bool:
    return not path.is_dir() or any(path.iterdir())


__all__ = ["RECORD_FILE", "RunRecord", "has_effect", "identity_of", "open_run", "remove_training"]
