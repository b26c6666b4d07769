"""A run that predicts documents in the folder of an earlier one."""

import json

import pytest

import run_docre
from modeling_docre_ii import DocREIIProcessor
from tests.hub_model import sample_documents, save_checkpoint


@pytest.fixture
def predict(tmp_path):
    """Predicts documents into one folder, and returns the folder."""
    checkpoint, relations = save_checkpoint(tmp_path / "checkpoint"), tmp_path / "relations.json"
    known = DocREIIProcessor.from_pretrained(checkpoint).relations[1:]
    relations.write_text(json.dumps({name: name for name in known}), encoding="utf-8")

    def run(documents):
        (tmp_path / "test.json").write_text(json.dumps(documents), encoding="utf-8")
        given = {
            "model_name_or_path": checkpoint,
            "relations_file": relations,
            "test_file": tmp_path / "test.json",
            "output_dir": tmp_path / "out",
            "do_predict": "true",
            "report_to": "none",
        }
        run_docre.main([word for name, value in given.items() for word in (f"--{name}", str(value))])
        return tmp_path / "out"

    return run


def test_scores_of_other_documents_do_not_stay_beside_new_predictions(predict):
    documents = sample_documents(3)
    folder = predict(documents[:2])
    assert "predict_f1" in json.loads((folder / "all_results.json").read_text(encoding="utf-8"))

    predict([{name: value for name, value in documents[2].items() if name != "labels"}])
    (prediction,) = json.loads((folder / "predictions.json").read_text(encoding="utf-8"))
    assert prediction["title"] == documents[2]["title"]
    assert json.loads((folder / "all_results.json").read_text(encoding="utf-8")) == {}
    assert not {"predict_results.json", "test_predictions.npz"} & {path.name for path in folder.iterdir()}
