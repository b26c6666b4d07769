"""
Every encoder family: all positions and windows beyond them, training steps, saving and loading.

test_document_encoding.py compares attention rows and windows with eager attention.
"""

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig

from modeling_docre_ii import DocREIIForRelationExtraction
from tests.encoder_families import FAMILIES, POSITIONS, SIZES


@pytest.fixture
def model_of(deterministic_model):
    def make(family, **changes):
        return deterministic_model(family=family, num_iterations=2, **changes)

    return make


def document_of(length):
    """Makes a document with the given number of tokens and a mention at its end."""
    generator = torch.Generator().manual_seed(length)
    return {
        "input_ids": torch.randint(5, 100, (1, length), generator=generator),
        "attention_mask": torch.ones(1, length, dtype=torch.long),
        "mention_positions": torch.tensor([[1, length // 2, length - 2]]),
        "mention_entities": torch.tensor([[0, 1, 2]]),
        "pair_mask": ~torch.eye(3, dtype=torch.bool)[None],
    }


@pytest.mark.parametrize("family", FAMILIES)
def test_every_position_of_the_encoder_is_used_and_no_more(model_of, family):
    model = model_of(family)

    assert model.config.max_window_size == POSITIONS
    for length in (POSITIONS - 1, POSITIONS, POSITIONS + 1, 3 * POSITIONS):
        with torch.no_grad():
            assert model(**document_of(length)).logits.isfinite().all(), length
    with pytest.raises(StrictDataclassError, match=f"`window_size` is {POSITIONS + 1}, but .* {POSITIONS} positions"):
        model_of(family, window_size=POSITIONS + 1)


@pytest.mark.parametrize("family", FAMILIES)
def test_training_steps_reach_every_weight_and_lower_the_loss(model_of, tiny_batch, family):
    model = model_of(family, contrastive_loss_weight=0.0).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        loss = model(**tiny_batch).loss
        loss.backward()
        optimizer.step()
        losses.append(loss.item())

    without = {name for name, parameter in model.named_parameters() if parameter.grad is None}
    assert not without
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("family", FAMILIES)
def test_saved_model_gives_the_same(model_of, tiny_batch, family, tmp_path):
    model = model_of(family)
    model.save_pretrained(tmp_path)
    loaded = DocREIIForRelationExtraction.from_pretrained(tmp_path)

    assert type(loaded.docre_ii.encoder) is type(model.docre_ii.encoder)
    with torch.no_grad():
        assert torch.equal(loaded(**tiny_batch).logits, model(**tiny_batch).logits)


@pytest.fixture
def decoder_of(docre_config):
    """A model on a decoder, whose tokens attend to those before them."""

    def make(**sizes):
        decoder = AutoConfig.for_model(
            "qwen2", **{**SIZES, "num_attention_heads": 4, "num_key_value_heads": 4, **sizes}
        )
        torch.manual_seed(0)
        return DocREIIForRelationExtraction(docre_config(encoder_config=decoder, num_iterations=0)).eval()

    return make


def test_decoders_do_not_look_ahead_whatever_the_batch(decoder_of):
    model, document = decoder_of(), document_of(20)
    padded = {name: torch.cat([values, values]) for name, values in document.items()}
    padded["input_ids"] = torch.nn.functional.pad(padded["input_ids"], (0, 8))
    padded["attention_mask"] = torch.nn.functional.pad(padded["attention_mask"], (0, 8))
    with torch.no_grad():
        alone, in_a_batch = model(**document).logits, model(**padded).logits
        model.set_attn_implementation("eager")
        eager = model(**document).logits
    torch.testing.assert_close(in_a_batch[:1], alone, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(eager, alone, atol=1e-4, rtol=1e-4)


def test_heads_may_share_their_keys(decoder_of):
    model, document = decoder_of(num_key_value_heads=2), document_of(20)
    with torch.no_grad():
        found = model(**document).logits
        model.set_attn_implementation("eager")
        torch.testing.assert_close(model(**document).logits, found, atol=1e-4, rtol=1e-4)
