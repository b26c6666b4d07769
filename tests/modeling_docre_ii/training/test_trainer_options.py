"""Options of the second stage that follow the authors' released code."""

import pytest
import torch

from modeling_docre_ii import losses
from modeling_docre_ii.entity_pairs import EntityPairs, dense_labels
from modeling_docre_ii.losses import adaptive_threshold_loss


@pytest.fixture
def make_model(tiny_model):
    """A model that is trained without noise and dropout."""

    def make(**changes):
        no_dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        fields = {
            "num_iterations": 2,
            "max_noise_rate": 0,
            "contrastive_loss_weight": 0,
            "encoder_changes": no_dropout,
        }
        return tiny_model(**(fields | changes)).train()

    return make


@pytest.mark.parametrize("relation_embedding", ["argmax", "multi_label"])
def test_gold_relations_are_what_the_module_reads_in_training(make_model, tiny_batch, relation_embedding):
    model = make_model(training_relations="gold", relation_embedding=relation_embedding)
    mask, module = tiny_batch["pair_mask"], model.inference_module
    labels = dense_labels(tiny_batch["labels"], 3, 4)[mask]
    output = model(**tiny_batch)

    relations = torch.zeros(len(labels), 4, dtype=torch.bool)
    for row, right in zip(relations, labels, strict=True):
        classes = right.nonzero()[:, 0].tolist() or [0]
        row[classes[:1] if relation_embedding == "argmax" else classes] = True
    inputs = {name: value for name, value in tiny_batch.items() if name != "labels"}
    features = model.docre_ii(**inputs).feature_matrix[mask]
    embeddings, first_layer = module.relation_embeddings, module.layers[0]
    encoded, _ = module.encode(
        first_layer.project_features(module.feature_projection(features)),
        first_layer.project_relations(embeddings.look_up(embeddings.table(mask.device), relations)),
        module.layout(EntityPairs.from_mask(mask)),
    )
    torch.testing.assert_close(output.logits[mask], module.classifier(encoded))


def test_training_without_gold_relations_reads_the_predictions_of_the_base(make_model, tiny_batch):
    """Without noise, one pass over them is the first iteration."""
    model = make_model()
    logits = model(**tiny_batch).logits
    torch.testing.assert_close(logits, model.eval()(**tiny_batch).iteration_logits[0])


def test_loss_of_sampled_pairs_only(make_model, tiny_batch, monkeypatch):
    model = make_model(negatives_per_positive=1)
    mask = tiny_batch["pair_mask"]
    labels = dense_labels(tiny_batch["labels"], 3, 4)[mask]
    torch.manual_seed(3)
    sampled = losses.sample_pairs(labels, 1)
    assert 0 < sampled.sum() < len(labels)
    monkeypatch.setattr("modeling_docre_ii.inference_module.sample_pairs", lambda labels, count: sampled)
    output = model(**tiny_batch)

    for logits, loss in ((output.base_logits, output.base_loss), (output.logits, output.inference_loss)):
        rows = zip(logits[mask].split(1), labels.split(1), sampled.tolist(), strict=True)
        expected = [adaptive_threshold_loss(row, right).item() for row, right, is_sampled in rows if is_sampled]
        assert loss.item() == pytest.approx(sum(expected) / len(expected), rel=1e-5)


def test_all_pairs_count_in_evaluation(make_model, tiny_batch):
    sampling, plain = (make_model(**changes).eval() for changes in ({"negatives_per_positive": 1}, {}))
    assert sampling(**tiny_batch).loss.item() == pytest.approx(plain(**tiny_batch).loss.item())
