"""Reads the Parquet files of a finished bulk extraction, row by row."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from .extraction_shards import read_shard, shard_name


_PATTERN = "*triples-*.parquet"
_SHARD = re.compile(r"triples-(\d{5,})-of-(\d{5,})\.parquet")
# Rows in memory at once.
_BATCH = 4096
# Missing files that a message names.
_MOST_NAMED = 5
# What describes a shard, and not its run.
_OF_SHARD = ("first_document", "documents_in_shard")


def is_extraction_folder(folder: str | Path) -> bool:
    """Returns whether a folder has files of a bulk extraction."""
    return any(Path(folder).glob(_PATTERN))


def read_extraction(folder: str | Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """
    Reads the triples of a finished bulk extraction, in parts.

    All files are checked before the first row: that none is missing, by their checksums that none is damaged, and that
    they are of one extraction.

    Args:
        folder (`str` or `Path`):
            The folder that [`extract_to_parquet`] wrote.

    Yields:
        `tuple[Path, dict]`: the file and the row of a triple, by column, in the order of the documents.

    Raises:
        `ValueError`: the extraction is unfinished, a file is damaged or a copy, or files are of several extractions.
            The message names the files.
        `OSError`: a file cannot be read.
    """
    paths = _list_shards(Path(folder))
    _check_shards(paths)
    for path in paths:
        try:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(_BATCH):
                    for row in batch.to_pylist():
                        yield path, row
        except pa.ArrowException as error:
            raise ValueError(f"{path} cannot be read: {error}") from error


def _list_shards(folder: Path) -> list[Path]:
    """Lists the files of an extraction, in the order of the documents."""
    found = sorted(folder.glob(_PATTERN))
    if not found:
        raise ValueError(f"the folder {str(folder)!r} has no triples-*.parquet files of a bulk extraction")
    sizes: dict[int, Path] = {}
    for path in found:
        match = _SHARD.fullmatch(path.name)
        if match is None:
            raise ValueError(f"{path} is a copy of a shard, whose triples would count twice: move it elsewhere")
        sizes.setdefault(int(match[2]), path)
    if len(sizes) > 1:
        names = " and ".join(path.name for path in sizes.values())
        raise ValueError(f"the folder {str(folder)!r} has files of several extractions, such as {names}")
    (num_shards,) = sizes
    expected = [folder / shard_name(shard, num_shards) for shard in range(num_shards)]
    missing = [path.name for path in expected if path not in found]
    if missing:
        more = f" and {len(missing) - _MOST_NAMED} more" if len(missing) > _MOST_NAMED else ""
        raise ValueError(
            f"the extraction in {str(folder)!r} is not finished: {len(missing)} of {num_shards} files are missing, "
            f"{', '.join(missing[:_MOST_NAMED])}{more}. Start it again with the same arguments"
        )
    return expected


def _check_shards(paths: list[Path]) -> None:
    """Checks the content of all files of an extraction."""
    run: dict[str, Any] | None = None
    first_document = 0
    for path in paths:
        content = read_shard(path)
        if not content.is_intact:
            raise ValueError(
                f"{path} is damaged, or of a version without checksums: start the extraction again with the same "
                "arguments, and it is written again"
            )
        described = {name: value for name, value in content.described.items() if name not in _OF_SHARD}
        if run is not None and described != run:
            raise ValueError(f"{path} and {paths[0].name} are of different extractions: extract into another folder")
        if content.described.get("first_document") != first_document:
            raise ValueError(f"{path} holds other documents than its name says: it is a copy of another shard")
        run = described
        first_document += content.described["documents_in_shard"]


__all__ = ["is_extraction_folder", "read_extraction"]
