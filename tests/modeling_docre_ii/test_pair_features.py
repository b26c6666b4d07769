from math import log

import pytest
import torch
from torch import nn

from modeling_docre_ii import pair_features
from modeling_docre_ii.document_encoding import pool_attention
from modeling_docre_ii.entity_pairs import EntityPairs
from modeling_docre_ii.pair_features import (
    PAIR_ENCODERS,
    ContextAwareEntity,
    PairFeatures,
    entity_salience,
    localized_context,
    pool_mentions,
)


# Two documents: entity 2 of the first has no mention, entities 1 and 2 of the second are padding.
ENTITIES = [[0, 1, 0, 1, 0], [0, 0, -1, -1, -1]]


@pytest.fixture
def mention_entities():
    return torch.tensor(ENTITIES)


@pytest.fixture
def mention_states():
    return torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def attention():
    """Softmax rows of shape (2 documents, 3 heads, 5 mentions, 7 tokens), zeros for padded mentions and tokens."""
    rows = torch.rand(2, 3, 5, 7, generator=torch.Generator().manual_seed(1)) ** 3
    rows[1, ..., 4:] = 0
    rows = rows / rows.sum(-1, keepdim=True)
    rows[1, :, 2:] = 0
    return rows


def naive_pool(naive, states):
    """Shape (2, 3, width), in float64."""
    return torch.stack(
        [
            torch.stack([naive.entity_vector(vectors.double(), range(5), owners, entity) for entity in range(3)])
            for vectors, owners in zip(states, ENTITIES, strict=True)
        ]
    )


def test_entity_is_the_logsumexp_of_its_mentions(naive, mention_states, mention_entities):
    pooled = pool_mentions(mention_states, mention_entities, 3)

    torch.testing.assert_close(pooled.double(), naive_pool(naive, mention_states), rtol=1e-5, atol=1e-6)


def test_entity_with_one_mention_is_that_mention(mention_states):
    pooled = pool_mentions(mention_states[:1], torch.tensor([[4, 2, 0, 1, 3]]), 5)

    torch.testing.assert_close(pooled[0, [4, 2, 0, 1, 3]], mention_states[0])


def test_entity_without_a_mention_is_zero(mention_states, mention_entities):
    pooled = pool_mentions(mention_states, mention_entities, 3)

    assert not pooled[0, 2].any()
    assert not pooled[1, 1:].any()


def test_states_of_padded_mentions_are_not_looked_at(mention_states, mention_entities):
    changed = mention_states.clone()
    changed[1, 2:] = 1e30

    assert torch.equal(pool_mentions(changed, mention_entities, 3), pool_mentions(mention_states, mention_entities, 3))


@pytest.mark.parametrize("magnitude", [-1e4, 1e4, 1e30])
def test_large_states_do_not_overflow(magnitude):
    states = torch.full((1, 2, 1), magnitude, requires_grad=True)
    pooled = pool_mentions(states, torch.tensor([[0, 0]]), 2)
    pooled.sum().backward()

    # log(2 exp(m)) = m + log 2, and each of the two mentions has half of the gradient.
    assert pooled[0, 0].item() == pytest.approx(magnitude + 0.6931472, rel=1e-6)
    assert pooled[0, 1].item() == 0
    assert states.grad.flatten().tolist() == pytest.approx([0.5, 0.5])


def test_gradient_of_the_pooling_is_that_of_the_definition(naive, mention_states, mention_entities):
    weights = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(2))
    ours = mention_states.clone().requires_grad_()
    (pool_mentions(ours, mention_entities, 3) * weights).sum().backward()
    theirs = mention_states.double().requires_grad_()
    (naive_pool(naive, theirs) * weights).sum().backward()

    torch.testing.assert_close(ours.grad.double(), theirs.grad, rtol=1e-5, atol=1e-6)
    assert not ours.grad[1, 2:].any()


