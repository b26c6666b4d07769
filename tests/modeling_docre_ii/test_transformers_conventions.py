"""Inputs and outputs that users of transformers expect of a model."""

import copy

import pytest
import torch

from modeling_docre_ii import DocREIIForRelationExtraction, DocREIIModel
from modeling_docre_ii.explanation import explain_facts


CLASSES = [DocREIIModel, DocREIIForRelationExtraction]


@pytest.fixture
def inputs(tiny_batch):
    return {name: tensor for name, tensor in tiny_batch.items() if name != "labels"}


@pytest.fixture
def model_of(tiny_model):
    """Makes a tiny model of a class, with an inference module where the class has one."""

    def make(model_class=DocREIIForRelationExtraction, **changes):
        model = tiny_model(**{"num_iterations": 2} | changes)
        return model if model_class is DocREIIForRelationExtraction else model.base_model

    return make


def without(inputs, *names):
    return {name: tensor for name, tensor in inputs.items() if name not in names}


def assert_same(output, expected, names=("base_logits",)):
    for name in names:
        torch.testing.assert_close(output[name], expected[name], rtol=1e-5, atol=1e-6)


# Tuples


@pytest.mark.parametrize("model_class", CLASSES)
@pytest.mark.parametrize("by_config", [False, True])
def test_output_as_a_tuple(model_of, tiny_batch, inputs, model_class, by_config):
    model = model_of(model_class)
    batch = inputs if model_class is DocREIIModel else tiny_batch
    expected = model(**batch, output_hidden_states=True).to_tuple()
    if by_config:
        model.config.return_dict = False
        output = model(**batch, output_hidden_states=True)
    else:
        output = model(**batch, output_hidden_states=True, return_dict=False)

    assert type(output) is tuple
    assert len(output) == len(expected)
    torch.testing.assert_close(output, expected)


def test_loss_is_the_first_and_logits_the_second_of_a_tuple(model_of, tiny_batch):
    output = model_of()(**tiny_batch, return_dict=False)

    assert output[0].shape == ()
    assert output[1].shape == (2, 3, 3, 4)


# Hidden states


@pytest.mark.parametrize("model_class", CLASSES)
@pytest.mark.parametrize("family", ["bert", "albert", "modernbert, last layer global", "deberta-v2"])
def test_hidden_states_are_those_of_the_encoder(tiny_model, inputs, model_class, family):
    model = tiny_model(family, num_iterations=2)
    model = model if model_class is DocREIIForRelationExtraction else model.base_model
    output = model(**inputs, output_hidden_states=True)
    expected = model.base_model.encoder(inputs["input_ids"], inputs["attention_mask"], output_hidden_states=True)

    assert len(output.hidden_states) == model.config.encoder_config.num_hidden_layers + 1
    torch.testing.assert_close(output.hidden_states, expected.hidden_states)


def test_hidden_states_by_the_configuration(model_of, inputs):
    model = model_of()
    model.config.output_hidden_states = True

    assert len(model(**inputs).hidden_states) == 3
    assert model(**inputs, output_hidden_states=False).hidden_states is None


def test_hidden_states_of_some_layers(model_of, inputs):
    model, arguments = model_of(), {"output_hidden_states": [0, -1]}
    found = model(**inputs, **arguments).hidden_states
    # Which layers these are, and what stands for the others, changed between transformers 5.20 and 5.24.
    expected = model.base_model.encoder(inputs["input_ids"], inputs["attention_mask"], **arguments).hidden_states

    assert [state is None for state in found] == [state is None for state in expected]
    assert len([state for state in found if state is not None]) in (1, 2)
    for state, of_encoder in zip(found, expected):
        torch.testing.assert_close(state, of_encoder)


@pytest.mark.parametrize("training", [False, True])
def test_hidden_states_in_training_and_without_an_inference_module(model_of, tiny_batch, training):
    for num_iterations in (0, 2):
        model = model_of(num_iterations=num_iterations).train(training)
        assert len(model(**tiny_batch, output_hidden_states=True).hidden_states) == 3
        assert model(**tiny_batch).hidden_states is None


# Attention


@pytest.mark.parametrize("of", CLASSES)
def test_attention_of_an_encoder_that_runs_eager(model_of, inputs, of):
    model = model_of(of)
    model.set_attn_implementation("eager")
    output = model(**inputs, output_attentions=True)
    encoder = model.base_model.encoder
    expected = encoder(inputs["input_ids"], inputs["attention_mask"], output_attentions=True)

    assert [tuple(attention.shape) for attention in output.attentions] == [(2, 2, 24, 24)] * 2
    torch.testing.assert_close(output.attentions, expected.attentions)
    assert model(**inputs).attentions is None


