"""Training, prediction, scoring and the pipeline open no connection, unless the user names a repository of the Hub."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


ROOT = Path(__file__).parents[1]
# Python reports every use of a socket to this hook, whichever library it comes from. It records and refuses them.
WITHOUT_NETWORK = """
import json, socket, sys

attempts = []

def refuse(event, details):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "socket.sendmsg"):
        attempts.append(f"{event} {details[1:]}")
        raise OSError("the network is forbidden")

sys.addaudithook(refuse)
for attempt in (lambda: socket.create_connection(("127.0.0.1", 9)), lambda: socket.gethostbyname("localhost")):
    try:
        attempt()
    except OSError as error:
        assert "forbidden" in str(error)
assert len(attempts) == 2
attempts.clear()

import run_docre
from transformers import pipeline
from modeling_docre_ii import DocREIIForRelationExtraction, document_from_text, extract_to_parquet
from modeling_docre_ii.cli.scoring import main as score

arguments, folder = json.loads(sys.argv[1]), sys.argv[2]
run_docre.main([*arguments, "--output_dir", folder])
text = "Charles Babbage was born in London."
entities = [{"type": "PER", "mentions": [[0, 15]]}, {"type": "LOC", "mentions": [[28, 34]]}]
for options in ({}, {"trust_remote_code": True}):
    extractor = pipeline("document-relation-extraction", model=folder, **options)
    assert isinstance(extractor({"text": text, "entities": entities}), list)
    assert isinstance(extractor(text), list)
documents = [document_from_text(title, text, entities) for title in "ab"]
extract_to_parquet(extractor.model, extractor.processor, documents, folder + "/triples")
score(["--dataset_name", "re_docred", "--validation_file", "examples/re_docred_sample/dev.json",
       "--score_files", folder + "/result.json"])
print("attempts", json.dumps(attempts))
"""
SMALL = [
    str(ROOT / "configuration" / "quickstart.yaml"),
    *("--max_train_documents=4", "--max_eval_documents=2", "--num_train_epochs=1", "--eval_delay=0", "--bf16=false"),
    *("--stage_2", '{"num_train_epochs": 1}'),
    *("--mention_model", '{"max_steps": 2}'),
    *("--model_kwargs", json.dumps({"pair_hidden_size": 32, "pair_intermediate_size": 32, "pair_feature_size": 32})),
]


@pytest.mark.slow
def test_a_run_of_local_files_opens_no_connection(tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "TRANSFORMERS_"))}
    environment |= {"HF_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", WITHOUT_NETWORK, json.dumps(SMALL), str(tmp_path / "out")]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-1] == "attempts []"