def test_half_precision_states_are_pooled_in_float32(mention_states, mention_entities):
    pooled = pool_mentions(mention_states.bfloat16(), mention_entities, 3)

    assert pooled.dtype == torch.float32
    assert torch.equal(pooled, pool_mentions(mention_states.bfloat16().float(), mention_entities, 3))


def test_logmeanexp_is_that_of_the_mean(mention_states, mention_entities):
    pooled = pool_mentions(mention_states, mention_entities, 3, average=True)

    for document, owners in enumerate(ENTITIES):
        for entity in range(3):
            own = [state.double() for state, owner in zip(mention_states[document], owners) if owner == entity]
            expected = torch.stack(own).exp().mean(0).log() if own else torch.zeros(4, dtype=torch.float64)
            torch.testing.assert_close(pooled[document, entity].double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("pooling", "difference"), [("logsumexp", 0.6931472), ("logmeanexp", 0.0)])
def test_pooling_of_the_configuration_decides_whether_a_second_token_counts(docre_config, pooling, difference):
    torch.manual_seed(0)
    features = PairFeatures(docre_config(entity_pooling=pooling))
    states, attention = torch.randn(1, 6, features.head.entity.in_features), torch.ones(1, 2, 2, 6)
    seen = []
    features.head.entity.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    pairs = EntityPairs.from_mask(~torch.eye(2, dtype=torch.bool)[None])
    for mentions in ([[1, 3]], [[1, 1, 3]]):
        entities = torch.tensor([[0, 1]] if len(mentions[0]) == 2 else [[0, 0, 1]])
        features(states, attention, torch.tensor(mentions), entities, pairs)
    torch.testing.assert_close(seen[1][0, 0], seen[0][0, 0] + difference)
    torch.testing.assert_close(seen[1][0, 1], seen[0][0, 1])


def test_entity_attention_is_the_mean_over_its_mentions(naive, attention, mention_entities):
    pooled = pool_attention(attention, mention_entities, 3)

    for document, owners in enumerate(ENTITIES):
        for entity in range(3):
            expected = naive.entity_attention(attention[document].double(), owners, entity)
            torch.testing.assert_close(pooled[document, :, entity].double(), expected, rtol=1e-5, atol=1e-7)


def test_entity_attention_sums_to_one_or_is_zero(attention, mention_entities):
    sums = pool_attention(attention, mention_entities, 3).sum(-1)

    for document, owners in enumerate(ENTITIES):
        for entity in range(3):
            expected = 1.0 if entity in owners else 0.0
            assert sums[document, :, entity].tolist() == pytest.approx([expected] * 3, abs=1e-6)


@pytest.mark.parametrize("most_weights", [1, 84, 2**24])
def test_context_of_a_pair_is_equation_1(naive, attention, mention_entities, monkeypatch, most_weights):
    """With the pairs of one head, of two heads and of all heads at once."""
    monkeypatch.setattr(pair_features, "_MOST_WEIGHTS", most_weights)
    states = torch.randn(2, 7, 4, generator=torch.Generator().manual_seed(3))
    entity_attention = pool_attention(attention, mention_entities, 3)
    context = localized_context(states, entity_attention)

    assert context.shape == (2, 3, 3, 4)
    for document in range(2):
        rows = entity_attention[document].double()
        for head in range(3):
            for tail in range(3):
                expected = naive.context_vector(states[document].double(), rows[:, head], rows[:, tail])
                torch.testing.assert_close(context[document, head, tail].double(), expected, rtol=1e-5, atol=1e-6)


def test_context_is_the_same_in_both_directions(attention, mention_entities):
    states = torch.randn(2, 7, 4, generator=torch.Generator().manual_seed(3))
    context = localized_context(states, pool_attention(attention, mention_entities, 3))

    torch.testing.assert_close(context, context.transpose(1, 2))


def test_context_is_zero_where_nothing_is_attended_in_common():
    attention = torch.tensor([[[[1.0, 0.0, 0.0], [0.0, 0.5, 0.5]]]]).requires_grad_()
    context = localized_context(torch.ones(1, 3, 2), attention)
    context.sum().backward()

    assert context[0, 0, 1].tolist() == [0.0, 0.0]
    assert context[0, 1, 1].tolist() == pytest.approx([1.0, 1.0])
    assert attention.grad.isfinite().all()


