"""The metric of extraction from raw text gives the same scores as the function, imported or loaded from its file."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from modeling_docre_ii.evaluation.mention_metric import MentionMetric, PredictionError
from modeling_docre_ii.evaluation.mention_scores import score_extractions
from modeling_docre_ii.evaluation.plain_texts import plain_text_of


def spaced_text_of(document):
    """The tokens with spaces between them."""
    return plain_text_of(document, spaced=True)


METRIC = Path(__file__).parents[3] / "modeling_docre_ii" / "evaluation" / "mention_metric.py"


def found_in(document):
    """All entities but the last, the first of which is a person, and the facts between them."""
    plain = spaced_text_of(document)
    plain["entities"][0]["type"] = "PER"
    arguments = [
        {"name": "a name", "mentions": [{"start": start, "end": end} for start, end in entity["mentions"]]}
        for entity in plain["entities"]
    ]
    last = len(arguments) - 1
    triples = [
        {"head": arguments[label["h"]], "relation": label["r"], "tail": arguments[label["t"]], "evidence": []}
        for label in plain["labels"]
        if last not in (label["h"], label["t"])
    ]
    return {"title": plain["title"], "text": plain["text"], "entities": plain["entities"][:-1], "triples": triples}


@pytest.mark.parametrize("form", [dict, spaced_text_of])
def test_whole_documents_score_as_with_the_function(sample_documents, form):
    documents = sample_documents["dev"][:5]
    predictions = [found_in(document) for document in documents]
    references = [form(document) for document in documents]
    scores = MentionMetric().compute(predictions=predictions, references=references)
    assert scores == score_extractions(predictions, documents)
    assert 50 < scores["typed_cluster_f1"] < scores["cluster_f1"] < 100


def test_documents_can_be_added_one_by_one(sample_documents):
    documents = sample_documents["dev"][:3]
    metric = MentionMetric()
    for document in documents:
        metric.add(prediction=found_in(document), reference=document)
    assert metric.compute() == score_extractions(map(found_in, documents), documents)


def test_what_cannot_be_scored_is_an_error(sample_documents):
    document = sample_documents["dev"][0]
    with pytest.raises(PredictionError, match=r"entity 0, mention 0: found \[0, 99999\]"):
        entities = [{"type": "PER", "mentions": [[0, 99999]]}]
        MentionMetric().compute(predictions=[found_in(document) | {"entities": entities}], references=[document])
    with pytest.raises(PredictionError, match="expected a mapping with text, entities, triples"):
        MentionMetric().compute(predictions=["a text"], references=[document])


SCRIPT = """
import json, sys
import evaluate
scores = evaluate.load(sys.argv[1]).compute(**json.load(open("inputs.json", encoding="utf-8")))
print(json.dumps({"scores": scores, "package": "modeling_docre_ii" in sys.modules}))
"""


def test_loaded_from_its_file_elsewhere(sample_documents, tmp_path):
    """Loads a copy of its folder, in a process that does not import the package."""
    documents = sample_documents["dev"][:3]
    predictions = [found_in(document) for document in documents]
    inputs = {"predictions": predictions, "references": documents}
    (tmp_path / "inputs.json").write_text(json.dumps(inputs), encoding="utf-8")
    shutil.copytree(METRIC.parent, tmp_path / "metrics", ignore=shutil.ignore_patterns("__pycache__"))
    environment = os.environ | {"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1", "PYTHONPATH": ""}
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "metrics" / METRIC.name)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    expected = score_extractions(predictions, documents)
    assert json.loads(done.stdout.splitlines()[-1]) == {"scores": pytest.approx(expected), "package": False}
