"""The record of a run: which output folders a run may write to, and which differences it names."""

import json
from types import SimpleNamespace

import pytest

from modeling_docre_ii.cli.parsing import parse_arguments
from modeling_docre_ii.cli.run_record import RECORD_FILE, RunRecord, open_run


RESUMED = ["--resume_from_checkpoint", "last"]
DOCUMENTS = '[{"title": "a", "text": "", "entities": []}]'


@pytest.fixture
def open_with(tmp_path):
    """Opens the run of a command line, on two files of documents, in the folder `out`."""
    for name in ("train", "dev"):
        (tmp_path / f"{name}.json").write_text(DOCUMENTS)
    files = ["--train_file", str(tmp_path / "train.json"), "--validation_file", str(tmp_path / "dev.json")]

    def open_run_with(*arguments):
        return open_run(parse_arguments(["--output_dir", str(tmp_path / "out"), *files, *arguments]), corpus=None)

    return open_run_with


def begin(tmp_path, name="stage_1/checkpoint-5"):
    """Writes what a run leaves that was stopped."""
    folder = tmp_path / "out" / name
    folder.mkdir(parents=True)
    (folder / "trainer_state.json").write_text("{}")


def test_new_run_leaves_its_record(open_with, tmp_path):
    record = open_with("--seed", "7")

    assert record == RunRecord.read(tmp_path / "out")
    assert record.identity["seed"] == 7
    assert not record.is_finished and record.finished_stages == []


@pytest.mark.parametrize(
    ("arguments", "difference"),
    [
        (["--seed", "1"], "`seed` is 42 there and 1 here"),
        (["--learning_rate", "0.5"], "`learning_rate` is 0.0001 there and 0.5 here"),
        (["--stage_2", '{"num_train_epochs": 9}'], "`stage_2.num_train_epochs` is null there and 9.0 here"),
        (["--model_kwargs", '{"pair_dropout": 0.3}'], "`model_kwargs` is {} there and"),
        (["--max_train_documents", "3"], "`max_train_documents` is null there and 3 here"),
        (["--model_name_or_path", "org/other"], "`model_name_or_path` "),
        (["--stages", "1"], "`stages` is [1, 2] there and [1] here"),
    ],
)
def test_folder_of_another_run_is_refused_by_what_differs(open_with, tmp_path, arguments, difference):
    open_with()
    begin(tmp_path)
    with pytest.raises(ValueError) as error:
        open_with(*arguments)
    assert f"{str(tmp_path / 'out')!r} holds another run: " in str(error.value)
    assert difference in str(error.value)
    assert "`--overwrite_output_dir true`" in str(error.value)


def test_other_documents_in_a_file_of_the_same_name_are_another_run(open_with, tmp_path):
    open_with()
    begin(tmp_path)
    (tmp_path / "train.json").write_text(DOCUMENTS + " ")
    with pytest.raises(ValueError, match="`train_file` \\(a file or folder with other contents\\)"):
        open_with()


def test_same_documents_in_another_file_are_the_same_run(open_with, tmp_path):
    begun = open_with()
    begin(tmp_path)
    (tmp_path / "copy.json").write_text(DOCUMENTS)
    assert open_with("--train_file", str(tmp_path / "copy.json"), *RESUMED) == begun


def test_record_of_a_run_that_left_nothing_else_is_replaced(open_with, tmp_path):
    open_with()
    assert open_with("--seed", "1") == RunRecord.read(tmp_path / "out")
    with pytest.raises(ValueError, match="`resume_from_checkpoint`: this run has not begun in"):
        open_with("--seed", "2", *RESUMED)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--logging_steps", "3"],
        ["--push_to_hub", "true"],
        ["--do_predict", "true"],
        ["--save_total_limit", "1"],
        ["--per_device_eval_batch_size", "1"],
        ["--model_kwargs", '{"contrastive_loss_weight": 1.0}'],  # the default
    ],
)
def test_arguments_that_do_not_change_what_is_learned_do_not_matter(open_with, tmp_path, arguments):
    begun = open_with()
    begin(tmp_path)
    assert open_with(*arguments, *RESUMED) == begun


def test_mention_model_of_an_unfinished_run_can_be_changed(open_with, tmp_path):
    """It is trained last, so that a mistake in its arguments shows when everything else is finished."""
    open_with("--mention_model", '{"learning_rate": 1e9}').finish_stage(1, str(tmp_path), str(tmp_path / "out"))
    begin(tmp_path)
    for changed in (None, {"num_train_epochs": 2}):
        record = open_with("--mention_model", json.dumps(changed), *RESUMED)
        assert (record.finished_stages, record.identity["mention_model"]) == ([1], changed)
        record.write(tmp_path / "out")

    record.finish(tmp_path / "out")
    with pytest.raises(ValueError, match="`mention_model` is .*num_train_epochs.* there and null here"):
        open_with("--mention_model", "null")


