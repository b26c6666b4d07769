"""Checkpoints of an earlier version, rewritten: settings and code move, weights and all else stay."""

import hashlib
import json
import shutil

import pytest
import torch

from modeling_docre_ii import DocREIIForRelationExtraction, DocREIIProcessor
from modeling_docre_ii.cli.convert import convert_checkpoint, main
from tests.hub_model import make_model, make_processor, sample_documents


CARD = """---
license: mit
---
```python
    outputs = model(**processor(document, return_tensors="pt"))
most = model.config.max_labels_per_pair
print(processor.post_process_relation_extraction(outputs, document, most)[0])
```
| `max_labels_per_pair` | 2 |
"""


@pytest.fixture(scope="module")
def model_and_processor():
    processor = make_processor(sample_documents(6))
    return make_model(processor), processor


@pytest.fixture
def old(model_and_processor, tmp_path):
    """A checkpoint as version 0.1.0.dev0 saved it, with one of its Trainer inside."""
    folder = tmp_path / "old"
    for part in model_and_processor:
        part.save_pretrained(folder)
    edit(
        folder / "config.json",
        {"max_labels_per_pair": 2, "pad_token_id": 0, "bos_token_id": None, "eos_token_id": None},
    )
    processor = json.loads((folder / "processor_config.json").read_text(encoding="utf-8"))
    processor.pop("max_labels_per_pair", None)
    (folder / "processor_config.json").write_text(json.dumps(processor), encoding="utf-8")
    # A module that is gone, which the code of the checkpoint imports, and one that never belonged to it.
    with open(folder / "modeling_docre_ii.py", "a", encoding="utf-8") as code:
        code.write("\nfrom .facts import predicted_facts\n")
    (folder / "facts.py").write_text("def predicted_facts():\n    pass\n", encoding="utf-8")
    (folder / "mine.py").write_text("x = 1\n", encoding="utf-8")
    (folder / "requirements.txt").unlink()
    (folder / "README.md").write_text(CARD, encoding="utf-8")
    (folder / ".gitignore").write_text("/stage_1/\n", encoding="utf-8")
    shutil.copytree(folder, folder / "checkpoint-7")
    (folder / "checkpoint-7" / "optimizer.pt").write_bytes(b"state")
    return folder


