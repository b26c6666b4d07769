"""The model: features, logits and losses of the base module and of the iterations, and how it learns."""

import pytest
import torch
from transformers import AutoModel

from modeling_docre_ii import DocREIIForRelationExtraction
from modeling_docre_ii.losses import adaptive_threshold_loss, simclr_loss, simsiam_loss
from modeling_docre_ii.pair_features import PAIR_ENCODERS


CLOSE = {"rtol": 1e-4, "atol": 1e-5}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def without_labels(batch):
    return {name: tensor for name, tensor in batch.items() if name != "labels"}


@pytest.fixture
def naive_base(naive, alone):
    """F_0 and the logits as loops in float64: {(document, head, tail): (feature, logits)} of the candidate pairs."""

    def run(model, batch):
        base = model.docre_ii
        encoder = AutoModel.from_config(base.encoder.config, attn_implementation="eager")
        encoder.load_state_dict(base.encoder.state_dict(), strict=False)
        encoder = encoder.double().eval()
        pairs = {}
        for row in range(len(batch["input_ids"])):
            document = alone(batch, row)
            output = encoder(document["input_ids"], document["attention_mask"], output_attentions=True)
            positions, entities = document["mention_positions"][0].tolist(), document["mention_entities"][0].tolist()
            attention = output.attentions[-1][0][:, positions]
            for head, tail in document["pair_mask"][0].nonzero().tolist():
                feature = naive.pair_feature(
                    base.pair_features,
                    model.config.pair_encoder,
                    output.last_hidden_state[0],
                    attention,
                    positions,
                    entities,
                    head,
                    tail,
                )
                pairs[row, head, tail] = feature, naive.linear(base.classifier, feature)
        return pairs

    return run


@pytest.mark.parametrize("kind", PAIR_ENCODERS)
def test_features_and_logits_are_equations_1_to_4(tiny_model, tiny_batch, naive_base, kind):
    model = tiny_model(pair_encoder=kind)
    base, output = model.docre_ii(**without_labels(tiny_batch)), model(**tiny_batch)
    expected = naive_base(model, tiny_batch)

    assert len(expected) == 8
    for pair, (feature, logits) in expected.items():
        torch.testing.assert_close(base.feature_matrix[pair].double(), feature, **CLOSE)
        torch.testing.assert_close(base.base_logits[pair].double(), logits, **CLOSE)
        torch.testing.assert_close(output.logits[pair].double(), logits, **CLOSE)
    assert torch.equal(output.base_logits, base.base_logits)


def test_pairs_that_are_no_candidates_are_zero(tiny_model, tiny_batch):
    model = tiny_model()
    output, base = model(**tiny_batch), model.docre_ii(**without_labels(tiny_batch))

    for matrix in (output.logits, output.base_logits, base.feature_matrix):
        assert not matrix[~tiny_batch["pair_mask"]].any()
        assert matrix[tiny_batch["pair_mask"]].any(-1).all()


def test_loss_is_the_mean_over_the_candidate_pairs(tiny_model, tiny_batch):
    output = tiny_model()(**tiny_batch)
    facts = {(0, 0, 1): [2, 3], (0, 2, 0): [1], (1, 1, 0): [1]}

    losses = []
    for pair in map(tuple, tiny_batch["pair_mask"].nonzero().tolist()):
        labels = torch.zeros(1, 4, dtype=torch.bool)
        labels[0, facts.get(pair, [])] = True
        losses.append(adaptive_threshold_loss(output.logits[pair][None], labels).item())
    assert len(losses) == 8
    assert output.loss.item() == pytest.approx(sum(losses) / 8, rel=1e-5)


@pytest.mark.parametrize("as_tensor", [False, True])
def test_loss_is_divided_by_the_number_of_items_when_it_is_given(tiny_model, tiny_batch, as_tensor):
    model = tiny_model()
    num_items = torch.tensor(20) if as_tensor else 20

    loss = model(**tiny_batch, num_items_in_batch=num_items).loss
    assert loss.item() == pytest.approx(model(**tiny_batch).loss.item() * 8 / 20, rel=1e-5)


