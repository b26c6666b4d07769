"""Attention between the entity pairs of a document: Extended Cross Attention, equations 5 to 7."""

from dataclasses import dataclass

import torch
from torch import nn

from .configuration_docre_ii import DocREIIConfig


# Row s, column s, row o and column o of the matrix of pairs, for a pair (s, o).
NUM_HEADS = 4


@dataclass
class PairLayout:
    """
    Which pairs attend to which: the sequences that attention runs over, and where each candidate pair stands in them.

    Args:
        query_slots, key_slots (`torch.LongTensor` of shape `(num_pairs, 4)`):
            Place of every pair, as a query and as a key of each head, in the flattened sequences.
        has_key (`torch.BoolTensor` of shape `(num_sequences, sequence_length)`):
            Where a sequence holds a candidate pair.
    """

    query_slots: torch.LongTensor
    key_slots: torch.LongTensor
    has_key: torch.BoolTensor

    @classmethod
    def of_overlapping_pairs(cls, pair_mask: torch.Tensor) -> "PairLayout":
        """
        Pair (s, o) attends to row s, column s, row o and column o, of which it is itself a part, as equation 5 has it:
        4 N sequences of N pairs for each document of `pair_mask`, of shape `(batch_size, num_entities, num_entities)`.
        """
        batch_size, size = pair_mask.shape[:2]
        document, head, tail = pair_mask.nonzero(as_tuple=True)
        sequence = (document[:, None] * NUM_HEADS + torch.arange(NUM_HEADS, device=document.device)) * size
        query_line, query_place = torch.stack([head, head, tail, tail], 1), torch.stack([tail, tail, head, head], 1)
        key_line, key_place = torch.stack([head, tail, head, tail], 1), torch.stack([tail, head, tail, head], 1)
        columns = pair_mask.transpose(1, 2)
        return cls(
            query_slots=(sequence + query_line) * size + query_place,
            key_slots=(sequence + key_line) * size + key_place,
            has_key=torch.stack([pair_mask, columns, pair_mask, columns], 1).view(batch_size * NUM_HEADS * size, size),
        )

    @classmethod
    def of_all_pairs(cls, pair_mask: torch.Tensor) -> "PairLayout":
        """Every pair attends to all pairs of its document with each head (the paper's ablation without ECA)."""
        document = pair_mask.nonzero(as_tuple=True)[0]
        count = pair_mask.sum((1, 2))
        # A graph that is compiled or exported cannot have a size that depends on values, and has room for all pairs.
        length = pair_mask[0].numel() if torch.compiler.is_compiling() else max(int(count.max()), 1)
        place = torch.arange(document.shape[0], device=document.device) - (count.cumsum(0) - count)[document]
        sequence = document[:, None] * NUM_HEADS + torch.arange(NUM_HEADS, device=document.device)
        slots = sequence * length + place[:, None]
        has_key = torch.arange(length, device=document.device) < count[:, None]
        return cls(query_slots=slots, key_slots=slots, has_key=has_key.repeat_interleave(NUM_HEADS, 0))

    def place(self, values: torch.Tensor, slots: torch.Tensor) -> torch.Tensor:
        """`(num_pairs, width)`, cut into heads -> `(num_sequences, 1, sequence_length, width / 4)`, else zeros."""
        values = values.unflatten(-1, (NUM_HEADS, -1)).flatten(0, 1)
        placed = values.new_zeros(self.has_key.numel(), values.shape[-1]).index_copy(0, slots.flatten(), values)
        return placed.view(self.has_key.shape[0], 1, self.has_key.shape[1], -1)

    def collect(self, sequences: torch.Tensor) -> torch.Tensor:
        """`(num_sequences, 1, sequence_length, width)` -> `(num_pairs, 4 * width)`, what the queries found."""
        found = sequences.flatten(0, 2).index_select(0, self.query_slots.flatten())
        return found.view(self.query_slots.shape[0], NUM_HEADS * sequences.shape[-1])


class ExtendedCrossAttention(nn.Module):
    r"""
    Extended Cross Attention: each head of a pair (s, o) attends to one line of overlapping pairs, equations 5 to 7:

        head_1 = Attention(X[s, o] W_1^Q, M[s, *] W_1^K, M[s, *] W_1^V),   head_2: M[*, s],
        head_3: M[o, *],   head_4: M[*, o],   ECA = [head_1, ..., head_4] W_O,   M = [F, R],

    with X = F in the feature-level unit and X = R in the relation-level unit. It runs as batched attention over 4 N
    sequences of N pairs, in O(N^2 d + N^3) memory. A head whose line has no candidate pair gives 0.

    The matrices that act on M are kept as one for F and one for R, so that the part of either can be computed alone.

    Args:
        config ([`DocREIIConfig`]):
            `inference_hidden_size` is the width d.
    """

    def __init__(self, config: DocREIIConfig):
        super().__init__()
        width = config.inference_hidden_size
        # Without biases on what may be a relation: the projection of a sum of embeddings is the sum of projections.
        self.query = nn.Linear(width, width, bias=False)
        self.feature_key_value = nn.Linear(width, 2 * width)
        self.relation_key_value = nn.Linear(width, 2 * width, bias=False)
        self.output = nn.Linear(width, width)

    def forward(
        self, query: torch.Tensor, key_value: torch.Tensor, layout: PairLayout, output_attentions: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """
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
            sequence_length)`, zeros where there is no candidate pair, or `None`.
        """
        key, value = key_value.chunk(2, dim=-1)
        query = layout.place(query, layout.query_slots)
        key, value = layout.place(key, layout.key_slots), layout.place(value, layout.key_slots)
        # Where a line holds no candidate all is open: softmax stays finite, and the values there are zeros.
        mask = (layout.has_key | ~layout.has_key.any(-1, keepdim=True))[:, None, None]
        context = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        attentions = None
        if output_attentions:
            scores = (query @ key.transpose(2, 3)).float() / query.shape[-1] ** 0.5
            probabilities = scores.masked_fill(~mask, float("-inf")).softmax(-1) * layout.has_key[:, None, None]
            attentions = layout.collect(probabilities).unflatten(-1, (NUM_HEADS, -1))
        return self.output(layout.collect(context)), attentions
