"""Tokenizers of uncased encoders, with a mark before words that begin with a capital letter."""

import re
import unicodedata

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from modeling_docre_ii.training.capital_marking import is_uncased, mark_capitals


CHARACTERS = "abcdefghijklmnopqrstuvwxyzłбд0123456789^'-().,"


@pytest.fixture
def tokenizer():
    """Characters as tokens, without case and accents."""
    vocabulary = ["[UNK]", *CHARACTERS, *(f"##{character}" for character in CHARACTERS)]
    backend = Tokenizer(models.WordPiece({token: index for index, token in enumerate(vocabulary)}, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]", model_max_length=99)


TEXT = "Łódź and Émile O'Hara's (NATO) iPhone-Max, 3D Бд e\u0301A."


def test_words_with_capitals_are_marked(tokenizer):
    marked = mark_capitals(tokenizer)

    tokens = [token.removeprefix("##") for token in marked.tokenize(TEXT)]
    plain = "".join(letter for letter in unicodedata.normalize("NFD", TEXT) if not unicodedata.combining(letter))
    expected = re.sub(r"(?<![^\W_])(?=[A-ZŁБ])", "^", plain).lower().replace(" ", "")
    assert "".join(tokens) == expected
    assert tokens.count("^") == 7
    assert not is_uncased(marked)
    assert is_uncased(tokenizer) and "^" not in tokenizer.tokenize(TEXT)


def test_tokens_keep_their_characters(tokenizer):
    marked = mark_capitals(tokenizer)
    encoded = marked("an Émile, Bo", return_offsets_mapping=True)

    tokens = marked.convert_ids_to_tokens(encoded["input_ids"])
    assert list(zip(tokens, encoded["offset_mapping"]))[:4] == [
        ("a", (0, 1)),
        ("##n", (1, 2)),
        ("^", (3, 4)),
        ("e", (3, 4)),
    ]
    assert encoded["offset_mapping"][-3:] == [(10, 11), (10, 11), (11, 12)]


def test_marks_are_saved(tokenizer, tmp_path):
    mark_capitals(tokenizer).save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)

    assert loaded.tokenize(TEXT) == mark_capitals(tokenizer).tokenize(TEXT)
    assert (loaded.unk_token, loaded.model_max_length) == ("[UNK]", 99)
