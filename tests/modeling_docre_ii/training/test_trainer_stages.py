"""The Trainer of a model with an inference module: learning rates, freezing, the losses and their logs, resuming."""

import copy
import math

import pytest
import torch
from torch.nn.functional import cosine_similarity
from torch.nn.utils import parameters_to_vector

from modeling_docre_ii.training.checkpoints import FILE_LIST


WEIGHTS = {"base_loss_weight": 0.5, "contrastive_loss_weight": 0.25}
PARTS = ("base_loss", "inference_loss", "contrastive_loss")
# At learning rates of 0 the losses of all steps are those of the first.
STANDING_STILL = {"learning_rate": 0.0, "base_learning_rate": 0.0, "save_strategy": "no"}


# The losses of one pair, by their definitions.


def naive_threshold_loss(logits, relations):
    """Equation 13, from the logits of the pair and its relations."""
    others = [r for r in range(1, len(logits)) if r not in relations]
    loss = logits[[0, *others]].exp().sum().log() - logits[0]
    for relation in relations:
        loss = loss + logits[[0, *relations]].exp().sum().log() - logits[relation]
    return loss


def naive_simsiam_loss(output, pair):
    """Equation 14: no gradient flows into the targets."""
    (first, second), targets = output.predicted_views, [view.detach() for view in output.views]
    similarities = [cosine_similarity(a[pair], b[pair], dim=0) for a, b in ((second, targets[0]), (first, targets[1]))]
    return 2 - sum(similarities)


def naive_simclr_loss(output, pair, temperature):
    """Of one document: both views of all its pairs, each against its partner among all the others."""
    views = torch.cat(output.predicted_views)
    count, loss = len(views) // 2, 0.0
    for own, partner in ((pair, pair + count), (pair + count, pair)):
        scores = {
            k: cosine_similarity(views[own], views[k], dim=0) / temperature for k in range(len(views)) if k != own
        }
        loss = loss + sum(score.exp() for score in scores.values()).log() - scores[partner]
    return loss / 2


def relations_by_pair(row):
    """The candidate pairs in their order, and the relations of each."""
    pairs = torch.tensor(row["pair_mask"]).nonzero().tolist()
    return [(head, tail, [r for s, o, r in row["labels"] if [s, o] == [head, tail]]) for head, tail in pairs]


def weighted(parts, config):
    return (
        config.base_loss_weight * parts["base_loss"]
        + parts["inference_loss"]
        + config.contrastive_loss_weight * parts["contrastive_loss"]
    )


@pytest.fixture
def naive_parts(one_by_one):
    """The three losses of a model, averaged over the candidate pairs of all documents, from one document at a time."""

    def parts(model, rows):
        sums, num_pairs, config = dict.fromkeys(PARTS, 0.0), 0, model.config
        for row, output in one_by_one(model, rows):
            for pair, (head, tail, relations) in enumerate(relations_by_pair(row)):
                if config.contrastive_loss == "simsiam":
                    contrastive = naive_simsiam_loss(output, pair)
                else:
                    contrastive = naive_simclr_loss(output, pair, config.contrastive_temperature)
                losses = (
                    naive_threshold_loss(output.base_logits[0, head, tail], relations),
                    naive_threshold_loss(output.logits[0, head, tail], relations),
                    contrastive,
                )
                sums = {name: sums[name] + loss for name, loss in zip(PARTS, losses, strict=True)}
                num_pairs += 1
        return {name: total / num_pairs for name, total in sums.items()}

    return parts


def training_logs(trainer):
    return [entry for entry in trainer.state.log_history if "loss" in entry]


def assert_logged(entry, parts, config):
    """Checks that the log has these parts, and their weighted sum as the loss."""
    expected = {name: part.item() for name, part in parts.items()}
    assert {name: entry[name] for name in PARTS} == pytest.approx(expected, rel=1e-4)
    assert entry["loss"] == pytest.approx(weighted(expected, config), rel=1e-4)


# What learns


def test_base_module_learns_at_a_rate_of_its_own(tiny_model, make_trainer):
    rates = {"learning_rate": 3e-3, "base_learning_rate": 2e-5, "encoder_learning_rate": 0.7}
    trainer = make_trainer(tiny_model(num_iterations=2), weight_decay=0.1, **rates)
    groups = trainer.create_optimizer().param_groups

    rates = {id(p): (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]}
    assert sum(len(group["params"]) for group in groups) == len(list(trainer.model.parameters()))
    for name, parameter in trainer.model.named_parameters():
        rate = 2e-5 if name.startswith("docre_ii.") else 3e-3
        decays = not name.endswith("bias") and "norm" not in name.lower()
        assert rates[id(parameter)] == (rate, 0.1 if decays else 0.0), name
    modules = {name for name, _ in trainer.model.named_children()}
    assert modules == {"docre_ii", "inference_module", "contrastive_predictor"}


