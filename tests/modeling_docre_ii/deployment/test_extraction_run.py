"""Identity of a bulk extraction: the same wherever the model lies, another for whatever changes the triples."""

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
