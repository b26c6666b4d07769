"""`torch.compile` of the inference module: one graph, the same numbers."""

import pytest
import torch

from modeling_docre_ii.entity_pairs import EntityPairs
from modeling_docre_ii.relation_matrix import read_relations


pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def fresh_compiler():
    """The number of candidate pairs becomes a size of the graph."""
    torch._dynamo.reset()
    with torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True):
        yield
    torch._dynamo.reset()


def random_inputs(config, batch_size, num_entities, seed):
    """Feature vectors and clear base logits of the pairs of documents, of which one is smaller than the others."""
    generator = torch.Generator().manual_seed(seed)
    pair_mask = ~torch.eye(num_entities, dtype=torch.bool).repeat(batch_size, 1, 1)
    if num_entities > 2:
        pair_mask[0, -1] = pair_mask[0, :, -1] = False
    num_pairs = int(pair_mask.sum())
    features = torch.randn(num_pairs, config.pair_feature_size, generator=generator)
    return (
        features,
        3 * torch.randn(num_pairs, config.num_labels, generator=generator),
        EntityPairs.from_mask(pair_mask),
    )


def assert_compiles(model, backend, sizes):
    module = model.inference_module
    compiled = torch.compile(module, fullgraph=True, dynamic=True, backend=backend)
    with torch.no_grad():
        for seed, (batch_size, num_entities) in enumerate(sizes):
            inputs = random_inputs(model.config, batch_size, num_entities, seed)
            found, expected = compiled(*inputs), module(*inputs)
            torch.testing.assert_close(found.logits, expected.logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "cross_attention, relation_embedding", [("extended", "argmax"), ("full", "multi_label"), ("extended", "soft")]
)
def test_all_iterations_are_one_graph(tiny_model, cross_attention, relation_embedding):
    """`fullgraph=True` raises an error at any break of the graph."""
    variant = {"cross_attention": cross_attention, "relation_embedding": relation_embedding}

    assert_compiles(tiny_model(num_iterations=2, num_inference_layers=1, **variant), "eager", [(2, 4), (3, 6), (4, 3)])


def test_training_pass_is_one_graph(tiny_model):
    """The layers, as training runs them, with the layout of the pairs made outside."""
    model = tiny_model(num_iterations=3, num_inference_layers=1)
    module = model.inference_module.train()
    features, logits, pairs = random_inputs(model.config, 2, 4, 0)
    layout, first_layer = module.layout(pairs), module.layers[0]

    def encoded(encode):
        relations = read_relations(logits, "argmax").float() @ module.relation_embeddings.weight
        projected = first_layer.project_features(module.feature_projection(features))
        return encode(projected, first_layer.project_relations(relations), layout)[0]

    compiled = encoded(torch.compile(module.encode, fullgraph=True, dynamic=True, backend="eager"))
    gradients = torch.autograd.grad(compiled.square().sum(), module.relation_embeddings.weight)
    expected = torch.autograd.grad(encoded(module.encode).square().sum(), module.relation_embeddings.weight)

    torch.testing.assert_close(compiled, encoded(module.encode), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(gradients, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("margin", [None, 4.0])
def test_machine_code_gives_the_same_logits(tiny_model, margin):
    """With a margin, the number of refined pairs is a result of the graph."""
    model = tiny_model(num_iterations=3, inference_margin=margin)

    assert_compiles(model, "inductor", [(2, 4), (3, 6)])
