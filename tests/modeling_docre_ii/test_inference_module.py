import itertools

import pytest
import torch
from torch import nn

from modeling_docre_ii import inference_module, relation_matrix
from modeling_docre_ii.cross_attention import PairLayout
from modeling_docre_ii.entity_pairs import EntityPairs
from modeling_docre_ii.inference_module import (
    FusionGate,
    InferenceFeedForward,
    InferenceLayer,
    InferenceModule,
    classifier_weights,
)
from modeling_docre_ii.relation_matrix import read_relations


WIDTH, FEATURE_SIZE, NUM_LABELS = 8, 6, 4
EXACT = {"rtol": 1e-9, "atol": 1e-9}
SIZES = {
    "inference_hidden_size": WIDTH,
    "inference_intermediate_size": 10,
    "inference_dropout": 0.1,
    "num_iterations": 4,
}
VARIANTS = [
    {"relation_embedding": relation_embedding, "iteration_update": iteration_update, "add_base_logits": adds}
    for relation_embedding, iteration_update, adds in itertools.product(
        ["argmax", "multi_label"], ["replace", "accumulate"], [False, True]
    )
    # Logits that add up begin with those of the base module.
    if not (adds and iteration_update == "accumulate")
]


def candidates(*sizes, share=0.7, seed=0):
    """Candidate pairs of documents with these numbers of entities, padded; a document of 2 keeps both of its pairs."""
    mask = torch.zeros(len(sizes), max(sizes), max(sizes), dtype=torch.bool)
    generator = torch.Generator().manual_seed(seed)
    for document, size in enumerate(sizes):
        chosen = torch.rand(size, size, generator=generator) < (share if size > 2 else 2.0)
        mask[document, :size, :size] = chosen & ~torch.eye(size, dtype=torch.bool)
    return mask


