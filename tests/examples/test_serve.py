"""The service of examples/serve: its batches, its errors, and the running server."""

import collections
import importlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from transformers import pipeline

from tests.hub_model import sample_documents, save_checkpoint


ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples" / "serve"
TEXT = {
    "title": "plain text",
    "text": "Lark Force was based in Rabaul.",
    "entities": [{"mentions": [[0, 10]], "type": "ORG"}, {"mentions": [[24, 30]], "type": "LOC"}],
}


@pytest.fixture(scope="module")
def modules():
    """Imports modules of the example, which are not a package."""
    sys.path.insert(0, str(FOLDER))
    yield importlib.import_module
    sys.path.remove(str(FOLDER))
    for name in ("batching", "checkpoint", "load_test"):
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def checkpoint_folder(tmp_path_factory):
    return save_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module")
def documents():
    return [document | {"labels": []} for document in sample_documents(10)]


# Batches


def waiting(modules, sizes, parameters=None):
    make = modules("batching").WaitingDocument
    return [
        make("r", index, None, (parameters or {}).get(index, {}), tokens, entities)
        for index, (tokens, entities) in enumerate(sizes)
    ]


def indices(batch):
    return [document.index for document in batch]


def test_batch_is_bounded_by_documents_tokens_and_pairs(modules):
    batching = modules("batching")

    def first_batch(sizes, budget):
        return indices(batching.take_batch(waiting(modules, sizes), batching.Budget(*budget)))

    assert first_batch([(10, 2)] * 5, (3, 1000, 1000)) == [0, 1, 2]
    assert first_batch([(10, 2)] * 5, (9, 40, 1000)) == [0, 1, 2, 3]  # 4 * 10 tokens
    assert first_batch([(10, 2)] * 5, (9, 1000, 8)) == [0, 1]  # 2 * 2**2 pairs
    assert first_batch([(10, 2), (30, 2)], (9, 59, 1000)) == [0], "2 * 30 tokens with padding"
    assert first_batch([(10, 2), (10, 4)], (9, 1000, 31)) == [0], "2 * 4**2 pairs with padding"
    assert first_batch([(10, 2), (30, 2), (12, 2)], (9, 45, 1000)) == [0, 2], "the closest in length"
    assert first_batch([(5000, 2)], (9, 45, 1000)) == [0], "a document that is too large by itself"
    assert batching.take_batch([], batching.Budget(1, 1, 1)) == []


def test_documents_with_other_parameters_are_another_batch(modules):
    batching = modules("batching")
    queue = waiting(modules, [(10, 2)] * 4, {1: {"threshold": 0.7}, 3: {"threshold": 0.7}})
    budget = batching.Budget(9, 1000, 1000)

    assert [indices(batching.take_batch(queue, budget)) for _ in range(3)] == [[0, 2], [1, 3], []]


def test_every_document_is_in_one_batch_and_the_oldest_in_the_next(modules):
    batching, draw = modules("batching"), random.Random(0)
    budget = batching.Budget(8, 2000, 3000)
    for _ in range(20):
        sizes = [(draw.randint(1, 1500), draw.randint(0, 40)) for _ in range(draw.randint(1, 60))]
        queue, taken = waiting(modules, sizes), []
        while queue:
            oldest = queue[0].index
            batch = batching.take_batch(queue, budget)
            assert batch[0].index == oldest
            tokens, entities = (max(getattr(d, name) for d in batch) for name in ("num_tokens", "num_entities"))
            assert len(batch) == 1 or (
                len(batch) <= 8 and len(batch) * tokens <= 2000 and len(batch) * entities**2 <= 3000
            )
            taken += indices(batch)
        assert sorted(taken) == list(range(len(sizes)))


# Requests


@pytest.fixture(scope="module")
def checkpoint(modules, checkpoint_folder):
    budget = modules("batching").Budget(max_documents=4, max_tokens=400, max_pairs=400)
    return modules("checkpoint").Checkpoint(checkpoint_folder, budget, max_inputs=12)


