"""Identity of a bulk extraction: the same wherever the model lies, another for whatever changes the triples."""

import os
import subprocess
import sys

import pytest

from modeling_docre_ii import DocREIIForRelationExtraction, DocREIIProcessor, extract_to_parquet
from modeling_docre_ii.deployment.extraction_run import digest_of_finder
from modeling_docre_ii.entity_finding import EntityFinder
from tests.hub_model import make_model, make_processor, sample_documents


spacy = pytest.importorskip("spacy")


@pytest.fixture(scope="module")
def documents():
    return sample_documents(5)


@pytest.fixture(scope="module")
def processor(documents):
    return make_processor(documents)


@pytest.fixture(scope="module")
def model(processor):
    return make_model(processor).eval()


@pytest.fixture(scope="module")
def checkpoint(model, processor, tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def change_weights(model, processor):
    return {"model": DocREIIForRelationExtraction(model.config)}


def change_relation_names(model, processor):
    return {"processor": DocREIIProcessor(processor.tokenizer, processor.relations)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (change_weights, "`model` [0-9a-f]+, here [0-9a-f]+"),
        (change_relation_names, "`model` [0-9a-f]+, here"),
        (lambda *_: {"bf16": True}, r"`bf16_requested` False, here True\)"),
        (lambda *_: {"documents_per_shard": 4}, r"\(`documents_per_shard` 2, here 4\)"),
        (lambda *_: {"documents": sample_documents(1)}, "`documents` .*, here .*, `num_documents` 5, here 1"),
    ],
)
def test_other_run_in_the_same_folder_is_refused(model, processor, documents, tmp_path, change, message):
    settings = {"model": model, "processor": processor, "documents": documents, "documents_per_shard": 2}
    extract_to_parquet(**settings, folder=tmp_path, process_index=1, num_processes=2)
    with pytest.raises(FileExistsError, match=f"triples-00001-of-00003.parquet is of another run .*{message}"):
        extract_to_parquet(**settings | change(model, processor), folder=tmp_path)
    assert len(list(tmp_path.glob("*.parquet"))) == 1


def test_model_is_known_again_wherever_it_is_loaded_from(model, processor, documents, checkpoint, tmp_path):
    extract_to_parquet(model, processor, documents[:3], tmp_path, 2)
    loaded = (DocREIIForRelationExtraction.from_pretrained(checkpoint), DocREIIProcessor.from_pretrained(checkpoint))
    assert extract_to_parquet(*loaded, documents[:3], tmp_path, 2).is_complete


def test_model_is_known_again_with_weights_on_the_disk(model, processor, documents, checkpoint, tmp_path):
    device_map = {"docre_ii": "cpu", "inference_module": "disk", "contrastive_predictor": "cpu"}
    offloaded = DocREIIForRelationExtraction.from_pretrained(
        checkpoint, device_map=device_map, offload_folder=tmp_path / "offloaded"
    )
    settings = {"documents": documents, "documents_per_shard": 3, "folder": tmp_path / "triples", "num_processes": 2}
    extract_to_parquet(model, processor, process_index=0, **settings)
    assert extract_to_parquet(offloaded, processor, process_index=1, **settings).is_complete


def test_spacy_pipelines_are_told_apart():
    def digest(language, *components, **meta):
        pipeline = spacy.blank(language, meta=meta)
        for component in components:
            pipeline.add_pipe(component)
        return digest_of_finder(EntityFinder(pipeline))

    assert digest("en", name="small") == digest("en", name="small")
    others = [
        digest("en", name="small"),
        digest("en", name="large"),
        digest("en", name="small", version="2.0"),
        digest("en", "entity_ruler", name="small"),
        digest("de", name="small"),
    ]
    assert len(set(others)) == len(others)


def test_spacy_pipelines_with_other_rules_are_told_apart_however_often_they_ran():
    def pipeline(name):
        made = spacy.blank("en")
        made.add_pipe("entity_ruler").add_patterns([{"label": "PER", "pattern": name}])
        return made

    used = pipeline("Charles Babbage")
    list(used.pipe(["Charles Babbage met Ada Lovelace in Xyzzyville."]))
    digests = [digest_of_finder(EntityFinder(made)) for made in (used, pipeline("Charles Babbage"), pipeline("Ada"))]
    assert digests[0] == digests[1] != digests[2]


class Finder:
    def __init__(self, kind):
        self.kind = kind

    def __call__(self, text):
        return [{"start": 0, "end": 5, "type": self.kind}]


class OtherFinder:
    def __call__(self, text):
        return [{"start": 0, "end": 6, "type": "PER"}]


OtherFinder.__qualname__ = "Finder"


def test_functions_of_the_same_name_are_told_apart():
    finders = [
        lambda text: [{"start": 0, "end": 5, "type": "PER"}],
        lambda text: [{"start": 0, "end": 6, "type": "PER"}],
        lambda text: [{"start": start, "end": start + 1, "type": "PER"} for start in range(3)],
        lambda text: [{"start": start, "end": start + 1, "type": "PER"} for start in range(4)],
        Finder("PER"),
        OtherFinder(),
    ]
    digests = [digest_of_finder(EntityFinder(finder)) for finder in finders]
    assert len(set(digests)) == len(digests)
    linked = digest_of_finder(EntityFinder(finders[0], linker=lambda text, mentions: []))
    assert linked not in digests


SCRIPT = """
from modeling_docre_ii.deployment.extraction_run import digest_of_finder
from modeling_docre_ii.entity_finding import EntityFinder

def find(text):
    return [{"start": 0, "end": 4, "type": "PER"}] if text[:4] in {"Adam", "Eve ", "Cain", "Abel"} else []

print(digest_of_finder(EntityFinder(find)))
"""


def test_a_function_is_known_again_in_another_process():
    digests = {
        subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1