def test_frozen_base_module_stays_and_the_rest_learns(tiny_model, related, make_trainer):
    model = tiny_model(num_iterations=2)
    before = copy.deepcopy(model.state_dict())
    trainer = make_trainer(
        model,
        related,
        freeze_base=True,
        max_steps=3,
        weight_decay=0.1,
        per_device_train_batch_size=2,
        learning_rate=0.01,
        base_learning_rate=0.01,
        save_strategy="no",
    )
    trainer.train()

    for name, weight in model.state_dict().items():
        assert torch.equal(weight, before[name]) == name.startswith("docre_ii."), name
    trained = [parameter for group in trainer.optimizer.param_groups for parameter in group["params"]]
    assert len(trained) == sum(not name.startswith("docre_ii.") for name, _ in model.named_parameters())


def test_a_model_without_anything_but_the_base_cannot_freeze_it(make_trainer):
    trainer = make_trainer(freeze_base=True)  # it can be evaluated
    with pytest.raises(ValueError, match="`freeze_base` leaves nothing to train"):
        trainer.train()


# Losses


@pytest.mark.parametrize("kind", ["simsiam", "simclr"])
@pytest.mark.parametrize(("size", "accumulation"), [(4, 1), (3, 2), (1, 4)])
def test_loss_and_gradient_are_the_weighted_means_over_all_pairs_of_the_step(
    deterministic_model, features, make_trainer, one_sgd_step, naive_parts, kind, size, accumulation
):
    """Of four documents, the first of which has no pair and adds nothing, in a batch of its own or with others."""
    model = deterministic_model(num_iterations=2, contrastive_loss=kind, **WEIGHTS)
    oracle = copy.deepcopy(model).train()
    parts = naive_parts(oracle, features[:4])
    weighted(parts, model.config).backward()
    trainer = make_trainer(
        model,
        features[:4],
        per_device_train_batch_size=size,
        gradient_accumulation_steps=accumulation,
        **one_sgd_step,
    )
    trainer.train()

    (entry,) = training_logs(trainer)
    assert_logged(entry, parts, model.config)
    for (name, weight), start in zip(model.named_parameters(), oracle.parameters(), strict=True):
        torch.testing.assert_close(weight, start - start.grad, rtol=1e-3, atol=1e-5, msg=name)
    for module in (oracle.docre_ii, oracle.inference_module, oracle.contrastive_predictor):
        assert max(parameter.grad.abs().max() for parameter in module.parameters()) > 1e-3


def test_evaluation_has_the_loss_of_both_modules(tiny_model, related, make_trainer, one_by_one):
    """Outside training, of the last iteration, and without a contrastive loss."""
    model = tiny_model(num_iterations=3, base_loss_weight=0.5)
    found = make_trainer(model, evaluation=related, per_device_eval_batch_size=5).evaluate()["eval_loss"]

    losses = []
    with torch.no_grad():
        for row, output in one_by_one(model, related):
            for head, tail, relations in relations_by_pair(row):
                base_loss = naive_threshold_loss(output.base_logits[0, head, tail], relations)
                last = output.iteration_logits[2][0, head, tail]
                losses.append(0.5 * base_loss + naive_threshold_loss(last, relations))
    assert found == pytest.approx(sum(losses).item() / len(losses), rel=1e-4)


# Logs


@pytest.mark.parametrize(("accumulation", "logging_steps"), [(1, 1), (1, 3), (2, 1), (2, 3)])
def test_logged_parts_are_means_over_the_steps(
    deterministic_model, related, make_trainer, naive_parts, accumulation, logging_steps
):
    """Every step sees all four documents and changes nothing, so that every log has the same losses."""
    model = deterministic_model(num_iterations=2, **WEIGHTS)
    trainer = make_trainer(
        model,
        related[:4],
        per_device_train_batch_size=4 // accumulation,
        gradient_accumulation_steps=accumulation,
        num_train_epochs=7,
        logging_steps=logging_steps,
        **STANDING_STILL,
    )
    trainer.train()

    logs = training_logs(trainer)
    assert len(logs) == 7 // logging_steps
    parts = naive_parts(model.train(), related[:4])
    for entry in logs:
        assert_logged(entry, parts, model.config)


def test_training_twice_logs_the_parts_of_each(deterministic_model, related, make_trainer, naive_parts):
    """What the first training has not logged is no part of the second."""
    model = deterministic_model(num_iterations=2, **WEIGHTS)
    trainer = make_trainer(
        model, related[:4], per_device_train_batch_size=4, num_train_epochs=3, logging_steps=2, **STANDING_STILL
    )
    parts = naive_parts(copy.deepcopy(model).train(), related[:4])
    for _ in range(2):
        trainer.train()
        (entry,) = training_logs(trainer)
        assert_logged(entry, parts, model.config)


def test_logged_parts_add_up_to_the_loss_while_learning(tiny_model, related, make_trainer):
    model = tiny_model(num_iterations=3, inference_dropout=0.1, **WEIGHTS)
    trainer = make_trainer(
        model,
        related,
        related,
        per_device_train_batch_size=1,
        gradient_accumulation_steps=2,
        num_train_epochs=4,
        learning_rate=0.01,
        logging_steps=3,
        # An evaluation between two logs has a loss of its own, which is no part of those.
        metric_for_best_model="loss",
        eval_strategy="steps",
        eval_steps=2,
        save_strategy="no",
    )
    trainer.train()

    logs = training_logs(trainer)
    assert len(logs) == 4
    for entry in logs:
        assert entry["loss"] == pytest.approx(weighted(entry, model.config), rel=1e-4)
    assert len({entry["contrastive_loss"] for entry in logs}) == 4


