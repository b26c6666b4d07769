"""Disks that are full and folders that cannot be written: one line that names the folder, and nothing lost."""

import shutil
import subprocess
from functools import partial

import pytest

from tests.private_mount import READ_ONLY, SMALL_DISK, PrivateMount
from tests.small_runs import contents, make_command, run, save_encoder


pytestmark = pytest.mark.slow
LAST = "--resume_from_checkpoint=last"
PREDICT = ("--do_train=false", "--do_eval=false", "--do_predict=true")


@pytest.fixture(scope="module")
def command(sample_documents, tmp_path_factory):
    encoder, cache = tmp_path_factory.mktemp("encoder"), tmp_path_factory.mktemp("cache")
    save_encoder(encoder, sample_documents["train"])
    return partial(make_command, encoder, cache)


@pytest.fixture(scope="module")
def whole(command, tmp_path_factory):
    """A run that had all the space it wanted."""
    folder = tmp_path_factory.mktemp("whole")
    run(command(folder, "steps"))
    return folder


@pytest.fixture
def mounted(tmp_path):
    """Makes mounts that end with the test."""
    mounts = []

    def mount(name, kind):
        mounts.append(PrivateMount(tmp_path / name, kind))
        return mounts[-1]

    yield mount
    for each in mounts:
        each.close()


def error_of(command):
    """The one line that a command ends with."""
    done = subprocess.run(**command, capture_output=True)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr, done.stderr[-3000:]
    line = done.stderr.strip().splitlines()[-1]
    assert line.startswith("run_docre.py: ")
    return line


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.9])
def test_training_on_a_full_disk_names_the_folder_and_resumes_when_there_is_space(
    command, whole, mounted, tmp_path, share
):
    disk = mounted("disk", SMALL_DISK)
    needed = sum(path.stat().st_size for path in whole.rglob("*") if path.is_file())
    disk.fill(free=int(share * needed))
    line = error_of(disk.enter(command(tmp_path / "disk", "steps")))
    assert str(tmp_path / "disk") in line
    # torch's own error does not say that the disk is full.
    assert "No space left on device" in line or "MiB are free on that disk)" in line

    disk.make_space()
    checkpoints = list(disk.content.glob("**/checkpoint-*"))
    assert checkpoints or share < 0.3
    run(disk.enter(command(tmp_path / "disk", "steps", *([LAST] if checkpoints else []))))
    assert contents(disk.content) == contents(whole)


def test_predictions_on_a_full_disk_are_named_and_the_old_ones_stay(command, whole, mounted, tmp_path):
    disk = mounted("disk", SMALL_DISK)
    predict = disk.enter(command(tmp_path / "disk", "steps", *PREDICT, f"--model_name_or_path={whole}"))
    for name in ("predictions.json", "result.json"):
        (disk.content / name).write_text("old")
    disk.fill(free=8192)
    line = error_of(predict)
    assert f"{tmp_path / 'disk'}/" in line and "No space left on device (free space on that disk" in line
    assert (disk.content / "predictions.json").read_text() == (disk.content / "result.json").read_text() == "old"

    disk.make_space()
    run(predict)
    for name in ("predictions.json", "result.json"):
        assert (disk.content / name).read_bytes() == (whole / name).read_bytes()


def test_extraction_on_a_full_disk_keeps_the_files_it_has_written(command, whole, mounted, tmp_path):
    disk = mounted("disk", SMALL_DISK)
    arguments = (*PREDICT, f"--model_name_or_path={whole}", "--documents_per_shard=1")
    run(command(tmp_path / "out", "steps", *arguments, f"--triples_dir={tmp_path / 'whole'}"))
    expected = {path.name: path.read_bytes() for path in (tmp_path / "whole").glob("*.parquet")}
    assert len(expected) == 4

    extract = disk.enter(command(tmp_path / "out", "steps", *arguments, f"--triples_dir={tmp_path / 'disk'}"))
    disk.fill(free=int(sum(map(len, expected.values())) * 0.6))
    line = error_of(extract)
    assert f"{tmp_path / 'disk'}/triples-0000" in line and "No space left on device" in line
    written = {path.name: path.read_bytes() for path in disk.content.glob("*.parquet*")}
    assert 0 < len(written) < 4 and written.items() <= expected.items()

    disk.make_space()
    run(extract)
    assert {path.name: path.read_bytes() for path in disk.content.glob("*.parquet*")} == expected


@pytest.mark.parametrize("kind", ["training", "predictions", "triples"])
def test_read_only_folder_is_named_before_any_work(command, whole, mounted, tmp_path, kind):
    shutil.copytree(whole, tmp_path / "locked")
    mount = mounted("locked", READ_ONLY)
    locked, arguments = tmp_path / "locked", [*PREDICT, f"--model_name_or_path={whole}"]
    if kind == "triples":
        line = error_of(mount.enter(command(tmp_path / "out", "steps", *arguments, f"--triples_dir={locked}")))
    elif kind == "predictions":
        line = error_of(mount.enter(command(locked, "steps", *arguments)))
    else:
        line = error_of(mount.enter(command(locked, "steps", "--overwrite_output_dir=true")))
    assert str(locked) in line and "Read-only file system" in line
    assert contents(locked) == contents(whole)
