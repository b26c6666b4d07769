"""Learning rates by module: pretrained modules have a rate of their own."""

from collections.abc import Iterable, Mapping
from typing import Any

from ..modeling_docre_ii import DocREIIForRelationExtraction
from .arguments import DocREIITrainingArguments


def split_by_learning_rate(
    groups: Iterable[Mapping[str, Any]], model: DocREIIForRelationExtraction, args: DocREIITrainingArguments
) -> list[dict[str, Any]]:
    """
    Splits the parameter groups of an optimizer by learning rate.

    In stage 1 the encoder gets `encoder_learning_rate`, in stage 2 the base module gets `base_learning_rate`. All
    other parameters keep the `learning_rate` of their group.

    Args:
        groups (`Iterable[dict]`):
            The parameter groups, such as those with and without weight decay.
        model ([`DocREIIForRelationExtraction`]):
            The model, which is in stage 2 if it has an inference module.
        args ([`DocREIITrainingArguments`]):
            Training arguments with the learning rates.

    Returns:
        `list[dict]`: the new groups, without empty ones.
    """
    if model.config.num_iterations:
        pretrained, learning_rate = model.base_model, args.base_learning_rate
    else:
        pretrained, learning_rate = model.base_model.encoder, args.encoder_learning_rate
    ids = {id(parameter) for parameter in pretrained.parameters()}
    split = []
    for group in groups:
        of_pretrained = [parameter for parameter in group["params"] if id(parameter) in ids]
        of_new_modules = [parameter for parameter in group["params"] if id(parameter) not in ids]
        split.append({**group, "params": of_pretrained, "lr": learning_rate})
        split.append({**group, "params": of_new_modules})
    return [group for group in split if group["params"]]


__all__ = ["split_by_learning_rate"]