@pytest.mark.parametrize("changes", [{"contrastive_loss_weight": 0.0}, {"base_loss_weight": 0.0}], ids=str)
def test_a_loss_without_a_weight_is_no_part_of_the_sum(
    deterministic_model, related, make_trainer, one_sgd_step, changes
):
    model = deterministic_model(num_iterations=2, **changes)
    trainer = make_trainer(model, related[:4], per_device_train_batch_size=4, **one_sgd_step)
    trainer.train()

    (entry,) = training_logs(trainer)
    assert ("contrastive_loss" in entry) == bool(model.config.contrastive_loss_weight)
    assert entry["loss"] == pytest.approx(weighted({"contrastive_loss": 0.0} | entry, model.config), rel=1e-4)


def test_first_stage_logs_no_parts(related, make_trainer):
    trainer = make_trainer(train=related, num_train_epochs=2, logging_steps=1, per_device_train_batch_size=4)
    trainer.train()

    assert len(training_logs(trainer)) == 4
    assert not any(name in entry for entry in trainer.state.log_history for name in PARTS)


# Resuming


def test_training_of_the_inference_module_resumes_where_it_was(tiny_model, related, make_trainer, tmp_path):
    """Dropout and the noise on the relations are drawn from the random state of the checkpoint."""
    start = tiny_model(num_iterations=2, inference_dropout=0.1, **WEIGHTS)

    def train(**resuming):
        model = copy.deepcopy(start)
        trainer = make_trainer(
            model,
            related,
            num_train_epochs=2,
            per_device_train_batch_size=2,
            learning_rate=0.01,
            base_learning_rate=0.001,
            save_strategy="epoch",
            logging_steps=1,
            seed=3,
        )
        # Whatever was drawn before does not matter.
        torch.rand(7)
        trainer.train(**resuming)
        return parameters_to_vector(model.parameters()).detach(), training_logs(trainer)

    checkpoint = tmp_path / "checkpoint-3"
    whole, whole_logs = train()
    resumed, logs = train(resume_from_checkpoint=str(checkpoint))
    random_state = torch.load(checkpoint / "rng_state.pth", weights_only=False)
    random_state["cpu"] = torch.Generator().manual_seed(9).get_state()
    torch.save(random_state, checkpoint / "rng_state.pth")
    (checkpoint / FILE_LIST).unlink()
    with_other_random_state, _ = train(resume_from_checkpoint=str(checkpoint))

    torch.testing.assert_close(resumed, whole, rtol=1e-4, atol=1e-6)
    # Only a run in which something is drawn says that the draws are the same.
    assert (with_other_random_state - resumed).abs().max() > 1e-4
    assert [entry["step"] for entry in logs] == [1, 2, 3, 4, 5, 6]
    for entry, expected in zip(logs, whole_logs, strict=True):
        assert entry["loss"] == pytest.approx(expected["loss"], rel=1e-4)
        # The parts are of the same steps as the loss.
        assert entry["loss"] == pytest.approx(weighted(entry, start.config), rel=1e-4)


# bfloat16


@pytest.mark.usefixtures("faster_in_bf16")
def test_calibration_does_not_round_the_weights(tiny_model, related, documents_of, make_trainer):
    """An evaluation in bf16 rounds them for good, and they would be saved so."""
    model = tiny_model(num_iterations=0)
    calibrated = {"calibrate_threshold": True, "bf16_full_eval": True, "use_cpu": True, "max_steps": 1}
    trainer = make_trainer(model, related, related, documents=documents_of(related), report_to=[], **calibrated)
    trainer.train()

    assert {parameter.dtype for parameter in trainer.model.parameters()} == {torch.float32}
    assert trainer.args.bf16_full_eval


@pytest.mark.usefixtures("faster_in_bf16")
def test_training_in_bfloat16_has_finite_losses(tiny_model, related, make_trainer):
    model = tiny_model(num_iterations=2, initializer_range=0.1, **WEIGHTS)
    dtypes = set()
    model.inference_module.classifier.register_forward_hook(lambda module, args, output: dtypes.add(output.dtype))
    trainer = make_trainer(
        model,
        related,
        related,
        bf16=True,
        use_cpu=True,
        max_steps=3,
        per_device_train_batch_size=2,
        logging_steps=1,
        save_strategy="no",
    )
    trainer.train()

    assert dtypes == {torch.bfloat16}
    logs = training_logs(trainer)
    assert len(logs) == 3
    for entry in logs:
        assert all(math.isfinite(entry[name]) for name in ("loss", *PARTS))
        assert entry["loss"] == pytest.approx(weighted(entry, model.config), rel=1e-3)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert parameters_to_vector(model.parameters()).isfinite().all()
    assert math.isfinite(trainer.evaluate()["eval_loss"])
