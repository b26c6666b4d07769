"""The model inside the wrappers of a Trainer, and saving a sharded one."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from transformers import PreTrainedModel

from ..modeling_docre_ii import DocREIIForRelationExtraction


@contextmanager
def unsharded_class(model: nn.Module) -> Iterator[None]:
    """
    Gives a model that FSDP 2 has sharded its original class, within the context.

    `fully_shard` makes a new class for each model. `save_pretrained` writes the name and the code of the model's
    class, and nobody could load a checkpoint of that new class.

    Args:
        model (`nn.Module`):
            A model, sharded or not.
    """
    sharded = type(model)
    classes = (base for base in sharded.__mro__ if issubclass(base, PreTrainedModel))
    model.__class__ = next((base for base in classes if not base.__module__.startswith("torch.")), sharded)
    try:
        yield
    finally:
        model.__class__ = sharded


def docre_ii_of(model: nn.Module) -> DocREIIForRelationExtraction:
    """Returns the model inside the wrappers of accelerate and peft."""
    return next(module for module in model.modules() if isinstance(module, DocREIIForRelationExtraction))


__all__ = ["docre_ii_of", "unsharded_class"]
