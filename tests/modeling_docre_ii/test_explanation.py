"""Explanations of facts against loops over the pairs, on random attentions and logits."""

import pytest
import torch

from modeling_docre_ii import DocREIIOutput, describe_explanation
from modeling_docre_ii.explanation import attention_to_pairs, explain_facts


NUM_DOCUMENTS, NUM_LAYERS, NUM_ENTITIES, NUM_LABELS, NUM_ITERATIONS = 2, 3, 5, 4, 3


@pytest.fixture
def outputs():
    """An output of random numbers: logits of base and iterations, and attentions whose heads sum to 1."""
    generator = torch.Generator().manual_seed(0)

    def logits():
        values = torch.randn(NUM_DOCUMENTS, NUM_ENTITIES, NUM_ENTITIES, NUM_LABELS, generator=generator)
        # Most pairs have no relation.
        values[..., 0] += 1.0
        return values

    def attentions():
        shape = (NUM_DOCUMENTS, NUM_LAYERS, 2, 4, NUM_ENTITIES, NUM_ENTITIES, NUM_ENTITIES)
        return torch.randn(shape, generator=generator).softmax(-1)

    iteration_logits = tuple(logits() for _ in range(NUM_ITERATIONS))
    return DocREIIOutput(
        logits=iteration_logits[-1],
        base_logits=logits(),
        iteration_logits=iteration_logits,
        cross_attentions=tuple(attentions() for _ in range(NUM_ITERATIONS)),
    )


def naive_attention(attentions, head, tail):
    """Mean attention of (head, tail) to every other pair, {pair: weight}: one pair of layers, units and heads at once.

    Head by head, the other entity of the pair attended to stands at: (s, .), (., s), (o, .), (., o).
    """
    num_layers, num_entities = len(attentions), attentions.shape[-1]
    weights = {}
    for layer in range(num_layers):
        for unit in range(2):
            for other in range(num_entities):
                for line, pair in enumerate([(head, other), (other, head), (tail, other), (other, tail)]):
                    weight = attentions[layer, unit, line, head, tail, other].item() / (num_layers * 2 * 4)
                    weights[pair] = weights.get(pair, 0.0) + weight
    weights.pop((head, tail))
    return weights


def naive_relations(logits, head, tail):
    """The relations above the threshold class, the highest first."""
    pair = logits[head, tail].tolist()
    return sorted((r for r in range(1, len(pair)) if pair[r] > pair[0]), key=lambda r: -pair[r])


def naive_explanation(outputs, document, fact, num_support):
    """The first iteration that predicted the fact, and (head, tail, relations, weight) of its support."""
    head, tail, relation = fact
    steps = [logits[document] for logits in (outputs.base_logits, *outputs.iteration_logits)]
    first = min(k for k, logits in enumerate(steps) if relation in naive_relations(logits, head, tail))
    reading = max(first, 1)
    weights = naive_attention(outputs.cross_attentions[reading - 1][document], head, tail)
    support = [(*pair, naive_relations(steps[reading - 1], *pair), weight) for pair, weight in weights.items()]
    support = sorted((entry for entry in support if entry[2]), key=lambda entry: -entry[3])
    return first, support[:num_support]


def predicted(outputs, document):
    return [
        (head, tail, relation)
        for head in range(NUM_ENTITIES)
        for tail in range(NUM_ENTITIES)
        if head != tail
        for relation in naive_relations(outputs.logits[document], head, tail)
    ]


@pytest.mark.parametrize(("head", "tail"), [(0, 1), (3, 0), (2, 4)])
def test_attention_to_pairs_is_a_loop_over_layers_units_and_heads(outputs, head, tail):
    weights = attention_to_pairs(outputs.cross_attentions[1][0], head, tail)

    expected = torch.zeros(NUM_ENTITIES, NUM_ENTITIES)
    for pair, weight in naive_attention(outputs.cross_attentions[1][0], head, tail).items():
        expected[pair] = weight
    torch.testing.assert_close(weights, expected)
    # What does not overlap with the pair is not attended to; nor is the pair itself support.
    overlaps = torch.zeros(NUM_ENTITIES, NUM_ENTITIES, dtype=torch.bool)
    overlaps[[head, tail]] = overlaps[:, [head, tail]] = True
    overlaps[head, tail] = False
    assert torch.equal(weights > 0, overlaps)


