"""Chooses one precision for all shards of a bulk extraction."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from transformers.utils import logging

from ..utils.cpu_bf16 import BF16Trial, warn_of_float32
from .extraction_run import ExtractionRun


logger = logging.get_logger(__name__)


def settle_precision(
    run: ExtractionRun, folder: Path, finished: Mapping[str, Any] | None, trial: BF16Trial | None, should_log: bool
) -> ExtractionRun:
    """
    Decides whether an extraction runs in bf16, if this is requested.

    The first process decides, from a trial of bf16 on its CPU, and records the decision in the folder. All others use
    it, on any machine.

    Args:
        run ([`ExtractionRun`]):
            The extraction as it was requested.
        folder (`Path`):
            The folder of its shards.
        finished (`Mapping[str, Any]`, *optional*):
            The description in a finished shard of the folder, if there is one.
        trial ([`BF16Trial`], *optional*):
            The trial of bf16 on this CPU. Not needed on other devices.
        should_log (`bool`):
            Whether to warn of an unexpected precision.

    Returns:
        [`ExtractionRun`]: the extraction in the precision it runs in.

    Raises:
        `FileExistsError`: the extraction was started in bf16, which this CPU cannot run.
    """
    if not run.bf16_requested:
        return run
    expected = trial is None or trial.is_faster
    if finished is None:
        bf16 = _record_unless_recorded(_path_of_record(run, folder), expected)
    else:
        # Shards of earlier versions record only bf16. `finished_shards` refuses another request.
        is_alike = finished.get("bf16_requested", finished.get("bf16"))
        bf16 = finished["bf16"] if is_alike else expected
    if bf16 and trial is not None and not trial.is_alive:
        raise FileExistsError(
            f"the extraction in {folder} was started in bf16, but {trial}: continue it on another machine, or choose "
            "another folder"
        )
    if should_log and bf16 != expected:
        logger.warning(
            f"the extraction in {folder} was started in {'bf16' if bf16 else 'float32'} and continues in it"
        )
    elif should_log and not bf16 and trial is not None:
        warn_of_float32(trial)
    return replace(run, bf16=bf16)


def _path_of_record(run: ExtractionRun, folder: Path) -> Path:
    """Returns the hidden file of an extraction, which `datasets` ignores."""
    described = {name: value for name, value in asdict(run).items() if name != "bf16"}
    digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:16]
    return folder / f".triples-precision-{digest}.json"


def _record_unless_recorded(path: Path, bf16: bool) -> bool:
    """Records a decision, unless there is one, and returns the recorded one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Processes on several nodes can have the same number.
    partial = path.with_name(f"{path.name}.{uuid4().hex}.partial")
    partial.write_text(json.dumps({"bf16": bf16}), encoding="utf-8")
    try:
        # Unlike a rename, a link does not replace an existing file.
        os.link(partial, path)
    except FileExistsError:
        pass
    except OSError:  # no links on this file system
        if not path.exists():
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return json.loads(path.read_text(encoding="utf-8"))["bf16"]