@pytest.mark.parametrize("of", CLASSES)
@pytest.mark.parametrize(("implementation", "window_size"), [("sdpa", 64), ("sdpa", 20), ("eager", 20)])
def test_attention_that_there_is_not(model_of, inputs, of, implementation, window_size):
    """sdpa gives none, and with windows no layer attends to a whole document. What comes of it is the same."""
    model = model_of(of, window_size=window_size)
    model.set_attn_implementation(implementation)
    output = model(**inputs, output_attentions=True)

    assert output.attentions is None
    assert torch.equal(output.base_logits, model(**inputs).base_logits)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_iterations": 0}, "the model has no inference module"),
        ({"cross_attention": "full"}, "the model needs `cross_attention='extended'`"),
    ],
)
def test_model_without_cross_attention_has_no_explanation(model_of, inputs, changes, message):
    output = model_of(**changes)(**inputs, output_attentions=True)

    assert output.cross_attentions is None
    with pytest.raises(ValueError, match=message):
        explain_facts(output, 0, [(0, 1, 1)])


def test_attention_by_the_configuration(model_of, inputs):
    model = model_of(window_size=20)
    expected = model(**inputs, output_attentions=True).cross_attentions
    model.set_attn_implementation("eager")
    model.config.output_attentions = True

    torch.testing.assert_close(model(**inputs).cross_attentions, expected, rtol=1e-4, atol=1e-5)
    assert model(**inputs, output_attentions=False).cross_attentions is None


# Inputs


@pytest.mark.parametrize("family", ["bert", "roberta", "electra"])
@pytest.mark.parametrize("window_size", [64, 20])
def test_embeddings_in_place_of_tokens(tiny_model, inputs, family, window_size):
    model = tiny_model(family, num_iterations=2, window_size=window_size)
    embeddings = model.get_input_embeddings()(inputs["input_ids"]).detach().requires_grad_()
    output = model(**without(inputs, "input_ids"), inputs_embeds=embeddings)

    assert_same(output, model(**inputs), ["logits", "base_logits"])
    output.base_logits.sum().backward()
    is_token = inputs["attention_mask"].bool()
    assert embeddings.grad[is_token].any(-1).all(), "what a prediction rests on can be traced to the tokens"
    assert not embeddings.grad[~is_token].any()


@pytest.mark.parametrize("model_class", CLASSES)
def test_no_attention_mask_is_no_padding(model_of, inputs, model_class):
    model = model_of(model_class)
    everything = inputs | {"attention_mask": torch.ones_like(inputs["input_ids"])}
    embeddings = model.get_input_embeddings()(inputs["input_ids"])

    assert_same(model(**without(inputs, "attention_mask")), model(**everything))
    assert_same(model(**without(inputs, "attention_mask", "input_ids"), inputs_embeds=embeddings), model(**everything))


@pytest.mark.parametrize("model_class", CLASSES)
def test_pair_mask_of_numbers(model_of, inputs, model_class):
    model = model_of(model_class)

    assert_same(model(**inputs | {"pair_mask": inputs["pair_mask"].long()}), model(**inputs))


@pytest.mark.parametrize("model_class", CLASSES)
@pytest.mark.parametrize("name", ["mention_positions", "mention_entities", "pair_mask"])
def test_missing_input_is_named(model_of, inputs, model_class, name):
    with pytest.raises(ValueError, match=f"`{name}`"):
        model_of(model_class)(**without(inputs, name))


@pytest.mark.parametrize("model_class", CLASSES)
def test_tokens_or_embeddings_are_needed_and_not_both(model_of, inputs, model_class):
    model = model_of(model_class)
    embeddings = model.get_input_embeddings()(inputs["input_ids"])

    with pytest.raises(ValueError, match="either `input_ids` or `inputs_embeds`"):
        model(**without(inputs, "input_ids"))
    with pytest.raises(ValueError, match="either `input_ids` or `inputs_embeds`"):
        model(**inputs, inputs_embeds=embeddings)


def test_unknown_argument_is_refused(model_of, inputs):
    with pytest.raises(TypeError, match="pair_msk"):
        model_of()(**inputs, pair_msk=inputs["pair_mask"])


# The encoder inside


def test_encoder_can_be_told_its_attention_directly(model_of, inputs):
    model = model_of()
    logits = model(**inputs).logits
    for name in ("eager", "sdpa"):
        model.docre_ii.encoder.set_attn_implementation(name)
        torch.testing.assert_close(model(**inputs).logits, logits, rtol=1e-4, atol=1e-5)


def test_copy_of_a_model_has_its_own_attention(model_of, inputs):
    model = model_of()
    other = copy.deepcopy(model)
    other.set_attn_implementation("eager")
    encoder = model.docre_ii.encoder

    assert encoder.config._attn_implementation == "sdpa"
    assert not encoder(inputs["input_ids"], output_attentions=True).attentions
    assert len(other.docre_ii.encoder(inputs["input_ids"], output_attentions=True).attentions) == 2
    torch.testing.assert_close(other(**inputs).logits, model(**inputs).logits, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("dynamic", [None, True])
def test_compiled_model_gives_the_same(model_of, inputs, dynamic):
    model = model_of()

    assert_same(torch.compile(model, backend="eager", dynamic=dynamic)(**inputs), model(**inputs), ["logits"])
