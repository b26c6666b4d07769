"""Mention models of checkpoints on the Hub, with and without a connection."""

from pathlib import Path

import pytest

from tests.hub_client import Client
from tests.hub_server import Hub


ROOT = Path(__file__).parents[1]
FIND = """
from modeling_docre_ii.entity_finding import find_mention_model
from transformers import logging

logging.set_verbosity_warning()


def find(name, revision):
    warnings = []
    logger = logging.get_logger("modeling_docre_ii.entity_finding")
    logger.warning = lambda message: warnings.append(message)
    return [find_mention_model(name, revision) is not None, warnings]
"""


@pytest.fixture(scope="module")
def hub():
    with Hub() as hub:
        yield hub


@pytest.fixture(scope="module")
def revisions(hub, tmp_path_factory):
    """The commits of two repositories, of which only "org/finds" has a mention model."""
    return Client(hub, tmp_path_factory.mktemp("pushing"), PYTHONPATH=str(ROOT)).run(
        """
from huggingface_hub import HfApi
from transformers import BertConfig, BertForTokenClassification
from modeling_docre_ii.entity_finding import MENTION_MODEL_FOLDER
from tests.hub_model import make_encoder_config, make_processor, sample_documents

api, processor = HfApi(), make_processor(sample_documents(2))
config = BertConfig(**make_encoder_config(processor.tokenizer).to_dict() | {"id2label": {0: "O", 1: "B-PER"}})
BertForTokenClassification(config).save_pretrained(MENTION_MODEL_FOLDER)
processor.tokenizer.save_pretrained(MENTION_MODEL_FOLDER)
said = {}
for name in ("org/finds", "org/plain"):
    api.create_repo(name)
    commit = api.upload_file(path_or_fileobj=b"{}", path_in_repo="config.json", repo_id=name)
    if name == "org/finds":
        commit = api.upload_folder(repo_id=name, folder_path=".", allow_patterns=f"{MENTION_MODEL_FOLDER}/*")
    said[name] = commit.oid
answer(said)
"""
    )


@pytest.fixture
def client(hub, tmp_path):
    return Client(hub, tmp_path, PYTHONPATH=str(ROOT))


def run_offline(client, script):
    client.environment["HF_HUB_OFFLINE"] = "1"
    return client.run(script)


def test_a_mention_model_is_loaded_and_its_absence_is_remembered(client, revisions):
    script = FIND + f"answer([find(*item) for item in {revisions}.items()])"
    assert client.run(script) == [[True, []], [False, []]]
    assert run_offline(client, script) == [[True, []], [False, []]]


def test_without_a_connection_the_model_is_named(client, revisions):
    said = run_offline(client, FIND + f"answer([find(*item) for item in {revisions}.items()])")
    for name, (found, (warning,)) in zip(revisions, said):
        assert not found
        assert warning.startswith(f"whether '{name}' has a mention model is unknown: ")


def test_a_repository_that_is_gone_is_named(client):
    names = ["org/nowhere", "not a name/of/a repository"]
    said = client.run(FIND + f"answer([find(name, 'main') for name in {names}])")
    for name, (found, (warning,)) in zip(names, said):
        assert not found
        assert warning.startswith(f"whether '{name}' has a mention model is unknown: ")
