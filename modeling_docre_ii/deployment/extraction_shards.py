"""The files of a bulk extraction: written with a checksum, and checked by it."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from transformers.utils import logging

from ..utils.atomic_write import atomic_write
from .extraction_run import ExtractionRun


logger = logging.get_logger(__name__)

# One row a triple. Mentions are not among the columns: `document` and the entities say where they are in the corpus.
COLUMNS = pa.schema(
    {
        "document": pa.int64(),
        "title": pa.string(),
        "head": pa.int32(),
        "head_name": pa.string(),
        "head_type": pa.string(),
        "head_kb_id": pa.string(),
        "relation": pa.string(),
        "relation_name": pa.string(),
        "tail": pa.int32(),
        "tail_name": pa.string(),
        "tail_type": pa.string(),
        "tail_kb_id": pa.string(),
        "score": pa.float32(),
        "evidence": pa.list_(pa.int32()),
        "evidence_spans": pa.list_(pa.list_(pa.int64())),
    }
)

# Key of the description of its run in the metadata of a Parquet file, as JSON.
METADATA_KEY = b"docre_ii"
# Key of the SHA-256 of the file, computed with zeros in place of itself.
CHECKSUM_KEY = b"docre_ii_sha256"
_BLANK = b"0" * 64
# The key, the type and the length of the value, as Parquet writes them.
_BEFORE_CHECKSUM = CHECKSUM_KEY + b"\x18\x40"
_MAGIC = b"PAR1"


@dataclass(frozen=True)
class ShardContent:
    """
    What a Parquet file says of itself.

    Args:
        is_intact (`bool`): Whether its bytes are those that were written.
        is_readable (`bool`): Whether its metadata can be read. That of a damaged file may be.
        described (`dict[str, Any]`): The description of its run, empty without one.
        num_triples (`int`): Number of rows.
    """

    is_intact: bool
    is_readable: bool
    described: dict[str, Any]
    num_triples: int


def shard_name(shard: int, num_shards: int) -> str:
    """Returns the file name of a shard, in the Hub's form."""
    return f"triples-{shard:05d}-of-{num_shards:05d}.parquet"


def write_shard(folder: Path, run: ExtractionRun, shard: int, rows: Sequence[Mapping[str, Any]]) -> None:
    """
    Writes the triples of a shard atomically, with their checksum.

    Args:
        folder (`Path`):
            Folder of the files, locked by [`lock_shards`].
        run ([`ExtractionRun`]):
            The extraction.
        shard (`int`):
            The shard.
        rows (`list[dict]`):
            Its triples, by column.

    Raises:
        `OSError`: the file cannot be written. The message names it.
    """
    schema = COLUMNS.with_metadata({METADATA_KEY: json.dumps(asdict(run) | run.describe_shard(shard))})
    path = folder / shard_name(shard, run.num_shards)
    # Left by processes that were killed: with the lock, no other process writes this shard.
    for left in folder.glob(f"{path.name}.*.partial"):
        left.unlink(missing_ok=True)
    with atomic_write(path) as partial:
        with pq.ParquetWriter(partial, schema) as writer:
            # `datasets` fails on a row group without a row, but not on a file without a row group.
            if rows:
                writer.write_table(pa.Table.from_pylist(rows, schema=schema))
            writer.add_key_value_metadata({CHECKSUM_KEY: _BLANK})
        place = _place_of_checksum(partial)
        if place is None:
            raise RuntimeError("this version of pyarrow writes the metadata of a file in another form")
        with partial.open("r+b") as file:
            file.seek(place)
            file.write(_checksum(partial, place))


def finished_shards(folder: Path, run: ExtractionRun, known: Mapping[int, int] | None = None) -> dict[int, int]:
    """
    Finds the finished shards of a run by reading all of them.

    Damaged files do not count, so that they are written again. Only reading finds a changed byte. It takes about a
    second per GB.

    Args:
        folder (`Path`):
            Folder of the files.
        run ([`ExtractionRun`]):
            The extraction.
        known (`dict[int, int]`, *optional*):
            Finished shards that this process has read or written, which are not read again.

    Returns:
        `dict[int, int]`: the number of triples by shard.

    Raises:
        `FileExistsError`: a file belongs to another run, is a copy, or is no file. The message says which.
    """
    shards = {shard_name(shard, run.num_shards): shard for shard in range(run.num_shards)}
    finished: dict[int, int] = {}
    # With copies ("Copy of triples-..."), which readers of the folder would count twice.
    for path in sorted(folder.glob("*triples-*.parquet")):
        shard = shards.get(path.name)
        if shard is not None and known is not None and shard in known:
            finished[shard] = known[shard]
            continue
        content = read_shard(path)
        if _is_finished(path, content, run, shard) and shard is not None:
            finished[shard] = content.num_triples
    return finished


