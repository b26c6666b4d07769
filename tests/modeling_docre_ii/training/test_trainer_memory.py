"""Long trainings keep nothing of their steps."""

import gc

import psutil
import pytest
from transformers import TrainerCallback


class ResidentMemory(TrainerCallback):
    """Measures the resident memory of the process, in MB, after some steps."""

    def __init__(self, *steps):
        self.steps, self.megabytes = steps, []

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step in self.steps:
            gc.collect()
            self.megabytes.append(psutil.Process().memory_info().rss / 2**20)


@pytest.mark.slow
@pytest.mark.parametrize("num_iterations", [0, 2])
def test_2000_steps_keep_no_memory(make_trainer, tiny_model, features, num_iterations):
    """With an evaluation every 200 steps, and the log of every tenth."""
    settings = {"per_device_train_batch_size": 2, "logging_steps": 10, "save_strategy": "no"}
    evaluating = {"eval_strategy": "steps", "eval_steps": 200, "metric_for_best_model": "loss"}
    model = tiny_model(num_iterations=num_iterations)
    trainer = make_trainer(model, features[:8], features[:4], max_steps=2000, **settings, **evaluating)
    memory = ResidentMemory(300, 2000)
    trainer.add_callback(memory)
    trainer.train()

    before, after = memory.megabytes
    # The gradients of the model alone have 100 kB a step.
    assert after - before < 10
