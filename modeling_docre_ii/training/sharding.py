"""What a model that FSDP has sharded needs to be saved as any other."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from transformers import PreTrainedModel


@contextmanager
def as_own_class(model: nn.Module) -> Iterator[None]:
    """
    Gives a model that FSDP 2 has sharded its own class back for a while.

    `fully_shard` makes a class of its own for each model, and transformers saves the code of the class that a model
    has: torch's, with a name that nobody can load.

    Args:
        model (`nn.Module`):
            A model, sharded or not.
    """
    found = type(model)
    own = (base for base in found.__mro__ if issubclass(base, PreTrainedModel))
    model.__class__ = next((base for base in own if not base.__module__.startswith("torch.")), found)
    try:
        yield
    finally:
        model.__class__ = found


__all__ = ["as_own_class"]
