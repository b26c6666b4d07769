"""Extended Cross Attention between entity pairs (equations 5 to 7)."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import torch
from torch import nn

from .configuration_docre_ii import DocREIIConfig
from .entity_pairs import EntityPairs


# Row s, column s, row o and column o of the matrix of pairs, for a pair (s, o).
NUM_HEADS = 4
# How many places of lines an attention unit fills at once.
_MOST_PLACES = 2**17


@dataclass
class PairLayout:
    """
    Layout of the attention between pairs: which pairs attend to which.

    Each head runs over lines of pairs. The layout says which pairs are in a line, and where each candidate pair is a
    query.

    Args:
        queries, keys (`torch.LongTensor` of shape `(batch_size, 4, num_lines, line_length)`):
            The candidate pair at every place, as a query and as a key of each head. The number of candidate pairs
            marks a place without one. The lines of all documents may be together, and `batch_size` is then 1.
        has_key (`torch.BoolTensor` of shape `(batch_size, 4, num_lines, line_length)`):
            Whether there is a candidate pair at this place.
        query_slots (`torch.LongTensor` of shape `(num_pairs, 4)`):
            Place of every pair as a query of each head, in the flattened lines.
    """

    queries: torch.LongTensor
    keys: torch.LongTensor
    has_key: torch.BoolTensor
    query_slots: torch.LongTensor

    @classmethod
    def of(cls, pairs: EntityPairs, config: DocREIIConfig, output_attentions: bool = False) -> "PairLayout":
        """
        Lays out the attention of an inference module.

        Args:
            pairs ([`EntityPairs`]):
                Pairs that attend to each other.
            config ([`DocREIIConfig`]):
                `cross_attention`, and `inference_margin`, which leaves few pairs.
            output_attentions (`bool`, *optional*, defaults to `False`):
                Whether probabilities are wanted, for which a place in a line must be that of an entity.
        """
        if config.cross_attention == "full":
            return cls.of_all_pairs(pairs)
        # Sizes in a compiled or exported graph cannot depend on values.
        if config.inference_margin is None or output_attentions or torch.compiler.is_compiling():
            return cls.of_overlapping_pairs(pairs)
        return cls.of_few_pairs(pairs)

    @classmethod
    def of_overlapping_pairs(cls, pairs: EntityPairs) -> "PairLayout":
        """
        Lays out Extended Cross Attention, equation 5.

        Pair (s, o) attends to row s, column s, row o and column o, itself included: 4 N lines of N pairs for each
        document.
        """
        size, mask = pairs.num_entities, pairs.mask
        rows = _numbers(mask)
        columns, has_column = rows.transpose(1, 2), mask.transpose(1, 2)
        # Pairs query from the line of their head s in the first two heads, from that of their tail o in the others.
        line = torch.stack([pairs.head, pairs.head, pairs.tail, pairs.tail], 1)
        place = torch.stack([pairs.tail, pairs.tail, pairs.head, pairs.head], 1)
        return cls(
            queries=torch.stack([rows, rows, columns, columns], 1),
            keys=torch.stack([rows, columns, rows, columns], 1),
            has_key=torch.stack([mask, has_column, mask, has_column], 1),
            query_slots=(_first_of_each_head(pairs.document) * size + line) * size + place,
        )

    @classmethod
    def of_few_pairs(cls, pairs: EntityPairs) -> "PairLayout":
        """
        Lays out Extended Cross Attention over a small share of the pairs.

        It attends as [`PairLayout.of_overlapping_pairs`] does, but over fewer and shorter lines: one for each entity
        that is in a pair, as long as the largest number of pairs of a row or column. A place in a line no longer says
        which entity it is, and the sizes depend on the values of the mask.
        """
        mask, size, count = pairs.mask, pairs.num_entities, pairs.place.shape[0]
        is_used = (mask.any(1) | mask.any(2)).flatten()
        number = is_used.cumsum(0) - 1
        of_head, of_tail = (number[pairs.document * size + entity] for entity in (pairs.head, pairs.tail))
        in_row, in_column = ((mask.cumsum(dim) - 1).flatten()[pairs.place] for dim in (2, 1))
        shape = (int(is_used.sum()), max(int(mask.sum(1).max()), int(mask.sum(2).max()), 1))
        rows, columns = (torch.full(shape, count, device=mask.device) for _ in range(2))
        rows[of_head, in_row] = columns[of_tail, in_column] = torch.arange(count, device=mask.device)
        keys = torch.stack([rows, columns, rows, columns])[None]
        line = torch.stack([of_head, of_head, of_tail, of_tail], 1)
        place = torch.stack([in_row, in_row, in_column, in_column], 1)
        return cls(
            queries=torch.stack([rows, rows, columns, columns])[None],
            keys=keys,
            has_key=keys < count,
            query_slots=(torch.arange(NUM_HEADS, device=mask.device) * shape[0] + line) * shape[1] + place,
        )

    @classmethod
    def of_all_pairs(cls, pairs: EntityPairs) -> "PairLayout":
        """
        Lays out full attention, the paper's ablation without ECA.

        Every pair attends to all pairs of its document with each head: 4 lines, each as long as the largest number of
        pairs of a document.
        """
        document, mask = pairs.document, pairs.mask
        count = mask.sum((1, 2))
        # Sizes in a compiled or exported graph cannot depend on values, so it has room for all pairs.
        length = mask[0].numel() if torch.compiler.is_compiling() else max(int(count.max()), 1)
        first, place = count.cumsum(0) - count, torch.arange(length, device=document.device)
        has_key = place < count[:, None]
        keys = torch.where(has_key, first[:, None] + place, count.sum())[:, None, None].expand(-1, NUM_HEADS, -1, -1)
        number = torch.arange(document.shape[0], device=document.device)
        return cls(
            queries=keys,
            keys=keys,
            has_key=has_key[:, None, None].expand(-1, NUM_HEADS, -1, -1),
            query_slots=_first_of_each_head(document) * length + (number - first[document])[:, None],
        )

    def split(self) -> list["PairLayout"]:
        """
        Splits the layout into some lines each.

        The vectors at all places of a document with 300 entities have three times the size of those of its pairs.

        Returns:
            `list[PairLayout]`: as few as are needed, each with a part of the lines and the `query_slots` of all.
        """
        batch_size, num_heads, num_lines, length = self.queries.shape
        if torch.compiler.is_compiling():
            # The number of pieces in a compiled or exported graph cannot depend on sizes.
            return [self]
        num_at_once = max(1, _MOST_PLACES // max(1, batch_size * num_heads * length))
        lines = (indices.split(num_at_once, dim=2) for indices in (self.queries, self.keys, self.has_key))
        return [replace(self, queries=queries, keys=keys, has_key=has_key) for queries, keys, has_key in zip(*lines)]

    def place(self, values: torch.Tensor, pairs: torch.Tensor, num_parts: int = 1) -> tuple[torch.Tensor, ...]:
        """
        Places vectors of pairs in the lines of each head.

        Args:
            values (`torch.FloatTensor` of shape `(num_pairs, num_parts * width)`):
                The vectors, each of `num_parts` parts that are split into heads.
            pairs (`torch.LongTensor` of shape `(batch_size, 4, num_lines, line_length)`):
                `queries` or `keys`.
            num_parts (`int`, *optional*, defaults to 1):
                Number of parts.

        Returns:
            `tuple(torch.FloatTensor)`: for every part, a tensor of shape `(batch_size * 4, num_lines, line_length,
            width / 4)`, zeros at places without a pair.
        """
        # One pass over memory. A place without a pair reads the row of zeros.
        values = torch.cat([values, values.new_zeros(1, values.shape[1])])
        rows = values.reshape(values.shape[0] * num_parts * NUM_HEADS, -1)
        head = torch.arange(NUM_HEADS, device=pairs.device)[:, None, None]
        index = pairs * (num_parts * NUM_HEADS) + head
        shape = (*pairs.flatten(0, 1).shape, rows.shape[-1])
        return tuple(
            rows.index_select(0, (index + part * NUM_HEADS).flatten()).view(shape) for part in range(num_parts)
        )

    def collect(self, lines: torch.Tensor) -> torch.Tensor:
        """
        Collects the results of the queries.

        `(batch_size * 4, num_lines, line_length, width)` -> `(num_pairs, 4 * width)`.
        """
        lines = lines.flatten(0, 2)
        if torch.compiler.is_compiling():
            # As a view of one selection, with a number of pairs that the graph computes (`inference_margin`), inductor
            # of torch 2.13 writes code for the CPU that reads wrong rows.
            return torch.cat([lines.index_select(0, slots) for slots in self.query_slots.unbind(1)], dim=-1)
        found = lines.index_select(0, self.query_slots.flatten())
        return found.view(self.query_slots.shape[0], NUM_HEADS * lines.shape[-1])


def _numbers(pair_mask: torch.Tensor) -> torch.Tensor:
    """Returns the row of each candidate pair, and the number of rows for all others."""
    number = pair_mask.flatten().cumsum(0)
    return torch.where(pair_mask, number.view_as(pair_mask) - 1, number[-1])


def _first_of_each_head(document: torch.Tensor) -> torch.Tensor:
    return document[:, None] * NUM_HEADS + torch.arange(NUM_HEADS, device=document.device)


class Projections(NamedTuple):
    """
    One input of an inference layer, F or R, with its projections.

    Each is a function that returns a tensor: with many entities, all of them at once would take much memory.

    Args:
        value (`Callable`):
            The input itself, `torch.FloatTensor` of shape `(rows, width)`.
        query (`Callable`):
            Queries of the attention unit of this input, of shape `(rows, width)`.
        feature_key_value, relation_key_value (`Callable`):
            Its share in the keys and values of the feature-level and of the relation-level unit, of shape
            `(rows, 2 * width)`.
    """

    value: Callable[[], torch.Tensor]
    query: Callable[[], torch.Tensor]
    feature_key_value: Callable[[], torch.Tensor]
    relation_key_value: Callable[[], torch.Tensor]

    def map(self, function: Callable[[torch.Tensor], torch.Tensor]) -> "Projections":
        """Applies a function to each tensor, when it is needed."""
        return Projections(*(lambda part=part: function(part()) for part in self))

    def computed(self) -> "Projections":
        """Computes all tensors now, and keeps them."""
        return Projections(*(partial(unchanged, part()) for part in self))


def unchanged(values: torch.Tensor) -> torch.Tensor:
    """Returns its argument, so that a computed tensor can be part of [`Projections`]."""
    return values


class ExtendedCrossAttention(nn.Module):
    r"""
    Extended Cross Attention between overlapping pairs, equations 5 to 7.

    Each head of a pair (s, o) attends to one line of overlapping pairs:

        head_1 = Attention(X[s, o] W_1^Q, M[s, *] W_1^K, M[s, *] W_1^V),   head_2: M[*, s],
        head_3: M[o, *],   head_4: M[*, o],   ECA = [head_1, ..., head_4] W_O,   M = [F, R],

    with X = F in the feature-level unit and X = R in the relation-level unit. It runs as batched attention over 4 N
    lines of N pairs, in O(N^2 d + N^3) memory. A head whose line has no candidate pair gives 0.

    The matrices that act on M are split into one for F and one for R, so that the part of either is computed alone.

    Args:
        config ([`DocREIIConfig`]):
            `inference_hidden_size` is the width d.
    """

    def __init__(self, config: DocREIIConfig):
        super().__init__()
        width = config.inference_hidden_size
        # Relations have no bias: the projection of a sum of embeddings is the sum of their projections.
        self.query = nn.Linear(width, width, bias=False)
        self.feature_key_value = nn.Linear(width, 2 * width)
        self.relation_key_value = nn.Linear(width, 2 * width, bias=False)
        self.output = nn.Linear(width, width)

    def forward(
        self, query: torch.Tensor, key_value: torch.Tensor, layout: PairLayout, output_attentions: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """
        Attends to the lines of every pair.

        Args:
            query (`torch.FloatTensor` of shape `(num_pairs, width)`):
                X W^Q of the candidate pairs.
            key_value (`torch.FloatTensor` of shape `(num_pairs, 2 * width)`):
                M [W^K, W^V] of the candidate pairs.
            layout ([`PairLayout`]):
                Which pairs attend to which.
            output_attentions (`bool`, *optional*, defaults to `False`):
                Whether to compute the attention probabilities as well.

        Returns:
            `tuple(torch.FloatTensor)`: of shape `(num_pairs, width)`, and the probabilities of shape `(num_pairs, 4,
            line_length)`, zeros where there is no candidate pair, or `None`.
        """
        context, attentions = self._attend(query, key_value, layout, output_attentions)
        return self.output(context), attentions

    def _attend(
        self, query: torch.Tensor, key_value: torch.Tensor, layout: PairLayout, output_attentions: bool
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        results = [self._attend_in_lines(query, key_value, lines, output_attentions) for lines in layout.split()]
        contexts, probabilities = zip(*results)
        context = layout.collect(torch.cat(contexts, dim=1))
        if not output_attentions:
            return context, None
        return context, layout.collect(torch.cat(probabilities, dim=1)).unflatten(-1, (NUM_HEADS, -1))

    def _attend_in_lines(
        self, query: torch.Tensor, key_value: torch.Tensor, layout: PairLayout, output_attentions: bool
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Returns contexts and probabilities at the places of the queries."""
        (query,) = layout.place(query, layout.queries)
        key, value = layout.place(key_value, layout.keys, num_parts=2)
        has_key = layout.has_key.flatten(0, 1)[:, :, None]
        # Lines without candidates attend everywhere, so the softmax stays finite; the values there are zeros.
        mask = has_key | ~has_key.any(-1, keepdim=True)
        context = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        if not output_attentions:
            return context, None
        scores = (query @ key.transpose(2, 3)).float() / query.shape[-1] ** 0.5
        return context, scores.masked_fill(~mask, float("-inf")).softmax(-1) * has_key
