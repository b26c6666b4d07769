"""What a command line of `docre-ii extract` means: which files are read, and how."""

import os
import threading

import pytest

from modeling_docre_ii.cli.text_inputs import check_inputs, list_inputs, read_inputs


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts").mkdir()
    for name in ("a.txt", "b.txt"):
        (tmp_path / "texts" / name).write_text(f"The text {name}.", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["texts", "texts/a.txt"], ["texts/a.txt", "texts/b.txt"]),
        (["texts/b.txt", "texts"], ["texts/b.txt", "texts/a.txt"]),
        (["./texts/a.txt", "-", "texts/a.txt", "-"], ["./texts/a.txt", "-"]),
        (["link.txt", "texts/a.txt"], ["link.txt"]),
    ],
)
def test_a_text_is_read_once(folder, paths, expected):
    (folder / "link.txt").symlink_to(folder / "texts" / "a.txt")
    assert list_inputs(paths) == expected


def test_a_pipe_is_read_once(folder):
    os.mkfifo(folder / "pipe")

    def write():
        with open(folder / "pipe", "w", encoding="utf-8") as pipe:
            pipe.write("Ada was born in London.")

    files = list_inputs(["pipe"])
    check_inputs(files)
    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    assert [(each["title"], each["text"]) for each in read_inputs(files)] == [("pipe", "Ada was born in London.")]
    writer.join()


def test_lines_have_two_endings(folder):
    for name in ("new/c.ndjson", "new/d.jsonl"):
        (folder / "new").mkdir(exist_ok=True)
        (folder / name).write_text('{"text": "Ada"}\n{"text": "Babbage"}\n', encoding="utf-8")
    assert [each["text"] for each in read_inputs(list_inputs(["new"]))] == ["Ada", "Babbage"] * 2


@pytest.mark.parametrize("name", ["page.html", "TABLE.CSV", "facts.xml"])
def test_markup_and_tables_are_no_prose(folder, name):
    (folder / name).write_text("<p>Ada</p>", encoding="utf-8")
    with pytest.raises(ValueError, match=f"'{name}' is no text: convert it to .txt, .jsonl or .json"):
        list_inputs(["texts", name])
