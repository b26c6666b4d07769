import os

import pytest

from modeling_docre_ii.utils.atomic_write import atomic_write


def test_file_is_there_when_it_is_whole_and_not_before(tmp_path):
    path = tmp_path / "new" / "result.json"
    with atomic_write(path) as partial:
        partial.write_text("[1]")
        assert not path.exists()

    assert path.read_text() == "[1]"
    assert os.listdir(path.parent) == ["result.json"]


@pytest.mark.parametrize("was_there", [False, True])
def test_error_leaves_what_was_there(tmp_path, was_there):
    path = tmp_path / "result.json"
    if was_there:
        path.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_write(path) as partial:
        partial.write_text("half")
        raise KeyboardInterrupt

    assert os.listdir(tmp_path) == (["result.json"] if was_there else [])
    assert not was_there or path.read_text() == "old"
