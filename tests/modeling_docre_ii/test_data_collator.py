import copy

import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from modeling_docre_ii import DataCollatorForRelationExtraction


PAD = 3


def tokenizer(**settings):
    backend = Tokenizer(models.WordLevel({"a": 0, "b": 1, "[UNK]": 2, "[PAD]": PAD}, unk_token="[UNK]"))
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]", **settings)


@pytest.fixture
def features():
    """Two entities and two facts, three entities and no fact, no entity."""
    return [
        {
            "input_ids": [7, 8, 9, 10],
            "mention_positions": [2, 0, 2],
            "mention_entities": [0, 0, 1],
            "pair_mask": [[False, True], [True, False]],
            "labels": [[0, 1, 5], [1, 0, 4]],
            "sentence_ids": [-1, 0, 1, -1],
            "evidence": [[], [1, 0]],
        },
        {
            "input_ids": [0, 1],
            "mention_positions": [1, 0, 1, 0],
            "mention_entities": [0, 1, 2, 2],
            "pair_mask": [[False, True, False], [False, False, True], [True, False, False]],
            "labels": [],
            "sentence_ids": [0, 0],
            "evidence": [],
        },
        {
            "input_ids": [5],
            "mention_positions": [],
            "mention_entities": [],
            "pair_mask": [],
            "labels": [],
            "sentence_ids": [0],
            "evidence": [],
        },
    ]


EXPECTED = {
    "input_ids": [[7, 8, 9, 10], [0, 1, PAD, PAD], [5, PAD, PAD, PAD]],
    "attention_mask": [[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]],
    "mention_positions": [[2, 0, 2, -1], [1, 0, 1, 0], [-1, -1, -1, -1]],
    "mention_entities": [[0, 0, 1, -1], [0, 1, 2, 2], [-1, -1, -1, -1]],
    "pair_mask": [
        [[False, True, False], [True, False, False], [False, False, False]],
        [[False, True, False], [False, False, True], [True, False, False]],
        [[False, False, False], [False, False, False], [False, False, False]],
    ],
    "labels": [[[0, 1, 5], [1, 0, 4]], [[-100] * 3] * 2, [[-100] * 3] * 2],
    "sentence_ids": [[-1, 0, 1, -1], [0, 0, -1, -1], [0, -1, -1, -1]],
    "evidence": [[[-100, -100], [1, 0]], [[-100] * 2] * 2, [[-100] * 2] * 2],
}


@pytest.mark.parametrize("padding_side", ["right", "left"])
def test_padding_is_on_the_right(features, padding_side):
    batch = DataCollatorForRelationExtraction(tokenizer(padding_side=padding_side))(features)
    assert {key: value.tolist() for key, value in batch.items()} == EXPECTED
    assert {key: value.dtype for key, value in batch.items()} == {
        key: torch.bool if key == "pair_mask" else torch.int64 for key in EXPECTED
    }


def test_a_document_keeps_its_values_in_any_batch(features):
    collator = DataCollatorForRelationExtraction(tokenizer())
    together, alone = collator(features), collator(features[:1])
    for key, value in alone.items():
        corner = together[key][:1][tuple(slice(size) for size in value.shape)]
        assert torch.equal(corner, value), key
    assert {key: tuple(value.shape) for key, value in alone.items()} == {
        "input_ids": (1, 4),
        "attention_mask": (1, 4),
        "mention_positions": (1, 3),
        "mention_entities": (1, 3),
        "pair_mask": (1, 2, 2),
        "labels": (1, 2, 3),
        "sentence_ids": (1, 4),
        "evidence": (1, 2, 2),
    }


def test_features_without_labels(features):
    for feature in features:
        del feature["labels"]
    batch = DataCollatorForRelationExtraction(tokenizer())(features)
    assert {key: value.tolist() for key, value in batch.items()} == {
        key: value for key, value in EXPECTED.items() if key != "labels"
    }


def test_document_index_is_kept(features):
    for index, feature in zip((11, 4, 0), features):
        feature["document_index"] = index
    batch = DataCollatorForRelationExtraction(tokenizer())(features)
    assert batch["document_index"].tolist() == [11, 4, 0]
    assert batch["document_index"].dtype == torch.int64


def test_batch_without_entities_and_facts_has_columns_of_padding(features):
    batch = DataCollatorForRelationExtraction(tokenizer())(features[2:])
    assert {key: value.tolist() for key, value in batch.items()} == {
        "input_ids": [[5]],
        "attention_mask": [[1]],
        "mention_positions": [[-1]],
        "mention_entities": [[-1]],
        "pair_mask": [[[False]]],
        "labels": [[[-100, -100, -100]]],
        "sentence_ids": [[0]],
        "evidence": [[[-100]]],
    }


def test_features_are_left_as_they_were(features):
    before = copy.deepcopy(features)
    batch = DataCollatorForRelationExtraction(tokenizer())(features)
    for value in batch.values():
        value.zero_()
    assert features == before


@pytest.mark.parametrize("name", ["labels", "document_index"])
def test_all_documents_of_a_batch_or_none_have_an_optional_field(features, name):
    features[0].update(document_index=0)
    del features[1]["labels"]
    with pytest.raises(ValueError, match=f"of the 3 documents of a batch have '{name}'"):
        if name == "document_index":
            for feature in features:
                feature["labels"] = []
        DataCollatorForRelationExtraction(tokenizer())(features)