def test_unfinished_run_is_continued_only_if_this_is_asked_for(open_with, tmp_path):
    begun = open_with()
    open_with()  # nothing is saved that could be lost
    begin(tmp_path)
    with pytest.raises(ValueError, match="holds this run, unfinished: add `--resume_from_checkpoint last`"):
        open_with()
    assert open_with(*RESUMED) == begun


def test_finished_run_is_known_as_such(open_with, tmp_path):
    open_with().finish(tmp_path / "out")
    begin(tmp_path)
    assert open_with().is_finished
    assert open_with(*RESUMED).is_finished


def test_finished_run_whose_files_were_deleted_starts_again(open_with, tmp_path):
    open_with().finish(tmp_path / "out")
    assert not open_with().is_finished
    assert not RunRecord.read(tmp_path / "out").is_finished


def test_there_is_nothing_to_resume(open_with):
    with pytest.raises(ValueError, match="`resume_from_checkpoint`: this run has not begun in"):
        open_with(*RESUMED)


@pytest.mark.parametrize("record", [None, "", "{", "[]", '{"identity": {}, "unknown": 1}'])
def test_training_without_a_readable_record_is_refused(open_with, tmp_path, record):
    begin(tmp_path)
    if record is not None:
        (tmp_path / "out" / RECORD_FILE).write_text(record)
    for arguments in ([], RESUMED):
        with pytest.raises(ValueError, match=f"holds a training that no readable {RECORD_FILE} describes"):
            open_with(*arguments)


def test_overwriting_does_not_remove_the_model_that_the_run_starts_from(open_with, tmp_path):
    open_with()
    begin(tmp_path)
    for start in ("out", "out/stage_1"):
        with pytest.raises(ValueError, match="which holds the `model_name_or_path`"):
            open_with("--overwrite_output_dir", "true", "--model_name_or_path", str(tmp_path / start))
    assert (tmp_path / "out" / "stage_1" / "checkpoint-5").exists()


def test_overwriting_does_not_remove_the_documents_of_the_run(open_with, tmp_path):
    open_with()
    begin(tmp_path)
    path = tmp_path / "out" / "stage_1" / "train.json"
    path.write_text(DOCUMENTS)
    with pytest.raises(ValueError, match=f"`overwrite_output_dir` removes '{path}', the `train_file`"):
        open_with("--overwrite_output_dir", "true", "--train_file", str(path))
    assert path.exists()


def test_files_of_others_do_not_make_a_training(open_with, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "teacher.safetensors").write_bytes(b"predictions")
    open_with()


def test_a_folder_of_documents_may_hold_the_run_and_other_files(tmp_path):
    """Only the files that are read make the run another one."""
    read = tmp_path / "CDR_TrainingSet.PubTator.txt"
    read.write_text("documents")
    corpus = SimpleNamespace(files=(str(read),))

    def open_again(*more):
        folders = ["--data_dir", str(tmp_path), "--output_dir", str(tmp_path / "out")]
        return open_run(parse_arguments(["--dataset_name", "cdr", *folders, *more]), corpus)

    open_again()
    begin(tmp_path)
    (tmp_path / "readme.txt").write_text("new")
    record = open_again(*RESUMED)
    assert list(record.identity["data_dir"]) == [read.name]
    read.write_text("other documents")
    with pytest.raises(ValueError, match="holds another run: `data_dir`"):
        open_again(*RESUMED)


def test_overwriting_removes_the_training_and_nothing_else(open_with, tmp_path):
    open_with()
    begin(tmp_path)
    begin(tmp_path, "checkpoint-7")
    (tmp_path / "out" / "model.safetensors").write_bytes(b"weights")
    for name in ("notes.txt", "teacher.safetensors", "mention_model_notes.txt"):
        (tmp_path / "out" / name).write_text("mine")
    for name in ("all_results.json", "predictions.json", "result.zip", "report_test.html", "test_predictions.npz"):
        (tmp_path / "out" / name).write_text("of the old run")

    record = open_with("--seed", "1", "--overwrite_output_dir", "true")
    mine = {"notes.txt", "teacher.safetensors", "mention_model_notes.txt"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {RECORD_FILE, *mine}
    assert json.loads((tmp_path / "out" / RECORD_FILE).read_text())["identity"]["seed"] == 1
    assert record.identity["seed"] == 1

    with pytest.raises(ValueError, match="`overwrite_output_dir` removes the checkpoints that"):
        open_with("--overwrite_output_dir", "true", *RESUMED)
