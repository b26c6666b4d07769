"""What stays off the Hub when an output folder is pushed."""

import re
from pathlib import Path

from ..utils.atomic_write import atomic_write


# The model of stage 1, files that quote documents, and what a run keeps to be resumed.
EXCLUDED = (
    "/stage_1/",
    "/report.html",
    "/report_test.html",
    "/predictions.json",
    "/validation_predictions.npz",
    "/test_predictions.npz",
    "/result.json",
    "/result.zip",
    "/run.json",
    "/checkpoint_files.json",
    "/unfinished_checkpoint/",
    "/.docre_ii.lock",
)


def keep_off_the_hub(output_dir: Path, triples_dir: str | None = None) -> None:
    """
    Writes the `.gitignore` of an output folder, which `push_to_hub` follows.

    It excludes what a run writes beside its model. Lines that are already there stay.

    Args:
        output_dir (`Path`):
            The output folder, created if it does not exist.
        triples_dir (`str`, *optional*):
            Folder of extracted triples, also excluded if it is inside the output folder.
    """
    path = output_dir / ".gitignore"
    written = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    names = list(EXCLUDED)
    if triples_dir is not None and (folder := Path(triples_dir).resolve()).is_relative_to(output_dir.resolve()):
        inside = folder.relative_to(output_dir.resolve())
        # Git takes these characters for patterns.
        inside = Path(re.sub(r"([\\*?\[\]])", r"\\\1", inside.as_posix()))
        # Shards, with the `.partial` files that a killed process may leave, and hidden files.
        names += [f"/{(inside / pattern).as_posix()}" for pattern in ("triples-*.parquet*", ".triples-*")]
    with atomic_write(path) as partial:
        partial.write_text("\n".join(dict.fromkeys([*written, *names])) + "\n", encoding="utf-8")


__all__ = ["keep_off_the_hub"]
