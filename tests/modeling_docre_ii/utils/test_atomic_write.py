import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from modeling_docre_ii.utils.atomic_write import FileWriteError, atomic_folder, atomic_write


ROOT = Path(__file__).parents[3]


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


def test_a_folder_appears_with_all_its_files_and_replaces_the_old_one(tmp_path):
    path = tmp_path / "new" / "folder"
    for content in ("first", "second"):
        with atomic_folder(path) as partial:
            (partial / content).write_text(content)
            assert not path.exists() or os.listdir(path) == ["first"]

        assert os.listdir(path) == [content]
    assert os.listdir(path.parent) == ["folder"]


def test_a_link_to_a_folder_stays_a_link(tmp_path, monkeypatch):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with atomic_folder(tmp_path / "link") as partial:
        (partial / "file").write_text("new")
    monkeypatch.chdir(tmp_path / "real")
    with atomic_folder(".") as partial:
        (partial / "file").write_text("newer")

    assert sorted(os.listdir(tmp_path)) == ["link", "real"] and (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "file").read_text() == "newer"


@pytest.mark.parametrize("was_there", [False, True])
def test_an_error_leaves_the_folder_that_was_there(tmp_path, was_there):
    if was_there:
        (tmp_path / "folder").mkdir()
    with (
        pytest.raises(FileWriteError, match="folder cannot be written: "),
        atomic_folder(tmp_path / "folder") as partial,
    ):
        (partial / "half").write_text("half")
        raise OSError(28, "No space left on device")

    assert [list(os.walk(path)) for path in tmp_path.iterdir()] == [[(str(tmp_path / "folder"), [], [])]] * was_there


FULL = """
import resource, signal, sys

from modeling_docre_ii.utils.atomic_write import atomic_write

# As with a quota: the operating system refuses to let a file grow.
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
try:
    with atomic_write(sys.argv[1]) as partial:
        partial.write_text("more than ten bytes")
except OSError as error:
    print(error.errno, error)
"""


def test_file_that_cannot_grow_is_named_and_the_old_one_stays(tmp_path):
    path = tmp_path / "result.json"
    path.write_text("old")
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(path)], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == f"{errno.EFBIG} {path} cannot be written: File too large\n", done.stderr
    assert os.listdir(tmp_path) == ["result.json"] and path.read_text() == "old"


def test_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FileWriteError, match=f"^{tmp_path}/file/result.json cannot be written: "):
        with atomic_write(tmp_path / "file" / "result.json") as partial:
            partial.write_text("[]")


@pytest.mark.parametrize(("number", "advice"), [(errno.ENOSPC, "free space"), (errno.EROFS, "may write to")])
def test_error_says_what_to_do(number, advice):
    error = FileWriteError("a/b.json", OSError(number, "what a library says"))
    assert str(error).startswith(f"a/b.json cannot be written: {os.strerror(number)} (") and advice in str(error)
    assert error.errno == number
