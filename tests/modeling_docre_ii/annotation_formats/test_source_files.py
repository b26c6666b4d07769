"""Files of corpora: folders, gzip, byte order marks, line ends, and what cannot be read."""

import gzip

import pytest

from modeling_docre_ii.annotation_formats.source_files import list_files, open_text, read_json
from modeling_docre_ii.documents import DocumentError


def test_text_is_read_plain_or_gzipped_without_a_byte_order_mark(tmp_path):
    content = "\ufeffé\r\nb".encode()
    (tmp_path / "a.txt").write_bytes(content)
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(content))
    for name in ("a.txt", "a.txt.gz"):
        with open_text(tmp_path / name) as stream:
            assert stream.read() == "é\nb"
        with open_text(str(tmp_path / name), newline="") as stream:
            assert stream.read() == "é\r\nb"


def test_files_of_a_folder_are_listed_in_order_at_any_depth(tmp_path):
    for name in ("b/2.json", "b/1.json", "a.json", "c.txt", "d.json.gz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "folder.json").mkdir()
    found = [file.relative_to(tmp_path).as_posix() for file in list_files(str(tmp_path), (".json", ".json.gz"))]
    assert found == ["a.json", "b/1.json", "b/2.json", "d.json.gz"]
    assert list_files(str(tmp_path / "c.txt"), (".json",)) == [tmp_path / "c.txt"]


def test_what_cannot_be_read_is_named(tmp_path):
    with pytest.raises(DocumentError, match="there is no file or folder '.*nowhere'"):
        list_files(str(tmp_path / "nowhere"), (".json",))
    with pytest.raises(DocumentError, match="the folder has no .json or .xml files$"):
        list_files(str(tmp_path), (".json", ".xml"))
    (tmp_path / "a.json").write_text('{"a": ')
    with pytest.raises(DocumentError, match="a.json: this is not JSON: Expecting value: line 1"):
        read_json(tmp_path / "a.json")
