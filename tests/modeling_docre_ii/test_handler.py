"""The handler of a saved checkpoint, loaded as Inference Endpoints does, where this package cannot be imported."""

import configparser
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from modeling_docre_ii import DocumentRelationExtractionPipeline
from tests.hub_model import make_model, make_processor, sample_documents


ROOT = Path(__file__).parents[2]
TEXT = {
    "text": "Marie Curie was born in Warsaw, Poland.",
    "entities": [
        {"mentions": [[0, 11]], "type": "PER"},
        {"mentions": [[24, 30]], "type": "LOC"},
        {"mentions": [[32, 38]], "type": "LOC"},
    ],
}
# The toolkit of Inference Endpoints loads handler.py by its path, and sends the message of an exception to the client.
SERVE = """
import importlib.util, json, sys
from importlib.abc import MetaPathFinder

class Absent(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in ("modeling_docre_ii", "dataset_scripts", "run_docre"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
checkpoint = sys.argv[1]
spec = importlib.util.spec_from_file_location("handler", checkpoint + "/handler.py")
handler = importlib.util.module_from_spec(spec)
sys.modules["handler"] = handler
spec.loader.exec_module(handler)
serve = handler.EndpointHandler(checkpoint)
answers = []
for request in json.load(sys.stdin):
    try:
        answers.append({"answer": serve(request)})
    except Exception as error:
        answers.append({"error": str(error), "kind": [base.__name__ for base in type(error).__mro__]})
json.dump(answers, open("answers.json", "w"))
"""
GOOD = {
    "a text": {"inputs": TEXT},
    "a list": {"inputs": [TEXT, TEXT]},
    "an empty list": {"inputs": []},
    "no parameters": {"inputs": TEXT, "parameters": None},
    "top_k": {"inputs": TEXT, "parameters": {"top_k": 1, "threshold": 0.4}},
    "explain": {"inputs": TEXT, "parameters": {"explain": True}},
    "evidence": {"inputs": TEXT, "parameters": {"evidence": "none"}},
}
BAD = {
    "no object": ("Marie Curie", "the request is 'Marie Curie', expected {\"inputs\""),
    "no inputs": ({"text": "Marie Curie"}, 'or {"inputs": {"text"'),
    "a typo": ({"inputs": TEXT, "parameter": {}}, "unknown keys ['parameter']"),
    "parameters": ({"inputs": TEXT, "parameters": [0.7]}, "'parameters' is [0.7], expected an object"),
    "a parameter": ({"inputs": TEXT, "parameters": {"treshold": 0.7}}, "unknown parameter 'treshold', expected some"),
    "a string": ({"inputs": TEXT, "parameters": {"threshold": "0.7"}}, "'threshold' is '0.7', expected a number"),
    "a bool": ({"inputs": TEXT, "parameters": {"top_k": True}}, "'top_k' is True, expected a whole number"),
    "explain": ({"inputs": TEXT, "parameters": {"explain": 1}}, "'explain' is 1, expected true or false"),
    "evidence": ({"inputs": TEXT, "parameters": {"evidence": True}}, "expected 'model', 'rule' or 'none'"),
    "a source": ({"inputs": TEXT, "parameters": {"evidence": "rules"}}, "`evidence` must be one of"),
    "untrained": ({"inputs": TEXT, "parameters": {"evidence": "model"}}, "was not trained to find evidence"),
    "a range": ({"inputs": TEXT, "parameters": {"threshold": 2}}, "`threshold` must be a number from 0 to below 1"),
    "a bare text": ({"inputs": "Marie Curie"}, "Marie Curie"),
    "a span": ({"inputs": TEXT | {"entities": [{"mentions": [[0, 99]], "type": "PER"}]}}, "entity 0, mention 0"),
}


@pytest.fixture(scope="module")
def parts():
    processor = make_processor(sample_documents(6))
    return make_model(processor), processor


@pytest.fixture(scope="module")
def checkpoint(parts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    for part in parts:
        part.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def answers(checkpoint, tmp_path_factory):
    """The answers to all requests, good ones by their name first."""
    folder = tmp_path_factory.mktemp("elsewhere")
    requests = [*GOOD.values(), *(request for request, _ in BAD.values())]
    environment = os.environ | {"HF_HOME": str(folder / "home"), "HF_HUB_OFFLINE": "1", "PYTHONPATH": ""}
    run = subprocess.run(
        [sys.executable, "-c", SERVE, str(checkpoint)],
        cwd=folder,
        input=json.dumps(requests),
        env=environment,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    found = json.loads((folder / "answers.json").read_text())
    return dict(zip(GOOD, found)), dict(zip(BAD, found[len(GOOD) :]))


def is_close(answer, expected):
    """Whether two answers are the same but for the rounding of scores, which depends on the number of threads."""
    if isinstance(expected, float):
        return answer == pytest.approx(expected, abs=1e-5)
    if isinstance(expected, dict):
        return answer.keys() == expected.keys() and all(is_close(answer[name], expected[name]) for name in expected)
    if isinstance(expected, list):
        return len(answer) == len(expected) and all(map(is_close, answer, expected))
    return answer == expected


def test_an_endpoint_answers_as_the_pipeline_does(parts, answers):
    model, processor = parts
    extractor = DocumentRelationExtractionPipeline(model=model.eval(), processor=processor)
    for name, request in GOOD.items():
        expected = extractor(request["inputs"], **(request.get("parameters") or {}))
        assert is_close(answers[0][name], {"answer": json.loads(json.dumps(expected))}), name
    assert answers[0]["a text"]["answer"], "the model predicts nothing: the test shows nothing"
    assert len(answers[0]["top_k"]["answer"]) == 1
    assert "support" in answers[0]["explain"]["answer"][0]


@pytest.mark.parametrize("name", BAD)
def test_a_malformed_request_is_told_what_is_wrong(answers, name):
    answer = answers[1][name]
    assert BAD[name][1] in answer["error"]
    assert "ValueError" in answer["kind"]


def test_requirements_are_those_of_the_package(checkpoint):
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    sections = [setup["options"]["install_requires"], *setup["options.extras_require"].values()]
    known = {line.strip() for section in sections for line in section.splitlines()}
    listed = (checkpoint / "requirements.txt").read_text(encoding="utf-8").split()
    assert {line.split(">=")[0] for line in listed} == {"syntok", "transformers"}
    assert set(listed) <= known
