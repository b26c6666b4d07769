"""Candidate pairs of entities, as rows and as matrices."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch

from .quoting import lone_surrogate, quote


class EntityPairs(NamedTuple):
    """
    Index of the candidate pairs of a batch, in the order of `mask.nonzero()`.

    From the base module to the losses, features, logits and labels are rows, one per candidate pair. Users see
    matrices in [`DocREIIOutput`]. [`EntityPairs.to_matrix`] and [`EntityPairs.to_rows`] convert between the two.

    Args:
        mask (`torch.BoolTensor` of shape `(batch_size, num_entities, num_entities)`):
            Candidate pairs (head, tail).
        document, head, tail (`torch.LongTensor` of shape `(num_pairs,)`):
            Document, head and tail of each candidate pair.
        place (`torch.LongTensor` of shape `(num_pairs,)`):
            Place of each candidate pair in the flattened matrices of all documents.
    """

    mask: torch.Tensor
    document: torch.Tensor
    head: torch.Tensor
    tail: torch.Tensor
    place: torch.Tensor

    @classmethod
    def from_mask(cls, mask: torch.Tensor) -> "EntityPairs":
        """Indexes candidate pairs of shape `(batch_size, num_entities, num_entities)`."""
        mask = mask.bool()
        document, head, tail = mask.nonzero(as_tuple=True)
        num_entities = mask.shape[1]
        return cls(mask, document, head, tail, (document * num_entities + head) * num_entities + tail)

    @property
    def num_documents(self) -> int:
        """B, the number of documents in the batch."""
        return self.mask.shape[0]

    @property
    def num_entities(self) -> int:
        """N, the largest number of entities of a document in the batch."""
        return self.mask.shape[1]

    def to_matrix(self, rows: torch.Tensor) -> torch.Tensor:
        """
        Converts rows to matrices, with zeros outside the candidate pairs.

        `(num_pairs, width)` -> `(batch_size, num_entities, num_entities, width)`.
        """
        rows = rows.to(self.place.device)  # with `device_map`, a module may be elsewhere
        matrix = rows.new_zeros(self.mask.numel(), rows.shape[-1]).index_copy(0, self.place, rows)
        return matrix.view(*self.mask.shape, rows.shape[-1])

    def to_rows(self, matrix: torch.Tensor) -> torch.Tensor:
        """
        Converts matrices to rows, the candidate pairs: `matrix[mask]`, but faster.

        `(batch_size, num_entities, num_entities, width)` -> `(num_pairs, width)`.
        """
        return matrix.flatten(0, 2).index_select(0, self.place)

    def of_documents(self, chosen: torch.Tensor) -> "EntityPairs":
        """Indexes the pairs of chosen documents, a bool tensor of shape `(batch_size,)`."""
        return EntityPairs.from_mask(self.mask[chosen])

    def unordered(self) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Finds the unordered pairs.

        The context of (s, o) is that of (o, s), so it is projected once for both.

        Returns:
            `tuple(torch.LongTensor)`: the place of every unordered pair in the flattened matrices of all documents, of
            shape `(num_unordered,)`, and the unordered pair of every candidate pair, of shape `(num_pairs,)`.
        """
        first, second = torch.minimum(self.head, self.tail), torch.maximum(self.head, self.tail)
        place = (self.document * self.num_entities + first) * self.num_entities + second
        is_used = torch.zeros(self.mask.numel(), dtype=torch.bool, device=place.device)
        is_used = is_used.index_put((place,), is_used.new_ones(()))
        return is_used.nonzero()[:, 0], (is_used.cumsum(0) - 1).index_select(0, place)


class ActivePairs(NamedTuple):
    """
    The candidate pairs that the inference module refines.

    Args:
        rows (`torch.LongTensor` of shape `(num_active_pairs,)`, or `None` for all):
            Their rows among the candidate pairs.
        pairs ([`EntityPairs`]):
            Their index.
        num_pairs (`int`):
            Number of candidate pairs.
    """

    rows: torch.Tensor | None
    pairs: EntityPairs
    num_pairs: int

    @classmethod
    def within_margin(cls, logits: torch.Tensor, pairs: EntityPairs, margin: float | None) -> "ActivePairs":
        """
        Leaves out the pairs that certainly have no relation.

        Args:
            logits (`torch.FloatTensor` of shape `(num_pairs, num_labels)`):
                Relation logits, the threshold class first.
            pairs ([`EntityPairs`]):
                Index of the candidate pairs.
            margin (`float`, *optional*):
                How far below the threshold class all relations of a pair must be, for it to be left out. `None` keeps
                all pairs.
        """
        if margin is None:
            return cls(None, pairs, logits.shape[0])
        is_active = logits[:, 1:].amax(-1) > logits[:, 0] - margin
        mask = pairs.mask.new_zeros(pairs.mask.numel()).index_copy(0, pairs.place, is_active).view_as(pairs.mask)
        return cls(is_active.nonzero()[:, 0], EntityPairs.from_mask(mask), logits.shape[0])

    def select(self, values: torch.Tensor) -> torch.Tensor:
        """Selects the active pairs: `(num_pairs, ...)` -> `(num_active_pairs, ...)`."""
        return values if self.rows is None else values.index_select(0, self.rows)

    def merge(self, values: torch.Tensor | None, refined: torch.Tensor) -> torch.Tensor:
        """
        Puts what was computed for the active pairs in the place of what all pairs have.

        Args:
            values (`torch.Tensor` of shape `(num_pairs, ...)`, *optional*):
                What the other pairs keep. Defaults to zeros.
            refined (`torch.Tensor` of shape `(num_active_pairs, ...)`):
                What the active pairs get.

        Returns:
            `torch.Tensor` of shape `(num_pairs, ...)`.
        """
        if self.rows is None:
            return refined
        if values is None:
            values = refined.new_zeros(self.num_pairs, *refined.shape[1:])
        return values.to(refined.dtype).index_copy(0, self.rows, refined)


