"""What stays off the Hub when an output folder is pushed."""

from pathlib import Path

import pytest

from modeling_docre_ii.hub.excluded_files import keep_off_the_hub
from tests.hub_repository import is_ignored


def test_what_is_beside_the_model_stays_off_the_hub(tmp_path):
    (tmp_path / ".gitignore").write_text("mine\n/stage_1/\n", encoding="utf-8")
    for _ in range(2):
        keep_off_the_hub(tmp_path)
    lines = (tmp_path / ".gitignore").read_text(encoding="utf-8").splitlines()
    written = [
        "report.html",
        "report_test.html",
        "predictions.json",
        "validation_predictions.npz",
        "test_predictions.npz",
        "result.json",
        "result.zip",
        "run.json",
        "checkpoint_files.json",
        "unfinished_checkpoint/",
        ".docre_ii.lock",
    ]
    assert lines == ["mine", "/stage_1/", *(f"/{name}" for name in written)]


@pytest.mark.parametrize(
    ("triples_dir", "found"),
    [
        ("out/triples", "triples/"),
        ("out/made/of/test", "made/of/test/"),
        ("out", ""),
        ("out/../out/triples", "triples/"),
        ("triples", None),
        ("out of here", None),
    ],
)
def test_triples_beside_the_model_stay_off_the_hub(tmp_path, monkeypatch, triples_dir, found):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        keep_off_the_hub(Path("out"), triples_dir)
    gitignore = (tmp_path / "out" / ".gitignore").read_text(encoding="utf-8")
    lines = [line for line in gitignore.splitlines() if "triples" in line]
    assert lines == ([] if found is None else [f"/{found}triples-*.parquet*", f"/{found}.triples-*"])
    for name in (
        "triples-00000-of-00004.parquet",
        "triples-00001-of-00004.parquet.1f2e.partial",
        ".triples-precision-1f2e.json",
    ):
        assert is_ignored(f"{found or ''}{name}", gitignore) == (found is not None)
    for name in ("model.safetensors", "modeling_docre_ii.py", "README.md"):
        assert not is_ignored(name, gitignore)


@pytest.mark.parametrize("name", ["triples[1]", "a*b", "what?", "back\\slash", ".hidden"])
def test_a_folder_of_triples_is_no_pattern(tmp_path, name):
    keep_off_the_hub(tmp_path, str(tmp_path / name))
    gitignore = (tmp_path / ".gitignore").read_text(encoding="utf-8")
    lines = [line for line in gitignore.splitlines() if "triples-" in line]
    escaped = "".join(f"\\{character}" if character in "[]*?\\" else character for character in name)
    assert lines == [f"/{escaped}/triples-*.parquet*", f"/{escaped}/.triples-*"]
