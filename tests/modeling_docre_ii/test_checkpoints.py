import pytest
import torch
from transformers import AutoModel

from modeling_docre_ii import DocREIIForRelationExtraction, DocREIIModel
from modeling_docre_ii.pair_features import PAIR_ENCODERS


SIZES = {
    "id2label": {0: "Na", 1: "P1", 2: "P2", 3: "P3"},
    "pair_hidden_size": 12,
    "pair_intermediate_size": 20,
    "pair_bilinear_rank": 6,
    "pair_feature_size": 10,
    "window_overlap": 8,
}
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


def test_missing_encoder_is_an_os_error(tmp_path):
    with pytest.raises(OSError):
        DocREIIForRelationExtraction.from_encoder_pretrained(tmp_path / "nothing")


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
