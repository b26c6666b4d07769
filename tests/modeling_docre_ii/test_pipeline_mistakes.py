"""What users pass to the pipeline by mistake."""

import pandas as pd
import pytest
from datasets import Dataset
from torch.utils.data import IterableDataset
from transformers import pipeline
from transformers.pipelines.pt_utils import KeyDataset
from transformers.utils import logging

from modeling_docre_ii import DocREIIForRelationExtraction, DocREIIProcessor, DocumentError
from tests.hub_model import save_checkpoint


TEXT = {
    "title": "T",
    "text": "Lark Force was formed in March 1941. It was based in Rabaul.",
    "entities": [{"type": "ORG", "mentions": [[0, 10]]}, {"type": "LOC", "mentions": [[53, 59]]}],
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module")
def extractor(checkpoint):
    return pipeline("document-relation-extraction", model=checkpoint)


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        (pd.DataFrame([TEXT]), r"^found a DataFrame, expected documents: pass its rows, such as `frame.to_dict"),
        (b"Lark Force", "^found b'Lark Force', bytes, expected a text: decode them"),
    ],
    ids=["DataFrame", "bytes"],
)
def test_tables_and_bytes_are_refused(extractor, documents, message):
    with pytest.raises(DocumentError, match=message):
        extractor(documents)


def test_rows_of_a_table_are_documents(extractor):
    assert extractor(pd.DataFrame([TEXT, TEXT]).to_dict("records")) == extractor([TEXT, TEXT])


@pytest.mark.parametrize("field", ["mentions", "clusters"])
def test_entities_and_what_entities_are_made_of_are_refused(extractor, field):
    with pytest.raises(DocumentError, match=f"document 'T' has 'entities' and '{field}', expected only one of them"):
        extractor(TEXT | {field: []})
    # A column of a dataset that is empty in this row.
    assert extractor(TEXT | {field: None}) == extractor(TEXT)


def test_clusters_of_a_list_are_checked_before_the_model_runs(extractor, monkeypatch):
    monkeypatch.setattr(extractor, "model", None)
    misplaced = {"title": "T", "text": TEXT["text"], "clusters": [[[0, 500]]]}
    with pytest.raises(DocumentError, match=r"documents\[1\]: document 'T': .*cluster 0.*500"):
        extractor([TEXT, misplaced])


def test_mentions_of_a_list_are_checked_before_the_model_runs(extractor, monkeypatch):
    monkeypatch.setattr(extractor, "model", None)
    misplaced = {"title": "T", "text": TEXT["text"], "mentions": [{"start": 0, "end": 500, "type": "ORG"}]}
    with pytest.raises(
        DocumentError, match=r"documents\[1\]: document 'T': 'mentions', mention 0: the span is \[0, 5"
    ):
        extractor([TEXT, misplaced])


class Streamed(IterableDataset):
    def __init__(self, rows):
        self.rows = rows

    def __iter__(self):
        return iter(self.rows)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"text": None}, "'text' is None"),
        ({"text": ""}, "the length of the text"),
        ({"text": "a \ud83d b"}, "'text' is .*, expected text that UTF-8 can"),
        ({"mentions": [{"start": 0, "end": 4, "type": "ORG"}]}, "has 'entities' and 'mentions', expected only one"),
    ],
)
def test_documents_of_a_torch_dataset_are_checked_as_those_of_a_list(extractor, changes, message):
    rows = [{"document": TEXT}, {"document": TEXT | changes}]
    for documents in (KeyDataset(rows, "document"), Streamed([row["document"] for row in rows])):
        with pytest.raises(DocumentError, match=rf"^documents\[1\]: document 'T'.*{message}"):
            list(extractor(documents))


def test_a_dataset_is_read_as_often_as_its_triples_are(extractor):
    expected = extractor([TEXT, TEXT])
    rows = [{"title": "t", "text": TEXT["text"], "entities": TEXT["entities"]}] * 2
    for documents in (
        Dataset.from_list(rows),
        KeyDataset([{"document": TEXT}] * 2, "document"),
        pd.Series([TEXT] * 2),
    ):
        triples = extractor(documents)
        assert len(triples) == 2 and list(triples) == list(triples) == expected
    triples = extractor(iter([TEXT, TEXT]))
    assert (list(triples), list(triples)) == (expected, [])


def test_none_in_a_call_takes_back_what_the_pipeline_was_created_with(extractor, checkpoint):
    options = {"top_k": 1, "threshold": 0.9, "explain": True, "evidence": "none"}
    changed = pipeline("document-relation-extraction", model=checkpoint, **options)
    assert changed(TEXT) == extractor(TEXT, **options) != extractor(TEXT)
    assert changed(TEXT, **dict.fromkeys(options)) == extractor(TEXT)
    assert changed(TEXT, top_k=None) == extractor(TEXT, **options | {"top_k": None})


@pytest.mark.parametrize("field", ["type", "kb_id"])
def test_lone_surrogates_of_mentions_are_named_where_they_are(extractor, field):
    mention = {"start": 0, "end": 4, "type": "ORG"} | {field: "\ud83d"}
    with pytest.raises(DocumentError, match=f"^document 'T': 'mentions', mention 0: '{field}' is .*UTF-8"):
        extractor({"title": "T", "text": TEXT["text"], "mentions": [mention]})


@pytest.mark.parametrize(("mark_types", "num_warnings"), [(True, 1), (False, 0)])
def test_types_that_the_model_does_not_know_cause_one_warning(checkpoint, caplog, mark_types, num_warnings):
    """Where the model reads types."""
    processor = DocREIIProcessor.from_pretrained(checkpoint, mark_types=mark_types, entity_types=["LOC", "ORG"])
    model = DocREIIForRelationExtraction.from_pretrained(checkpoint)
    extractor = pipeline("document-relation-extraction", model=model, processor=processor)
    other = TEXT | {"entities": [TEXT["entities"][0] | {"type": "Team"}, TEXT["entities"][1]]}
    logging.enable_propagation()
    try:
        extractor([TEXT, other, other])
    finally:
        logging.disable_propagation()

    warnings = [record.getMessage() for record in caplog.records if "entity type" in record.getMessage()]
    expected = "the model does not know the entity type 'Team' of a given entity (it knows LOC, ORG)"
    assert warnings == [expected] * num_warnings


@pytest.mark.parametrize("selection", [{"threshold": 1.5}, {"threshold": False}, {"top_k": True}, {"explain": "no"}])
def test_selection_out_of_range_is_refused_before_anything_is_read(extractor, selection):
    with pytest.raises(ValueError, match=f"`{next(iter(selection))}` must be"):
        extractor("no document", **selection)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"treshold": 0.3}, "the relation extraction pipeline has no argument 'treshold': did you mean 'threshold'?"),
        ({"batchsize": 3}, "'batchsize': did you mean 'batch_size'?"),
        ({"temperature": 3}, r"'temperature' \(arguments of a call: threshold, top_k, explain, evidence, batch_size"),
    ],
)
def test_unknown_arguments_are_refused_with_a_suggestion(extractor, checkpoint, arguments, message):
    with pytest.raises(TypeError, match=message):
        extractor(TEXT, **arguments)
    with pytest.raises(TypeError, match=message):
        pipeline("document-relation-extraction", model=checkpoint, **arguments)
