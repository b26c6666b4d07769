"""Reading a bulk extraction: complete and undamaged, or refused by the name of the file."""

import shutil

import pytest

from modeling_docre_ii.deployment.extraction_reading import read_extraction
from tests.graph_triples import triple, write_shards


DOCUMENTS = [(f"title {number}", [triple("a", "P17", "b")] * (number % 3)) for number in range(14)]
NAMES = [f"triples-0000{shard}-of-00007.parquet" for shard in range(7)]


@pytest.fixture
def folder(tmp_path):
    return write_shards(tmp_path / "triples", DOCUMENTS)


def test_rows_come_in_the_order_of_the_documents(folder):
    rows = [(path.name, row["document"], row["title"], row["head_name"]) for path, row in read_extraction(folder)]

    assert rows == [
        (NAMES[number // 2], number, title, "a") for number, (title, triples) in enumerate(DOCUMENTS) for _ in triples
    ]


def test_missing_files_are_named(folder):
    for name in NAMES[1:4]:
        (folder / name).unlink()
    with pytest.raises(
        ValueError, match=rf"is not finished: 3 of 7 files are missing, {', '.join(NAMES[1:4])}\. Start"
    ):
        next(read_extraction(folder))
    for name in NAMES[4:]:
        (folder / name).unlink()
    with pytest.raises(ValueError, match=rf"6 of 7 files are missing, .*{NAMES[5]} and 1 more\. Start"):
        next(read_extraction(folder))


@pytest.mark.parametrize("kind", ["cut off", "a changed byte", "empty"])
def test_a_damaged_file_is_named_before_the_first_row(folder, kind):
    content = bytearray((folder / NAMES[6]).read_bytes())
    if kind == "a changed byte":
        content[100] ^= 1
    (folder / NAMES[6]).write_bytes(
        content if kind == "a changed byte" else content[: -20 if kind == "cut off" else 0]
    )
    with pytest.raises(ValueError, match=rf"{NAMES[6]} is damaged, or of a version without checksums: start the"):
        next(read_extraction(folder))


def test_copies_and_mixtures_are_refused(folder, tmp_path):
    shutil.copy(folder / NAMES[0], folder / f"Copy of {NAMES[0]}")
    with pytest.raises(ValueError, match="Copy of .* is a copy of a shard"):
        next(read_extraction(folder))
    (folder / f"Copy of {NAMES[0]}").unlink()

    shutil.copy(folder / NAMES[0], folder / NAMES[1])
    with pytest.raises(ValueError, match=rf"{NAMES[1]} holds other documents than its name says"):
        next(read_extraction(folder))

    other = write_shards(tmp_path / "other", [*DOCUMENTS[:-1]])
    shutil.copy(other / NAMES[1], folder / NAMES[1])
    with pytest.raises(ValueError, match=rf"{NAMES[1]} and {NAMES[0]} are of different extractions"):
        next(read_extraction(folder))

    shutil.copy(folder / NAMES[0], folder / "triples-00000-of-00001.parquet")
    with pytest.raises(ValueError, match="has files of several extractions, such as"):
        next(read_extraction(folder))


def test_a_folder_without_an_extraction_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"has no triples-\*\.parquet files of a bulk extraction"):
        next(read_extraction(tmp_path))
