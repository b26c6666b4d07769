"""Feature vectors of entity pairs (section 2.1, equations 1 to 3)."""

from typing import Any

import torch
from torch import nn

from .configuration_docre_ii import DocREIIConfig
from .entity_pairs import EntityPairs


# How many weights of pairs and tokens `localized_context` holds at once, and how many pairs the pair encoder takes.
_MOST_WEIGHTS, _MOST_PAIRS = 2**24, 2**14


def pool_mentions(
    mention_states: torch.Tensor, mention_entities: torch.Tensor, num_entities: int, average: bool = False
) -> torch.Tensor:
    r"""
    Pools mentions into entity vectors (logsumexp, equation of section 2.1).

        h(e_i) = log sum_j exp(h(m_j^i))

    over the mentions of the entity (Jia et al., 2019).

    Args:
        mention_states (`torch.FloatTensor` of shape `(batch_size, num_mentions, hidden_size)`):
            Hidden states of the tokens that stand for the mentions.
        mention_entities (`torch.LongTensor` of shape `(batch_size, num_mentions)`):
            Entity of each of them, -1 for padding.
        num_entities (`int`):
            N, the largest number of entities of a document in the batch.
        average (`bool`, *optional*, defaults to `False`):
            Whether to take the mean of the exponentials in place of their sum.

    Returns:
        `torch.FloatTensor` of shape `(batch_size, num_entities, hidden_size)` in float32, zeros for an entity without
        a mention (padding).
    """
    batch_size, _, width = mention_states.shape
    states = mention_states.float()
    spare = num_entities
    entity = torch.where(mention_entities >= 0, mention_entities, spare)[..., None].expand_as(states)
    empty = states.new_full((batch_size, num_entities + 1, width), torch.finfo(states.dtype).min)
    largest = empty.scatter_reduce(1, entity, states.detach(), "amax")
    total = torch.zeros_like(empty).scatter_add(1, entity, (states - largest.gather(1, entity)).exp())
    has_mention = total > 0
    pooled = torch.where(has_mention, total, 1.0).log() + torch.where(has_mention, largest, 0.0)
    pooled = pooled[:, :num_entities]
    if not average:
        return pooled
    entities = torch.arange(num_entities, device=mention_entities.device)
    count = (mention_entities[:, None] == entities[:, None]).sum(-1, keepdim=True)
    return pooled - count.clamp(min=1).to(pooled.dtype).log()


