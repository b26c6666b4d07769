"""Batches of waiting documents, within a budget of documents, tokens and entity pairs."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Budget:
    """
    Largest size of a batch, padding included.

    Args:
        max_documents (`int`): Number of documents.
        max_tokens (`int`): Number of documents * the largest number of tokens.
        max_pairs (`int`): Number of documents * the square of the largest number of entities.
    """

    max_documents: int
    max_tokens: int
    max_pairs: int

    def holds(self, num_documents: int, num_tokens: int, num_entities: int) -> bool:
        """Returns whether a batch of documents, the largest of this size, is within the budget."""
        return (
            num_documents <= self.max_documents
            and num_documents * num_tokens <= self.max_tokens
            and num_documents * num_entities**2 <= self.max_pairs
        )


@dataclass(frozen=True)
class WaitingDocument:
    """
    A document that waits for its batch.

    Args:
        request (`str`): Id of its request.
        index (`int`): Its place in the request.
        encoded (`Any`): What the pipeline made of it.
        parameters (`dict`): Parameters of its request.
        num_tokens (`int`): Number of tokens.
        num_entities (`int`): Number of entities.
    """

    request: str
    index: int
    encoded: Any
    parameters: dict[str, Any]
    num_tokens: int
    num_entities: int


def take_batch(waiting: list[WaitingDocument], budget: Budget) -> list[WaitingDocument]:
    """
    Takes the next batch from the waiting documents.

    The first document is always in it, so that no document waits forever. Documents with the same parameters join it
    as long as the budget allows, those closest in length first, which need the least padding.

    Args:
        waiting (`list[WaitingDocument]`):
            The documents in the order of their arrival. Those that are taken are removed.
        budget ([`Budget`]):
            Largest size of the batch. A single document is taken even if it is larger.

    Returns:
        `list[WaitingDocument]`: the batch, empty if no document is waiting.
    """
    if not waiting:
        return []
    first = waiting[0]
    batch, num_tokens, num_entities = [first], first.num_tokens, first.num_entities
    alike = (other for other in waiting[1:] if other.parameters == first.parameters)
    for other in sorted(alike, key=lambda other: abs(other.num_tokens - first.num_tokens)):
        grown = max(num_tokens, other.num_tokens), max(num_entities, other.num_entities)
        if budget.holds(len(batch) + 1, *grown):
            batch.append(other)
            num_tokens, num_entities = grown
    taken = {(document.request, document.index) for document in batch}
    waiting[:] = [document for document in waiting if (document.request, document.index) not in taken]
    return batch