def test_context_of_tiny_attention_is_still_a_mean():
    # Two sharp rows that peak at different tokens have tiny products everywhere.
    context = localized_context(torch.full((1, 4, 1), 3.0), torch.full((1, 2, 2, 4), 1e-15))

    assert context.flatten().tolist() == pytest.approx([3.0] * 4)


@pytest.mark.parametrize("with_document", [False, True])
def test_context_aware_entity_is_one_matrix_over_the_concatenation(docre_config, naive, shaken, with_document):
    torch.manual_seed(0)
    module = shaken(ContextAwareEntity(docre_config(), with_document=with_document))
    entities, document, context = torch.randn(2, 3, 16), torch.randn(2, 16), torch.randn(4, 16)
    batch_index, entity_index = torch.tensor([0, 0, 1, 1]), torch.tensor([2, 0, 1, 2])
    context_index = torch.tensor([1, 0, 1, 3])
    result = module(module.project(entities, document, context), batch_index * 3 + entity_index, context_index)

    assert (module.document is not None) == with_document
    for pair, (b, entity) in enumerate(zip(batch_index.tolist(), entity_index.tolist(), strict=True)):
        expected = naive.side_vector(
            module, entities[b, entity].double(), context[context_index[pair]].double(), document[b].double()
        )
        torch.testing.assert_close(result[pair].double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", PAIR_ENCODERS)
def test_pair_encoder_is_its_equation(docre_config, naive, shaken, kind):
    torch.manual_seed(0)
    config = docre_config(pair_encoder=kind)
    module = shaken(PAIR_ENCODERS[kind](config))
    head, tail = torch.randn(2, 5, config.pair_hidden_size).unbind()
    features = module(head, tail)

    assert features.shape == (5, config.pair_feature_size)
    for pair in range(5):
        expected = naive.pair_encoder[kind](module, head[pair].double(), tail[pair].double())
        torch.testing.assert_close(features[pair].double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", PAIR_ENCODERS)
def test_pair_encoder_knows_the_direction_of_a_pair(docre_config, kind):
    torch.manual_seed(0)
    config = docre_config(pair_encoder=kind)
    module = PAIR_ENCODERS[kind](config)
    head, tail = torch.randn(2, 5, config.pair_hidden_size).unbind()

    assert not torch.allclose(module(head, tail), module(tail, head), atol=1e-3)


@pytest.mark.parametrize("kind", PAIR_ENCODERS)
def test_pair_encoder_takes_no_pairs(docre_config, kind):
    config = docre_config(pair_encoder=kind)
    empty = torch.zeros(0, config.pair_hidden_size)

    assert PAIR_ENCODERS[kind](config)(empty, empty).shape == (0, config.pair_feature_size)


@pytest.mark.parametrize("most_pairs", [1, 3, 2**14])
@pytest.mark.parametrize("kind", PAIR_ENCODERS)
def test_features_of_pairs_are_equations_1_to_3(
    docre_config, naive, shaken, attention, mention_entities, monkeypatch, kind, most_pairs
):
    """With one pair, three pairs and all pairs at once."""
    monkeypatch.setattr(pair_features, "_MOST_PAIRS", most_pairs)
    torch.manual_seed(0)
    module = shaken(PairFeatures(docre_config(pair_encoder=kind)))
    states = torch.randn(2, 7, 16)
    positions = [[1, 2, 4, 5, 6], [1, 3, -1, -1, -1]]
    pair_mask = torch.zeros(2, 3, 3, dtype=torch.bool)
    pair_mask[[0, 0, 0, 1], [0, 1, 1, 0], [1, 0, 2, 1]] = True
    of_entities = pool_attention(attention, mention_entities, 3)
    features = module(states, of_entities, torch.tensor(positions), mention_entities, EntityPairs.from_mask(pair_mask))

    for feature, (document, head, tail) in zip(features, pair_mask.nonzero().tolist(), strict=True):
        count = sum(position >= 0 for position in positions[document])
        expected = naive.pair_feature(
            module,
            kind,
            states[document],
            attention[document],
            positions[document][:count],
            ENTITIES[document][:count],
            head,
            tail,
        )
        torch.testing.assert_close(feature.double(), expected, rtol=1e-5, atol=1e-5)


# Two documents of spans. In the first, entity 0 has three mentions, entity 1 two (one of three tokens, and one token
# in it), entity 2 one, which begins where one of entity 0 ends. The second has one entity with one mention.
SPANS = [
    [(1, 0), (2, 0), (7, 0), (9, 0), (10, 0), (4, 1), (5, 1), (6, 1), (5, 1), (11, 2)],
    [(3, 0), (4, 0)] + [(-1, -1)] * 8,
]
# Entities 0 and 2 are heads, 1 and 2 tails.
ROLES = [[[0, 1, 1], [0, 0, 0], [0, 1, 0]], [[0, 0, 0]] * 3]
# Of the 3, 2 and 1 mentions: the largest number of a head is 3, of a tail 2.
AS_HEADS = [[log(3), 0], [log(2), log(2 / 3)], [0, log(1 / 3)]]
AS_TAILS = [[log(3), log(3 / 2)], [log(2), 0], [0, log(1 / 2)]]


@pytest.fixture
def spans():
    positions, entities = torch.tensor(SPANS).unbind(-1)
    return positions, entities, EntityPairs.from_mask(torch.tensor(ROLES).bool())


def test_salience_of_an_entity_counts_mentions_and_not_their_tokens(spans):
    heads, tails = entity_salience(*spans)

    torch.testing.assert_close(heads[0], torch.tensor(AS_HEADS))
    torch.testing.assert_close(tails[0], torch.tensor(AS_TAILS))
    assert not heads[1].any()
    assert not tails[1].any()


def test_salience_of_one_token(spans):
    positions, entities, pairs = spans
    heads, tails = entity_salience(positions[:, :1], entities[:, :1], pairs)

    assert not heads.any()
    assert not tails.any()


def test_salience_is_part_of_the_context_aware_entities(docre_config, naive, shaken, spans):
    torch.manual_seed(0)
    module = shaken(PairFeatures(docre_config(pair_encoder="concat", entity_salience=True)))
    states, attention = torch.randn(2, 12, 16), torch.rand(2, 3, 10, 12)
    positions, entities, pairs = spans
    features = module(states, pool_attention(attention, entities, 3), positions, entities, pairs)

    places, owners = zip(*SPANS[0], strict=True)
    for feature, (head, tail) in zip(features, [(0, 1), (0, 2), (2, 1)], strict=True):
        saliences = (AS_HEADS[head], AS_TAILS[tail])
        expected = naive.pair_feature(
            module, "concat", states[0], attention[0], list(places), list(owners), head, tail, saliences
        )
        torch.testing.assert_close(feature.double(), expected, rtol=1e-5, atol=1e-5)


def test_without_salience_there_are_no_weights_for_it(docre_config):
    module = PairFeatures(docre_config())

    assert module.head.salience is module.tail.salience is None


class Quantized(nn.Linear):
    """A layer like those of bitsandbytes, whose weights are integers and whose outputs are not."""

    def __init__(self, layer):
        super().__init__(*layer.weight.shape[::-1], bias=layer.bias is not None)
        self.layer = layer
        self.weight = nn.Parameter(torch.zeros_like(layer.weight, dtype=torch.int8), requires_grad=False)

    def forward(self, inputs):
        assert inputs.is_floating_point()
        return self.layer(inputs)


def test_quantized_weights_do_not_make_integers_of_the_inputs(tiny_model, tiny_batch):
    model = tiny_model()
    expected = model(**tiny_batch).logits
    features = model.docre_ii.pair_features
    for entity in (features.head, features.tail):
        entity.entity = Quantized(entity.entity)
    assert torch.equal(model(**tiny_batch).logits, expected)