def entity_salience(
    mention_positions: torch.Tensor, mention_entities: torch.Tensor, pairs: EntityPairs
) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Computes how often a document mentions each entity (ours).

    The vector of an entity does not say so if it is a mean, or made of all tokens of its mentions.

    Args:
        mention_positions, mention_entities (`torch.LongTensor` of shape `(batch_size, num_mentions)`):
            Tokens that stand for the mentions, and their entities, -1 for padding. Neighboring tokens of an entity
            are one mention.
        pairs ([`EntityPairs`]):
            Index of the candidate pairs.

    Returns:
        `tuple(torch.FloatTensor)`: of all entities as heads, and as tails, of shape `(batch_size, num_entities, 2)`
        each. The first component is the logarithm of the number of mentions, the second that of its ratio to the
        number of the most mentioned head (tail) of the document.
    """
    follows = (mention_entities[:, 1:] == mention_entities[:, :-1]) & (
        mention_positions[:, 1:] == mention_positions[:, :-1] + 1
    )
    is_first = torch.cat([torch.ones_like(mention_entities[:, :1], dtype=torch.bool), ~follows], dim=1)
    spare = pairs.num_entities
    entity = torch.where(mention_entities >= 0, mention_entities, spare)
    count = torch.zeros(len(entity), spare + 1, device=entity.device).scatter_add(1, entity, is_first.float())
    log_count = count[:, :spare].clamp(min=1).log()

    def beside_others(is_used: torch.Tensor) -> torch.Tensor:
        largest = torch.where(is_used, log_count, 0.0).amax(1, keepdim=True)
        return torch.stack([log_count, log_count - largest], dim=-1)

    return beside_others(pairs.mask.any(2)), beside_others(pairs.mask.any(1))


def localized_context(hidden_states: torch.Tensor, entity_attention: torch.Tensor) -> torch.Tensor:
    r"""
    Computes the localized context of each pair of entities, equation 1.

        c_{s,o} = H^T (A_s * A_o) / (1^T (A_s * A_o))

    The element-wise product is computed per head and averaged over the heads, as in ATLOP.

    Args:
        hidden_states (`torch.FloatTensor` of shape `(batch_size, sequence_length, hidden_size)`):
            H, the output of the encoder.
        entity_attention (`torch.FloatTensor` of shape `(batch_size, num_heads, num_entities, sequence_length)`):
            A, the attention of every entity to all tokens.

    Returns:
        `torch.FloatTensor` of shape `(batch_size, num_entities, num_entities, hidden_size)`. The context of (s, o) is
        that of (o, s). Pairs that attend to no common token have zeros.
    """
    by_token = entity_attention.permute(0, 3, 2, 1)
    num_entities = by_token.shape[2]
    num_at_once = num_entities
    if not torch.compiler.is_compiling():
        # The weights of 300 entities in 25,000 tokens have 9 GB. Compiled and exported graphs have fixed pieces.
        num_at_once = max(1, _MOST_WEIGHTS // max(1, by_token[..., 0].numel()))
    if num_at_once >= num_entities:
        return _context_of_pairs(hidden_states, by_token, by_token)
    heads = by_token.split(num_at_once, dim=2)
    return torch.cat([_context_of_pairs(hidden_states, some, by_token) for some in heads], dim=1)


def _context_of_pairs(hidden_states: torch.Tensor, heads: torch.Tensor, tails: torch.Tensor) -> torch.Tensor:
    weights = (heads @ tails.transpose(2, 3)).permute(0, 2, 3, 1)
    # The number of attention heads cancels out. A tiny sum would have an infinite gradient, so it is not divided by.
    total = weights.sum(-1, keepdim=True)
    weights = weights / torch.where(total > 1e-30, total, 1.0)
    context = weights.flatten(1, 2).to(hidden_states.dtype) @ hidden_states
    return context.view(*weights.shape[:3], hidden_states.shape[-1])


class ContextAwareEntity(nn.Module):
    r"""
    Computes tanh(W [h(e), c]) of all heads, or all tails (equations 2 and 3).

    W is split into one matrix per input, so that W_e h(e) is computed once per entity and not once per pair.

    Args:
        config ([`DocREIIConfig`]):
            Sizes.
        with_document (`bool`, *optional*, defaults to `False`):
            Whether the document vector is a third input, as in the authors' released code.
    """

    def __init__(self, config: DocREIIConfig, with_document: bool = False):
        super().__init__()
        self.entity = nn.Linear(config.hidden_size, config.pair_hidden_size, bias=False)
        self.context = nn.Linear(config.hidden_size, config.pair_hidden_size)
        self.document = nn.Linear(config.hidden_size, config.pair_hidden_size, bias=False) if with_document else None
        self.salience = nn.Linear(2, config.pair_hidden_size, bias=False) if config.entity_salience else None

    def project(
        self,
        entities: torch.Tensor,
        document: torch.Tensor,
        context: torch.Tensor,
        salience: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Projects the vectors of entities, and the contexts of pairs.

        Args:
            entities (`torch.FloatTensor` of shape `(batch_size, num_entities, hidden_size)`):
                Entity vectors.
            document (`torch.FloatTensor` of shape `(batch_size, hidden_size)`):
                Vector of the first token of each document.
            context (`torch.FloatTensor` of shape `(num_contexts, hidden_size)`):
                Localized contexts.
            salience (`torch.FloatTensor` of shape `(batch_size, num_entities, 2)`, *optional*):
                [`entity_salience`], with `config.entity_salience`.

        Returns:
            `tuple(torch.FloatTensor)`: of shapes `(batch_size * num_entities, pair_hidden_size)` and `(num_contexts,
            pair_hidden_size)`.
        """
        projected = self.entity(entities)
        if self.document is not None:
            projected = projected + self.document(document)[:, None]
        if self.salience is not None:
            projected = projected + self.salience(salience)
        return projected.flatten(0, 1), self.context(context)

    def forward(
        self,
        projected: tuple[torch.Tensor, torch.Tensor],
        entity_index: torch.Tensor,
        context_index: torch.Tensor,
    ) -> torch.Tensor:
        """
        Combines entities with the contexts of pairs.

        Args:
            projected (`tuple(torch.FloatTensor)`):
                Entities of all documents and contexts, from [`~ContextAwareEntity.project`].
            entity_index, context_index (`torch.LongTensor` of shape `(num_pairs,)`):
                Entity and context of each candidate pair.

        Returns:
            `torch.FloatTensor` of shape `(num_pairs, pair_hidden_size)`.
        """
        entities, contexts = projected
        return torch.tanh(entities.index_select(0, entity_index) + contexts.index_select(0, context_index))


