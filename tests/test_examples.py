"""The scripts in examples/, as a user runs them, on a tiny model."""

import json
import re
import runpy
import sys
from pathlib import Path

import pytest
import torch
from tokenizers import models
from transformers import BertConfig, pipeline

from modeling_docre_ii import DocREIIConfig, DocREIIForRelationExtraction, DocREIIProcessor
from tests.hub_model import make_tokenizer
from tests.tagger import save_tagger


pytestmark = pytest.mark.usefixtures("in_the_repository")

EXAMPLES = Path(__file__).parents[1] / "examples"
RELATIONS = ["Na", "P17", "P27"]
OWN_RELATIONS = {0: "Na", 1: "founder", 2: "based", 3: "owner", 4: "employer"}
SIZES = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    """An empty cache, so that datasets are prepared again."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def checkpoint(sample_documents, tmp_path_factory):
    """A tiny model with an inference module and random weights, and its processor."""
    folder = tmp_path_factory.mktemp("checkpoint")
    tokenizer = make_tokenizer(sample_documents["dev"])
    torch.manual_seed(0)
    config = DocREIIConfig(
        encoder_config=BertConfig(vocab_size=len(tokenizer), **SIZES),
        id2label=dict(enumerate(RELATIONS)),
        pair_hidden_size=12,
        pair_intermediate_size=20,
        pair_bilinear_rank=6,
        pair_feature_size=10,
        inference_hidden_size=16,
        inference_intermediate_size=12,
        initializer_range=0.5,
    )
    DocREIIForRelationExtraction(config).save_pretrained(folder)
    DocREIIProcessor(tokenizer, RELATIONS, relation_names={"P17": "country"}).save_pretrained(folder)
    return folder


@pytest.fixture
def encoder(checkpoint, tmp_path):
    """A text encoder and its tokenizer."""
    model = DocREIIForRelationExtraction.from_pretrained(checkpoint)
    model.docre_ii.encoder.save_pretrained(tmp_path / "encoder")
    DocREIIProcessor.from_pretrained(checkpoint).tokenizer.save_pretrained(tmp_path / "encoder")
    return tmp_path / "encoder"


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs a script with arguments, and returns the lines it prints and what it defines."""

    def run_script(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        defined = runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out.splitlines(), defined

    return run_script


@pytest.fixture(scope="module", params=[models.WordPiece, models.WordLevel])
def tagger(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tagger")
    save_tagger(folder, model=request.param)
    return folder


def test_raw_text_gives_entities_triples_and_why(run, checkpoint, tagger):
    arguments = ("text_to_triples.py", checkpoint, "--mention_extractor", tagger, "--threshold", "0")
    printed, defined = run(*arguments)

    assert printed[:6] == [
        "PER   Ada Lovelace",
        "LOC   London, London",
        "PER   Lord Byron",
        "LOC   English",
        "PER   Charles Babbage, Babbage",
        "MISC  Analytical Engine",
    ]
    assert printed[6:8] == ["LOC   England", "84 triples"]  # of 7 entities and 2 relations
    triples = [line for line in printed if "-->" in line and ("(found " in line or "(below " in line)]
    assert len(triples) == 84
    spans = [match.span() for match in re.finditer("London", defined["TEXT"])]
    where = f"        head at characters {', '.join(f'{start}-{end}' for start, end in spans)}"
    assert printed.count(where) == 12

    printed, _ = run(*arguments, "--top_k", "2")
    assert printed[7] == "2 triples"
    assert [line for line in printed if "-->" in line and "(found " in line] == triples[:2]
    printed, _ = run(*arguments, "--text", "Babbage never left London.")
    assert printed[:3] == ["PER   Babbage", "LOC   London", "4 triples"]


SMALL = ["--max_steps", "2", "--disable_tqdm", "true", "--report_to", "none", "--output_dir"]


def test_checkpoint_is_trained_on_own_relations(run, checkpoint, tmp_path):
    folder = tmp_path / "own"
    printed, _ = run("finetune_own_relations.py", "--model_name_or_path", checkpoint, *SMALL, folder)

    model = DocREIIForRelationExtraction.from_pretrained(folder)
    assert model.config.id2label == OWN_RELATIONS
    assert model.config.num_iterations == 3
    scored = [line for line in printed if line.startswith("F1 on 3 documents: ")]
    assert len(scored) == 1
    document = json.loads((EXAMPLES / "own_corpus" / "dev.json").read_text(encoding="utf-8"))[0]
    predicted = pipeline("document-relation-extraction", model=str(folder))(document)
    names = {"founded by", "headquartered in", "subsidiary of", "works for"}
    assert len([line for line in printed if any(f"--{name}-->" in line for name in names)]) == len(predicted)


def test_encoder_is_trained_on_own_relations_in_both_stages(run, encoder, tmp_path):
    folder = tmp_path / "own"
    run("finetune_own_relations.py", "--model_name_or_path", encoder, *SMALL, folder)

    stage_1, model = (DocREIIForRelationExtraction.from_pretrained(path) for path in (folder / "stage_1", folder))
    assert stage_1.config.id2label == model.config.id2label == OWN_RELATIONS
    assert (stage_1.config.num_iterations, model.config.num_iterations) == (0, 3)
    processor = DocREIIProcessor.from_pretrained(folder)
    assert processor.relation_names["owner"] == "subsidiary of"
    assert processor.mention_anchor == "span"


def test_mention_model_is_trained_on_own_documents(run, encoder, tmp_path):
    own = [
        "--train_file",
        EXAMPLES / "own_corpus" / "train.json",
        "--validation_file",
        EXAMPLES / "own_corpus/dev.json",
    ]
    folder = tmp_path / "mentions"
    printed, _ = run("train_mention_model.py", "--model_name_or_path", encoder, *own, *SMALL, folder)

    assert len([line for line in printed if line.startswith("F1 of the mentions of 3 documents: ")]) == 1
    find = pipeline("token-classification", str(folder), aggregation_strategy="simple")
    types = {label.removeprefix("B-") for label in find.model.config.id2label.values() if label.startswith("B-")}
    documents = json.loads((EXAMPLES / "own_corpus" / "train.json").read_text(encoding="utf-8"))
    assert types == {entity["type"] for document in documents for entity in document["entities"]}


def test_both_stages_take_less_than_twenty_lines():
    source = (EXAMPLES / "finetune_own_relations.py").read_text(encoding="utf-8")
    body = source[source.index("def train_encoder(") : source.index("def train_checkpoint(")]

    assert len([line for line in body.splitlines() if line.strip()]) < 20


def test_every_script_is_in_the_index():
    index = (EXAMPLES / "README.md").read_text(encoding="utf-8")

    assert {path.name for path in EXAMPLES.glob("*.py")} == set(re.findall(r"\]\((\w+\.py)\)", index))