def random_values(num_pairs, width, seed):
    return torch.randn(num_pairs, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def inference(docre_config, shaken):
    """Makes an inference module in float64 and its configuration, always the same."""

    def make(feature_size=FEATURE_SIZE, seed=0, **changes):
        torch.manual_seed(seed)
        config = docre_config(**SIZES | changes)
        module = InferenceModule(config, feature_size)
        # Weights as large as the features, so that relations change from iteration to iteration.
        for parameter in module.parameters():
            nn.init.normal_(parameter, std=0.5)
        return shaken(module).double().eval(), config

    return make


def run(module, pair_mask, seed=0, feature_size=FEATURE_SIZE, **options):
    """Random features and base logits, and what the module makes of them."""
    num_pairs = int(pair_mask.sum())
    features = random_values(num_pairs, feature_size, seed)
    base_logits = random_values(num_pairs, NUM_LABELS, seed + 1)
    return features, base_logits, module(features, base_logits, EntityPairs.from_mask(pair_mask), **options)


def assert_iterations_are_naive(naive, module, config, pair_mask, seed=0, feature_size=FEATURE_SIZE):
    """Compares all logits; returns the relations of each iteration of each document, and the rows of the document."""
    with torch.no_grad():
        features, base_logits, output = run(module, pair_mask, seed, feature_size)
        assert len(output.logits) == config.num_iterations
        assert all(logits.shape == (len(features), NUM_LABELS) for logits in output.logits)
        history = []
        for rows, *matrices in naive.by_document(pair_mask, features, base_logits):
            expected, relations = naive.iterations(module, config, *matrices)
            for logits, matrix in zip(output.logits, expected, strict=True):
                torch.testing.assert_close(logits[rows], torch.stack(list(matrix.values())), **EXACT)
            history.append((rows, relations))
    return history


def count_encoded_rows(module, monkeypatch):
    """Notes how many pairs each call of `encode` is given."""
    counts, encode = [], module.encode

    def counting(features, relations, *args):
        counts.append(len(features.value()))
        return encode(features, relations, *args)

    monkeypatch.setattr(module, "encode", counting)
    return counts


def test_gate_is_equations_8_and_9(docre_config, shaken, naive):
    torch.manual_seed(0)
    module = shaken(FusionGate(docre_config(**SIZES))).double()
    features, relations = random_values(5, WIDTH, 0), random_values(5, WIDTH, 1)

    for fused, feature, relation in zip(module(features, relations), features, relations, strict=True):
        torch.testing.assert_close(fused, naive.gate(module, feature, relation), **EXACT)
        assert ((fused - feature) * (fused - relation) <= 0).all()


def test_feed_forward_is_equation_10(docre_config, shaken, naive):
    torch.manual_seed(0)
    module = shaken(InferenceFeedForward(docre_config(**SIZES))).double().eval()
    values, fused = random_values(5, WIDTH, 0), random_values(5, WIDTH, 1)

    for output, value, matrix in zip(module(values, fused), values, fused, strict=True):
        torch.testing.assert_close(output, naive.feed_forward(module, value, matrix), **EXACT)


@pytest.mark.parametrize("use_fusion", [True, False])
def test_layer_is_equations_5_to_11(docre_config, shaken, naive, use_fusion):
    torch.manual_seed(0)
    layer = shaken(InferenceLayer(docre_config(**SIZES, use_fusion=use_fusion))).double().eval()
    mask = candidates(4, 3)
    inputs = [random_values(int(mask.sum()), WIDTH, seed) for seed in (0, 1)]
    layout = PairLayout.of_overlapping_pairs(EntityPairs.from_mask(mask))
    outputs = layer(layer.project_features(inputs[0]), layer.project_relations(inputs[1]), layout)

    assert (layer.fusion is not None) == use_fusion
    assert outputs[2] is None
    for rows, *matrices in naive.by_document(mask, *inputs):
        for ours, theirs in zip(outputs, naive.inference_layer(layer, *matrices), strict=False):
            torch.testing.assert_close(ours[rows], torch.stack(list(theirs.values())), **EXACT)


def test_without_fusion_neither_attention_unit_feeds_the_other_output(docre_config, shaken):
    torch.manual_seed(0)
    layer = shaken(InferenceLayer(docre_config(**SIZES, use_fusion=False))).double().eval()
    mask = candidates(3)
    projected = (
        layer.project_features(random_values(int(mask.sum()), WIDTH, 0)),
        layer.project_relations(random_values(int(mask.sum()), WIDTH, 1)),
    )
    layout = PairLayout.of_overlapping_pairs(EntityPairs.from_mask(mask))
    features, relations, _ = layer(*projected, layout)
    with torch.no_grad():
        layer.relation_attention.output.weight.neg_()
    features_after, relations_after, _ = layer(*projected, layout)

    assert torch.equal(features, features_after)
    assert not torch.allclose(relations, relations_after, atol=1e-3)


@pytest.mark.parametrize("relation_embedding", ["argmax", "multi_label", "soft"])
@pytest.mark.parametrize("num_layers", [1, 2, 3])
def test_encoding_runs_the_layers_over_features_and_embedded_relations(
    inference, naive, num_layers, relation_embedding
):
    module, _ = inference(num_inference_layers=num_layers, relation_embedding=relation_embedding)
    mask = candidates(4, 3)
    features, base_logits = random_values(int(mask.sum()), WIDTH, 0), random_values(int(mask.sum()), NUM_LABELS, 1)
    module.feature_projection = nn.Identity()
    relations, first_layer = read_relations(base_logits, relation_embedding), module.layers[0]
    table = module.relation_embeddings.table(features.device)
    encoded, attentions = module.encode(
        first_layer.project_features(features),
        first_layer.project_relations(table).map(lambda rows: module.relation_embeddings.look_up(rows, relations)),
        module.layout(EntityPairs.from_mask(mask)),
    )

    assert len(module.layers) == num_layers
    assert attentions is None
    read = [naive.read_relations(logits, relation_embedding) for logits in base_logits]
    embedded = torch.stack([naive.embed_relations(module, weights) for weights in read])
    torch.testing.assert_close(module.relation_embeddings.look_up(table, relations), embedded, **EXACT)
    for rows, *matrices in naive.by_document(mask, features, embedded):
        for layer in module.layers:
            matrices = naive.inference_layer(layer, *matrices)
        expected = [torch.cat([feature, matrices[1][pair]]) for pair, feature in matrices[0].items()]
        torch.testing.assert_close(encoded[rows], torch.stack(expected), **EXACT)


@pytest.mark.parametrize("adds_base_logits", [False, True])
def test_classifier_is_equation_12(inference, naive, adds_base_logits):
    module, _ = inference(add_base_logits=adds_base_logits)
    encoded, base_logits = random_values(5, 2 * WIDTH, 0), random_values(5, NUM_LABELS, 1)
    logits = module.classify(encoded, base_logits)

    for row in range(5):
        feature, relation = encoded[row].chunk(2)
        expected = naive.classify(module, feature, relation, base_logits[row], adds_base_logits)
        torch.testing.assert_close(logits[row], expected, **EXACT)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: "-".join(map(str, variant.values())))