def test_facts_outside_the_candidates_do_not_count(tiny_model, tiny_batch):
    model = tiny_model()
    mask = tiny_batch["pair_mask"].clone()
    mask[0, 2, 0] = False
    without_fact = tiny_batch["labels"].clone()
    without_fact[0, 2] = -100

    loss = model(**tiny_batch | {"pair_mask": mask}).loss
    assert torch.equal(loss, model(**tiny_batch | {"pair_mask": mask, "labels": without_fact}).loss)


@pytest.mark.parametrize("fact", [[0, 1, 4], [0, 3, 1]])
def test_fact_outside_the_matrix_is_refused(tiny_model, tiny_batch, fact):
    labels = torch.tensor([[fact], [[-100] * 3]])

    with pytest.raises(ValueError, match="the labels have entities up to .*: they are of another processor"):
        tiny_model()(**tiny_batch | {"labels": labels})


def test_document_with_two_entities(tiny_model, tiny_batch, naive_base, alone):
    model, document = tiny_model(), alone(tiny_batch, 1)
    output = model(**document)

    assert output.logits.shape == (1, 2, 2, 4)
    for pair, (_, logits) in naive_base(model, document).items():
        torch.testing.assert_close(output.logits[pair].double(), logits, **CLOSE)


@pytest.mark.parametrize("kind", PAIR_ENCODERS)
def test_every_parameter_learns(tiny_model, tiny_batch, kind):
    model = tiny_model(pair_encoder=kind).train()
    model(**tiny_batch).loss.backward()

    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        # The key bias moves all scores of a row alike, which the softmax takes out again.
        assert parameter.grad.any() or name.endswith("key.bias"), name


