"""The `evaluate` metric gives the same scores as the function, imported or loaded from its file."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import evaluate
import pytest

from modeling_docre_ii import DocREDMetric, PredictionError, named_facts, score_facts


METRIC = Path(__file__).parents[3] / "modeling_docre_ii" / "evaluation" / "docred_metric.py"


def predictions_of(documents):
    """By document: every second fact, with its evidence, and one that is wrong."""
    return [
        [
            {"h_idx": label["h"], "t_idx": label["t"], "r": label["r"], "evidence": label["evidence"][:1]}
            for label in document["labels"][::2]
        ]
        + [{"h_idx": 0, "t_idx": 1, "r": "wrong", "evidence": []}]
        for document in documents
    ]


def flat(predictions, documents):
    return [{"title": document["title"], **fact} for facts, document in zip(predictions, documents) for fact in facts]


def test_whole_documents_score_as_with_the_function(sample_documents):
    documents, predictions = sample_documents["dev"], predictions_of(sample_documents["dev"])
    training = [named_facts(documents[:5]), named_facts(sample_documents["train"])]
    computed = DocREDMetric().compute(
        predictions=predictions, references=documents, train_facts=training[0], distant_facts=training[1]
    )
    assert computed == score_facts(flat(predictions, documents), documents, *training)
    kinds = {"", "ign_", "ign_distant_", "intra_", "inter_", "infer_", "evidence_", "correct_evidence_"}
    assert {name.removesuffix("f1") for name in computed if name.endswith("f1")} == kinds
    assert len(set(computed.values())) > 10


def test_documents_can_be_added_one_by_one(sample_documents):
    documents, predictions = sample_documents["dev"], predictions_of(sample_documents["dev"])
    metric = DocREDMetric()
    for facts, document in zip(predictions[:4], documents[:4]):
        metric.add(prediction=facts, reference=document)
    metric.add_batch(predictions=predictions[4:], references=documents[4:])
    assert metric.compute() == score_facts(flat(predictions, documents), documents)


def test_combined_metrics_take_documents(sample_documents):
    documents, predictions = sample_documents["dev"][:3], predictions_of(sample_documents["dev"])[:3]
    metric = evaluate.combine([DocREDMetric()])
    metric.add(predictions[0], documents[0])
    metric.add_batch(predictions[1:], documents[1:])
    assert metric.compute() == score_facts(flat(predictions, documents), documents)


def test_sentences_and_evidence_may_be_missing():
    document = {
        "title": "first",
        "vertexSet": [[{"name": "Paris"}, {"name": "Lutetia"}], [{"name": "France"}]],
        "labels": [{"h": 0, "t": 1, "r": "P17"}, {"h": 0, "t": 1, "r": "P131"}],
    }
    computed = DocREDMetric().compute(
        predictions=[[{"h_idx": 0, "t_idx": 1, "r": "P17"}], []],
        references=[document, {"title": "unlabelled", "vertexSet": [], "labels": None}],
        train_facts={("Lutetia", "France", "P131")},
    )
    assert computed == pytest.approx(
        {
            "f1": 200 / 3,
            "precision": 100,
            "recall": 50,
            "ign_f1": 200 / 3,
            "ign_precision": 100,
        }
    )


@pytest.mark.parametrize(
    ("fact", "message"),
    [
        ({"h_idx": 0, "t_idx": 99, "r": "P17"}, "predicted .0, 99, 'P17'., but it has"),
        ({"h_idx": 0, "r": "P17"}, "item 0: 't_idx' is None"),
        ((0, 1, "P17"), "expected a mapping with h_idx, t_idx, r, evidence"),
    ],
)
def test_what_cannot_be_scored_is_an_error(sample_documents, fact, message):
    with pytest.raises(PredictionError, match=message):
        DocREDMetric().compute(predictions=[[fact]], references=sample_documents["dev"][:1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"h_idx": -0.9}, "item 1: 'h_idx' is -0.9, expected an entity index, an integer"),
        ({"t_idx": 1.5}, "item 1: 't_idx' is 1.5"),
        ({"t_idx": "0"}, "item 1: 't_idx' is '0'"),
        ({"h_idx": False}, "item 1: 'h_idx' is False"),
        ({"evidence": [0.5]}, r"item 1: 'evidence' is \[0.5\], expected a list of sentence indices"),
    ],
)
def test_indices_are_not_rounded(sample_documents, change, message):
    fact = {"h_idx": 0, "t_idx": 1, "r": "P17"}
    with pytest.raises(PredictionError, match=message):
        DocREDMetric().compute(predictions=[[fact], [fact | change]], references=sample_documents["dev"][:2])


def test_a_reference_with_class_ids_is_named(sample_documents):
    document = {**sample_documents["dev"][0], "title": "A", "labels": [{"h": 0, "t": 1, "r": 1}]}
    with pytest.raises(PredictionError, match=r"^document 'A', label 0: 'r' is 1, expected .*ClassLabel.int2str"):
        DocREDMetric().compute(predictions=[[]], references=[document])


SCRIPT = """
import json, sys
import evaluate
metric = evaluate.load(sys.argv[1])
inputs = json.load(open("inputs.json", encoding="utf-8"))
train_facts = {tuple(fact) for fact in inputs.pop("train_facts")}
scores = metric.compute(**inputs, train_facts=train_facts)
print(json.dumps({"scores": scores, "package": "modeling_docre_ii" in sys.modules}))
"""


def test_loaded_from_its_file_elsewhere(sample_documents, tmp_path):
    """Loads a copy of its folder, in a process that does not import the package."""
    documents, predictions = sample_documents["dev"], predictions_of(sample_documents["dev"])
    train_facts = named_facts(documents[:5])
    inputs = {"predictions": predictions, "references": documents, "train_facts": sorted(train_facts)}
    (tmp_path / "inputs.json").write_text(json.dumps(inputs), encoding="utf-8")
    shutil.copytree(METRIC.parent, tmp_path / "metrics", ignore=shutil.ignore_patterns("__pycache__"))
    environment = os.environ | {"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1", "PYTHONPATH": ""}
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "metrics" / METRIC.name)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    expected = score_facts(flat(predictions, documents), documents, train_facts)
    assert json.loads(done.stdout.splitlines()[-1]) == {"scores": pytest.approx(expected), "package": False}