def require_pair_inputs(
    mention_positions: torch.Tensor | None, mention_entities: torch.Tensor | None, pair_mask: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """
    Returns the inputs that define mentions and pairs, if all are given.

    Raises:
        `ValueError`: one of them is missing or not a tensor.
    """
    if mention_positions is None or mention_entities is None or pair_mask is None:
        raise ValueError(
            "the model needs `mention_positions`, `mention_entities` and `pair_mask`: pass all that "
            "`processor(documents, return_tensors='pt')` returns"
        )
    if not isinstance(pair_mask, torch.Tensor):
        raise ValueError("the model needs tensors, not lists: call the processor with `return_tensors='pt'`")
    return mention_positions, mention_entities, pair_mask


def candidate_pairs(
    document: Mapping[str, Any], candidate_types: Sequence[Sequence[str]] | None, skip_uncounted: bool = False
) -> list[list[bool]]:
    """
    Finds the pairs of entities of a document that can be related.

    Args:
        document (`dict`):
            A document in DocRED's form.
        candidate_types (`list[list[str]]`, *optional*):
            Allowed types (head, tail). Defaults to every pair of different entities.
        skip_uncounted (`bool`, *optional*, defaults to `False`):
            Whether to leave out the pairs in `uncounted`.

    Returns:
        `list[list[bool]]`: a matrix of N rows (heads) and N columns (tails), the diagonal `False`.
    """
    pair_mask = _allowed_pairs(document, candidate_types)
    for pair in (document.get("uncounted") or ()) if skip_uncounted else ():
        pair_mask[pair["h"]][pair["t"]] = False
    return pair_mask


def _allowed_pairs(document: Mapping[str, Any], candidate_types: Sequence[Sequence[str]] | None) -> list[list[bool]]:
    num_entities = len(document["vertexSet"])
    if candidate_types is None:
        return [[head != tail for tail in range(num_entities)] for head in range(num_entities)]
    types = [{mention["type"] for mention in mentions} for mentions in document["vertexSet"]]
    allowed = [tuple(pair) for pair in candidate_types]
    return [
        [
            head != tail and any(first in types[head] and second in types[tail] for first, second in allowed)
            for tail in range(num_entities)
        ]
        for head in range(num_entities)
    ]


def check_candidate_types(candidate_types: Sequence[Sequence[str]] | None) -> list[list[str]] | None:
    """
    Checks `candidate_types` of [`DocREIIProcessor`].

    Raises:
        `ValueError`: they do not list pairs of types.
    """
    if candidate_types is None:
        return None
    for types in candidate_types if isinstance(candidate_types, (list, tuple)) else [candidate_types]:
        if not _are_types(types) or len(types) != 2:
            raise ValueError(f"`candidate_types` must list pairs of types [head, tail], got {quote(types)}")
    return [list(types) for types in candidate_types]


def check_entity_types(entity_types: Sequence[str] | None) -> list[str] | None:
    """
    Checks `entity_types` of [`DocREIIProcessor`].

    Raises:
        `ValueError`: they are no list of types.
    """
    if entity_types is None:
        return None
    if not _are_types(entity_types):
        raise ValueError(f"`entity_types` must be a list of types, got {quote(entity_types)}")
    return list(entity_types)


def _are_types(types: Any) -> bool:
    is_list = isinstance(types, (list, tuple))
    return is_list and all(isinstance(kind, str) and not lone_surrogate(kind) for kind in types)


def dense_labels(facts: torch.Tensor, num_entities: int, num_labels: int) -> torch.Tensor:
    """
    Converts facts to a dense tensor, on their own device.

    Args:
        facts (`torch.LongTensor` of shape `(batch_size, num_facts, 3)`):
            Head, tail and relation of each fact, -100 for padding.
        num_entities (`int`):
            N, the largest number of entities of a document in the batch.
        num_labels (`int`):
            R, the threshold class included.

    Returns:
        `torch.BoolTensor` of shape `(batch_size, num_entities, num_entities, num_labels)`.

    Raises:
        `ValueError`: a fact is on an entity, or has a class, that there is not. On a GPU, it would end the process.
    """
    dense = torch.zeros(facts.shape[0], num_entities, num_entities, num_labels, dtype=torch.bool, device=facts.device)
    document, fact = (facts[..., 0] >= 0).nonzero(as_tuple=True)
    given = facts[document, fact]
    if (
        not torch.compiler.is_compiling()
        and (given >= given.new_tensor([num_entities, num_entities, num_labels])).any()
    ):
        largest = given.max(0).values.tolist()
        raise ValueError(
            f"the labels have entities up to {max(largest[:2])} and classes up to {largest[2]}, but the documents "
            f"have {num_entities} entities and the model {num_labels} classes: they are of another processor"
        )
    head, tail, relation = given.unbind(-1)
    dense[document, head, tail, relation] = True
    return dense
