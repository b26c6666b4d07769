import copy

import pytest
import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from modeling_docre_ii import DocREIIForRelationExtraction, DocREIIModel
from modeling_docre_ii.document_encoding import encode_documents, split_into_windows
from tests.encoder_families import FAMILIES, OFF_THE_INTERFACE


ON_THE_INTERFACE = [family for family in FAMILIES if family not in OFF_THE_INTERFACE]
WINDOWS = {"window_size": 20, "window_overlap": 6, "num_prefix_tokens": 1, "num_suffix_tokens": 1}


@pytest.fixture
def encoder(docre_config, shaken):
    """Makes the encoder of a tiny model, in evaluation mode."""

    def make(family="bert", **encoder_changes):
        torch.manual_seed(0)
        return shaken(DocREIIModel(docre_config(family, encoder_changes)).encoder).eval()

    return make


@pytest.fixture
def bare():
    """Runs one sequence alone by eager attention: its states (L, d) and its last layer's attention (heads, L, L)."""

    def run(encoder, input_ids):
        plain = copy.deepcopy(encoder)
        plain.set_attn_implementation("eager")
        with torch.no_grad():
            output = plain(input_ids[None], attention_mask=torch.ones_like(input_ids[None]), output_attentions=True)
        return output.last_hidden_state[0], output.attentions[-1][0]

    return run


def documents_of(encoder, lengths, num_mentions=6, width=None):
    """Random documents with their mentions; the last two mentions of all but the longest are padding."""
    generator = torch.Generator().manual_seed(len(lengths))
    width = width or max(lengths)
    input_ids = torch.full((len(lengths), width), encoder.config.pad_token_id)
    attention_mask = torch.zeros_like(input_ids)
    positions = torch.full((len(lengths), num_mentions), -1)
    for row, length in enumerate(lengths):
        input_ids[row, :length] = torch.randint(5, 100, (length,), generator=generator)
        attention_mask[row, :length] = 1
        count = num_mentions if length == max(lengths) else num_mentions - 2
        positions[row, :count] = torch.randint(1, length - 1, (count,), generator=generator)
    return input_ids, attention_mask, positions


def naive_windows(length, window_size, window_overlap, num_prefix_tokens, num_suffix_tokens):
    """The positions of each window: move on by what does not overlap until the rest fits, and end at the end."""
    prefix = list(range(num_prefix_tokens))
    suffix = list(range(length - num_suffix_tokens, length))
    text = list(range(num_prefix_tokens, length - num_suffix_tokens))
    room = window_size - num_prefix_tokens - num_suffix_tokens
    windows, start = [], 0
    while start + room < len(text):
        windows.append(prefix + text[start : start + room] + suffix)
        start += room - window_overlap
    return [*windows, prefix + text[-room:] + suffix]


def naive_encoding(run, encoder, input_ids, mentions, windows, num_prefix_tokens=1, num_suffix_tokens=1):
    """
    States (L, d), means over the windows that hold the token, and mention attention (heads, M, L), summed over windows
    and divided by its sum. A prefix belongs to the first window and a suffix to the last; all others are dropped.
    """
    length = len(input_ids)
    encoded = [run(encoder, input_ids[window]) for window in windows]
    states = [[] for _ in range(length)]
    rows = [[] for _ in mentions]
    for number, (window, (window_states, window_attention)) in enumerate(zip(windows, encoded, strict=True)):
        kept = {
            slot: position
            for slot, position in enumerate(window)
            if (position >= num_prefix_tokens or number == 0)
            and (position < length - num_suffix_tokens or number == len(windows) - 1)
        }
        for slot, position in kept.items():
            states[position].append(window_states[slot])
        for mention, position in enumerate(mentions):
            if position in kept.values():
                row = torch.zeros(window_attention.shape[0], length)
                for slot, target in kept.items():
                    row[:, target] = window_attention[:, window.index(position), slot]
                rows[mention].append(row)
    return (
        torch.stack([sum(vectors) / len(vectors) for vectors in states]),
        torch.stack([sum(row) / sum(row).sum(-1, keepdim=True) for row in rows], dim=1),
    )