def test_iterations_are_those_of_each_document_alone_without_any_stop(inference, naive, monkeypatch, variant):
    # A seed at which some documents come to rest and others do not.
    module, config = inference(num_iterations=5, seed=28, **variant)
    mask = candidates(3, 2, 3, 1)
    counts = count_encoded_rows(module, monkeypatch)
    history = assert_iterations_are_naive(naive, module, config, mask)

    # Whether the relation matrix of each document is another one than in the iteration before.
    changes = [[relations[k] != relations[k - 1] for k in range(1, 5)] for _, relations in history]
    expected = [sum(len(rows) for (rows, _), changed in zip(history, at_k) if changed) for at_k in zip(*changes)]
    assert any(0 < count < mask.sum() for count in expected)
    assert counts == [mask.sum(), *(count for count in expected if count)]
    # Logits that add up change the relations again after a while.
    resumed = any(not before and after for changed in changes for before, after in itertools.pairwise(changed))
    assert resumed == (variant["iteration_update"] == "accumulate")


def test_a_soft_relation_matrix_stops_when_no_weight_changes_by_more_than_the_tolerance(inference, monkeypatch):
    module, _ = inference(num_iterations=30, relation_embedding="soft", relation_temperature=4.0)
    with torch.no_grad():
        # Little of what the module reads gets into its logits, so that they settle.
        module.classifier.weight.mul_(0.1)
    mask = candidates(3, 4)
    counts = count_encoded_rows(module, monkeypatch)
    stopped = run(module, mask)[2].logits
    # Below 0, equal weights count as changed. With 0.0, some CPUs come to rest in less than 30 iterations.
    monkeypatch.setattr(relation_matrix, "_WEIGHT_TOLERANCE", -1.0)
    never_stopped = run(module, mask)[2].logits

    assert counts[0] == counts[1] == mask.sum() and 2 < len(counts) - 30 < 30
    torch.testing.assert_close(stopped[-1], never_stopped[-1], rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    "changes",
    [
        {"use_fusion": False},
        {"cross_attention": "full"},
        {"cross_attention": "full", "use_fusion": False, "relation_embedding": "multi_label"},
        {"relation_embedding": "soft"},
        {"relation_embedding": "soft", "relation_temperature": 0.25, "iteration_update": "accumulate"},
        {"num_inference_layers": 1},
        {"num_inference_layers": 3},
        {"num_iterations": 1},
        {"num_iterations": 5},
        {"inference_hidden_size": 12, "inference_intermediate_size": 5},
    ],
    ids=str,
)
@pytest.mark.parametrize("most_kept", [0, 2**14])
def test_variants_and_sizes_are_those_of_the_definition(inference, naive, monkeypatch, changes, most_kept):
    """With the projections of F_0 computed in every iteration, and in the first alone."""
    monkeypatch.setattr(inference_module, "_MOST_KEPT", most_kept)
    module, config = inference(**{"num_iterations": 2} | changes)

    assert_iterations_are_naive(naive, module, config, candidates(4, 1, 3))


def test_features_of_the_right_width_are_not_projected(inference, naive):
    module, config = inference(feature_size=WIDTH)

    assert not list(module.feature_projection.parameters())
    assert_iterations_are_naive(naive, module, config, candidates(3), feature_size=WIDTH)


@pytest.mark.parametrize("cross_attention", ["extended", "full"])
def test_two_entities_refine_their_two_pairs(inference, naive, cross_attention):
    module, config = inference(cross_attention=cross_attention)
    [(rows, _)] = assert_iterations_are_naive(naive, module, config, candidates(2))

    assert rows == [0, 1]


@pytest.mark.parametrize("sizes", [[1], [1, 1]])
@pytest.mark.parametrize("cross_attention", ["extended", "full"])
@pytest.mark.parametrize("output_attentions", [False, True])
def test_documents_of_one_entity_give_no_logits(inference, output_attentions, cross_attention, sizes):
    module, config = inference(cross_attention=cross_attention)
    output = run(module, candidates(*sizes), output_attentions=output_attentions)[-1]

    assert [logits.shape for logits in output.logits] == [(0, NUM_LABELS)] * config.num_iterations


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: "-".join(map(str, variant.values())))
def test_order_of_the_entities_does_not_matter(inference, variant):
    module, _ = inference(**variant)
    mask, order = candidates(5), torch.tensor([3, 0, 4, 1, 2])
    features, base_logits, output = run(module, mask)

    def matrix(values, mask):
        return values.new_zeros(*mask.shape, values.shape[-1]).masked_scatter(mask[..., None], values)

    def permuted(values):
        return values[:, order][:, :, order]

    mask_after = permuted(mask)
    inputs = [permuted(matrix(values, mask))[mask_after] for values in (features, base_logits)]
    output_after = module(*inputs, EntityPairs.from_mask(mask_after))

    assert not torch.equal(mask, mask_after)
    for before, after in zip(output.logits, output_after.logits, strict=True):
        torch.testing.assert_close(permuted(matrix(before, mask)), matrix(after, mask_after), **EXACT)


