"""Bulk extraction: triples of a corpus of any size as Parquet files, resumable."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from accelerate import PartialState
from transformers import PreTrainedModel
from transformers.utils import logging

from ..documents import DocumentError, check_document
from ..pipeline_docre_ii import DocumentRelationExtractionPipeline, EncodedDocument, read_document
from ..processing_docre_ii import DocREIIProcessor
from ..utils.atomic_write import atomic_write
from ..utils.cpu_bf16 import try_bf16, try_bf16_in_all_processes
from .extraction_precision import settle_precision
from .extraction_run import ExtractionRun, describe_run


logger = logging.get_logger(__name__)

# One row per triple. Mentions are not stored: `document`, `head` and `tail` are indices into the corpus.
COLUMNS = pa.schema(
    {
        "document": pa.int64(),
        "title": pa.string(),
        "head": pa.int32(),
        "head_name": pa.string(),
        "head_type": pa.string(),
        "relation": pa.string(),
        "relation_name": pa.string(),
        "tail": pa.int32(),
        "tail_name": pa.string(),
        "tail_type": pa.string(),
        "score": pa.float32(),
    }
)

# Key of the description of its run in the metadata of a Parquet file, as JSON.
METADATA_KEY = b"docre_ii"


@dataclass
class ExtractedTriples:
    """
    Contents of a folder of triples.

    Args:
        num_documents (`int`): Number of finished documents, including those without a triple.
        num_triples (`int`): Number of triples.
        num_shards (`int`): Number of complete files.
        expected_shards (`int`): Number of files when all documents are finished.
    """

    num_documents: int
    num_triples: int
    num_shards: int
    expected_shards: int

    @property
    def is_complete(self) -> bool:
        """Whether all documents are finished."""
        return self.num_shards == self.expected_shards

    def __str__(self) -> str:
        rest = "" if self.is_complete else ", the rest is left to other processes"
        shards = f"{self.num_shards} of {self.expected_shards} shards"
        return f"{self.num_triples:,} triples of {self.num_documents:,} documents in {shards}{rest}"


def extract_to_parquet(
    model: PreTrainedModel,
    processor: DocREIIProcessor,
    documents: Sequence[Mapping[str, Any]],
    folder: str | Path,
    documents_per_shard: int = 500,
    batch_size: int = 8,
    bf16: bool = False,
    process_index: int | None = None,
    num_processes: int | None = None,
) -> ExtractedTriples:
    """
    Extracts triples from any number of documents and writes them as Parquet files.

    Each file, such as `triples-00012-of-00040.parquet`, holds a shard of `documents_per_shard` consecutive documents.
    `datasets.load_dataset("parquet", data_dir=folder)` reads them. Only the documents of one shard are in memory at a
    time. Files are written atomically. To resume a run, start it again with the same arguments: it repeats only
    unfinished shards.

    Process i of n writes the shards i, i + n, ... and n may differ when the run is resumed. Processes do not
    communicate: on several nodes, a shared folder is all they need.

    Args:
        model ([`DocREIIForRelationExtraction`]):
            The model, on the device to run on.
        processor ([`DocREIIProcessor`]):
            Its processor.
        documents (`Sequence[dict]`):
            Documents as for the pipeline: in DocRED's form, or plain texts with entities. Labels are ignored. Use a
            `datasets.Dataset`, which reads from disk, for a corpus that does not fit in memory.
        folder (`str` or `Path`):
            Folder of the files. It is created if necessary.
        documents_per_shard (`int`, *optional*, defaults to 500):
            Number of documents per file. A killed process loses at most that many.
        batch_size (`int`, *optional*, defaults to 8):
            Number of documents that go through the model at once. The documents of a shard are batched by length.
        bf16 (`bool`, *optional*, defaults to `False`):
            Whether the model runs under autocast to bfloat16. On a CPU it does only if bf16 works there and is faster
            than float32. The first process decides for all shards.
        process_index, num_processes (`int`, *optional*):
            Index of this process and number of processes, as in a job array. Default to those of accelerate.

    Returns:
        [`ExtractedTriples`]: the contents of the folder when this process has finished. Others may still be running.

    Raises:
        [`DocumentError`]: a document is malformed. The message has its index and title. The shards before it are
            written.
        `FileExistsError`: the folder holds triples of other documents, of another model, of shards of another size or
            with another `bf16`, or was started in bf16, which this CPU cannot run.
        `ValueError`: there are no documents or only one, the processor is of another model, a number is out of range,
            or only one of `process_index` and `num_processes` is given.

    Example:

    ```python
    >>> documents = datasets.load_dataset("org/corpus", split="test")
    >>> model.to("cuda")
    >>> extract_to_parquet(model, processor, documents, "triples")
    >>> triples = datasets.load_dataset("parquet", data_dir="triples", split="train")
    ```
    """
    is_launched = process_index is None and num_processes is None
    if is_launched:
        state = PartialState()
        process_index, num_processes = state.process_index, state.num_processes
    if process_index is None or num_processes is None or not 0 <= process_index < num_processes:
        raise ValueError(
            f"expected both 0 <= `process_index` < `num_processes`, got {process_index} and {num_processes}"
        )
    if documents_per_shard < 1 or batch_size < 1:
        raise ValueError(f"expected at least 1, got {documents_per_shard=} and {batch_size=}")
    if isinstance(documents, (Mapping, str)):
        raise ValueError(f"expected a list of documents or a `datasets.Dataset`, found one {type(documents).__name__}")
    if not len(documents):
        raise ValueError("there are no documents to extract triples from")
    # The pipeline finds the device of a model with a device map itself, and raises if one is given.
    device = None if getattr(model, "hf_device_map", None) else model.device
    extractor = DocumentRelationExtractionPipeline(model=model, processor=processor, device=device)
    folder = Path(folder)
    trial = None
    if bf16 and model.device.type == "cpu":
        # All processes of a launch must take part, so this comes before the folder is read.
        trial = try_bf16_in_all_processes() if is_launched else try_bf16()
    run = describe_run(model, processor, documents, documents_per_shard, bf16)
    run = settle_precision(run, folder, _description_of_a_shard(folder), trial, should_log=process_index == 0)
    finished = finished_shards(folder, run)
    mine = range(process_index, run.num_shards, num_processes)
    model.eval()
    with logging.tqdm(
        total=sum(len(run.documents_of(shard)) for shard in mine),
        initial=sum(len(run.documents_of(shard)) for shard in mine if shard in finished),
        desc="Extracting triples",
        unit=" documents",
        disable=process_index != 0,
    ) as progress:
        for shard in (shard for shard in mine if shard not in finished):
            indices = run.documents_of(shard)
            read = [_read(documents[index], index) for index in indices]
            with torch.autocast(model.device.type, torch.bfloat16, enabled=run.bf16):
                triples = _predict(extractor, read, indices, batch_size)
            _write_shard(folder, run, shard, read, triples)
            progress.update(len(indices))
    there = finished_shards(folder, run)
    return ExtractedTriples(
        num_documents=sum(len(run.documents_of(shard)) for shard in there),
        num_triples=sum(there.values()),
        num_shards=len(there),
        expected_shards=run.num_shards,
    )


def shard_name(shard: int, num_shards: int) -> str:
    """Returns the file name of a shard, in the Hub's form."""
    return f"triples-{shard:05d}-of-{num_shards:05d}.parquet"