def test_attention_to_pairs_leaves_the_attentions_as_they_are(outputs):
    before = outputs.cross_attentions[0].clone()
    attention_to_pairs(outputs.cross_attentions[0][1], 1, 2)

    assert torch.equal(outputs.cross_attentions[0], before)


@pytest.mark.parametrize("num_support", [1, 3, 100])
@pytest.mark.parametrize("document", [0, 1])
def test_explanations_equal_a_loop(outputs, document, num_support):
    facts = predicted(outputs, document)
    explanations = explain_facts(outputs, document, facts, num_support)

    assert len(explanations) == len(facts) > 5
    for fact, explanation in zip(facts, explanations):
        iteration, support = naive_explanation(outputs, document, fact, num_support)
        assert explanation.iteration == iteration
        assert [found[:3] for found in explanation.support] == [entry[:3] for entry in support]
        assert [found.weight for found in explanation.support] == pytest.approx([entry[3] for entry in support])
    assert len({explanation.iteration for explanation in explanations}) > 2
    assert max(len(explanation.support) for explanation in explanations) > min(num_support, 3) - 1


def test_first_iteration_is_the_first_even_if_the_fact_was_gone_in_between(outputs):
    for logits in (outputs.base_logits, *outputs.iteration_logits):
        logits[0, 0, 1] = torch.tensor([0.0, -1.0, -1.0, -1.0])
    for relation, steps in ((1, (1, 3)), (2, (3,)), (3, (0, 2, 3))):
        for step in steps:
            (outputs.base_logits, *outputs.iteration_logits)[step][0, 0, 1, relation] = 1.0
    explanations = explain_facts(outputs, 0, [(0, 1, 1), (0, 1, 2), (0, 1, 3)])

    assert [explanation.iteration for explanation in explanations] == [1, 3, 0]


def test_support_is_what_the_iteration_before_had_predicted(outputs):
    """By hand: a fact of iteration 2 is explained by attention 2 and the relations after iteration 1."""
    for logits in (outputs.base_logits, *outputs.iteration_logits):
        logits.zero_()
        logits[..., 0] = 1.0
    outputs.base_logits[0, 2, 0, 3] = 5.0
    outputs.iteration_logits[0][0, 2, 0, 1:] = torch.tensor([3.0, 0.0, 2.0])
    outputs.iteration_logits[0][0, 1, 4, 2] = 2.0
    # Neither overlaps with (0, 1), nor is it the pair itself.
    outputs.iteration_logits[0][0, 2, 3, 2] = 9.0
    outputs.iteration_logits[1][0, 0, 1, 2] = 2.0
    outputs.iteration_logits[1][0, 1, 2, 2] = 2.0
    outputs.iteration_logits[2][0, 0, 1, 2] = 2.0
    (explanation,) = explain_facts(outputs, 0, [(0, 1, 2)])

    weights = naive_attention(outputs.cross_attentions[1][0], 0, 1)
    expected = sorted([(2, 0, [1, 3]), (1, 4, [2])], key=lambda pair: -weights[pair[:2]])
    assert explanation.iteration == 2
    assert [support[:3] for support in explanation.support] == expected
    assert [support.weight for support in explanation.support] == pytest.approx([weights[p[:2]] for p in expected])


def test_the_pair_itself_is_no_support(outputs):
    for logits in (outputs.base_logits, *outputs.iteration_logits):
        logits.zero_()
        logits[..., 0] = 1.0
        logits[0, 0, 1, 1:3] = 4.0
    explanations = explain_facts(outputs, 0, [(0, 1, 1), (0, 1, 2)])

    assert [explanation.iteration for explanation in explanations] == [0, 0]
    assert [explanation.support for explanation in explanations] == [[], []]


