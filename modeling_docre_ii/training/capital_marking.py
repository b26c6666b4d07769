"""Marks capital letters in the input of uncased encoders."""

from typing import Any

from tokenizers import Regex, Tokenizer, normalizers
from transformers import PreTrainedTokenizerFast


# Before words with a capital letter. The vocabularies of uncased encoders have it, and texts hardly do.
MARK = "^"


def is_uncased(tokenizer: Any) -> bool:
    """
    Returns whether a tokenizer drops the case of letters.

    Args:
        tokenizer (`PreTrainedTokenizerFast`): The tokenizer.
    """
    return tokenizer.tokenize("Paris Match") == tokenizer.tokenize("paris match")


def mark_capitals(tokenizer: Any) -> PreTrainedTokenizerFast:
    """
    Makes a tokenizer that writes `^` before words with a capital letter.

    Names begin with capital letters, which an uncased encoder does not see. With the mark it does, once it is
    fine-tuned. The mark has the characters of the capital letter, so texts and spans stay as they are.

    Args:
        tokenizer (`PreTrainedTokenizerFast`):
            The tokenizer of an uncased encoder, with `^` in its vocabulary. It is not changed.

    Returns:
        `PreTrainedTokenizerFast`: the tokenizer with the mark. The vocabulary is the same.
    """
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    capitals = {token.upper() for token in tokenizer.get_vocab() if len(token) == 1 and token != token.upper()}
    # "É" becomes "E" and its accent, which every uncased tokenizer drops or joins again. The lookbehind leaves out
    # capitals inside words.
    rules = [
        normalizers.Replace(Regex(rf"(?<![\p{{L}}\p{{M}}\p{{N}}]){letter}"), f"{MARK} {letter}")
        for letter in sorted(capitals)
        if len(letter) == 1
    ]
    given = [backend.normalizer] if backend.normalizer is not None else []
    backend.normalizer = normalizers.Sequence([normalizers.NFD(), *rules, *given])
    backend.no_truncation()
    backend.no_padding()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, model_max_length=tokenizer.model_max_length, **tokenizer.special_tokens_map
    )


__all__ = ["MARK", "is_uncased", "mark_capitals"]