def encode(encoder, input_ids, attention_mask, positions, *args, **kwargs):
    """Hidden states and attention of the mentions: each is an entity of its own."""
    entities = torch.arange(positions.shape[1]).expand_as(positions).masked_fill(positions < 0, -1)
    encoding = encode_documents(
        encoder, input_ids, attention_mask, positions, entities, positions.shape[1], *args, **kwargs
    )
    return encoding.last_hidden_state, encoding.entity_attention


def assert_encodes(run, encoder, lengths, width=None, **windows):
    """Every document of a batch is encoded as the loop says; padded mentions and tokens get no attention."""
    windows = WINDOWS | windows
    input_ids, attention_mask, positions = documents_of(encoder, lengths, width=width)
    with torch.no_grad():
        states, attention = encode(encoder, input_ids, attention_mask, positions, **windows)
    assert states.shape[:2] == input_ids.shape
    assert attention.shape[2:] == (positions.shape[1], input_ids.shape[1])
    for row, length in enumerate(lengths):
        mentions = [position for position in positions[row].tolist() if position >= 0]
        expected_states, expected_attention = naive_encoding(
            run,
            encoder,
            input_ids[row, :length],
            mentions,
            naive_windows(length, **windows),
            windows["num_prefix_tokens"],
            windows["num_suffix_tokens"],
        )
        torch.testing.assert_close(states[row, :length], expected_states, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(
            attention[row, :, : len(mentions), :length], expected_attention, rtol=1e-4, atol=1e-6
        )
        torch.testing.assert_close(attention[row, :, : len(mentions)].sum(-1), torch.ones(2, len(mentions)))
        assert not attention[row, :, len(mentions) :].any()
        assert not attention[row, :, :, length:].any()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_is_encoded_as_the_bare_encoder_encodes_each_document(encoder, bare, family):
    assert_encodes(bare, encoder(family), [20, 13], window_size=64)


@pytest.mark.parametrize("family", FAMILIES)
def test_long_documents_are_the_mean_over_their_windows(encoder, bare, family):
    assert_encodes(bare, encoder(family), [47, 13, 33])


@pytest.mark.parametrize("family", ON_THE_INTERFACE)
def test_families_on_the_attention_interface_run_sdpa(encoder, family):
    assert encoder(family).config._attn_implementation == "sdpa"


@pytest.mark.parametrize("family", OFF_THE_INTERFACE)
def test_families_off_the_attention_interface_run_eager(encoder, family):
    assert encoder(family).config._attn_implementation == "eager"


@pytest.mark.parametrize(
    ("overlap", "prefix", "suffix"), [(0, 0, 0), (0, 1, 1), (6, 1, 1), (6, 3, 2), (5, 0, 2), (15, 2, 0), (17, 1, 1)]
)
def test_windows_equal_a_loop(overlap, prefix, suffix):
    lengths = [*range(prefix + suffix + 1, 75), 200, 1001]
    sizes = {
        "window_size": 20,
        "window_overlap": overlap,
        "num_prefix_tokens": prefix,
        "num_suffix_tokens": suffix,
    }
    documents, positions, mask, of_document = split_into_windows(torch.tensor(lengths), **sizes)

    assert positions.shape == mask.shape
    assert positions.shape[1] <= 20
    assert not positions[~mask].any()
    for document, length in enumerate(lengths):
        rows = (documents == document).nonzero().flatten().tolist()
        windows = [positions[row][mask[row]].tolist() for row in rows]
        assert windows == naive_windows(length, **sizes)
        # Each special token of the document is in one window, and all of its text.
        kept = [position for row in rows for position in positions[row][of_document[row]].tolist()]
        special = [*range(prefix), *range(length - suffix, length)]
        assert sorted(position for position in kept if position in special) == special
        assert set(kept) == set(range(length))

        texts = [window[prefix : len(window) - suffix] for window in windows]
        assert set().union(*texts) == set(range(prefix, length - suffix)), "every token is read"
        assert texts[-1][-1] == length - suffix - 1, "the last window ends where the text ends"
        for left, right in zip(texts, texts[1:], strict=False):
            assert len(set(left) & set(right)) >= overlap
            assert right[0] > left[0]


@pytest.mark.parametrize("lengths", [[20], [21], [34, 35], [33, 20, 5], [100]])
def test_lengths_around_the_window_size(encoder, bare, lengths):
    assert_encodes(bare, encoder(), lengths)


@pytest.mark.parametrize(("prefix", "suffix"), [(0, 0), (2, 3)])
def test_special_tokens_are_repeated_around_every_window(encoder, bare, prefix, suffix):
    assert_encodes(bare, encoder(), [50, 27], num_prefix_tokens=prefix, num_suffix_tokens=suffix)


def test_padding_beyond_the_window_size_changes_nothing(encoder, bare):
    assert_encodes(bare, encoder(), [18, 11], width=40)


def test_document_of_the_window_size_is_read_at_once(encoder, bare):
    model = encoder()
    input_ids, attention_mask, positions = documents_of(model, [20])
    states, attention = encode(model, input_ids, attention_mask, positions, **WINDOWS)
    expected_states, expected_attention = bare(model, input_ids[0])

    assert len(split_into_windows(torch.tensor([20]), **WINDOWS)[0]) == 1
    torch.testing.assert_close(states[0], expected_states)
    torch.testing.assert_close(attention[0], expected_attention[:, positions[0]])


def test_one_token_more_takes_two_windows(encoder, bare):
    model = encoder()
    input_ids, attention_mask, positions = documents_of(model, [21])
    states, _ = encode(model, input_ids, attention_mask, positions, **WINDOWS)
    first, _ = bare(model, torch.cat([input_ids[0, :19], input_ids[0, 20:]]))
    second, _ = bare(model, torch.cat([input_ids[0, :1], input_ids[0, 2:]]))

    # Token 1 is in the first window only, token 19 in the second only, the others in both.
    torch.testing.assert_close(states[0, 1], first[1])
    torch.testing.assert_close(states[0, 19], second[18])
    torch.testing.assert_close(states[0, 2:19], (first[2:19] + second[1:18]) / 2)


@pytest.mark.parametrize("family", ["bert", "modernbert, last layer global", "mpnet"])
def test_hidden_states_of_every_layer_are_the_mean_over_the_windows(encoder, family):
    model = encoder(family)
    input_ids, attention_mask, positions = documents_of(model, [21])
    entities = torch.zeros_like(positions)
    encoding = encode_documents(
        model, input_ids, attention_mask, positions, entities, 1, **WINDOWS, output_hidden_states=True
    )
    windows = torch.cat([input_ids[:, :19], input_ids[:, 20:]], 1), torch.cat([input_ids[:, :1], input_ids[:, 2:]], 1)
    first, second = (model(window, output_hidden_states=True).hidden_states for window in windows)

    assert len(encoding.hidden_states) == len(first) == model.config.num_hidden_layers + 1
    for merged, one, other in zip(encoding.hidden_states, first, second, strict=True):
        torch.testing.assert_close(merged[:, 1], one[:, 1])
        torch.testing.assert_close(merged[:, 19], other[:, 18])
        torch.testing.assert_close(merged[:, 2:19], (one[:, 2:19] + other[:, 1:18]) / 2)


def test_special_tokens_that_a_window_repeats_get_no_attention(encoder, bare):
    model = encoder()
    input_ids, attention_mask, _ = documents_of(model, [21])
    _, attention = encode(model, input_ids, attention_mask, torch.tensor([[1, 10, 19]]), **WINDOWS)
    _, first = bare(model, torch.cat([input_ids[0, :19], input_ids[0, 20:]]))
    _, second = bare(model, torch.cat([input_ids[0, :1], input_ids[0, 2:]]))

    # The mention in the first window keeps its attention to the prefix, that in the last window to the suffix.
    in_first, in_last = first[:, 1, :19], second[:, 18, 1:]
    torch.testing.assert_close(attention[0, :, 0, :19], in_first / in_first.sum(-1, keepdim=True))
    assert not attention[0, :, 0, 19:].any()
    torch.testing.assert_close(attention[0, :, 2, 2:], in_last / in_last.sum(-1, keepdim=True))
    assert not attention[0, :, 2, :2].any()
    # The mention in both has the sum, normalized.
    both = torch.zeros(2, 21)
    both[:, :19] += first[:, 10, :19]
    both[:, 2:] += second[:, 9, 1:]
    torch.testing.assert_close(attention[0, :, 1], both / both.sum(-1, keepdim=True))


@pytest.mark.parametrize("lengths", [[18, 13], [47, 13, 33]])
def test_attention_of_an_entity_is_the_mean_over_its_mentions(encoder, lengths):
    """In one window and in several, with an entity that has no mention."""
    model = encoder()
    input_ids, attention_mask, positions = documents_of(model, lengths, num_mentions=5)
    entities = torch.tensor([0, 1, 0, 3, 1]).expand_as(positions).masked_fill(positions < 0, -1)
    _, of_mentions = encode(model, input_ids, attention_mask, positions, **WINDOWS)
    of_entities = encode_documents(
        model, input_ids, attention_mask, positions, entities, 4, **WINDOWS
    ).entity_attention

    assert of_entities.shape == (len(lengths), 2, 4, max(lengths))
    for document, owners in enumerate(entities.tolist()):
        for entity in range(4):
            rows = [of_mentions[document, :, mention] for mention, owner in enumerate(owners) if owner == entity]
            expected = sum(rows) / len(rows) if rows else torch.zeros(2, max(lengths))
            torch.testing.assert_close(of_entities[document, :, entity], expected)


def test_gradients_reach_the_encoder_through_the_merged_attention(encoder):
    model = encoder()
    input_ids, attention_mask, positions = documents_of(model, [47], num_mentions=4)
    entities = torch.tensor([[0, 0, 1, -1]])
    attention = encode_documents(model, input_ids, attention_mask, positions, entities, 3, **WINDOWS).entity_attention
    (attention * torch.randn(attention.shape, generator=torch.Generator().manual_seed(0))).sum().backward()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]

    assert all(gradient.isfinite().all() for gradient in gradients)
    assert any(gradient.any() for gradient in gradients)


