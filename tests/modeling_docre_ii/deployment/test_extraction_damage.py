"""Folders of triples that somebody or something has damaged: repaired, or refused by the name of the file."""

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from modeling_docre_ii import extract_to_parquet
from modeling_docre_ii.deployment.extraction_shards import CHECKSUM_KEY, METADATA_KEY
from modeling_docre_ii.utils.folder_lock import FolderInUseError
from tests.hub_model import make_model, make_processor, sample_documents


ROOT = Path(__file__).parents[3]
NAMES = [f"triples-0000{shard}-of-00003.parquet" for shard in range(3)]


@pytest.fixture(scope="module")
def documents():
    return sample_documents(6)


@pytest.fixture(scope="module")
def parts(documents):
    processor = make_processor(documents)
    return make_model(processor).eval(), processor


@pytest.fixture(scope="module")
def whole(parts, documents, tmp_path_factory):
    """A complete extraction of three files."""
    folder = tmp_path_factory.mktemp("whole")
    extract_to_parquet(*parts, documents, folder, 2)
    assert len(content_of(folder)) == 3
    return folder


@pytest.fixture
def folder(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "triples")
    return tmp_path / "triples"


def content_of(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.parquet"))}


def damaged(content, generator):
    """A file with flipped bits, cut off, with a lost or an inserted block, or a block of zeros."""
    content, kind = bytearray(content), generator.randrange(5)
    place, length = generator.randrange(len(content)), generator.randint(1, 200)
    if kind == 0:
        for _ in range(generator.randint(1, 3)):
            content[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
    elif kind == 1:
        # In the footer and the metadata, where a change is hardest to see.
        content[-1 - generator.randrange(min(3000, len(content)))] ^= 1 << generator.randrange(8)
    elif kind == 2:
        del content[place:]
    elif kind == 3:
        del content[place : place + length]
    else:
        content[place : place + length] = generator.randbytes(length)
    return bytes(content)


def repair(parts, documents, folder, whole, name, content):
    """Restarts an extraction with a damaged file, and returns whether it was written again (or else refused)."""
    (folder / name).write_bytes(content)
    try:
        found = extract_to_parquet(*parts, documents, folder, 2)
    except FileExistsError as error:
        assert str(folder / name) in str(error) and "\n" not in str(error)
        assert (folder / name).read_bytes() == content
        return False
    assert found.is_complete and content_of(folder) == content_of(whole)
    return True


@pytest.mark.parametrize("seed", range(8))
def test_damaged_file_is_written_again_or_refused_by_name(parts, documents, folder, whole, seed):
    generator = random.Random(seed)
    name = NAMES[seed % 3]
    repair(parts, documents, folder, whole, name, damaged((folder / name).read_bytes(), generator))


@pytest.mark.slow
def test_two_hundred_damaged_files_are_written_again_or_refused_by_name(parts, documents, folder, whole):
    generator = random.Random(16)
    intact, repaired, total = content_of(whole), 0, 200
    for _ in range(total):
        name = generator.choice(NAMES)
        content = damaged(intact[name], generator)
        if content != intact[name]:
            repaired += repair(parts, documents, folder, whole, name, content)
        else:
            total -= 1
        (folder / name).write_bytes(intact[name])
    assert repaired > 0.8 * total


def test_checksum_is_that_of_the_file_with_zeros_in_its_place(whole):
    for content in content_of(whole).values():
        checksum = pq.read_metadata(pa.BufferReader(content)).metadata[CHECKSUM_KEY]
        assert content.count(checksum) == 1
        assert hashlib.sha256(content.replace(checksum, b"0" * 64)).hexdigest().encode() == checksum


def test_text_that_looks_like_a_checksum_is_none(parts, documents, tmp_path):
    hostile = CHECKSUM_KEY.decode() + "\x18\x40" + "0" * 64
    documents = [document | {"title": hostile} for document in documents[:1]]
    extract_to_parquet(*parts, documents, tmp_path, 1)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.parquet")}
    assert extract_to_parquet(*parts, documents, tmp_path, 1).is_complete
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_undamaged_files_are_kept(parts, documents, folder):
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*.parquet")}
    assert extract_to_parquet(*parts, documents, folder, 2).is_complete
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_files_without_checksums_are_written_again(parts, documents, folder, whole):
    for name in NAMES:
        table = pq.read_table(folder / name)
        metadata = {METADATA_KEY: table.schema.metadata[METADATA_KEY]}
        pq.write_table(table.replace_schema_metadata(metadata), folder / name)
    assert extract_to_parquet(*parts, documents, folder, 2).is_complete
    assert content_of(folder) == content_of(whole)


@pytest.mark.parametrize(("source", "target"), [(0, 1), (2, 0), (1, 2)])
def test_shard_under_the_name_of_another_is_refused(parts, documents, folder, source, target):
    shutil.copy(folder / NAMES[source], folder / NAMES[target])
    message = f"{NAMES[target]} holds other documents than its name says .`first_document` {2 * source}, expected"
    with pytest.raises(FileExistsError, match=message):
        extract_to_parquet(*parts, documents, folder, 2)


@pytest.mark.parametrize(
    "name", ["triples-00000-of-00003 (copy).parquet", "Copy of triples-00001-of-00003.parquet", "triples-.parquet"]
)
def test_copy_that_would_count_twice_is_refused(parts, documents, folder, name):
    shutil.copy(folder / NAMES[0], folder / name)
    with pytest.raises(FileExistsError) as error:
        extract_to_parquet(*parts, documents, folder, 2)
    assert str(error.value).startswith(f"{folder / name} is a copy of a shard, whose triples would count twice")


@pytest.mark.parametrize("name", [NAMES[1], "triples-mine.parquet"])
def test_folder_of_the_name_of_a_shard_is_refused(parts, documents, folder, name):
    (folder / name).unlink(missing_ok=True)
    (folder / name).mkdir()
    with pytest.raises(FileExistsError, match=f"{name} is not a file: move it out"):
        extract_to_parquet(*parts, documents, folder, 2)


def test_file_of_somebody_else_is_not_replaced(parts, documents, folder):
    """Its name is that of a shard, and it can be read: it may be of use to its owner."""
    pq.write_table(pa.table({"mine": [1]}), folder / NAMES[1])
    with pytest.raises(FileExistsError, match=f"{NAMES[1]} is of another run .*, or damaged: delete it if nobody"):
        extract_to_parquet(*parts, documents, folder, 2)
    assert pq.read_table(folder / NAMES[1]).to_pylist() == [{"mine": 1}]


def test_damaged_record_of_the_precision_is_named(parts, documents, tmp_path):
    extract_to_parquet(*parts, documents, tmp_path, 2, bf16=True)
    for path in tmp_path.glob("*.parquet"):
        path.unlink()
    (record,) = tmp_path.glob(".triples-precision-*")
    record.write_text('{"bf')
    with pytest.raises(FileExistsError, match=f"{record.name} is damaged: delete it"):
        extract_to_parquet(*parts, documents, tmp_path, 2, bf16=True)


# Several processes


WORKER = """
import json, sys, time
from pathlib import Path

from modeling_docre_ii import extract_to_parquet
from modeling_docre_ii.deployment import bulk_extraction
from tests.hub_model import make_model, make_processor, sample_documents

folder, go, settings = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
documents = sample_documents(6)
processor = make_processor(documents)
predict = bulk_extraction._predict

def predict_when_told(*args):
    print("working", flush=True)
    while not go.exists():
        time.sleep(0.05)
    return predict(*args)

bulk_extraction._predict = predict_when_told
found = extract_to_parquet(make_model(processor).eval(), processor, documents, folder, **settings)
print(found.num_shards, flush=True)
"""


@pytest.fixture
def start(tmp_path):
    """Starts an extraction in a process of its own, which waits in its first shard until `go` exists."""
    started = []

    def run(**settings):
        settings = {"documents_per_shard": 2, "process_index": 0, "num_processes": 1} | settings
        process = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(tmp_path / "triples"), str(tmp_path / "go"), json.dumps(settings)],
            env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def wait_for(process):
    assert process.stdout.readline() == "working\n", process.stderr.read()[-3000:]


@pytest.mark.slow
def test_processes_of_one_extraction_work_together_and_another_extraction_is_refused(
    parts, documents, whole, start, tmp_path
):
    together = [start(process_index=index, num_processes=2) for index in range(2)]
    for process in together:
        wait_for(process)
    partial = tmp_path / "triples" / f"{NAMES[0]}.123.partial"  # as that of a live writer
    partial.write_bytes(b"half")
    for settings in (
        {"num_processes": 1},
        {"num_processes": 3, "process_index": 2},
        {"num_processes": 2, "process_index": 1},
        {"num_processes": 2, "process_index": 1, "documents_per_shard": 3},
    ):
        with pytest.raises(FolderInUseError, match=f"another extraction is writing into '{tmp_path}/triples'"):
            extract_to_parquet(
                *parts, documents, tmp_path / "triples", **{"documents_per_shard": 2, "process_index": 0} | settings
            )
    assert partial.read_bytes() == b"half"
    (tmp_path / "go").touch()
    assert [process.wait(60) for process in together] == [0, 0]
    assert content_of(tmp_path / "triples") == content_of(whole)


@pytest.mark.slow
def test_killed_process_keeps_no_lock(parts, documents, whole, start, tmp_path):
    process = start()
    wait_for(process)
    with pytest.raises(FolderInUseError):
        extract_to_parquet(*parts, documents, tmp_path / "triples", 2)
    process.kill()
    process.wait()
    begun = time.perf_counter()
    assert extract_to_parquet(*parts, documents, tmp_path / "triples", 2).is_complete
    assert time.perf_counter() - begun < 30
    assert content_of(tmp_path / "triples") == content_of(whole)


FULL = """
import resource, signal, sys

import run_docre
from modeling_docre_ii import extract_to_parquet
from tests.hub_model import make_model, make_processor, sample_documents

documents = sample_documents(6)
processor = make_processor(documents)
model = make_model(processor).eval()
# As with a quota: the operating system refuses to let a file grow.
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    extract_to_parquet(model, processor, documents, sys.argv[1], 2)
except OSError as error:
    print(error)
"""


def test_file_that_the_system_does_not_let_grow_is_named_and_leaves_nothing(whole, tmp_path):
    command = [sys.executable, "-c", FULL, str(tmp_path / "triples")]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip() == f"{tmp_path}/triples/{NAMES[0]} cannot be written: File too large"
    assert not list((tmp_path / "triples").glob("triples-*"))