class ConcatPairEncoder(nn.Module):
    """
    The paper's FNN over the concatenation of head and tail, equations 2 and 3.

    `(num_pairs, pair_hidden_size)` twice -> `(num_pairs, pair_feature_size)`.
    """

    uses_document = False

    def __init__(self, config: DocREIIConfig):
        super().__init__()
        self.intermediate = nn.Linear(2 * config.pair_hidden_size, config.pair_intermediate_size)
        self.output = nn.Linear(config.pair_intermediate_size, config.pair_feature_size)

    def forward(self, head: torch.Tensor, tail: torch.Tensor) -> torch.Tensor:
        return self.output(nn.functional.gelu(self.intermediate(torch.cat([head, tail], dim=-1))))


class GroupedBilinearPairEncoder(nn.Module):
    """
    The pair encoder of the authors' released code: block-wise outer products.

        LayerNorm(ReLU(W vec(head_b tail_b^T)))   over blocks b of `pair_block_size` components

    `(num_pairs, pair_hidden_size)` twice -> `(num_pairs, pair_feature_size)`.
    """

    uses_document = True

    def __init__(self, config: DocREIIConfig):
        super().__init__()
        self.block_size = config.pair_block_size
        self.output = nn.Linear(config.pair_hidden_size * config.pair_block_size, config.pair_feature_size)
        self.layer_norm = nn.LayerNorm(config.pair_feature_size)

    def forward(self, head: torch.Tensor, tail: torch.Tensor) -> torch.Tensor:
        head, tail = head.unflatten(-1, (-1, self.block_size)), tail.unflatten(-1, (-1, self.block_size))
        products = (head[..., :, None] * tail[..., None, :]).flatten(1)
        return self.layer_norm(torch.relu(self.output(products)))


class LowRankBilinearPairEncoder(nn.Module):
    """
    The concatenation of equations 2 and 3 plus a low-rank bilinear form.

        LayerNorm(FNN([head, tail, (U head) * (V tail)]))   (Kim et al., 2017)

    `(num_pairs, pair_hidden_size)` twice -> `(num_pairs, pair_feature_size)`.
    """

    uses_document = False

    def __init__(self, config: DocREIIConfig):
        super().__init__()
        self.head_factor = nn.Linear(config.pair_hidden_size, config.pair_bilinear_rank)
        self.tail_factor = nn.Linear(config.pair_hidden_size, config.pair_bilinear_rank)
        self.intermediate = nn.Linear(
            2 * config.pair_hidden_size + config.pair_bilinear_rank, config.pair_intermediate_size
        )
        self.output = nn.Linear(config.pair_intermediate_size, config.pair_feature_size)
        self.layer_norm = nn.LayerNorm(config.pair_feature_size)

    def forward(self, head: torch.Tensor, tail: torch.Tensor) -> torch.Tensor:
        product = self.head_factor(head) * self.tail_factor(tail)
        hidden = nn.functional.gelu(self.intermediate(torch.cat([head, tail, product], dim=-1)))
        return self.layer_norm(self.output(hidden))