def test_documents_of_a_request_are_predicted_as_by_the_pipeline(modules, checkpoint, checkpoint_folder, documents):
    extractor = pipeline("document-relation-extraction", model=checkpoint_folder, trust_remote_code=True)
    inputs, parameters = [*documents[:3], TEXT], {"threshold": 0.2, "top_k": 5}
    read = checkpoint.read("r", {"inputs": inputs, "parameters": parameters})

    found, expected = checkpoint.predict(read), extractor(inputs, **parameters)
    assert all(map(modules("load_test").same_triples, found, expected)) and any(expected)
    assert [document.num_entities for document in read] == [*(len(d["vertexSet"]) for d in documents[:3]), 2]
    lengths = [len(extractor.processor(d)["input_ids"][0]) for d in documents[:3]]
    assert [document.num_tokens for document in read[:3]] == lengths


@pytest.mark.parametrize(
    ("request_", "status", "message"),
    [
        ({}, 422, "the request is {}, expected"),
        ({"inputs": TEXT, "parameter": {}}, 422, "the request has the unknown keys ['parameter']"),
        ({"inputs": TEXT, "parameters": []}, 422, "'parameters' is [], expected an object"),
        ({"inputs": TEXT, "parameters": {"threshold": "x"}}, 422, "parameter 'threshold' is 'x', expected a number"),
        ({"inputs": TEXT, "parameters": {"treshold": 1}}, 422, "unknown parameter 'treshold'"),
        ({"inputs": TEXT, "parameters": {"threshold": 7}}, 422, "`threshold` must be a number from 0 to below 1"),
        ({"inputs": 3}, 422, "found 3, expected a document"),
        ({"inputs": [TEXT, 3]}, 422, "documents[1]: found 3, expected a document"),
        (
            {"inputs": TEXT | {"text": " ", "entities": []}},
            422,
            "document 'plain text': 'text' is ' ', expected at least one word",
        ),
        ({"inputs": TEXT | {"entities": 1}}, 422, "document 'plain text': 'entities' is 1, expected a list"),
        ({"inputs": {"title": "t", "sents": []}}, 422, "document 't': 'sents' is [], expected at least one token"),
        ({"inputs": "No mention model."}, 422, "document 'No mention model.': 'entities' is missing"),
        (
            {"inputs": "a \ud83d b"},
            422,
            r"document 'a \ud83d b': 'text' is 'a \ud83d b', expected text that UTF-8 can",
        ),
        ({"inputs": [TEXT] * 13}, 413, "'inputs' has 13 documents, expected at most 12"),
        ({"inputs": "word " * 401}, 413, "'text' has 401 tokens, expected at most 400"),
        (
            {"inputs": [TEXT | {"text": "Lark Force was based in Rabaul " + "word " * 392}]},
            413,
            "documents[0]: document 'plain text' has 404 tokens, expected at most 400",
        ),
        (
            {"inputs": TEXT | {"entities": [{"mentions": [[0, 4]], "type": "ORG"}] * 21}},
            413,
            "document 'plain text' has 21 entities, expected at most 20",
        ),
        (
            # All pairs of them would take minutes to list.
            {"inputs": [{"text": "Lark Force", "entities": [{"mentions": [[0, 4]], "type": "ORG"}] * 20_000}]},
            413,
            "documents[0]: the document has 20,000 entities, expected at most 20",
        ),
    ],
)
def test_malformed_and_large_requests_are_refused(modules, checkpoint, request_, status, message):
    with pytest.raises(modules("checkpoint").RequestError) as refused:
        checkpoint.read("r", request_)

    assert refused.value.status == status
    assert refused.value.detail.startswith(message)


# The running server


@pytest.fixture(scope="module")
def httpx():
    pytest.importorskip("litserve")
    return pytest.importorskip("httpx")


@pytest.fixture
def serve(checkpoint_folder, httpx, tmp_path):
    """Starts the service, and returns its process and a client."""
    started = []

    def start(*arguments):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [sys.executable, str(FOLDER / "serve.py"), checkpoint_folder, f"--port={port}", *arguments]
        log = (tmp_path / "log").open("w")
        env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        server = subprocess.Popen(command, cwd=tmp_path, env=env, stdout=log, stderr=log)
        client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120, trust_env=False)
        started.append((server, client))
        for _ in range(600):
            time.sleep(0.2)
            assert server.poll() is None, (tmp_path / "log").read_text()[-5000:]
            try:
                if client.get("/health").status_code == 200:
                    return server, client
            except httpx.TransportError:
                pass
        raise AssertionError("the service did not start: " + (tmp_path / "log").read_text()[-5000:])

    yield start
    for server, client in started:
        client.close()
        server.terminate()
        server.wait(timeout=60)


