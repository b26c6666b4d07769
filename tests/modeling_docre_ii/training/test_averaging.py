"""The moving average of the weights is what is evaluated, saved and kept."""

import pytest
import torch
from safetensors.torch import load_file
from torch.nn.utils import parameters_to_vector
from transformers import TrainerCallback

from modeling_docre_ii.training.averaging import TRAINING_WEIGHTS
from modeling_docre_ii.training.checkpoints import CheckpointError, flaw_of_checkpoint


SETTINGS = {"num_train_epochs": 4, "per_device_train_batch_size": 2, "learning_rate": 0.01, "ema_decay": 0.8}


class Weights(TrainerCallback):
    """Notes the weights of the training before the first step and after each."""

    def __init__(self, trainer):
        self.trainer, self.noted = trainer, []

    def on_train_begin(self, *args, **kwargs):
        self.note()

    def on_step_end(self, *args, **kwargs):
        self.note()

    def note(self):
        self.noted.append(parameters_to_vector(self.trainer.model.parameters()).detach().clone())


@pytest.fixture
def train(features, make_trainer, tiny_model):
    """Trains a model with dropout; returns the Trainer and the weights after every step."""

    def run(evaluation=None, resume_from_checkpoint=None, **settings):
        torch.manual_seed(5)
        trainer = make_trainer(tiny_model(num_iterations=2), features[:6], evaluation, **SETTINGS | settings)
        weights = Weights(trainer)
        trainer.add_callback(weights)
        trainer.train(resume_from_checkpoint=resume_from_checkpoint)
        return trainer, weights.noted

    return run


def averages(weights, decay=0.8):
    """The average after every step, by its definition."""
    average = weights[0].double()
    found = [average]
    for step, values in enumerate(weights[1:], start=1):
        share = min(decay, step / (step + 9))
        average = share * average + (1 - share) * values.double()
        found.append(average)
    return [values.float() for values in found]


def kept(trainer):
    return parameters_to_vector(trainer.model.parameters()).detach()


def test_model_is_left_with_the_average(train):
    trainer, weights = train()

    assert len(weights) == 13
    torch.testing.assert_close(kept(trainer), averages(weights)[-1])
    assert not torch.allclose(kept(trainer), weights[-1])


def test_average_does_not_change_the_training(train):
    _, plain = train(ema_decay=0.0)
    _, averaged = train(save_strategy="epoch")

    assert torch.equal(torch.stack(plain), torch.stack(averaged))


def test_average_is_what_is_evaluated(train, features, make_trainer, tiny_model):
    trainer, weights = train(
        evaluation=features[:2], eval_strategy="epoch", per_device_eval_batch_size=2, metric_for_best_model="loss"
    )
    losses = [entry["eval_loss"] for entry in trainer.state.log_history if "eval_loss" in entry]
    plain = make_trainer(tiny_model(num_iterations=2), None, features[:2], per_device_eval_batch_size=2)

    for average, loss in zip(averages(weights)[3::3], losses, strict=True):
        torch.nn.utils.vector_to_parameters(average, plain.model.parameters())
        assert plain.evaluate()["eval_loss"] == pytest.approx(loss, rel=1e-5)


def test_checkpoint_holds_the_average_and_the_weights_of_the_training(train, tmp_path, tiny_model):
    trainer, weights = train(save_strategy="epoch")
    names = [name for name, _ in trainer.model.named_parameters()]

    for step, average in list(enumerate(averages(weights)))[3::3]:
        folder = tmp_path / f"checkpoint-{step}"
        assert flaw_of_checkpoint(folder) is None
        for file, expected in (("model.safetensors", average), (TRAINING_WEIGHTS, weights[step])):
            saved = load_file(folder / file)
            torch.testing.assert_close(torch.cat([saved[name].flatten() for name in names]), expected)


def test_resumed_training_ends_with_the_same_average(train, tmp_path):
    whole, _ = train(save_strategy="epoch")
    resumed, weights = train(resume_from_checkpoint=str(tmp_path / "checkpoint-6"))

    assert len(weights) == 1 + 6
    assert torch.equal(kept(resumed), kept(whole))


def test_best_model_is_the_average_of_its_step(train, features):
    trainer, weights = train(
        evaluation=features[:2],
        eval_strategy="epoch",
        save_strategy="best",
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        greater_is_better=False,
    )

    torch.testing.assert_close(kept(trainer), averages(weights)[trainer.state.best_global_step])


@pytest.mark.parametrize("trained, resumed, words", [(0.8, 0.0, "with .* without"), (0.0, 0.8, "without .* with")])
def test_training_is_not_resumed_with_another_average(train, tmp_path, trained, resumed, words):
    train(save_strategy="epoch", ema_decay=trained, num_train_epochs=1)

    with pytest.raises(CheckpointError, match=rf"checkpoint-3.*was trained {words}"):
        train(ema_decay=resumed, resume_from_checkpoint=str(tmp_path / "checkpoint-3"))


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_decay_is_a_share(make_trainer, tiny_model, decay):
    with pytest.raises(ValueError, match=rf"`ema_decay` must lie in \[0, 1\), got {decay}"):
        make_trainer(tiny_model(), None, ema_decay=decay)