PAIR_ENCODERS: dict[str, Any] = {
    "concat": ConcatPairEncoder,
    "grouped_bilinear": GroupedBilinearPairEncoder,
    "low_rank_bilinear": LowRankBilinearPairEncoder,
}


class PairFeatures(nn.Module):
    """
    Computes F_{s,o} of all candidate pairs, equations 1 to 3.

    Args:
        config ([`DocREIIConfig`]):
            Sizes and the pair encoder.
    """

    def __init__(self, config: DocREIIConfig):
        super().__init__()
        self.average_mentions = config.entity_pooling == "logmeanexp"
        pair_encoder = PAIR_ENCODERS[config.pair_encoder]
        self.head = ContextAwareEntity(config, with_document=pair_encoder.uses_document)
        self.tail = ContextAwareEntity(config, with_document=pair_encoder.uses_document)
        self.pair_encoder = pair_encoder(config)

    def forward(
        self,
        hidden_states: torch.Tensor,
        entity_attention: torch.Tensor,
        mention_positions: torch.Tensor,
        mention_entities: torch.Tensor,
        pairs: EntityPairs,
    ) -> torch.Tensor:
        """
        Computes a feature vector for each candidate pair.

        Args:
            hidden_states (`torch.FloatTensor` of shape `(batch_size, sequence_length, hidden_size)`):
                H, the output of the encoder.
            entity_attention (`torch.FloatTensor` of shape `(batch_size, num_heads, num_entities, sequence_length)`):
                A, the attention of every entity to all tokens.
            mention_positions, mention_entities (`torch.LongTensor` of shape `(batch_size, num_mentions)`):
                Tokens that stand for the mentions, and their entities, -1 for padding.
            pairs ([`EntityPairs`]):
                Index of the candidate pairs.

        Returns:
            `torch.FloatTensor` of shape `(num_pairs, pair_feature_size)`.
        """
        num_entities = pairs.num_entities
        positions = mention_positions.clamp(min=0)[..., None].expand(-1, -1, hidden_states.shape[-1])
        # Pooling runs in float32 in any case. The rest runs in the type of the weights, unless they are quantized.
        weight = self.head.entity.weight
        is_float = isinstance(weight, torch.Tensor) and weight.is_floating_point()
        dtype = weight.dtype if is_float else hidden_states.dtype
        mentions = hidden_states.gather(1, positions)
        entities = pool_mentions(mentions, mention_entities, num_entities, self.average_mentions).to(dtype)
        hidden_states = hidden_states.to(dtype)
        places, context_index = pairs.unordered()
        context = localized_context(hidden_states, entity_attention).flatten(0, 2).index_select(0, places)
        inputs, first_entity = (entities, hidden_states[:, 0], context), pairs.document * num_entities
        salience = (None, None)
        if self.head.salience is not None:
            salience = tuple(
                values.to(dtype) for values in entity_salience(mention_positions, mention_entities, pairs)
            )
        heads, tails = self.head.project(*inputs, salience[0]), self.tail.project(*inputs, salience[1])

        def encode(head: torch.Tensor, tail: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
            return self.pair_encoder(self.head(heads, head, context), self.tail(tails, tail, context))

        rows = (first_entity + pairs.head, first_entity + pairs.tail, context_index)
        if torch.compiler.is_compiling() or len(context_index) <= _MOST_PAIRS:
            return encode(*rows)
        return torch.cat([encode(*some) for some in zip(*(index.split(_MOST_PAIRS) for index in rows))])