def finished_shards(folder: Path, run: ExtractionRun) -> dict[int, int]:
    """
    Finds the finished shards of a run.

    Truncated files, as after a power failure, do not count.

    Returns:
        `dict[int, int]`: the number of triples by shard.

    Raises:
        `FileExistsError`: a file belongs to another run. The message names the differences.
    """
    shards = {shard_name(shard, run.num_shards): shard for shard in range(run.num_shards)}
    finished = {}
    for path in sorted(folder.glob("triples-*.parquet")):
        metadata = _metadata_of(path)
        if metadata is None and path.name in shards:
            continue
        # Shards of earlier versions do not record the request.
        written = {"bf16_requested": run.bf16_requested} | _description_in(metadata)
        differing = {name: value for name, value in asdict(run).items() if written.get(name) != value}
        if metadata is None or differing:
            described = ", ".join(f"`{name}` {written.get(name)}, here {value}" for name, value in differing.items())
            raise FileExistsError(
                f"{path} is of another run ({described}): continue with the arguments it was started with, or choose "
                "another folder"
            )
        finished[shards[path.name]] = metadata.num_rows
    return finished


def _metadata_of(path: Path) -> pq.FileMetaData | None:
    try:
        return pq.read_metadata(path)
    except pa.ArrowInvalid:  # a truncated file
        return None


