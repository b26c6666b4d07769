import math

import pytest
import torch

from modeling_docre_ii import DocREIIForRelationExtraction, inference_module
from modeling_docre_ii.entity_pairs import EntityPairs
from modeling_docre_ii.losses import ContrastivePredictor, contrastive_loss, simclr_loss, simsiam_loss
from modeling_docre_ii.relation_matrix import corrupt_relations, read_relations


# The losses are computed in float32.
CLOSE = {"rel": 1e-5, "abs": 1e-5}
ONE_VIEW = {"contrastive_loss_weight": 0.0}
# With these, the two passes of a training step differ in nothing but the order of their inputs.
DETERMINISTIC = {
    "encoder_changes": {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0},
    "inference_hidden_size": 8,
    "inference_dropout": 0.0,
    "max_noise_rate": 0.0,
    "num_iterations": 2,
}


def cosine(first, second):
    product = sum(a * b for a, b in zip(first, second, strict=True))
    return product / math.sqrt(sum(a * a for a in first)) / math.sqrt(sum(b * b for b in second))


def naive_simsiam(predicted, encoded, pair):
    """Equation 14: the first of each two is of M_, the second of M^."""
    (predicted_bar, predicted_hat), (bar, hat) = (
        [view[pair].tolist() for view in predicted],
        [view[pair].tolist() for view in encoded],
    )
    return 2 - (cosine(predicted_hat, bar) + cosine(predicted_bar, hat))


def naive_simclr(predicted, document, pair, temperature):
    """NT-Xent of one pair, the mean of both directions."""
    views = [view.tolist() for view in predicted]
    losses = []
    for own in (0, 1):
        anchor = views[own][pair]
        exponentials = {
            (view, other): math.exp(cosine(anchor, views[view][other]) / temperature)
            for view in (0, 1)
            for other in range(len(document))
            if document[other] == document[pair] and (view, other) != (own, pair)
        }
        losses.append(-math.log(exponentials[1 - own, pair] / sum(exponentials.values())))
    return sum(losses) / 2


def random_views(num_pairs, width=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(2, num_pairs, width, generator=generator, dtype=torch.float64).unbind())


def test_simsiam_is_equation_14():
    predicted, encoded = random_views(7), random_views(7, seed=1)
    losses = simsiam_loss(predicted, encoded)

    assert losses.dtype == torch.float32
    expected = [naive_simsiam(predicted, encoded, pair) for pair in range(7)]
    assert losses.tolist() == pytest.approx(expected, **CLOSE)


def test_simsiam_lies_between_0_for_the_same_direction_and_4_for_the_opposite():
    first, second = random_views(5)

    assert simsiam_loss((2 * second, 3 * first), (first, second)).tolist() == pytest.approx([0] * 5, abs=1e-5)
    assert simsiam_loss((-second, -first), (first, second)).tolist() == pytest.approx([4] * 5, abs=1e-5)


def test_simsiam_compares_each_prediction_with_the_other_view():
    first, second = random_views(5)

    # Predictions of their own views only would be perfect.
    expected = [2 - 2 * cosine(a, b) for a, b in zip(first.tolist(), second.tolist(), strict=True)]
    assert simsiam_loss((first, second), (first, second)).tolist() == pytest.approx(expected, **CLOSE)
    assert min(expected) > 0.1


def test_simsiam_moves_the_predictions_and_not_their_targets():
    predicted = [view.requires_grad_() for view in random_views(4)]
    encoded = [view.requires_grad_() for view in random_views(4, seed=1)]
    simsiam_loss(tuple(predicted), tuple(encoded)).sum().backward()

    assert all(view.grad is None for view in encoded)
    assert all(view.grad.abs().sum(-1).gt(1e-3).all() for view in predicted)


def test_simsiam_reaches_what_was_encoded_through_the_predictor_alone(docre_config, shaken):
    torch.manual_seed(0)
    predictor = shaken(ContrastivePredictor(docre_config(inference_hidden_size=4, contrastive_hidden_size=6)))

    def gradients(*targets):
        encoded = [view.float().requires_grad_() for view in random_views(3, width=8)]
        targets = targets or encoded
        simsiam_loss(tuple(predictor(view) for view in encoded), tuple(targets)).sum().backward()
        return [view.grad for view in encoded]

    constants = [view.float() for view in random_views(3, width=8)]
    for ours, expected in zip(gradients(), gradients(*constants), strict=True):
        assert expected.abs().max() > 1e-3
        assert torch.equal(ours, expected)


@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
def test_simclr_is_nt_xent_within_each_document(temperature):
    predicted, document = random_views(9), [0, 0, 0, 0, 2, 3, 3, 3, 3]
    losses = simclr_loss(predicted, torch.tensor(document), temperature)

    assert losses.dtype == torch.float32
    expected = [naive_simclr(predicted, document, pair, temperature) for pair in range(9)]
    assert losses.tolist() == pytest.approx(expected, **CLOSE)