def test_long_document_without_a_mention(encoder):
    model = encoder()
    input_ids, attention_mask, _ = documents_of(model, [40])
    states, attention = encode(model, input_ids, attention_mask, torch.full((1, 1), -1), **WINDOWS)

    assert states.isfinite().all()
    assert attention.shape == (1, 2, 1, 40)
    assert not attention.any()


def test_document_of_10000_tokens(encoder):
    model = encoder(max_position_embeddings=512)
    input_ids, attention_mask, positions = documents_of(model, [10_000], num_mentions=30)
    with torch.no_grad():
        states, attention = encode(model, input_ids, attention_mask, positions, 512, 128, 1, 1)

    assert states.shape == (1, 10_000, 16)
    assert states.isfinite().all()
    torch.testing.assert_close(attention.sum(-1), torch.ones(1, 2, 30))


def test_attention_implementation_can_be_chosen(tiny_model, tiny_batch, tmp_path):
    model = tiny_model()
    logits = model(**tiny_batch).logits
    model.save_pretrained(tmp_path)
    loaded = DocREIIForRelationExtraction.from_pretrained(tmp_path, attn_implementation="eager").eval()

    assert loaded.docre_ii.encoder.config._attn_implementation == "eager"
    torch.testing.assert_close(loaded(**tiny_batch).logits, logits, rtol=1e-4, atol=1e-5)
    for name in ("eager", "sdpa", "eager"):
        model.set_attn_implementation(name)
        assert model.docre_ii.encoder.config._attn_implementation == name
        torch.testing.assert_close(model(**tiny_batch).logits, logits, rtol=1e-4, atol=1e-5)


