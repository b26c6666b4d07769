"""The metric of CDR and GDA: with and without the filter, in the package and loaded from its file."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from modeling_docre_ii import BiomedicalMetric, PredictionError, score_facts


METRIC = Path(__file__).parents[3] / "modeling_docre_ii" / "evaluation" / "biomedical_metric.py"
KINDS = ("", "intra_", "inter_", "filtered_", "filtered_intra_", "filtered_inter_")
NAMES = {f"{kind}{score}" for kind in KINDS for score in ("f1", "precision", "recall")}


def mentions(name, *sentences):
    return [{"name": name, "sent_id": sentence} for sentence in sentences]


# Lithium induces tremor, named in the same sentence, and arrhythmia, named in another; disease is a hypernym of both.
LITHIUM = {
    "title": "1",
    "vertexSet": [mentions("lithium", 0, 2), mentions("tremor", 0), mentions("arrhythmia", 1), mentions("disease", 2)],
    "labels": [{"h": 0, "t": 1, "r": "CID"}, {"h": 0, "t": 2, "r": "CID"}],
    "uncounted": [{"h": 0, "t": 3}],
}
ASPIRIN = {"title": "2", "vertexSet": [mentions("aspirin", 0), mentions("ulcer", 1)], "labels": [], "uncounted": []}


def facts(*pairs):
    return [{"h_idx": head, "t_idx": tail, "r": "CID"} for head, tail in pairs]


PREDICTIONS = [facts((0, 1), (0, 3)), facts((0, 1))]
# 3 predictions, 1 of 2 facts. Intra: 2, 1 of 1. Inter: the one on aspirin, 0 of 1. The filter takes (0, 3).
EXPECTED = {
    "": (100 / 3, 50, 40),
    "intra_": (50, 100, 200 / 3),
    "inter_": (0, 0, 0),
    "filtered_": (50, 50, 50),
    "filtered_intra_": (100, 100, 100),
    "filtered_inter_": (0, 0, 0),
}
EXPECTED = {
    f"{kind}{score}": value
    for kind, values in EXPECTED.items()
    for score, value in zip(("precision", "recall", "f1"), values)
}


def test_scores_by_hand():
    computed = BiomedicalMetric().compute(predictions=PREDICTIONS, references=[LITHIUM, ASPIRIN])
    assert computed == pytest.approx(EXPECTED)


def test_without_a_filter_both_are_the_same():
    references = [
        {name: value for name, value in document.items() if name != "uncounted"} for document in (LITHIUM, ASPIRIN)
    ]
    computed = BiomedicalMetric().compute(predictions=PREDICTIONS, references=references)
    plain = {name: value for name, value in EXPECTED.items() if not name.startswith("filtered")}
    assert computed == pytest.approx(plain | {f"filtered_{name}": value for name, value in plain.items()})


def test_whole_documents_score_as_with_the_function(sample_documents):
    """DocRED's documents have evidence and chains of facts, which biomedical corpora do not score."""
    documents = [document | {"uncounted": [{"h": 0, "t": 1}]} for document in sample_documents["dev"]]
    predictions = [
        [
            {"h_idx": label["h"], "t_idx": label["t"], "r": label["r"], "evidence": [0]}
            for label in document["labels"][::2]
        ]
        for document in documents
    ]
    flat = [{"title": document["title"], **item} for items, document in zip(predictions, documents) for item in items]
    scores = score_facts(flat, documents)
    assert {"infer_f1", "evidence_f1"} <= set(scores) - NAMES
    computed = BiomedicalMetric().compute(predictions=predictions, references=documents)
    assert computed == {name: scores[name] for name in NAMES}
    assert computed["filtered_f1"] != computed["f1"]


def test_an_unknown_entity_is_an_error():
    with pytest.raises(PredictionError, match="document '2': predicted .0, 2, 'CID'., but it has 2 entities"):
        BiomedicalMetric().compute(predictions=[facts((0, 2))], references=[ASPIRIN])


SCRIPT = """
import json, sys
import evaluate
metric = evaluate.load(sys.argv[1])
inputs = json.load(open("inputs.json", encoding="utf-8"))
print(json.dumps({"scores": metric.compute(**inputs), "package": "modeling_docre_ii" in sys.modules}))
"""


def test_loaded_from_its_file_elsewhere(tmp_path):
    """Loads a copy of its folder, in a process that does not import the package."""
    inputs = {"predictions": PREDICTIONS, "references": [LITHIUM, ASPIRIN]}
    (tmp_path / "inputs.json").write_text(json.dumps(inputs), encoding="utf-8")
    shutil.copytree(METRIC.parent, tmp_path / "metrics", ignore=shutil.ignore_patterns("__pycache__"))
    environment = os.environ | {"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1", "PYTHONPATH": ""}
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "metrics" / METRIC.name)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {"scores": pytest.approx(EXPECTED), "package": False}
