"""Masking of tokens in training, against learning documents by heart."""

from collections.abc import Mapping
from typing import Any

import torch

from ..processing_docre_ii import DocREIIProcessor
from .arguments import DocREIITrainingArguments


class TokenMasking:
    """
    Replaces random tokens by the tokenizer's mask token.

    Every token of the text is drawn independently, those of mentions and types included. Special tokens and the
    markers of mentions stay.

    Args:
        processor ([`DocREIIProcessor`]):
            Its tokenizer and marker.
        probability (`float`):
            Probability of a token to be masked.

    Raises:
        `ValueError`: the tokenizer has no mask token.
    """

    def __init__(self, processor: DocREIIProcessor, probability: float):
        tokenizer = processor.tokenizer
        if tokenizer.mask_token_id is None:
            raise ValueError(
                f"`token_mask_probability` needs a mask token, which the tokenizer {tokenizer.name_or_path!r} does "
                "not have: set it to 0"
            )
        self.probability, self.mask_token_id = probability, tokenizer.mask_token_id
        # Byte-level tokenizers have one piece for the marker at the start of a text and another after a space.
        markers = tokenizer([processor.marker, f" {processor.marker}"], add_special_tokens=False)["input_ids"]
        self.kept = torch.tensor(sorted({*tokenizer.all_special_ids, *(piece for ids in markers for piece in ids)}))

    def __call__(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """
        Masks the tokens of a batch.

        Args:
            inputs (`dict`):
                Inputs of the model. Without `input_ids`, there is nothing to mask.

        Returns:
            `dict`: the inputs with other `input_ids`.
        """
        if "input_ids" not in inputs:
            return dict(inputs)
        input_ids = inputs["input_ids"]
        is_drawn = torch.rand(input_ids.shape, device=input_ids.device) < self.probability
        is_kept = torch.isin(input_ids, self.kept.to(input_ids.device))
        return {**inputs, "input_ids": input_ids.masked_fill(is_drawn & ~is_kept, self.mask_token_id)}


def token_masking(args: DocREIITrainingArguments, processor: DocREIIProcessor | None) -> TokenMasking | None:
    """
    Makes the masking that the training arguments ask for.

    Args:
        args ([`DocREIITrainingArguments`]):
            Training arguments.
        processor ([`DocREIIProcessor`], *optional*):
            Processor of the model.

    Returns:
        [`TokenMasking`], `None` with a `token_mask_probability` of 0.

    Raises:
        `ValueError`: there is no processor, or its tokenizer has no mask token.
    """
    if not args.token_mask_probability:
        return None
    if processor is None:
        raise ValueError("`token_mask_probability` needs a `processing_class`, which has the mask token")
    return TokenMasking(processor, args.token_mask_probability)


__all__ = ["TokenMasking", "token_masking"]