def test_pairs_without_attention_are_no_support(outputs):
    """Padding and pairs that are no candidates get no attention, and no place among the `num_support`."""
    for logits in (outputs.base_logits, *outputs.iteration_logits):
        logits[..., 1] = logits[..., 0] + 1.0
    for attentions in outputs.cross_attentions:
        attentions[..., 3:] = 0.0
    (explanation,) = explain_facts(outputs, 0, [(0, 1, 1)], num_support=100)

    pairs = {(support.head, support.tail) for support in explanation.support}
    assert pairs == {(0, 0), (0, 2), (1, 0), (1, 1), (1, 2), (2, 0), (2, 1)}


def test_no_facts_have_no_explanations(outputs):
    assert explain_facts(outputs, 0, []) == []


def test_explanation_needs_attentions(outputs):
    outputs.cross_attentions = None

    with pytest.raises(ValueError, match="output_attentions=True"):
        explain_facts(outputs, 0, [(0, 1, 1)])


def test_explanations_of_a_model_do_not_depend_on_the_batch(tiny_model, tiny_batch):
    """Padding of the smaller document changes neither the iterations nor the support of its facts."""
    model = tiny_model(num_iterations=3)
    inputs = {name: tensor for name, tensor in tiny_batch.items() if name != "labels"}
    alone = {
        "input_ids": inputs["input_ids"][1:, :15],
        "attention_mask": inputs["attention_mask"][1:, :15],
        "mention_positions": inputs["mention_positions"][1:, :2],
        "mention_entities": inputs["mention_entities"][1:, :2],
        "pair_mask": inputs["pair_mask"][1:, :2, :2],
    }
    facts = [(head, tail, relation) for head, tail in ((0, 1), (1, 0)) for relation in (1, 2, 3)]
    with torch.no_grad():
        together = explain_facts(model(**inputs, output_attentions=True), 1, facts)
        single = explain_facts(model(**alone, output_attentions=True), 0, facts)

    assert any(explanation.support for explanation in single)
    for first, second in zip(together, single, strict=True):
        assert first.iteration == second.iteration
        assert [support[:3] for support in first.support] == [support[:3] for support in second.support]
        assert [s.weight for s in first.support] == pytest.approx([s.weight for s in second.support], rel=1e-4)


def test_explained_triple_is_written_for_people():
    def entity(name):
        return {"entity": 0, "name": name, "type": "PER", "mentions": [name]}

    triple = {
        "head": entity("Martino"),
        "tail": entity("Austrian"),
        "relation": "P27",
        "relation_name": "country of citizenship",
        "score": 0.812,
        "iteration": 2,
        "support": [
            {
                "head": entity("Altomonte"),
                "relations": ["P22", "P27"],
                "relation_names": ["father", "country of citizenship"],
                "tail": entity("Martino"),
                "weight": 0.25,
            }
        ],
    }
    assert describe_explanation(triple).splitlines() == [
        "  0.81  Martino  --country of citizenship-->  Austrian  (found in iteration 2, which looked at)",
        "        0.25  Altomonte  --father, country of citizenship-->  Martino",
    ]
    assert "(found by the base module; iteration 1 looked at)" in describe_explanation(triple | {"iteration": 0})
    unsure = describe_explanation(triple | {"score": 0.3})
    assert "(below the model's threshold; iteration 2 looked at)" in unsure
    assert "(found in iteration 2)" in describe_explanation(triple | {"support": []})
    assert "(found by the base module)" in describe_explanation(triple | {"iteration": 0, "support": []})


def test_triple_without_an_explanation_is_refused():
    with pytest.raises(ValueError, match="the triple has no explanation: call the pipeline with `explain=True`"):
        describe_explanation({"head": {"name": "a"}, "tail": {"name": "b"}, "relation_name": "r", "score": 0.6})


def test_output_without_attentions_says_how_to_get_them(outputs):
    outputs.cross_attentions = None
    with pytest.raises(ValueError, match="no `cross_attentions`: call the model with `output_attentions=True`"):
        explain_facts(outputs, 0, [(0, 1, 1)])
    outputs.iteration_logits = None
    with pytest.raises(ValueError, match="the model has no inference module"):
        explain_facts(outputs, 0, [(0, 1, 1)])
