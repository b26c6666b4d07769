"""The ways in which `from_pretrained` loads any model of transformers."""

import json

import pytest
import torch

from modeling_docre_ii import DocREIIConfig, DocREIIForRelationExtraction, DocREIIModel
from modeling_docre_ii.loaded_weights import WeightsError, check_weights


# Weights with one row per label, without their prefix.
OF_LABELS = {"classifier.weight", "classifier.bias", "relation_embeddings.weight"}
NEW_LABELS = {0: "Na", 1: "CID", 2: "P2", 3: "treats", 4: "causes", 5: "other"}


@pytest.fixture
def inputs(tiny_batch):
    return {name: tensor for name, tensor in tiny_batch.items() if name != "labels"}


@pytest.fixture
def saved(tiny_model, tmp_path):
    """A tiny model with an inference module, and the folder it is saved in."""
    model = tiny_model(num_iterations=2)
    model.save_pretrained(tmp_path / "model")
    return model, tmp_path / "model"


def load(path, **kwargs):
    return DocREIIForRelationExtraction.from_pretrained(path, **kwargs).eval()


# Weights


def test_sharded_weights(saved, inputs, tmp_path):
    model, _ = saved
    model.save_pretrained(tmp_path / "shards", max_shard_size="20KB")

    assert len(list((tmp_path / "shards").glob("model-*.safetensors"))) > 3
    torch.testing.assert_close(load(tmp_path / "shards")(**inputs).logits, model(**inputs).logits, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, "bfloat16", "float32"])
def test_dtype_on_request_and_as_it_was_saved(saved, tiny_batch, tmp_path, dtype):
    _, path = saved
    model = load(path, dtype=dtype)
    expected = getattr(torch, dtype) if isinstance(dtype, str) else dtype
    output = model(**tiny_batch)
    model.save_pretrained(tmp_path / "again")

    assert {parameter.dtype for parameter in model.parameters()} == {expected}
    assert output.logits.dtype == expected
    assert output.logits.isfinite().all()
    assert output.loss.dtype == torch.float32
    assert load(tmp_path / "again", dtype="auto").dtype == expected


@pytest.mark.parametrize("device_map", ["cpu", "auto", {"": "cpu"}])
def test_device_map(saved, inputs, device_map):
    model, path = saved

    torch.testing.assert_close(load(path, device_map=device_map)(**inputs).logits, model(**inputs).logits)


def test_weights_that_stay_on_the_disk(saved, inputs, tmp_path):
    model, path = saved
    on_disk = ("docre_ii.encoder.encoder", "docre_ii.pair_features", "inference_module")
    in_memory = ("docre_ii.encoder.embeddings", "docre_ii.classifier", "contrastive_predictor")
    device_map = dict.fromkeys(on_disk, "disk") | dict.fromkeys(in_memory, "cpu")
    loaded = load(path, device_map=device_map, offload_folder=tmp_path / "offloaded")

    assert loaded.inference_module.relation_embeddings.weight.device.type == "meta"
    torch.testing.assert_close(loaded(**inputs).logits, model(**inputs).logits)


@pytest.mark.parametrize(
    ("attn_implementation", "model_runs", "encoder_runs"),
    [
        ("eager", "eager", "eager"),
        ("sdpa", "sdpa", "sdpa"),
        ({"encoder_config": "eager"}, "sdpa", "eager"),
        ({"": "eager", "encoder_config": "sdpa"}, "eager", "sdpa"),
    ],
    ids=str,
)
def test_attention_implementation(saved, inputs, attn_implementation, model_runs, encoder_runs):
    model, path = saved
    loaded = load(path, attn_implementation=attn_implementation)
    changed = load(path)
    changed.set_attn_implementation(attn_implementation)

    for other in (loaded, changed):
        assert other.config._attn_implementation == model_runs
        assert other.docre_ii.encoder.config._attn_implementation == encoder_runs
        torch.testing.assert_close(other(**inputs).logits, model(**inputs).logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["flash_attention_2", "flex_attention"])
def test_attention_that_gives_no_probabilities_is_refused(saved, name):
    with pytest.raises(ValueError, match="does not support"):
        load(saved[1], attn_implementation=name)


# Another set of labels


def assert_only_labels_are_new(loaded, model, num_labels):
    """Checks that only the weights with one row per label differ, and have the right number of rows."""
    old = model.state_dict()
    for name, weight in loaded.state_dict().items():
        if any(name.endswith(suffix) for suffix in OF_LABELS):
            assert weight.shape == (num_labels, *old[name].shape[1:]), name
            assert weight.isfinite().all(), name
        else:
            assert torch.equal(weight, old[name]), name


@pytest.mark.parametrize("model_class", [DocREIIForRelationExtraction, DocREIIModel])
@pytest.mark.parametrize(
    "labels",
    [
        {"id2label": NEW_LABELS},
        {"label2id": {label: index for index, label in NEW_LABELS.items()}},
        {"id2label": {str(index): label for index, label in NEW_LABELS.items()}},
        {"id2label": NEW_LABELS, "num_labels": 6},
    ],
    ids=lambda labels: " and ".join(labels),
)
def test_another_label_map(saved, inputs, tmp_path, labels, model_class):
    model, path = saved
    loaded = model_class.from_pretrained(path, ignore_mismatched_sizes=True, **labels).eval()
    loaded.save_pretrained(tmp_path / "again")
    again = model_class.from_pretrained(tmp_path / "again").eval()

    expected = model if model_class is DocREIIForRelationExtraction else model.base_model
    assert_only_labels_are_new(loaded, expected, 6)
    assert loaded.config.id2label == again.config.id2label == NEW_LABELS
    assert loaded.config.label2id == again.config.label2id == {label: i for i, label in NEW_LABELS.items()}
    assert loaded(**inputs).base_logits.shape == (2, 3, 3, 6)
    torch.testing.assert_close(again(**inputs).base_logits, loaded(**inputs).base_logits)