def edit(path, changes):
    content = json.loads(path.read_text(encoding="utf-8")) | changes
    path.write_text(json.dumps(content), encoding="utf-8")


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def digests(folder):
    """The content of every file, by its path."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("inside", [".", "checkpoint-7"])
def test_settings_move_to_the_processor(old, tmp_path, inside):
    convert_checkpoint(old, tmp_path / "new")
    config, processor = (read(tmp_path / "new" / inside / f"{name}.json") for name in ("config", "processor_config"))
    before = read(old / inside / "config.json")
    gone = {"max_labels_per_pair", "pad_token_id", "bos_token_id", "eos_token_id"}
    assert config == {name: value for name, value in before.items() if name not in gone}
    assert config["encoder_config"]["pad_token_id"] == before["encoder_config"]["pad_token_id"]
    assert list(config["id2label"]) == list(before["id2label"]), "the order of the classes"
    assert processor == read(old / inside / "processor_config.json") | {"max_labels_per_pair": 2}


def test_weights_and_all_other_files_are_copied(old, tmp_path):
    before = digests(old)
    convert_checkpoint(old, tmp_path / "new")
    assert digests(old) == before, "the old checkpoint was changed"
    after = digests(tmp_path / "new")
    for folder in ("", "checkpoint-7/"):
        for name in ("model.safetensors", "tokenizer.json", "tokenizer_config.json", ".gitignore", "mine.py"):
            assert after[folder + name] == before[folder + name]
    assert after["checkpoint-7/optimizer.pt"] == before["checkpoint-7/optimizer.pt"]
    assert [path.name for path in tmp_path.iterdir() if path.name not in ("old", "new")] == []


def test_code_is_that_of_this_version(old, model_and_processor, tmp_path):
    convert_checkpoint(old, tmp_path / "new")
    for part in model_and_processor:
        part.save_pretrained(tmp_path / "saved")
    code = {path.name: path.read_bytes() for path in (tmp_path / "saved").glob("*.py")}
    assert len(code) > 10
    for folder in (tmp_path / "new", tmp_path / "new" / "checkpoint-7"):
        assert {path.name: path.read_bytes() for path in folder.glob("*.py")} == code | {"mine.py": b"x = 1\n"}
        assert (folder / "requirements.txt").read_bytes() == (tmp_path / "saved" / "requirements.txt").read_bytes()


def test_converted_model_and_processor_are_what_they_were(old, model_and_processor, tmp_path):
    convert_checkpoint(old, tmp_path / "new")
    model, processor = model_and_processor
    converted = DocREIIForRelationExtraction.from_pretrained(tmp_path / "new").eval()
    inputs = processor(sample_documents(2), return_tensors="pt")
    with torch.no_grad():
        assert torch.equal(converted(**inputs).logits, model.eval()(**inputs).logits)
    assert DocREIIProcessor.from_pretrained(tmp_path / "new").max_labels_per_pair == 2


def test_code_in_the_model_card_is_that_of_this_version(old, tmp_path):
    convert_checkpoint(old, tmp_path / "new")
    card = (tmp_path / "new" / "README.md").read_text(encoding="utf-8")
    assert card.splitlines()[4:6] == [
        '    outputs = model(**processor(document, return_tensors="pt"))',
        "print(processor.post_process_relation_extraction(outputs, document)[0])",
    ]
    assert card.endswith("| `max_labels_per_pair` | 2 |\n") and card.startswith("---\nlicense: mit\n---\n")


def test_checkpoint_of_this_version_stays_as_it_is(old, tmp_path):
    convert_checkpoint(old, tmp_path / "new")
    lines = convert_checkpoint(tmp_path / "new", tmp_path / "again")
    assert digests(tmp_path / "again") == digests(tmp_path / "new")
    assert all(line.endswith(": code replaced") for line in lines)


def test_checkpoint_without_code_gets_none(old, tmp_path):
    for path in old.rglob("*.py"):
        path.unlink()
    convert_checkpoint(old, tmp_path / "new")
    assert not list((tmp_path / "new").rglob("*.py"))
    assert read(tmp_path / "new" / "processor_config.json")["max_labels_per_pair"] == 2


def test_command_says_what_it_did(old, tmp_path, capsys):
    (tmp_path / "new").mkdir()
    main([str(old), str(tmp_path / "new")])
    changes = (
        "`max_labels_per_pair` moved to the processor, `pad_token_id` removed, `bos_token_id` removed, "
        "`eos_token_id` removed, code replaced"
    )
    assert sorted(capsys.readouterr().out.splitlines()) == sorted(
        [f"{tmp_path / 'new'}: {changes}", f"{tmp_path / 'new' / 'checkpoint-7'}: {changes}"]
    )


def remove_processor(old):
    (old / "checkpoint-7" / "processor_config.json").unlink()


def break_config(old):
    (old / "config.json").write_text("{", encoding="utf-8")


def change_type(old):
    edit(old / "config.json", {"model_type": "bert"})


@pytest.mark.parametrize(
    ("change", "target", "message"),
    [
        (remove_processor, "new", "checkpoint-7 has no processor_config.json, where 'max_labels_per_pair' belongs"),
        (break_config, "new", "config.json is not JSON"),
        (change_type, "new", "old is not the folder of a DocRE-II checkpoint"),
        (shutil.rmtree, "new", "old is not the folder of a DocRE-II checkpoint"),
        (None, "old/new", "old/new is inside .*old: name a folder elsewhere"),
        (None, "full", "full is not empty: name a new folder"),
        (None, "file", "file is not empty: name a new folder"),
    ],
)
def test_what_cannot_be_converted_is_one_clear_error(old, tmp_path, change, target, message):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").write_text("a", encoding="utf-8")
    (tmp_path / "file").write_text("a", encoding="utf-8")
    if change is not None:
        change(old)
    before = digests(tmp_path)
    with pytest.raises(SystemExit, match=f"^docre-ii convert: .*{message}"):
        main([str(old), str(tmp_path / target)])
    assert digests(tmp_path) == before, "something was left behind"
