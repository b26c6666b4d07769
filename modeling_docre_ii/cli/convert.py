"""Converts a checkpoint of an earlier version: `docre-ii convert`."""

import argparse
import json
import os
import shutil
from pathlib import Path
from typing import Any

from transformers.dynamic_module_utils import get_relative_import_files

from .. import modeling_docre_ii
from ..configuration_docre_ii import REQUIREMENTS, DocREIIConfig
from ..utils.atomic_write import atomic_write
from ..utils.json_text import parse_json
from .process_setup import one_line_errors


DESCRIPTION = """\
Rewrites a checkpoint that an earlier version of this package saved, so that this version loads it.

    docre-ii convert outputs/quickstart outputs/quickstart_converted

Settings move to the file they now belong to, and the code beside the weights becomes the code of this version. Weights
and all other files are copied as they are. Checkpoints in folders inside (stage_1, checkpoint-60) are rewritten as
well.
"""

# Fields of config.json that are now fields of processor_config.json.
_MOVED_TO_PROCESSOR = ("max_labels_per_pair",)
# Unused fields of config.json: those of the encoder are in `encoder_config`.
_UNUSED = ("pad_token_id", "bos_token_id", "eos_token_id")
# Lines of the code in the model card, earlier and now.
_CARD_CODE = {
    "most = model.config.max_labels_per_pair\n": "",
    "processor.post_process_relation_extraction(outputs, document, most)": (
        "processor.post_process_relation_extraction(outputs, document)"
    ),
}
# The module that imports, directly or not, every other module that a checkpoint carries.
_MAIN_MODULE = Path(modeling_docre_ii.__file__)


def main(argv: list[str], prog: str = "docre-ii convert") -> None:
    """
    Runs the command.

    Args:
        argv (`list[str]`):
            The command line, without the name of the program.
        prog (`str`, *optional*, defaults to `"docre-ii convert"`):
            How the user calls the program.

    Raises:
        `SystemExit`: the arguments are malformed or the checkpoint cannot be converted, with a message that says why.
    """
    parser = argparse.ArgumentParser(
        prog=prog, description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("old", metavar="OLD", help="Folder of the checkpoint.")
    parser.add_argument("new", metavar="NEW", help="Folder to write to. It must not exist, or be empty.")
    args = parser.parse_args(argv)
    with one_line_errors(prog, ValueError, OSError):
        for line in convert_checkpoint(args.old, args.new):
            print(line)


def convert_checkpoint(old: str | Path, new: str | Path) -> list[str]:
    """
    Writes a checkpoint of an earlier version in the format of this one.

    After an error there is no new folder.

    Args:
        old (`str` or `Path`):
            Folder of the checkpoint, which is not changed.
        new (`str` or `Path`):
            Folder to write to.

    Returns:
        `list[str]`: the changes, a line for each checkpoint in `old` and in folders inside it.

    Raises:
        `FileExistsError`: the new folder is not empty.
        `ValueError`: there is no DocRE-II checkpoint in the old folder, the new one lies inside it, or a setting
            must move to the processor and the checkpoint has none.
    """
    old, new = Path(old), Path(new)
    if not _is_checkpoint(old):
        raise ValueError(f"{old} is not the folder of a DocRE-II checkpoint: it has no config.json of one")
    if new.exists() and not (new.is_dir() and not any(new.iterdir())):
        raise FileExistsError(f"{new} is not empty: name a new folder")
    if new.resolve().is_relative_to(old.resolve()):
        raise ValueError(f"{new} is inside {old}: name a folder elsewhere")
    new.parent.mkdir(parents=True, exist_ok=True)
    partial = new.with_name(f"{new.name}.{os.getpid()}.partial")
    try:
        shutil.copytree(old, partial)
        folders = [path.parent for path in sorted(partial.rglob("config.json")) if _is_checkpoint(path.parent)]
        lines = [f"{new / folder.relative_to(partial)}: {_convert_folder(folder)}" for folder in folders]
        if new.exists():
            new.rmdir()
        partial.replace(new)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return lines


def _convert_folder(folder: Path) -> str:
    """Rewrites a checkpoint in place and returns a description of the changes."""
    config_path, processor_path = folder / "config.json", folder / "processor_config.json"
    config = _read_json(config_path)
    moved = {name: config.pop(name) for name in _MOVED_TO_PROCESSOR if name in config}
    unused = [name for name in _UNUSED if config.pop(name, _MISSING) is not _MISSING]
    if moved and not processor_path.exists():
        raise ValueError(
            f"{folder.name} has no processor_config.json, where {' and '.join(map(repr, moved))} belongs: save the "
            "processor of the model there first"
        )
    if moved:
        # Values that the processor already has are newer.
        _write_json(processor_path, moved | _read_json(processor_path))
    if moved or unused:
        _write_json(config_path, config)
    changes = [f"`{name}` moved to the processor" for name in moved] + [f"`{name}` removed" for name in unused]
    if (folder / _MAIN_MODULE.name).exists():
        _replace_code(folder)
        changes.append("code replaced")
    return ", ".join(changes) or "nothing to change"


def _replace_code(folder: Path) -> None:
    """Replaces the code that was saved with a checkpoint by the code of this version."""
    for path in _code_of(folder / _MAIN_MODULE.name):
        path.unlink()
    for path in _code_of(_MAIN_MODULE):
        shutil.copyfile(path, folder / path.name)
    (folder / "requirements.txt").write_text(REQUIREMENTS, encoding="utf-8")
    card = folder / "README.md"
    if card.exists():
        text = card.read_text(encoding="utf-8")
        for earlier, now in _CARD_CODE.items():
            text = text.replace(earlier, now)
        with atomic_write(card) as partial:
            partial.write_text(text, encoding="utf-8")


def _code_of(module: Path) -> set[Path]:
    """A module of a checkpoint and all that it imports."""
    return {module, *map(Path, get_relative_import_files(module))}


def _is_checkpoint(folder: Path) -> bool:
    path = folder / "config.json"
    if not path.is_file():
        return False
    config = _read_json(path)
    return isinstance(config, dict) and config.get("model_type") == DocREIIConfig.model_type


def _read_json(path: Path) -> Any:
    try:
        return parse_json(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error


def _write_json(path: Path, content: dict[str, Any]) -> None:
    with atomic_write(path) as partial:
        # Sorted as transformers writes it, but the label map inside by its numbers: "10" is not before "2".
        text = json.dumps(dict(sorted(content.items())), indent=2, ensure_ascii=False)
        partial.write_text(text + "\n", encoding="utf-8")


_MISSING = object()
