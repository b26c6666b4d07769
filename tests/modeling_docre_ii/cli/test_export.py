"""`docre-ii export`: the mention model goes with the model, and no checkpoint is overwritten."""

import json

import pytest

from modeling_docre_ii.cli import main
from tests.hub_model import save_checkpoint
from tests.tagger import save_tagger


TEXT = "Ada Lovelace was born in London. Charles Babbage was English."


@pytest.fixture
def checkpoint(tmp_path):
    save_tagger(tmp_path / "checkpoint" / "mention_model")
    return save_checkpoint(tmp_path / "checkpoint")


def extract(model, folder, *arguments):
    """Returns what the command finds in the text."""
    (folder / "text.txt").write_text(TEXT, encoding="utf-8")
    output = folder / "triples.jsonl"
    main(["extract", str(folder / "text.txt"), "--model", str(model), "--output", str(output), *arguments])
    return json.loads(output.read_text(encoding="utf-8"))


@pytest.mark.slow
def test_an_exported_model_finds_entities_as_its_checkpoint_does(checkpoint, tmp_path):
    exported = tmp_path / "exported"
    main(["export", "--checkpoint", checkpoint, "--output_dir", str(exported)])
    expected = extract(checkpoint, tmp_path)
    assert [entity["type"] for entity in expected["entities"]] == ["PER", "LOC", "PER", "LOC"]
    for backend in ("onnx", "openvino"):
        assert extract(exported, tmp_path, "--backend", backend)["entities"] == expected["entities"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "`output_dir` is '', expected a folder"),
        ("mine.txt", "`output_dir` is '.*mine.txt', expected a folder"),
        ("mine", "`output_dir`: '.*mine' holds other files, and no exported model: choose an empty folder"),
    ],
)
def test_files_of_others_are_not_replaced(checkpoint, tmp_path, name, message):
    mine = [tmp_path / "mine.txt", tmp_path / "mine" / "mention_model" / "mine.txt"]
    for path in mine:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    with pytest.raises(SystemExit, match=message):
        main(["export", "--checkpoint", checkpoint, "--output_dir", name and str(tmp_path / name)])
    assert [path.read_text() for path in mine] == ["mine", "mine"]


def test_a_checkpoint_is_not_replaced_by_its_export(checkpoint, tmp_path):
    files = {path: path.read_bytes() for path in (tmp_path / "checkpoint").rglob("*") if path.is_file()}
    with pytest.raises(SystemExit, match="`output_dir`: .*checkpoint' holds a checkpoint, whose configuration and"):
        main(["export", "--checkpoint", checkpoint, "--output_dir", checkpoint])
    assert {path: path.read_bytes() for path in (tmp_path / "checkpoint").rglob("*") if path.is_file()} == files


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["--train_file", __file__, "--max_train_documents", "5"], "train_file"),
        (["--data_dir", "."], "data_dir"),
        (["--max_train_documents", "5"], "max_train_documents"),
    ],
)
def test_a_corpus_without_int8_is_refused(checkpoint, tmp_path, arguments, name):
    with pytest.raises(SystemExit, match=f"`{name}` calibrates the encoder in int8: add `--int8`"):
        main(["export", "--checkpoint", checkpoint, "--output_dir", str(tmp_path / "exported"), *arguments])
    assert not (tmp_path / "exported").exists()
