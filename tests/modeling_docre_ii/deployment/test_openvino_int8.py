"""An encoder in int8, and exported models in bulk extraction and in the commands."""

import json

import pytest
import torch
from transformers import AutoConfig, AutoProcessor, pipeline

from modeling_docre_ii import (
    DocREIIONNXModel,
    DocREIIOpenVINOModel,
    export_onnx,
    extract_to_parquet,
    quantize_openvino,
)
from modeling_docre_ii.cli import main
from tests.hub_model import make_model, make_processor, sample_documents


pytestmark = pytest.mark.slow
pytest.importorskip("nncf")


@pytest.fixture(scope="module")
def documents():
    return sample_documents(6)


@pytest.fixture(scope="module")
def checkpoint(documents, tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    processor = make_processor(documents)
    make_model(processor).eval().save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def exported(checkpoint, documents, tmp_path_factory):
    folder = tmp_path_factory.mktemp("with_int8") / "exported"
    train_file = folder.parent / "train.json"
    train_file.write_text(json.dumps(documents[:3]))
    given = ["--checkpoint", str(checkpoint), "--output_dir", str(folder)]
    main(["export", *given, "--int8", "true", "--dataset_name", "re_docred", "--train_file", str(train_file)])
    return folder


def encoded(folder, documents):
    return AutoProcessor.from_pretrained(folder)(documents[:2], return_tensors="pt")


def test_int8_is_near_the_model_and_not_the_same(exported, documents):
    inputs = encoded(exported, documents)
    exact, int8 = (DocREIIOpenVINOModel.from_pretrained(exported, int8=int8)(**inputs) for int8 in (False, True))

    off = (int8.base_logits - exact.base_logits).abs().max()
    assert 0 < off < 0.2 * exact.base_logits.std()


def test_linear_layers_of_the_encoder_are_in_int8(exported):
    from openvino import Core

    kinds = [
        input_.get_element_type().get_type_name()
        for node in Core().read_model(exported / "encoder_int8.xml").get_ops()
        if node.get_type_name() == "Convert"
        for input_ in node.inputs()
    ]
    num_layers = AutoConfig.from_pretrained(exported).encoder_config.num_hidden_layers
    assert kinds.count("i8") >= 6 * num_layers  # three projections of the attention, its output, and two of the block


def test_int8_is_what_is_loaded_where_it_is_there(exported, checkpoint, documents, tmp_path):
    inputs = encoded(exported, documents)
    by_default, int8 = (DocREIIOpenVINOModel.from_pretrained(exported, **given) for given in ({}, {"int8": True}))
    assert by_default.digest == int8.digest != DocREIIOpenVINOModel.from_pretrained(exported, int8=False).digest
    torch.testing.assert_close(by_default(**inputs).logits, int8(**inputs).logits, rtol=0, atol=0)


def test_another_export_removes_the_int8_of_before(checkpoint, documents, tmp_path):
    processor = AutoProcessor.from_pretrained(checkpoint)
    (tmp_path / "encoder_int8.xml").write_text("of another model")
    export_onnx(make_model(processor).eval(), processor, tmp_path)

    assert not (tmp_path / "encoder_int8.xml").exists()
    with pytest.raises(FileNotFoundError, match=r"encoder_int8\.xml' is missing"):
        DocREIIOpenVINOModel.from_pretrained(tmp_path, int8=True)


def test_no_documents_and_no_export_are_refused(exported, documents, tmp_path):
    with pytest.raises(ValueError, match="no documents to calibrate with"):
        quantize_openvino(exported, [])
    with pytest.raises(FileNotFoundError, match=r"config\.json' is missing: export a model"):
        quantize_openvino(tmp_path, documents)


@pytest.mark.parametrize("runtime", [DocREIIONNXModel, DocREIIOpenVINOModel])
def test_bulk_extraction_writes_what_the_pipeline_finds(runtime, exported, documents, tmp_path):
    import pyarrow.parquet

    model, processor = runtime.from_pretrained(exported), AutoProcessor.from_pretrained(exported)
    done = extract_to_parquet(model, processor, documents, tmp_path, documents_per_shard=4, batch_size=1)
    rows = pyarrow.parquet.read_table(tmp_path).to_pylist()
    expected = pipeline("document-relation-extraction", model=model, processor=processor)(documents)

    assert done.is_complete and rows
    assert [(row["title"], row["head"], row["relation"], row["tail"], row["score"]) for row in rows] == [
        (document["title"], triple["head"]["entity"], triple["relation"], triple["tail"]["entity"], triple["score"])
        for document, triples in zip(documents, expected)
        for triple in triples
    ]


def test_a_folder_of_triples_is_of_one_runtime(exported, documents, tmp_path):
    processor = AutoProcessor.from_pretrained(exported)
    extract_to_parquet(DocREIIONNXModel.from_pretrained(exported), processor, documents, tmp_path)

    with pytest.raises(FileExistsError, match="model"):
        extract_to_parquet(DocREIIOpenVINOModel.from_pretrained(exported), processor, documents, tmp_path)
    with pytest.raises(ValueError, match="`bf16` has no effect on an exported model"):
        extract_to_parquet(DocREIIONNXModel.from_pretrained(exported), processor, documents, tmp_path, bf16=True)


@pytest.mark.parametrize("backend", ["onnx", "openvino"])
def test_extract_runs_an_export(backend, exported, checkpoint, documents, tmp_path):
    texts, output = tmp_path / "texts.jsonl", tmp_path / "triples.jsonl"
    texts.write_text("".join(json.dumps(document) + "\n" for document in documents))
    main(["extract", str(texts), "--model", str(exported), "--backend", backend, "--output", str(output)])

    assert [json.loads(line)["title"] for line in output.read_text().splitlines()] == [d["title"] for d in documents]
    with pytest.raises(SystemExit, match=r"encoder\.onnx' is missing: export a model to this folder, with `docre-ii"):
        main(["extract", str(texts), "--model", str(checkpoint), "--backend", "onnx"])