def test_another_number_of_labels(saved, tiny_batch):
    model, path = saved
    loaded = load(path, num_labels=42, ignore_mismatched_sizes=True)

    assert_only_labels_are_new(loaded, model, 42)
    assert loaded.config.id2label == {index: f"LABEL_{index}" for index in range(42)}
    loaded.train()(**tiny_batch).loss.backward()
    assert loaded.inference_module.classifier.weight.grad.any()


def test_labels_of_another_number_are_refused_unless_asked_for(saved):
    with pytest.raises(RuntimeError, match="ignore_mismatched_sizes"):
        load(saved[1], id2label=NEW_LABELS)


def test_other_names_of_as_many_labels_keep_all_weights(saved, inputs):
    model, path = saved
    loaded = load(path, id2label={0: "none", 1: "a", 2: "b", 3: "c"})

    assert loaded.config.label2id == {"none": 0, "a": 1, "b": 2, "c": 3}
    torch.testing.assert_close(loaded(**inputs).logits, model(**inputs).logits)


@pytest.mark.parametrize("labels", [{}, {"num_labels": 4}, {"num_labels": None, "id2label": None}], ids=str)
def test_labels_stay_where_no_others_are_asked_for(saved, labels):
    model, path = saved

    assert load(path, **labels).config.id2label == model.config.id2label
    assert DocREIIConfig.from_pretrained(path, **labels).label2id == model.config.label2id


# Other relations for a trained model


@pytest.mark.parametrize("changes", [{}, {"inference_features": "logits", "relation_embedding": "soft"}], ids=str)
def test_relations_keep_their_weights_wherever_they_are(tiny_model, inputs, changes):
    model = tiny_model(num_iterations=2, **changes).eval()
    first, *others = model.config.label2id
    moved = model.with_relations([first, *reversed(others)]).eval()

    assert moved.config.id2label == dict(enumerate([first, *reversed(others)])) and moved.config.num_labels == 4
    order = [0, 3, 2, 1]
    torch.testing.assert_close(moved(**inputs).base_logits, model(**inputs).base_logits[..., order])
    torch.testing.assert_close(moved(**inputs).logits, model(**inputs).logits[..., order])
    assert moved.missing_weights == ()


@pytest.mark.parametrize("model_class", [DocREIIForRelationExtraction, DocREIIModel])
def test_relations_that_a_model_does_not_have_start_again(saved, inputs, tiny_batch, model_class):
    model = model_class.from_pretrained(saved[1]).eval()
    first, *others = model.config.label2id
    relations = [first, "new", others[1], "newer", others[0]]
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    changed = model.with_relations(relations).eval()

    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())
    for name, weight in changed.state_dict().items():
        if any(name.endswith(suffix) for suffix in OF_LABELS):
            assert torch.equal(weight[[0, 2, 4]], before[name][[0, 2, 1]]), name
            assert len(weight) == 5 and weight.isfinite().all(), name
            assert name.endswith("bias") or not torch.isin(weight[[1, 3]], before[name]).all(), name
        else:
            assert torch.equal(weight, before[name]), name
    torch.testing.assert_close(
        changed(**inputs).base_logits[..., [0, 2, 4]], model(**inputs).base_logits[..., [0, 2, 1]]
    )
    assert {name.split(".")[-2] for name in changed.missing_weights} <= {"classifier", "relation_embeddings"}
    if model_class is DocREIIForRelationExtraction:
        with pytest.raises(WeightsError, match="lacks"):
            check_weights(changed)
        changed.train()(**tiny_batch | {"labels": torch.tensor([[[0, 1, 4]]] * 2)}).loss.backward()
        check_weights(changed)


def test_the_threshold_class_stays_the_first(saved):
    model, _ = saved
    none, *others = model.config.label2id
    renamed = model.with_relations(["no relation", *others])
    for name, weight in renamed.state_dict().items():
        assert torch.equal(weight, model.state_dict()[name]), name
    for relations in ([], others, [others[0], none], [none, others[0], others[0]]):
        with pytest.raises(ValueError, match=f"expected distinct relations, of which the first, such as '{none}', is"):
            model.with_relations(relations)


# Another vocabulary


@pytest.mark.parametrize("model_class", [DocREIIForRelationExtraction, DocREIIModel])
@pytest.mark.parametrize("size", [110, 90])
def test_resized_embeddings_are_saved_and_loaded(saved, inputs, tmp_path, model_class, size):
    model = model_class.from_pretrained(saved[1]).eval()
    inputs["input_ids"].clamp_(max=89)
    expected = model(**inputs).base_logits
    embeddings = model.resize_token_embeddings(size)
    model.save_pretrained(tmp_path / "resized")
    loaded = model_class.from_pretrained(tmp_path / "resized").eval()

    assert embeddings is model.get_input_embeddings()
    assert json.loads((tmp_path / "resized" / "config.json").read_text())["encoder_config"]["vocab_size"] == size
    for resized in (model, loaded):
        assert resized.config.vocab_size == resized.config.encoder_config.vocab_size == size
        assert resized.get_input_embeddings().num_embeddings == size
        torch.testing.assert_close(resized(**inputs).base_logits, expected)


def test_text_config_is_that_of_the_encoder(docre_config):
    config = docre_config()

    assert config.get_text_config() is config.encoder_config
    assert config.get_text_config(encoder=True) is config.encoder_config
    assert config.get_text_config(decoder=True) is config, "there is no decoder"