def test_attention_without_probabilities_is_refused(tiny_model, tiny_batch):
    AttentionInterface.register("fused_only", sdpa_attention_forward)
    AttentionMaskInterface.register("fused_only", sdpa_mask)
    model = tiny_model()
    model.set_attn_implementation("fused_only")

    with pytest.raises(ValueError, match="'fused_only' attention, which gives no probabilities.*'sdpa' or 'eager'"):
        model(**tiny_batch)


# transformers has none for them.
WITHOUT_CHECKPOINTING = [family for family in FAMILIES if family.startswith(("albert", "mpnet"))]


@pytest.mark.parametrize("family", sorted(FAMILIES.keys() - WITHOUT_CHECKPOINTING))
@pytest.mark.parametrize("window_size", [64, 16])
def test_gradient_checkpointing_changes_neither_loss_nor_gradients(tiny_model, tiny_batch, family, window_size):
    no_dropout = {"hidden_dropout_prob": 0, "attention_probs_dropout_prob": 0}
    if family.startswith("modernbert"):
        no_dropout = {}
    if family == "distilbert":
        no_dropout = {"dropout": 0, "attention_dropout": 0}
    model = tiny_model(family, no_dropout, window_size=window_size, window_overlap=6).train()
    loss = model(**tiny_batch).loss
    loss.backward()
    gradients = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()
    model.gradient_checkpointing_enable()
    checkpointed = model(**tiny_batch).loss
    checkpointed.backward()

    torch.testing.assert_close(checkpointed, loss)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("family", WITHOUT_CHECKPOINTING)
