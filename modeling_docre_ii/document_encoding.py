"""Encodes documents of any length: hidden states and attention of entities."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedConfig, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask


# Name of the attention function that encoders run in place of sdpa: sdpa that also returns the last layer's rows of
# the mentions. It must not contain "sdpa" or "flash", which transformers treats specially.
MENTION_ROWS = "docre_ii_mention_rows"


@dataclass
class DocumentEncoding:
    """
    Output of the encoder for a batch of documents.

    Args:
        last_hidden_state (`torch.FloatTensor` of shape `(batch_size, sequence_length, hidden_size)`):
            The hidden states.
        entity_attention (`torch.FloatTensor` of shape `(batch_size, num_heads, num_entities, sequence_length)`):
            The last layer's attention of the mentions, averaged over those of each entity (A_s in equation 1), zeros
            for an entity without a mention.
        hidden_states (`tuple(torch.FloatTensor)`, *optional*):
            Hidden states of the embeddings and of every layer, each of the shape of `last_hidden_state`.
        attentions (`tuple(torch.FloatTensor)`, *optional*):
            Attention of every layer, of shape `(batch_size, num_heads, sequence_length, sequence_length)`.
    """

    last_hidden_state: torch.Tensor
    entity_attention: torch.Tensor
    hidden_states: tuple[torch.Tensor | None, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None


@dataclass
class MentionAttention:
    """
    A request for attention probabilities to the last layer, and its answer.

    Args:
        rows (`torch.LongTensor` of shape `(batch_size, num_mentions)`):
            Positions of the mentions, any valid one for padding.
        probabilities (`torch.FloatTensor` of shape `(batch_size, num_heads, num_mentions, sequence_length)`,
        *optional*):
            Their attention to all tokens, set by the layer.
    """

    rows: torch.Tensor
    probabilities: torch.Tensor | None = None


def mention_rows_attention_forward(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    mention_attention: MentionAttention | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """
    Runs sdpa attention. The last layer also computes the probabilities of mentions.

    Probabilities of other rows and layers are never written to memory, so the context pooling adds O(M L) to the cost
    of the encoder instead of O(L^2) per layer.
    """
    if mention_attention is not None and _is_last_layer(module):
        rows = mention_attention.rows.to(query.device)
        is_causal = getattr(module, "is_causal", False) and attention_mask is None
        mention_attention.probabilities = _row_probabilities(query, key, attention_mask, rows, scaling, is_causal)
    return sdpa_attention_forward(
        module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
    )


AttentionInterface.register(MENTION_ROWS, mention_rows_attention_forward)
AttentionMaskInterface.register(MENTION_ROWS, sdpa_mask)


class _MentionRowsConfig:
    """View of a configuration in which `"sdpa"` reads as [`MENTION_ROWS`]."""

    def __init__(self, config: PreTrainedConfig):
        self.config = config

    @property
    def _attn_implementation(self) -> str | None:
        implementation = self.config._attn_implementation
        return MENTION_ROWS if implementation == "sdpa" else implementation

    def __getattr__(self, name: str) -> Any:
        if name == "config" or name.startswith("__"):  # not set yet while this is copied or loaded
            raise AttributeError(name)
        return getattr(self.config, name)


def register_mention_attention(encoder: PreTrainedModel) -> None:
    """
    Makes an encoder return the attention of mentions.

    Its layers run [`MENTION_ROWS`] when it is set to sdpa. The configuration itself does not change: to users and to
    transformers, the encoder runs sdpa, and can be set to another implementation at any time.
    """
    view = _MentionRowsConfig(encoder.config)
    for module in encoder.modules():
        if not isinstance(module, PreTrainedModel) and getattr(module, "config", None) is encoder.config:
            module.config = view


def _is_last_layer(module: nn.Module) -> bool:
    # Modules that all layers share (ALBERT) have no index: the last call wins.
    layer = getattr(module, "layer_idx", None)
    return layer is None or layer == module.config.num_hidden_layers - 1


def _row_probabilities(
    query: torch.Tensor,
    key: torch.Tensor,
    attention_mask: torch.Tensor | None,
    rows: torch.Tensor,
    scaling: float | None,
    is_causal: bool,
) -> torch.Tensor:
    heads, width = query.shape[1], query.shape[3]
    key = key.repeat_interleave(heads // key.shape[1], dim=1)  # several heads may share one (grouped queries)
    index = rows[:, None, :, None].expand(-1, heads, -1, width)
    scaling = width**-0.5 if scaling is None else scaling
    scores = (query.gather(2, index) @ key.transpose(2, 3)).float() * scaling
    if attention_mask is not None:
        mask = attention_mask.expand(scores.shape[0], -1, -1, -1)
        mask = mask.gather(2, rows[:, None, :, None].expand(-1, mask.shape[1], -1, mask.shape[3]))
        minus_infinity = torch.finfo(scores.dtype).min
        scores = scores.masked_fill(~mask, minus_infinity) if mask.dtype == torch.bool else scores + mask.float()
    if is_causal:
        is_later = torch.arange(scores.shape[-1], device=rows.device) > rows[:, None, :, None]
        scores = scores.masked_fill(is_later, torch.finfo(scores.dtype).min)
    return scores.softmax(dim=-1)


def check_token_ids(input_ids: torch.Tensor | None, vocab_size: int) -> None:
    """
    Checks that all tokens are in the vocabulary.

    On a GPU, others would end the process.

    Args:
        input_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`, *optional*):
            Token ids.
        vocab_size (`int`):
            Number of rows of the encoder's embeddings.

    Raises:
        `ValueError`: a token is not in the vocabulary. The message names it and the document.
    """
    if input_ids is None or torch.compiler.is_compiling():
        return
    is_unknown = (input_ids < 0) | (input_ids >= vocab_size)
    if is_unknown.any():
        document, position = is_unknown.nonzero()[0].tolist()
        raise ValueError(
            f"document {document} of the batch has the token id {int(input_ids[document, position])} at position "
            f"{position}, but the vocabulary of the encoder has the ids 0 to {vocab_size - 1}: the processor is of "
            "another model"
        )


def encode_documents(
    encoder: nn.Module,
    input_ids: torch.Tensor | None,
    attention_mask: torch.Tensor,
    mention_positions: torch.Tensor,
    mention_entities: torch.Tensor,
    num_entities: int,
    window_size: int,
    window_overlap: int,
    num_prefix_tokens: int,
    num_suffix_tokens: int,
    inputs_embeds: torch.Tensor | None = None,
    output_attentions: bool = False,
    output_hidden_states: bool | list[int] = False,
) -> DocumentEncoding:
    """
    Runs the encoder over documents of any length.

    A document that fits the encoder is read at once. A longer one is read through windows of `window_size` tokens,
    each with the document's special tokens before and after it. The last window ends where the document ends, and
    neighbors share at least `window_overlap` tokens.

    A token's hidden state is averaged over the windows that hold it. A mention's attention is summed over its windows
    and normalized to 1, before it is averaged over the mentions of its entity. The special tokens that a window
    repeats are no text of the document: attention to them is dropped, as in ATLOP. The first window has the document's
    own prefix, the last its own suffix.

    Args:
        encoder (`PreTrainedModel`):
            The text encoder, running eager attention or, after [`register_mention_attention`], sdpa.
        input_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`, *optional*):
            Whole documents with their special tokens, padded on the right.
        attention_mask (`torch.LongTensor` of shape `(batch_size, sequence_length)`):
            1 for tokens, 0 for padding.
        mention_positions (`torch.LongTensor` of shape `(batch_size, num_mentions)`):
            Positions of the tokens that stand for the mentions, -1 for padding.
        mention_entities (`torch.LongTensor` of shape `(batch_size, num_mentions)`):
            Entity of each of them, -1 for padding.
        num_entities (`int`):
            N, the largest number of entities of a document in the batch.
        window_size, window_overlap, num_prefix_tokens, num_suffix_tokens (`int`):
            See [`DocREIIConfig`].
        inputs_embeds (`torch.FloatTensor` of shape `(batch_size, sequence_length, embedding_size)`, *optional*):
            Embeddings in place of `input_ids`.
        output_attentions (`bool`, *optional*, defaults to `False`):
            Whether to return the attention of all layers. Only with eager attention, and only for documents that fit
            one window.
        output_hidden_states (`bool` or `list[int]`, *optional*, defaults to `False`):
            Whether to return the hidden states of all layers, or of some.

    Returns:
        [`DocumentEncoding`]

    Raises:
        `ValueError`: the encoder's attention implementation returns no probabilities.
    """
    given = {"input_ids": input_ids, "inputs_embeds": inputs_embeds}
    inputs = {name: values for name, values in given.items() if values is not None}
    shape = attention_mask.shape
    if shape[1] <= window_size:
        output, attention = encode_window(
            encoder,
            inputs | {"attention_mask": attention_mask},
            mention_positions.clamp(min=0),
            output_hidden_states,
        )
        return DocumentEncoding(
            last_hidden_state=output.last_hidden_state,
            entity_attention=pool_attention(attention, mention_entities, num_entities),
            hidden_states=output.hidden_states if output_hidden_states else None,
            attentions=output.attentions if output_attentions else None,
        )

    documents, positions, mask, of_document = split_into_windows(
        (attention_mask > 0).sum(-1), window_size, window_overlap, num_prefix_tokens, num_suffix_tokens
    )
    mentions, rows = _mentions_of_windows(mention_positions[documents], positions, of_document)
    inputs = {name: values[documents[:, None], positions] for name, values in inputs.items()}
    if "input_ids" in inputs:
        inputs["input_ids"] = inputs["input_ids"].masked_fill(~mask, encoder.config.pad_token_id or 0)
    output, attention = encode_window(encoder, inputs | {"attention_mask": mask.long()}, rows, output_hidden_states)

    def merge(states: torch.Tensor | None) -> torch.Tensor | None:
        return None if states is None else _merge_states(states, documents, positions, of_document, shape)

    return DocumentEncoding(
        last_hidden_state=merge(output.last_hidden_state),
        entity_attention=_merge_attention(
            attention * of_document[:, None, None],
            documents,
            positions,
            mentions,
            mention_entities,
            num_entities,
            shape,
        ),
        hidden_states=tuple(merge(states) for states in output.hidden_states) if output_hidden_states else None,
    )


def split_into_windows(
    lengths: torch.Tensor, window_size: int, window_overlap: int, num_prefix_tokens: int, num_suffix_tokens: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """
    Splits documents into overlapping windows.

    Args:
        lengths (`torch.LongTensor` of shape `(batch_size,)`):
            Number of tokens of every document, special tokens included.
        window_size, window_overlap, num_prefix_tokens, num_suffix_tokens (`int`):
            See [`DocREIIConfig`].

    Returns:
        `tuple(torch.Tensor)`: the document of each window, of shape `(num_windows,)`; the positions of its tokens in
        the document, of shape `(num_windows, longest_window)`, 0 for padding; and two masks of the same shape: `True`
        for tokens, and `True` for tokens of the document, without the special tokens that a window repeats.
    """
    special = num_prefix_tokens + num_suffix_tokens
    room = window_size - special
    step = room - window_overlap
    text = lengths - special
    num_windows = 1 + ((text - room).clamp(min=0) + step - 1) // step
    documents = torch.arange(len(lengths), device=lengths.device).repeat_interleave(num_windows)
    number = torch.arange(len(documents), device=lengths.device) - (num_windows.cumsum(0) - num_windows)[documents]
    is_first, is_last = (number == 0)[:, None], (number == num_windows[documents] - 1)[:, None]

    text, lengths = text[documents], lengths[documents]
    start = torch.minimum(number * step, (text - room).clamp(min=0))
    end = num_prefix_tokens + text.clamp(max=room)
    slot = torch.arange(int(end.max()) + num_suffix_tokens, device=lengths.device)[None]
    is_prefix, is_suffix = slot < num_prefix_tokens, slot >= end[:, None]
    positions = torch.where(is_prefix, slot, slot + start[:, None])
    positions = torch.where(is_suffix, slot - end[:, None] + (lengths - num_suffix_tokens)[:, None], positions)
    mask = slot < (end + num_suffix_tokens)[:, None]
    of_document = mask & (~is_prefix | is_first) & (~is_suffix | is_last)
    return documents, positions.masked_fill(~mask, 0), mask, of_document


def encode_window(
    encoder: nn.Module,
    inputs: Mapping[str, torch.Tensor],
    rows: torch.Tensor,
    output_hidden_states: bool | list[int] = False,
) -> tuple[Any, torch.Tensor]:
    """
    Runs the encoder once.

    Args:
        encoder (`PreTrainedModel`):
            As for [`encode_documents`].
        inputs (`dict`):
            Its inputs, each of shape `(num_windows, window_length, ...)`.
        rows (`torch.LongTensor` of shape `(num_windows, num_mentions)`):
            Positions of the mentions in each window, any valid one for padding.
        output_hidden_states (`bool` or `list[int]`, *optional*, defaults to `False`):
            As for [`encode_documents`].

    Returns:
        `tuple`: the output of the encoder, and the last layer's attention of `rows`, of shape `(num_windows,
        num_heads, num_mentions, window_length)`.

    Raises:
        `ValueError`: the encoder's attention implementation returns no probabilities, or none with a gradient.
    """
    implementation = encoder.config._attn_implementation
    mention_attention = MentionAttention(rows)
    options: dict[str, Any] = {"mention_attention": mention_attention} if implementation == "sdpa" else {}
    if output_hidden_states:
        options["output_hidden_states"] = output_hidden_states
    output = encoder(**inputs, **options, output_attentions=implementation != "sdpa", return_dict=True)
    if implementation != "sdpa" and output.attentions:
        last = output.attentions[-1]
        index = rows[:, None, :, None].expand(-1, last.shape[1], -1, last.shape[3])
        mention_attention.probabilities = last.gather(2, index)
    if mention_attention.probabilities is None:
        raise ValueError(
            f"the encoder runs {implementation!r} attention, which gives no probabilities: set `attn_implementation` "
            "to 'sdpa' or 'eager'"
        )
    is_lost = output.last_hidden_state.requires_grad and not mention_attention.probabilities.requires_grad
    if is_lost and any(getattr(module, "gradient_checkpointing", False) for module in encoder.modules()):
        raise ValueError(
            "reentrant gradient checkpointing loses the gradient of the attention: set its `use_reentrant` to False"
        )
    return output, mention_attention.probabilities


def _mentions_of_windows(
    mention_positions: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Returns the mentions of each window and their slots.

    Both are of shape `(num_windows, most_mentions)`. Mentions are padded with -1.
    """
    found = (mention_positions[:, :, None] == positions[:, None, :]) & mask[:, None, :]
    window, mention, slot = found.nonzero(as_tuple=True)
    count = found.sum((1, 2))
    place = torch.arange(len(window), device=window.device) - (count.cumsum(0) - count)[window]
    shape = (len(found), max(int(count.max()), 1))
    mentions = torch.full(shape, -1, device=window.device).index_put((window, place), mention)
    rows = torch.zeros(shape, dtype=torch.long, device=window.device).index_put((window, place), slot)
    return mentions, rows


def _merge_states(
    states: torch.Tensor, documents: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor, shape: tuple[int, int]
) -> torch.Tensor:
    batch_size, length = shape
    index = (documents[:, None] * length + positions)[mask]
    states = states.float()
    total = states.new_zeros(batch_size * length, states.shape[-1]).index_add(0, index, states[mask])
    count = states.new_zeros(batch_size * length).index_add(0, index, states.new_ones(len(index)))
    return (total / count.clamp(min=1)[:, None]).view(batch_size, length, -1)


def pool_attention(mention_attention: torch.Tensor, mention_entities: torch.Tensor, num_entities: int) -> torch.Tensor:
    """
    Averages the attention of mentions for each entity and head (A_s in equation 1).

    Args:
        mention_attention (`torch.FloatTensor` of shape `(batch_size, num_heads, num_mentions, sequence_length)`):
            The last layer's attention of the tokens that stand for the mentions.
        mention_entities (`torch.LongTensor` of shape `(batch_size, num_mentions)`):
            Entity of each of them, -1 for padding.
        num_entities (`int`):
            N, the largest number of entities of a document in the batch.

    Returns:
        `torch.FloatTensor` of shape `(batch_size, num_heads, num_entities, sequence_length)`, zeros for an entity
        without a mention.
    """
    entities = torch.arange(num_entities, device=mention_entities.device)
    share = (mention_entities[:, None, :] == entities[:, None]).to(mention_attention.dtype)
    share = share / share.sum(-1, keepdim=True).clamp(min=1)
    return share[:, None] @ mention_attention


def _merge_attention(
    attention: torch.Tensor,
    documents: torch.Tensor,
    positions: torch.Tensor,
    mentions: torch.Tensor,
    mention_entities: torch.Tensor,
    num_entities: int,
    shape: tuple[int, int],
) -> torch.Tensor:
    """
    Sums the attention of each mention over windows, and averages it for each entity.

    Attention of all mentions to a whole document never exists: 900 mentions and 25,000 tokens have 1 GB of it.
    """
    (batch_size, length), num_heads = shape, attention.shape[1]
    attention = attention.float()
    # Padded mentions are in a spare row, and of a spare entity.
    num_mentions, spare = mention_entities.numel(), batch_size * num_entities
    row = torch.where(mentions >= 0, documents[:, None] * mention_entities.shape[1] + mentions, num_mentions)
    mass = attention.new_zeros(num_mentions + 1, num_heads)
    mass.index_add_(0, row.flatten(), attention.sum(-1).transpose(1, 2).flatten(0, 1))

    first_entity = torch.arange(batch_size, device=row.device)[:, None] * num_entities
    owners = torch.where(mention_entities >= 0, first_entity + mention_entities, spare).flatten()
    count = torch.bincount(owners, minlength=spare + 1)
    entity = nn.functional.pad(owners, (0, 1), value=spare)[row]
    total = mass[row] * count[entity][..., None]
    is_counted = (entity < spare)[..., None] & (total > 0)
    share = is_counted / torch.where(is_counted, total, 1.0)

    # Entities and heads of a token lie side by side, as the localized context reads them.
    token = documents[:, None] * length + positions
    place = token[:, None] * num_entities + (entity % num_entities)[..., None]
    source = (attention * share.transpose(1, 2)[..., None]).permute(0, 2, 3, 1)
    merged = attention.new_zeros(batch_size * length * num_entities, num_heads)
    merged.index_add_(0, place.flatten(), source.flatten(0, 2))
    return merged.view(batch_size, length, num_entities, num_heads).permute(0, 3, 2, 1)
