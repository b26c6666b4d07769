"""Warnings of the pipeline, each once: documents that cannot have a triple, and mentions that cut a word."""

import pytest
from transformers import pipeline
from transformers.utils import logging

from modeling_docre_ii import DocREIIProcessor
from tests.hub_model import make_model, make_processor, sample_documents


TEXT = {
    "text": "Lark Force was formed in March 1941.  It was based in Rabaul, New Guinea.",
    "entities": [
        {"mentions": [[0, 10], [38, 40]], "type": "ORG"},
        {"mentions": [[54, 60]], "type": "LOC"},
        {"mentions": [[62, 72]], "type": "LOC"},
    ],
}


@pytest.fixture(scope="module")
def processor():
    return make_processor(sample_documents(4))


@pytest.fixture(scope="module")
def model(processor):
    return make_model(processor).eval()


@pytest.fixture
def warnings_of(model, processor, caplog):
    """Returns the warnings of a new pipeline that is called with documents, one call each."""

    def call(*documents, processor=processor):
        extractor = pipeline("document-relation-extraction", model=model, processor=processor)
        logging.enable_propagation()
        caplog.clear()
        try:
            for document in documents:
                extractor(document)
        finally:
            logging.disable_propagation()
        return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]

    return call


def test_document_without_a_pair_of_entities_causes_one_warning(warnings_of):
    alone = {"title": "Alone", "text": "Nothing here.", "entities": []}
    (warning,) = warnings_of(alone, alone, [alone, TEXT | {"entities": TEXT["entities"][:1]}])

    assert warning.startswith("document 'Alone' has no triples because it has no entities. The model relates")
    assert "docs/raw_text.md" in warning and "finds them where 'entities' is left out" in warning
    (warning,) = warnings_of(TEXT | {"entities": TEXT["entities"][:1]})
    assert "it has 1 entity." in warning
    assert warnings_of(TEXT) == []


def test_entities_of_other_types_than_the_candidates_cause_a_warning(warnings_of, processor):
    processor = DocREIIProcessor(processor.tokenizer, processor.relations, candidate_types=[["Chemical", "Disease"]])
    (warning,) = warnings_of(TEXT, processor=processor)

    assert "its entities have the types ['LOC', 'ORG'], expected pairs (head, tail) of [['Chemical'," in warning


def test_mentions_that_cut_a_word_cause_a_warning(warnings_of, monkeypatch):
    monkeypatch.setattr("modeling_docre_ii.text_documents._warned", set())
    cut = TEXT | {"title": "T", "entities": [*TEXT["entities"][:2], {"mentions": [[62, 72], [55, 60]], "type": "LOC"}]}
    warnings = warnings_of(cut, cut)

    assert len(warnings) == 1
    assert warnings[0].startswith("document 'T', entity 2, mention 1: the span [55, 60] is 'abaul' and cuts the word")
