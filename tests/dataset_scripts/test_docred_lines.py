"""JSON lines give the same rows as a JSON list, and errors name the line."""

import gzip
import json
import re
import tracemalloc
from pathlib import Path

import pytest

from dataset_scripts.docred import DocRED
from modeling_docre_ii.documents import DocumentError


ROOT = Path(__file__).resolve().parents[2]
DEV = ROOT / "examples" / "re_docred_sample" / "dev.json"
TEXT = {
    "title": "plain text",
    "text": "Lark Force was based in Rabaul.",
    "entities": [{"mentions": [[0, 10]], "type": "ORG"}, {"mentions": [[24, 30]], "type": "LOC"}],
}


@pytest.fixture(scope="module")
def documents():
    return json.loads(DEV.read_text(encoding="utf-8"))


@pytest.fixture
def load(tmp_path):
    def load(*paths):
        files = {"test": [str(path) for path in paths]}
        builder = DocRED(config_name="re_docred", data_files=files, cache_dir=str(tmp_path / "cache"))
        builder.download_and_prepare()
        return builder.as_dataset()["test"]

    return load


def lines_of(documents):
    return "\n".join(json.dumps(document, ensure_ascii=False) for document in documents)


def test_lines_give_the_rows_of_the_list(load, tmp_path, documents):
    path, packed = tmp_path / "dev.jsonl", tmp_path / "packed.jsonl.gz"
    path.write_text(lines_of(documents[:15]) + "\n\n", encoding="utf-8")
    packed.write_bytes(gzip.compress(lines_of(documents[15:]).encode()))
    assert list(load(path, packed)) == list(load(DEV))


def test_line_may_be_a_plain_text(load, tmp_path):
    path = tmp_path / "texts.jsonl"
    path.write_text(lines_of([TEXT]), encoding="utf-8")
    (row,) = load(path)
    assert (row["title"], row["sents"]) == ("plain text", [["Lark", "Force", "was", "based", "in", "Rabaul", "."]])
    assert [mention["name"] for (mention,) in row["vertexSet"]] == ["Lark Force", "Rabaul"]


def test_file_is_not_held_in_memory(tmp_path, documents):
    path = tmp_path / "many.jsonl"
    path.write_text(
        lines_of(document | {"title": f"{i} {document['title']}"} for i in range(20) for document in documents),
        encoding="utf-8",
    )
    builder = DocRED(config_name="re_docred", data_files={"test": str(path)}, cache_dir=str(tmp_path / "cache"))
    tracemalloc.start()
    try:
        assert sum(1 for _ in builder.as_streaming_dataset(split="test")) == 400
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < path.stat().st_size / 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            '{"title": "A", "sen',
            "line 2: expected one JSON document a line, but reading it failed: Invalid control",
        ),
        ("[1, 2", "line 2: expected one JSON document a line"),
        ("[]", r"line 2: document without a title: found \[\]"),
        ('{"title": "A"}', "line 2: document 'A': 'sents' is missing"),
        (json.dumps(TEXT | {"title": 3}), "line 2: document without a title: 'title' is 3"),
    ],
)
def test_broken_line_is_named_with_its_file(load, tmp_path, documents, content, message):
    path = tmp_path / "broken.jsonl"
    path.write_text(f"{lines_of(documents[:1])}\n{content}\n{lines_of(documents[1:3])}", encoding="utf-8")
    with pytest.raises(DocumentError, match=f"^{path}, {message}"):
        load(path)
    assert not list((tmp_path / "cache").rglob("*.arrow"))


def test_file_that_ends_too_early_is_named(load, tmp_path, documents):
    path = tmp_path / "cut.jsonl.gz"
    path.write_bytes(gzip.compress(lines_of(documents).encode())[:-10])
    with pytest.raises(DocumentError, match=r"cut.jsonl.gz: reading it failed: Compressed file ended"):
        load(path)


@pytest.mark.parametrize("name", ["bomb.json.gz", "bomb.jsonl.gz"])
def test_gzip_bomb_is_refused_before_it_is_unpacked(load, tmp_path, name):
    """80 MiB of blanks in 80 kB: as one list or one line, they would be read whole."""
    path = tmp_path / name
    path.write_bytes(gzip.compress(b" " * 80 * 2**20))
    message = "reading it failed: it unpacks to more than 67,108,864 bytes; unpack it yourself if that is right"
    with pytest.raises(DocumentError, match=f"^{path}: {message}$"):
        load(path)


@pytest.mark.parametrize("content", ["", "\n \n"])
def test_file_without_a_document_is_named(load, tmp_path, content):
    path = tmp_path / "empty.jsonl"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DocumentError, match=r"empty.jsonl: found no document, expected one a line"):
        load(path)


def test_lines_under_the_name_of_a_list_get_a_hint(load, tmp_path, documents):
    path = tmp_path / "lines.json"
    path.write_text(lines_of(documents), encoding="utf-8")
    with pytest.raises(DocumentError, match=r"Extra data: .* \(one document a line is a .jsonl file\)"):
        load(path)


def test_a_long_integer_and_deep_nesting_are_named_by_document_and_field(load, tmp_path, documents):
    mention = documents[1]["vertexSet"][0][0]
    for value in ("9" * 5_000, "[" * 100_000 + "]" * 100_000):
        content = json.dumps([documents[0], {**documents[1], "vertexSet": [[{**mention, "sent_id": "HERE"}]]}])
        content = content.replace('"HERE"', value)
        for name, written, place in (
            ("damaged.json", content, "item 1"),
            ("damaged.jsonl", "\n".join(re.split(r"(?<=\}), (?=\{.title)", content[1:-1])), "line 2"),
        ):
            path = tmp_path / name
            path.write_text(written, encoding="utf-8")
            where = f"^{path}, {place}: document '.*', entity 0, mention 0 .*: 'sent_id' is "
            with pytest.raises(DocumentError, match=where + r"(an integer of 5,000 digits|\[+\.\.\.)"):
                load(path)


def test_what_is_ignored_may_be_as_deep_and_as_long_as_it_is(load, tmp_path, documents):
    ignored = f'{{"a": {"[" * 5_000}{"]" * 5_000}, "b": {"1" * 5_000}, '
    path = tmp_path / "more.jsonl"
    path.write_text(ignored + json.dumps(documents[0])[1:], encoding="utf-8")
    assert load(path)[0]["title"] == documents[0]["title"]


def test_a_lone_surrogate_is_named(load, tmp_path, documents):
    path = tmp_path / "damaged.jsonl"
    path.write_text(json.dumps({**documents[0], "sents": [["Paris", "\ud83d"]]}), encoding="utf-8")
    with pytest.raises(
        DocumentError, match=rf"^{path}, line 1: document '.*', sentence 0, token 1: found .* '\\ud83d' at"
    ):
        load(path)


@pytest.mark.parametrize("name", ["marked.json", "marked.jsonl", "marked.json.gz"])
def test_a_byte_order_mark_is_skipped(load, tmp_path, documents, name):
    content = lines_of(documents) if name.endswith("l") else json.dumps(documents)
    written = content.encode("utf-8-sig")
    (tmp_path / name).write_bytes(gzip.compress(written) if name.endswith(".gz") else written)
    assert load(tmp_path / name)["title"] == [document["title"] for document in documents]


def test_documents_with_a_text_beside_their_sentences_are_in_docreds_form(load, tmp_path, documents):
    (tmp_path / "with.json").write_text(json.dumps([{**document, "text": "..."} for document in documents]))
    (tmp_path / "without.json").write_text(json.dumps(documents))
    assert load(tmp_path / "with.json").to_list() == load(tmp_path / "without.json").to_list()