def test_families_without_gradient_checkpointing_are_those_of_the_documentation(tiny_model, family):
    with pytest.raises(ValueError, match="not compatible with gradient checkpointing"):
        tiny_model(family).gradient_checkpointing_enable()


@pytest.mark.parametrize("kind", [torch.float32, torch.bool])
@pytest.mark.parametrize("window_size", [64, 16])
def test_mask_of_another_kind_is_the_same_mask(tiny_model, tiny_batch, kind, window_size):
    model = tiny_model(window_size=window_size, window_overlap=6)
    expected = model(**tiny_batch).logits
    found = model(**tiny_batch | {"attention_mask": tiny_batch["attention_mask"].to(kind)}).logits
    torch.testing.assert_close(found, expected)


def test_encoder_whose_configuration_asks_for_tuples(tiny_model, tiny_batch):
    expected = tiny_model()(**tiny_batch).logits
    torch.testing.assert_close(tiny_model(encoder_changes={"return_dict": False})(**tiny_batch).logits, expected)


@pytest.mark.parametrize("window_size", [64, 16])
def test_bfloat16_autocast_stays_near_float32(tiny_model, tiny_batch, window_size):
    model = tiny_model(window_size=window_size, window_overlap=6)
    expected = model(**tiny_batch).loss
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(**tiny_batch).loss
    loss.backward()

    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected.item(), rel=0.1)
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_gradient_checkpointing_without_the_gradient_of_the_attention_is_refused(tiny_model, tiny_batch):
    model = tiny_model().train()
    model.gradient_checkpointing_enable({"use_reentrant": True})
    with pytest.raises(ValueError, match="reentrant gradient checkpointing loses the gradient"):
        model(**tiny_batch)


def test_part_of_an_encoder_can_be_frozen(tiny_model, tiny_batch):
    model = tiny_model().train()
    encoder = model.docre_ii.encoder
    encoder.requires_grad_(False)
    encoder.encoder.layer[-1].output.requires_grad_(True)
    model(**tiny_batch).loss.backward()
    assert encoder.encoder.layer[-1].output.dense.weight.grad.abs().sum() > 0