def _is_finished(path: Path, content: ShardContent, run: ExtractionRun, shard: int | None) -> bool:
    """Returns whether a file is a finished shard, `False` if it is damaged."""
    if not content.is_readable and shard is not None:
        logger.warning(f"{path} is damaged and is written again")
        return False
    written = content.described
    differing = {name: value for name, value in asdict(run).items() if written.get(name) != value}
    if differing:
        said = ", ".join(f"`{name}` {written.get(name)}, here {value}" for name, value in differing.items())
        if not content.is_intact:
            raise FileExistsError(
                f"{path} is of another run ({said}), or damaged: delete it if nobody needs it, or use another folder"
            )
        raise FileExistsError(
            f"{path} is of another run ({said}): continue with the arguments it was started with, or choose another "
            "folder"
        )
    if shard is None:
        raise FileExistsError(f"{path} is a copy of a shard, whose triples would count twice: move it elsewhere")
    differing = {name: value for name, value in run.describe_shard(shard).items() if written.get(name) != value}
    if differing:
        said = ", ".join(f"`{name}` {written.get(name)}, expected {value}" for name, value in differing.items())
        raise FileExistsError(
            f"{path} holds other documents than its name says ({said}): it is a copy of another shard, or damaged. "
            "Delete it, and it is written again"
        )
    if not content.is_intact:
        logger.warning(f"{path} is damaged, or of a version without checksums, and is written again")
    return content.is_intact


def read_shard(path: Path) -> ShardContent:
    """
    Reads all of a file, and its metadata.

    Args:
        path (`Path`):
            A file that may be damaged, or not be Parquet at all.

    Raises:
        `FileExistsError`: it is no file.
        `OSError`: it cannot be read.
    """
    if not path.is_file():
        raise FileExistsError(f"{path} is not a file: move it out of the folder of the triples")
    place = _place_of_checksum(path)
    is_intact = place is not None and _checksum(path, place) == _bytes_at(path, place, len(_BLANK))
    try:
        metadata = pq.read_metadata(path)
        described = json.loads((metadata.metadata or {}).get(METADATA_KEY, b"{}"))
    # The file was read above, so that this is not an error of the disk.
    except (pa.ArrowException, OSError, ValueError):
        return ShardContent(is_intact=False, is_readable=False, described={}, num_triples=0)
    described = described if isinstance(described, dict) else {}
    return ShardContent(is_intact, True, described, metadata.num_rows)


def description_of_a_shard(folder: Path) -> dict[str, Any] | None:
    """Returns what an undamaged file says of its run, or `None`."""
    contents = (read_shard(path) for path in sorted(folder.glob("*triples-*.parquet")))
    return next((content.described for content in contents if content.is_intact and content.described), None)


def _place_of_checksum(path: Path) -> int | None:
    """Returns where in a file its checksum is, `None` if there is none."""
    size = path.stat().st_size
    tail = _bytes_at(path, max(size - 8, 0), 8)
    length = int.from_bytes(tail[:4], "little") + 8
    if tail[4:] != _MAGIC or length > size:
        return None
    footer = _bytes_at(path, size - length, length)
    # The metadata come after the statistics of the columns, which hold words of the documents.
    found = footer.rfind(_BEFORE_CHECKSUM)
    place = found + len(_BEFORE_CHECKSUM)
    return None if found < 0 or place + len(_BLANK) > length - 8 else size - length + place


def _bytes_at(path: Path, place: int, count: int) -> bytes:
    with path.open("rb") as file:
        file.seek(place)
        return file.read(count)


def _checksum(path: Path, place: int) -> bytes:
    """Computes the SHA-256 of a file with zeros where its checksum is, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for start in range(0, place, _CHUNK):
            digest.update(file.read(min(_CHUNK, place - start)))
        digest.update(_BLANK)
        file.seek(len(_BLANK), os.SEEK_CUR)
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest().encode()


_CHUNK = 1 << 20

__all__ = ["COLUMNS", "METADATA_KEY", "finished_shards", "shard_name", "write_shard"]