@pytest.mark.parametrize("kind", PAIR_ENCODERS)
def test_training_lowers_the_loss(docre_config, tiny_batch, kind):
    torch.manual_seed(0)
    encoder_changes = {"initializer_range": 0.1, "hidden_dropout_prob": 0, "attention_probs_dropout_prob": 0}
    config = docre_config(encoder_changes=encoder_changes, pair_encoder=kind, initializer_range=0.1)
    model = DocREIIForRelationExtraction(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(30):
        loss = model(**tiny_batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())

    assert losses[-1] < losses[0] / 2


def test_evaluation_is_deterministic_and_training_drops_out(tiny_model, tiny_batch):
    model = tiny_model(encoder_changes={"hidden_dropout_prob": 0, "attention_probs_dropout_prob": 0}, pair_dropout=0.5)
    logits = model(**tiny_batch).logits

    assert torch.equal(model(**tiny_batch).logits, logits)
    assert not torch.equal(model.train()(**tiny_batch).logits, logits)


def test_output_is_a_dict_and_a_tuple(tiny_model, tiny_batch):
    model = tiny_model()
    with_loss, without_loss = model(**tiny_batch), model(**without_labels(tiny_batch))

    assert list(with_loss) == ["loss", "logits", "base_logits", "base_loss"]
    assert torch.equal(with_loss.loss, with_loss.base_loss)
    assert list(without_loss) == ["logits", "base_logits"]
    assert without_loss.loss is None
    assert torch.equal(with_loss[1], with_loss["logits"])
    assert torch.equal(without_loss.to_tuple()[0], with_loss.logits)
    assert list(model.docre_ii(**without_labels(tiny_batch))) == ["feature_matrix", "base_logits"]


def test_inputs_are_not_edited(tiny_model, tiny_batch):
    before = {name: tensor.clone() for name, tensor in tiny_batch.items()}
    tiny_model(window_size=16, window_overlap=6)(**tiny_batch)

    for name, tensor in tiny_batch.items():
        assert torch.equal(tensor, before[name]), name


# With an inference module


@pytest.mark.parametrize("num_iterations", [1, 3])
def test_iterations_follow_the_base_module(tiny_model, tiny_batch, num_iterations):
    model = tiny_model(num_iterations=num_iterations)
    with torch.no_grad():
        output, unlabelled = model(**tiny_batch), model(**without_labels(tiny_batch))
        base = model.docre_ii(**without_labels(tiny_batch))

    assert list(output) == ["loss", "logits", "base_logits", "iteration_logits", "base_loss", "inference_loss"]
    assert list(unlabelled) == ["logits", "base_logits", "iteration_logits"]
    assert torch.equal(output.base_logits, base.base_logits)
    assert len(output.iteration_logits) == num_iterations
    assert torch.equal(output.logits, output.iteration_logits[-1])
    assert not torch.equal(output.logits, output.base_logits)
    for logits, unlabelled_logits in zip(output.iteration_logits, unlabelled.iteration_logits):
        assert logits.shape == (2, 3, 3, 4)
        assert torch.equal(logits, unlabelled_logits)
        assert not logits[~tiny_batch["pair_mask"]].any()
        assert logits[tiny_batch["pair_mask"]].any(-1).all()


def test_thresholds_of_documents_rise_in_what_is_returned_alone(tiny_model, tiny_batch):
    """Neither the losses nor the next iteration see them; every document has its own."""
    model = tiny_model(num_iterations=2, add_base_logits=True, relation_embedding="soft")
    with torch.no_grad():
        before = model(**tiny_batch)
        model.config.document_threshold_weight, model.config.document_threshold_offset = 0.8, -0.3
        after = model(**tiny_batch)
        alone = [model(**{name: tensor[[row]] for name, tensor in tiny_batch.items()}) for row in range(2)]

    assert after.loss == before.loss
    for index, (raised, logits) in enumerate(
        zip((after.base_logits, *after.iteration_logits), (before.base_logits, *before.iteration_logits))
    ):
        assert torch.equal(raised[..., 1:], logits[..., 1:])
        for row, mask in enumerate(tiny_batch["pair_mask"]):
            expected = (logits[row][mask][:, 1:] - logits[row][mask][:, :1]).sigmoid().sum()
            rise = raised[row][mask][:, 0] - logits[row][mask][:, 0]
            torch.testing.assert_close(rise, (0.8 * ((expected + 0.1) / 1.1).log() - 0.3).expand(len(rise)), **CLOSE)
            by_itself = (alone[row].base_logits, *alone[row].iteration_logits)[index][0]
            torch.testing.assert_close(raised[row], by_itself, **CLOSE)
        assert not raised[~tiny_batch["pair_mask"]].any()
    assert torch.equal(after.logits, after.iteration_logits[-1])
    assert torch.equal(model.docre_ii(**without_labels(tiny_batch)).base_logits, before.base_logits)


def test_base_module_is_that_of_a_model_without_iterations(tiny_model, tiny_batch):
    model, base = tiny_model(num_iterations=2), tiny_model(num_iterations=0)
    base.load_state_dict(model.state_dict(), strict=False)

    assert torch.equal(model(**tiny_batch).base_logits, base(**tiny_batch).logits)


def test_inference_module_can_be_switched_off(tiny_model, tiny_batch):
    model = tiny_model(num_iterations=2)
    base_logits = model(**tiny_batch).base_logits
    model.config.num_iterations = 0
    output = model(**without_labels(tiny_batch))

    assert torch.equal(output.logits, base_logits) and output.iteration_logits is None
    assert model(**tiny_batch).inference_loss is None
    assert model.train()(**tiny_batch).inference_loss is None, "as in evaluation"


def test_one_pass_in_training_with_labels_only(tiny_model, tiny_batch):
    model = tiny_model(num_iterations=3, encoder_changes=NO_DROPOUT).train()
    output, unlabelled = model(**tiny_batch), model(**without_labels(tiny_batch))

    assert len(output.iteration_logits) == 1
    assert torch.equal(output.logits, output.iteration_logits[0])
    assert torch.equal(output.base_logits, model.docre_ii(**without_labels(tiny_batch)).base_logits)
    assert len(unlabelled.iteration_logits) == 3
    assert unlabelled.views is None


def test_first_iteration_is_the_pass_of_training_without_noise(tiny_model, tiny_batch):
    model = tiny_model(num_iterations=3, max_noise_rate=0, encoder_changes=NO_DROPOUT)
    first = model(**tiny_batch).iteration_logits[0]

    torch.testing.assert_close(model.train()(**tiny_batch).logits, first, **CLOSE)


@pytest.mark.parametrize("weight", [1.0, 0.25, 0.0])
@pytest.mark.parametrize("training", [False, True])
def test_losses_of_both_modules_are_means_over_the_candidate_pairs(tiny_model, tiny_batch, weight, training):
    model = tiny_model(num_iterations=2, base_loss_weight=weight, contrastive_loss_weight=0.0).train(training)
    output = model(**tiny_batch)
    facts = {(0, 0, 1): [2, 3], (0, 2, 0): [1], (1, 1, 0): [1]}

    sums = []
    for logits in (output.base_logits, output.logits):
        losses = []
        for pair in map(tuple, tiny_batch["pair_mask"].nonzero().tolist()):
            labels = torch.zeros(1, 4, dtype=torch.bool)
            labels[0, facts.get(pair, [])] = True
            losses.append(adaptive_threshold_loss(logits[pair][None], labels).item())
        sums.append(sum(losses))
    assert output.base_loss.item() == pytest.approx(sums[0] / 8, rel=1e-5)
    assert output.inference_loss.item() == pytest.approx(sums[1] / 8, rel=1e-5)
    assert output.loss.item() == pytest.approx((weight * sums[0] + sums[1]) / 8, rel=1e-5)


@pytest.mark.parametrize("kind", ["simsiam", "simclr"])
@pytest.mark.parametrize("num_items", [None, 20])
def test_contrastive_loss_is_part_of_the_loss_in_training(tiny_model, tiny_batch, kind, num_items):
    model = tiny_model(num_iterations=2, contrastive_loss=kind, contrastive_loss_weight=0.3)
    output = model.train()(**tiny_batch, num_items_in_batch=num_items)
    document = tiny_batch["pair_mask"].nonzero()[:, 0]
    if kind == "simsiam":
        losses = simsiam_loss(output.predicted_views, output.views)
    else:
        losses = simclr_loss(output.predicted_views, document, model.config.contrastive_temperature)
    contrastive = losses.sum().item() / (num_items or 8)

    assert output.contrastive_loss.item() == pytest.approx(contrastive, rel=1e-5)
    parts = output.base_loss + output.inference_loss
    assert output.loss.item() == pytest.approx(parts.item() + 0.3 * contrastive, rel=1e-5)
    assert model.eval()(**tiny_batch).contrastive_loss is None


def test_contrastive_loss_is_computed_in_float32_under_autocast(tiny_model, tiny_batch):
    model = tiny_model(num_iterations=2, contrastive_loss="simclr").train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(**tiny_batch)
    losses = simclr_loss(output.predicted_views, tiny_batch["pair_mask"].nonzero()[:, 0], 0.1)

    assert output.loss.dtype == torch.float32
    assert output.contrastive_loss.item() == pytest.approx(losses.sum().item() / 8, rel=1e-6)


def test_losses_of_both_modules_are_divided_by_the_number_of_items_when_it_is_given(tiny_model, tiny_batch):
    model = tiny_model(num_iterations=2)
    output, given = model(**tiny_batch), model(**tiny_batch, num_items_in_batch=torch.tensor(20))

    for name in ("loss", "base_loss", "inference_loss"):
        assert given[name].item() == pytest.approx(output[name].item() * 8 / 20, rel=1e-5), name


def test_every_parameter_learns_from_the_loss(tiny_model, tiny_batch):
    model = tiny_model(num_iterations=3).train()
    model(**tiny_batch).loss.backward()

    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        # A key bias moves all scores of a row alike, which the softmax takes out again.
        assert parameter.grad.any() or name.endswith("key.bias"), name


def test_training_lowers_the_loss_of_the_inference_module(docre_config, tiny_batch):
    torch.manual_seed(0)
    encoder_changes = {"initializer_range": 0.1} | NO_DROPOUT
    config = docre_config(encoder_changes=encoder_changes, num_iterations=2, initializer_range=0.1)
    model = DocREIIForRelationExtraction(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(30):
        output = model(**tiny_batch)
        output.loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(output.inference_loss.item())

    assert losses[-1] < losses[0] / 2
    with torch.no_grad():
        assert model.eval()(**tiny_batch).inference_loss < losses[0] / 2


def test_inputs_are_not_edited_by_the_iterations(tiny_model, tiny_batch):
    before = {name: tensor.clone() for name, tensor in tiny_batch.items()}
    model = tiny_model(num_iterations=2)
    model(**tiny_batch)
    model.train()(**tiny_batch)

    for name, tensor in tiny_batch.items():
        assert torch.equal(tensor, before[name]), name