@pytest.mark.parametrize("variant", [{"iteration_update": "accumulate"}, {"add_base_logits": True}], ids=str)
def test_inputs_are_not_edited(inference, variant):
    module, _ = inference(**variant)
    mask = candidates(4, 3)
    inputs = random_values(int(mask.sum()), FEATURE_SIZE, 0), random_values(int(mask.sum()), NUM_LABELS, 1)
    before = [values.clone() for values in inputs]
    module(*inputs, EntityPairs.from_mask(mask))

    assert all(torch.equal(values, copy) for values, copy in zip(inputs, before, strict=True))


def test_attentions_of_a_document_at_its_fixed_point_are_those_it_had(inference, monkeypatch):
    module, _ = inference(num_iterations=5, seed=28)
    mask = candidates(3, 2, 3, 1)
    counts = count_encoded_rows(module, monkeypatch)
    features, base_logits, output = run(module, mask, output_attentions=True)

    assert len(output.attentions) == 5
    assert any(0 < count < mask.sum() for count in counts)
    logits = base_logits
    for iteration, attentions in enumerate(output.attentions):
        # All documents at once, as if nothing had been computed before.
        module.config.num_iterations = 1
        alone = module(features, logits, EntityPairs.from_mask(mask), output_attentions=True)
        torch.testing.assert_close(attentions, alone.attentions[0], rtol=1e-5, atol=1e-6)
        logits = output.logits[iteration]


@pytest.mark.parametrize("unit", ["feature_attention", "relation_attention"])
@pytest.mark.parametrize("layer", [0, 1])
def test_attentions_are_ordered_by_layer_and_unit(inference, layer, unit):
    module, _ = inference(num_iterations=1)
    # A unit whose queries are zero attends evenly.
    nn.init.zeros_(getattr(module.layers[layer], unit).query.weight)
    [attentions] = run(module, candidates(4), output_attentions=True)[-1].attentions
    even = (attentions > 0) / (attentions > 0).sum(-1, keepdim=True).clamp(min=1)
    is_even = [
        [torch.allclose(attentions[:, i, j], even[:, i, j].to(attentions), atol=1e-6) for j in (0, 1)] for i in (0, 1)
    ]

    assert is_even == [[(i, j) == (layer, unit == "relation_attention") for j in (0, 1)] for i in (0, 1)]


@pytest.mark.parametrize("num_layers", [1, 2])
def test_attentions_of_the_model_stand_at_the_candidate_pairs(tiny_model, tiny_batch, num_layers):
    model = tiny_model(**SIZES | {"num_inference_layers": num_layers})
    pair_mask = tiny_batch["pair_mask"]
    # Entity 0 of the first document is the tail of no candidate pair.
    pair_mask[0, :, 0] = False
    inputs = {name: tensor for name, tensor in tiny_batch.items() if name != "labels"}
    output = model(**inputs, output_attentions=True)

    assert len(output.cross_attentions) == len(output.iteration_logits) == SIZES["num_iterations"]
    assert model(**inputs).cross_attentions is None
    candidate = torch.zeros(2, 4, 3, 3, 3, dtype=torch.bool)
    for document, s, o in pair_mask.nonzero().tolist():
        for other in range(3):
            attended = [(s, other), (other, s), (o, other), (other, o)]
            candidate[document, :, s, o, other] = torch.stack([pair_mask[document][pair] for pair in attended])
    for attentions in output.cross_attentions:
        assert attentions.shape == (2, num_layers, 2, 4, 3, 3, 3)
        expected = candidate[:, None, None].expand_as(attentions)
        assert torch.equal(attentions > 0, expected)
        torch.testing.assert_close(attentions.sum(-1), expected.any(-1).float(), rtol=1e-5, atol=1e-6)
    # Both cases are there: a line with candidates, and a candidate pair whose line has none.
    has_line = candidate.any(-1)[pair_mask[:, None].expand(2, 4, 3, 3)]
    assert has_line.any() and not has_line.all()