def test_simclr_of_two_orthogonal_pairs_worked_by_hand():
    view = torch.eye(2)
    losses = simclr_loss((view, 5 * view), torch.tensor([0, 0]), 0.5)

    # Cosine 1 with the partner, 0 with both views of the other pair.
    assert losses.tolist() == pytest.approx([math.log(1 + 2 * math.exp(-2))] * 2, rel=1e-5)


def test_simclr_of_one_pair_in_its_document_is_zero():
    losses = simclr_loss(random_views(3), torch.tensor([0, 1, 4]), 0.1)

    assert losses.tolist() == pytest.approx([0.0] * 3, abs=1e-6)


def test_documents_do_not_mix_in_simclr():
    predicted, document = random_views(6), torch.tensor([0, 0, 0, 1, 1, 1])
    changed = tuple(torch.where(document[:, None] == 1, view.flip(-1) - 3, view) for view in predicted)
    before, after = simclr_loss(predicted, document, 0.1), simclr_loss(changed, document, 0.1)

    assert torch.equal(before[:3], after[:3])
    assert (before[3:] != after[3:]).all()
    assert not torch.allclose(before, simclr_loss(predicted, torch.zeros(6, dtype=torch.long), 0.1), atol=1e-3)


def test_simclr_moves_both_views_and_only_those_of_its_document():
    predicted = [view.requires_grad_() for view in random_views(4)]
    simclr_loss(tuple(predicted), torch.tensor([0, 0, 1, 1]), 0.5)[:2].sum().backward()

    for view in predicted:
        assert view.grad.isfinite().all()
        assert view.grad[:2].abs().sum(-1).gt(1e-3).all()
        assert not view.grad[2:].any()


def test_simclr_pushes_apart_what_simsiam_leaves_alone():
    # Both pairs of the document have the same two views.
    predicted = (torch.ones(2, 3), torch.ones(2, 3))

    assert simsiam_loss(predicted, predicted).tolist() == pytest.approx([0.0, 0.0], abs=1e-6)
    assert simclr_loss(predicted, torch.tensor([0, 0]), 0.1).tolist() == pytest.approx([math.log(3)] * 2, rel=1e-5)


def test_losses_of_no_pairs_are_empty():
    empty = random_views(0)

    assert simsiam_loss(empty, empty).shape == (0,)
    assert simclr_loss(empty, torch.zeros(0, dtype=torch.long), 0.1).shape == (0,)


def test_loss_is_the_one_that_the_configuration_names(docre_config):
    predicted, encoded = random_views(5), random_views(5, seed=1)
    document = [0, 0, 0, 2, 2]

    losses = contrastive_loss(predicted, encoded, torch.tensor(document), docre_config(contrastive_loss="simsiam"))
    assert losses.tolist() == pytest.approx([naive_simsiam(predicted, encoded, pair) for pair in range(5)], **CLOSE)
    for temperature in (0.1, 0.7):
        config = docre_config(contrastive_loss="simclr", contrastive_temperature=temperature)
        expected = [naive_simclr(predicted, document, pair, temperature) for pair in range(5)]
        assert contrastive_loss(predicted, encoded, torch.tensor(document), config).tolist() == pytest.approx(
            expected, **CLOSE
        )


def test_half_precision_views_are_compared_in_float32():
    predicted, encoded = (tuple(view.bfloat16() for view in random_views(6, seed=seed)) for seed in (0, 1))
    document = torch.tensor([0, 0, 0, 1, 1, 1])
    simsiam, simclr = simsiam_loss(predicted, encoded), simclr_loss(predicted, document, 0.1)

    assert simsiam.dtype == simclr.dtype == torch.float32
    expected = [naive_simsiam(predicted, encoded, pair) for pair in range(6)]
    assert simsiam.tolist() == pytest.approx(expected, **CLOSE)
    expected = [naive_simclr(predicted, document.tolist(), pair, 0.1) for pair in range(6)]
    assert simclr.tolist() == pytest.approx(expected, **CLOSE)


