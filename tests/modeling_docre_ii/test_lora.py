"""LoRA adapters on the encoder, by peft around the model and by the model's own `add_adapter`."""

import copy

import peft
import pytest
import torch
from packaging.version import Version
from peft import LoraConfig, PeftModel, get_peft_model
from transformers.integrations.peft import MIN_PEFT_VERSION

from modeling_docre_ii import DocREIIForRelationExtraction


# The inference module has layers of these names as well.
ENCODER_LAYERS = r".*encoder\..*\.(query|value)"
HEADS = ["pair_features", "classifier"]


@pytest.fixture
def inputs(tiny_batch):
    return {name: tensor for name, tensor in tiny_batch.items() if name != "labels"}


@pytest.fixture
def lora():
    """Makes a configuration whose adapters change something from the start."""

    def make(heads=HEADS):
        return LoraConfig(
            r=2, target_modules=ENCODER_LAYERS, modules_to_save=heads, init_lora_weights=False, lora_dropout=0.0
        )

    return make


def learning(model):
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def training(make_trainer, model, rows, **settings):
    trainer = make_trainer(
        model, rows, per_device_train_batch_size=3, max_steps=2, save_strategy="no", report_to=[], **settings
    )
    trainer.train()
    return trainer


@pytest.mark.parametrize("num_iterations", [0, 2])
def test_adapters_and_heads_learn_and_all_else_stays(tiny_model, related, make_trainer, lora, num_iterations):
    model = get_peft_model(tiny_model(num_iterations=num_iterations), lora())
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}

    training(make_trainer, model, related, learning_rate=0.1, encoder_learning_rate=0.1, base_learning_rate=0.1)

    changed = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    assert changed == learning(model)
    assert any("lora_A" in name for name in changed)
    assert any("pair_features.modules_to_save" in name for name in changed)
    assert all("lora_" in name or "modules_to_save" in name for name in changed)


def test_adapters_learn_at_the_rate_of_the_encoder(tiny_model, make_trainer, lora):
    model = get_peft_model(tiny_model(), lora())
    trainer = make_trainer(model, learning_rate=3e-3, encoder_learning_rate=2e-5)
    rates = {id(p): group["lr"] for group in trainer.create_optimizer().param_groups for p in group["params"]}

    assert len(rates) == len(learning(model))
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert rates[id(parameter)] == (2e-5 if "lora_" in name else 3e-3), name


def test_adapters_learn_at_the_rate_of_the_base_module_with_an_inference_module(tiny_model, make_trainer, lora):
    heads = ["pair_features", "docre_ii.classifier", "inference_module", "contrastive_predictor"]
    model = get_peft_model(tiny_model(num_iterations=2), lora(heads))
    trainer = make_trainer(model, learning_rate=3e-3, base_learning_rate=2e-5)
    rates = {id(p): group["lr"] for group in trainer.create_optimizer().param_groups for p in group["params"]}

    assert len(rates) == len(learning(model))
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert rates[id(parameter)] == (2e-5 if ".docre_ii." in name else 3e-3), name


def test_frozen_base_module_keeps_its_adapters(tiny_model, related, make_trainer, lora):
    model = get_peft_model(tiny_model(num_iterations=2), lora(["inference_module", "contrastive_predictor"]))
    training(make_trainer, model, related, freeze_base=True)

    assert learning(model)
    assert all(".inference_module." in name or ".contrastive_predictor." in name for name in learning(model))


def test_evaluation_of_a_model_with_adapters(tiny_model, related, make_trainer, lora, documents_of):
    model = get_peft_model(tiny_model(num_iterations=2), lora())
    trainer = make_trainer(model, evaluation=related, documents=documents_of(related), calibrate_threshold=True)

    assert "eval_iteration_2_f1" in trainer.evaluate()
    trainer.calibrate_threshold()
    with pytest.raises(ValueError, match="may remove the inference module, which FSDP, DeepSpeed and peft keep"):
        trainer.calibrate_iterations()


@pytest.mark.parametrize("num_iterations", [0, 2])
def test_saved_adapters_load_on_the_same_base(tiny_model, inputs, lora, tmp_path, num_iterations):
    base = tiny_model(num_iterations=num_iterations)
    plain = base(**inputs).logits
    model = get_peft_model(copy.deepcopy(base), lora()).eval()
    logits = model(**inputs).logits
    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(base, tmp_path).eval()

    assert not torch.allclose(logits, plain)
    torch.testing.assert_close(loaded(**inputs).logits, logits)


@pytest.mark.parametrize(
    "changes",
    [
        {"target_modules": ["word_embeddings", "query"]},
        {"target_modules": ["query"], "trainable_token_indices": [5, 6]},
    ],
)
def test_embeddings_of_words_can_have_an_adapter(tiny_model, tiny_batch, changes):
    model = tiny_model(num_iterations=2)
    logits = model(**tiny_batch).logits
    adapted = get_peft_model(copy.deepcopy(model), LoraConfig(r=2, **changes)).eval()  # which changes nothing at first

    output = adapted(**tiny_batch)
    torch.testing.assert_close(output.logits, logits, rtol=1e-4, atol=1e-5)
    output.loss.backward()
    assert any("embeddings" in name and weight.grad is not None for name, weight in adapted.named_parameters())
    with pytest.raises(ValueError, match="has the token id 100 at position 1"):
        adapted(**tiny_batch | {"input_ids": tiny_batch["input_ids"].index_fill(1, torch.tensor([1]), 100)})


def test_merged_adapters_are_a_model_as_any_other(tiny_model, inputs, lora, tmp_path):
    model = get_peft_model(tiny_model(num_iterations=2), lora()).eval()
    logits = model(**inputs).logits
    model.merge_and_unload().save_pretrained(tmp_path)
    loaded = DocREIIForRelationExtraction.from_pretrained(tmp_path).eval()

    torch.testing.assert_close(loaded(**inputs).logits, logits, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(
    Version(peft.__version__) < Version(MIN_PEFT_VERSION), reason="this transformers asks for a newer peft"
)
def test_model_adds_an_adapter_itself(tiny_model, inputs, related, make_trainer, lora, tmp_path):
    tiny_model(num_iterations=2).save_pretrained(tmp_path / "base")
    model = DocREIIForRelationExtraction.from_pretrained(tmp_path / "base")
    model.add_adapter(lora(None))
    training(make_trainer, model, related, base_learning_rate=0.1)
    logits = model.eval()(**inputs).logits
    model.save_pretrained(tmp_path / "adapter")

    assert all("lora_" in name for name in learning(model))
    assert not (tmp_path / "adapter" / "model.safetensors").exists(), "the adapter alone is saved"
    loaded = DocREIIForRelationExtraction.from_pretrained(tmp_path / "adapter").eval()
    torch.testing.assert_close(loaded(**inputs).logits, logits)