def active_pairs(pair_mask, base_logits, margin):
    """The pairs with a relation less than the margin below the threshold class, one by one."""
    mask = torch.zeros_like(pair_mask)
    for place, logits in zip(pair_mask.nonzero().tolist(), base_logits.tolist(), strict=True):
        mask[tuple(place)] = max(logits[1:]) > logits[0] - margin
    return mask


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("margin", [0.0, 0.5, 1.5])
def test_only_pairs_within_the_margin_are_refined(inference, variant, margin):
    """As if the others were no candidates, and these keep the logits of the base module."""
    module, _ = inference(inference_margin=margin, **variant)
    alone, _ = inference(**variant)
    pair_mask = candidates(5, 2, 4)
    features, base_logits, output = run(module, pair_mask, output_attentions=True)
    active = active_pairs(pair_mask, base_logits, margin)
    rows = active[pair_mask]
    assert 0 < rows.sum() < len(rows)
    expected = alone(features[rows], base_logits[rows], EntityPairs.from_mask(active), output_attentions=True)

    for logits, refined in zip(output.logits, expected.logits, strict=True):
        torch.testing.assert_close(logits[rows], refined, **EXACT)
        assert torch.equal(logits[~rows], base_logits[~rows])
    for weights, of_active in zip(output.attentions, expected.attentions, strict=True):
        torch.testing.assert_close(weights[rows], of_active, **EXACT)
        assert not weights[~rows].any()


def test_a_margin_without_a_pair_changes_nothing(inference):
    module, _ = inference(inference_margin=0.0)
    pair_mask = candidates(4, 3)
    base_logits = -random_values(int(pair_mask.sum()), NUM_LABELS, 1).abs()
    base_logits[:, 0] = 1.0
    features = random_values(len(base_logits), FEATURE_SIZE, 0)
    output = module(features, base_logits, EntityPairs.from_mask(pair_mask))

    assert all(torch.equal(logits, base_logits) for logits in output.logits)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_wide_margin_is_none(inference, variant):
    (wide, _), (none, _) = inference(inference_margin=1e6, **variant), inference(**variant)
    pair_mask = candidates(5, 2, 4)
    for logits, expected in zip(run(wide, pair_mask)[2].logits, run(none, pair_mask)[2].logits, strict=True):
        torch.testing.assert_close(logits, expected, **EXACT)


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_training_refines_pairs_within_the_margin(inference, weight):
    """Without noise the pass is that over the active pairs alone; the others teach the base module nothing."""
    changes = {"max_noise_rate": 0.0, "contrastive_loss_weight": weight}
    (module, _), (alone, _) = inference(inference_margin=0.5, **changes), inference(**changes)
    pair_mask = candidates(5, 2, 4)
    features, base_logits, _ = run(module, pair_mask)
    base_logits.requires_grad_()
    labels = random_values(len(base_logits), NUM_LABELS, 5) > 1
    labels[:, 0] = False
    active = active_pairs(pair_mask, base_logits, 0.5)
    rows = active[pair_mask]
    noisy = module.noisy_pass(features, base_logits, EntityPairs.from_mask(pair_mask), labels)
    expected = alone.noisy_pass(features[rows], base_logits[rows], EntityPairs.from_mask(active), labels[rows])
    noisy.logits.sum().backward()

    torch.testing.assert_close(noisy.logits[rows], expected.logits, **EXACT)
    assert torch.equal(noisy.logits[~rows], base_logits[~rows])
    assert base_logits.grad is None or not base_logits.grad[~rows].any()
    assert noisy.document.tolist() == active.nonzero()[:, 0].tolist()
    if weight:
        for view, of_active in zip(noisy.views, expected.views, strict=True):
            torch.testing.assert_close(view, of_active, **EXACT)


def test_classifier_weights_are_the_means_of_their_halves(docre_config):
    module = InferenceModule(docre_config(num_iterations=1, inference_hidden_size=4), feature_size=4)
    with torch.no_grad():
        module.classifier.weight[:] = torch.tensor([-0.5, 0.5, 0.25, -0.25, 0.1, -0.1, 0.0, 0.2])
    weights = classifier_weights(module)
    assert weights == pytest.approx({"feature": 0.375, "relation": 0.1})