def test_predictor_is_two_layers_with_a_bottleneck(docre_config, naive, shaken):
    torch.manual_seed(0)
    config = docre_config(inference_hidden_size=4, contrastive_hidden_size=3)
    module = shaken(ContrastivePredictor(config)).double()
    encoded = random_views(5, width=8)[0]
    predicted = module(encoded)

    assert predicted.shape == (5, 8)
    for vector, expected in zip(encoded, predicted, strict=True):
        hidden = naive.linear(module.intermediate, vector)
        assert len(hidden) == 3
        loop = naive.linear(module.output, torch.stack([value if value > 0 else 0 * value for value in hidden]))
        torch.testing.assert_close(expected, loop, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("relation_embedding", ["argmax", "multi_label"])
def test_second_view_is_given_features_and_relations_in_reverse_order(tiny_model, tiny_batch, relation_embedding):
    model = tiny_model(**DETERMINISTIC, relation_embedding=relation_embedding).train()
    module, pair_mask = model.inference_module, tiny_batch["pair_mask"]
    output = model(**tiny_batch)
    base = model.docre_ii(**{name: tensor for name, tensor in tiny_batch.items() if name != "labels"})

    embedded = []
    for logits in base.base_logits[pair_mask]:
        if relation_embedding == "argmax":
            classes = [logits.argmax().item()]
        else:
            classes = [index for index in range(1, len(logits)) if logits[index] > logits[0]] or [0]
        embedded.append(sum(module.relation_embeddings.weight[index] for index in classes))
    features = module.feature_projection(base.feature_matrix[pair_mask])
    layout = module.layout(EntityPairs.from_mask(pair_mask))

    def encode(features, relations):
        for layer in module.layers:
            features, relations, _ = layer(
                layer.project_features(features), layer.project_relations(relations), layout
            )
        return torch.cat([features, relations], -1)

    expected = encode(features, torch.stack(embedded)), encode(torch.stack(embedded), features)
    assert len(output.views) == len(output.predicted_views) == 2
    for view, predicted_view, encoded in zip(output.views, output.predicted_views, expected, strict=True):
        assert view.shape == predicted_view.shape == (8, 16)
        torch.testing.assert_close(view, encoded, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(predicted_view, model.contrastive_predictor(encoded), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(*output.views, atol=1e-2)


def test_logits_in_training_are_those_of_the_first_view(tiny_model, tiny_batch):
    model = tiny_model(**DETERMINISTIC).train()
    output = model(**tiny_batch)

    expected = model.inference_module.classifier(output.views[0])
    torch.testing.assert_close(output.logits[tiny_batch["pair_mask"]], expected)
    # Without noise they are the first iteration of what is computed outside training.
    evaluated = model.eval()(**tiny_batch)
    torch.testing.assert_close(output.logits, evaluated.iteration_logits[0], rtol=1e-4, atol=1e-5)


def test_each_view_gets_a_noise_of_its_own(tiny_model, tiny_batch, monkeypatch):
    model = tiny_model(**DETERMINISTIC | {"max_noise_rate": 1.0}).train()
    given = []

    def noting(*args):
        given.append(corrupt_relations(*args))
        return given[-1]

    monkeypatch.setattr(inference_module, "corrupt_relations", noting)
    torch.manual_seed(0)
    for _ in range(40):
        model(**tiny_batch)
    first, second = torch.stack(given[::2]), torch.stack(given[1::2])
    predicted = read_relations(model(**tiny_batch).base_logits[tiny_batch["pair_mask"]], "argmax")
    noisy = torch.stack([(view != predicted).any(-1) for view in (first, second)]).float()

    # Rates are 1/2 on average in both views, and an entry of one is replaced whether or not it is in the other.
    assert first.shape == second.shape == (40, 8, 4)
    assert noisy.mean((1, 2)).tolist() == pytest.approx([0.45, 0.45], abs=0.2)
    assert (noisy[0] * noisy[1]).mean().item() == pytest.approx(noisy.mean((1, 2)).prod().item(), abs=0.08)


def test_contrastive_loss_of_the_views_trains_the_inference_module_and_the_base_module(tiny_model, tiny_batch):
    model = tiny_model(**DETERMINISTIC).train()
    output = model(**tiny_batch)
    simsiam_loss(output.predicted_views, output.views).sum().backward()

    assert model.contrastive_predictor.output.weight.grad.abs().max() > 0
    assert model.inference_module.relation_embeddings.weight.grad.abs().max() > 0
    assert model.docre_ii.pair_features.pair_encoder.output.weight.grad.abs().max() > 0
    # No gradient through arg max, and the views are taken before the classifier.
    assert model.docre_ii.classifier.weight.grad is None
    assert model.inference_module.classifier.weight.grad is None


def test_views_are_given_in_training_with_labels_only(tiny_model, tiny_batch):
    model = tiny_model(**DETERMINISTIC)
    unlabelled = {name: tensor for name, tensor in tiny_batch.items() if name != "labels"}

    for output in (model(**tiny_batch), model.train()(**unlabelled)):
        assert output.views is None and output.predicted_views is None


def test_without_contrastive_loss_there_is_one_view_and_no_predictor(tiny_model, tiny_batch):
    model = tiny_model(**DETERMINISTIC | ONE_VIEW).train()
    output = model(**tiny_batch)

    assert model.contrastive_predictor is None
    assert output.views is None and output.predicted_views is None
    assert output.inference_loss > 0


@pytest.mark.parametrize("changes", [{}, ONE_VIEW])
def test_without_iterations_there_is_no_inference_module(docre_config, tiny_batch, changes):
    torch.manual_seed(0)
    model = DocREIIForRelationExtraction(docre_config(num_iterations=0, **changes)).train()
    output = model(**tiny_batch)

    assert model.inference_module is None and model.contrastive_predictor is None
    assert output.views is None and output.predicted_views is None
    assert output.iteration_logits is None and output.inference_loss is None
    assert torch.equal(output.logits, output.base_logits)
    assert torch.equal(output.loss, output.base_loss)