def post(client, inputs, **parameters):
    return client.post("/predict", json={"inputs": inputs, "parameters": parameters})


@pytest.mark.slow
def test_service_answers_as_the_pipeline(modules, serve, checkpoint_folder, documents):
    _, client = serve("--max_body", "200000", "--max_tokens", "600")
    same_triples = modules("load_test").same_triples
    extractor = pipeline("document-relation-extraction", model=checkpoint_folder, trust_remote_code=True)
    expected = json.loads(json.dumps(extractor(documents, threshold=0.2)))

    answered = post(client, documents, threshold=0.2)
    assert answered.status_code == 200, answered.text
    assert all(map(same_triples, answered.json(), expected)) and any(expected)
    assert same_triples(post(client, documents[0], threshold=0.2).json(), expected[0])
    assert post(client, []).json() == []

    refusals = {
        b"{": (400, "the body is not JSON"),
        b"[]": (422, "the body is no JSON object"),
        b"{}": (422, "'inputs' is missing"),
        b'{"inputs": "a", "x": 1}': (422, "the request has the unknown keys ['x']"),
        b'{"inputs": ' + b"[" * 500 + b"]" * 500 + b"}": (422, "the body has more than 64 levels"),
        b'{"inputs": "' + b"a" * 200_000 + b'"}': (413, "Payload too large"),
    }
    for content, (status, message) in refusals.items():
        refused = client.post("/predict", content=content, headers={"Content-Type": "application/json"})
        assert refused.status_code == status, refused.text
        assert refused.json()["detail"].startswith(message)
    plain = client.post("/predict", content=b'{"inputs": "a"}')
    assert plain.status_code == 422 and "'Content-Type: application/json'" in plain.json()["detail"]

    described = client.get("/openapi.json").json()
    assert {"200", "400", "413", "422", "429"} <= set(described["paths"]["/predict"]["post"]["responses"])
    schema = described["components"]["schemas"]["ExtractionRequest"]
    assert set(schema["properties"]["parameters"]["properties"]) == {"threshold", "top_k", "explain", "evidence"}
    assert client.post("/predict", json=schema["examples"][0]).status_code == 200


@pytest.mark.slow
def test_nothing_is_lost_under_overload(modules, serve, checkpoint_folder, documents):
    server, client = serve("--max_requests", "8")
    load_test = modules("load_test")
    extractor = pipeline("document-relation-extraction", model=checkpoint_folder, trust_remote_code=True)
    expected = json.loads(json.dumps(extractor(documents)))

    outcome = load_test.asyncio.run(load_test.send_requests(str(client.base_url), documents, 100, 100))
    assert outcome.statuses.keys() == {200, 429} and sum(outcome.statuses.values()) == 100
    assert outcome.statuses[200] >= 8
    assert all(load_test.same_triples(triples, expected[index]) for index, triples in outcome.answers)
    assert server.poll() is None

    outcome = load_test.asyncio.run(load_test.send_requests(str(client.base_url), documents, 40, 8))
    assert outcome.statuses == collections.Counter({200: 40}), "it answers all again"


@pytest.mark.slow
def test_open_requests_are_answered_before_the_service_ends(serve, documents):
    psutil = pytest.importorskip("psutil")
    server, client = serve("--max_batch_size", "1")
    children = psutil.Process(server.pid).children(recursive=True)
    with ThreadPoolExecutor() as executor:
        answer = executor.submit(post, client, documents)
        time.sleep(0.1)
        server.send_signal(signal.SIGTERM)
        assert answer.result().status_code == 200
    server.wait(timeout=60)
    assert server.returncode == 0
    psutil.wait_procs(children, timeout=10)
    assert not [child for child in children if child.is_running()], "a worker was left behind"