def _description_in(metadata: pq.FileMetaData | None) -> dict[str, Any]:
    return json.loads(metadata.metadata.get(METADATA_KEY, b"{}")) if metadata and metadata.metadata else {}


def _description_of_a_shard(folder: Path) -> dict[str, Any] | None:
    described = (_description_in(_metadata_of(path)) for path in sorted(folder.glob("triples-*.parquet")))
    return next(filter(None, described), None)


def _read(given: Mapping[str, Any], index: int) -> dict[str, Any]:
    try:
        return read_document(given).document
    except DocumentError as error:
        raise DocumentError(f"documents[{index}]: {error}") from None


def _check(document: Mapping[str, Any], index: int) -> None:
    try:
        check_document(document)
    except DocumentError as error:
        raise DocumentError(f"documents[{index}]: {error}") from None


def _predict(
    extractor: DocumentRelationExtractionPipeline,
    documents: list[dict[str, Any]],
    indices: Sequence[int],
    batch_size: int,
) -> list[list[dict[str, Any]]]:
    """Predicts triples of documents, encoded together and batched by length."""
    try:
        encoded = extractor.processor(documents)
    except DocumentError:
        # The processor has named the title. Documents of this run also have an index.
        for document, index in zip(documents, indices):
            _check(document, index)
        raise
    features = [dict(zip(encoded, values)) for values in zip(*encoded.values())]
    # The longest first: documents that are too long for the memory of the device fail at once.
    order = sorted(range(len(features)), key=lambda index: -len(features[index]["input_ids"]))
    triples: list[list[dict[str, Any]]] = [[] for _ in documents]
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        inputs = [EncodedDocument(documents[index], features=features[index]) for index in batch]
        for index, rows in zip(batch, extractor.forward({"encoded": inputs})["triples"]):
            triples[index] = rows
    return triples


def _write_shard(
    folder: Path,
    run: ExtractionRun,
    shard: int,
    documents: list[dict[str, Any]],
    triples: list[list[dict[str, Any]]],
) -> None:
    indices = run.documents_of(shard)
    rows = [
        {
            "document": index,
            "title": document["title"],
            "head": triple["head"]["entity"],
            "head_name": triple["head"]["name"],
            "head_type": triple["head"]["type"],
            "relation": triple["relation"],
            "relation_name": triple["relation_name"],
            "tail": triple["tail"]["entity"],
            "tail_name": triple["tail"]["name"],
            "tail_type": triple["tail"]["type"],
            "score": triple["score"],
        }
        for index, document, triples_of_document in zip(indices, documents, triples)
        for triple in triples_of_document
    ]
    described = asdict(run) | {"first_document": indices.start, "documents_in_shard": len(indices)}
    schema = COLUMNS.with_metadata({METADATA_KEY: json.dumps(described)})
    path = folder / shard_name(shard, run.num_shards)
    # Partial files of a killed process, which nothing else removes.
    for left in folder.glob(f"{path.name}.*.partial"):
        left.unlink()
    with atomic_write(path) as partial, pq.ParquetWriter(partial, schema) as writer:
        # `datasets` fails on an empty row group, but not on a file without row groups.
        if rows:
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))
    logger.info(f"{path}: {len(rows)} triples of {len(indices)} documents")


__all__ = ["ExtractedTriples", "extract_to_parquet"]
