import json

import pytest
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, BertConfig, DebertaV2Config, ModernBertConfig, RobertaConfig, T5Config

from modeling_docre_ii import DocREIIConfig


# None of them the default.
INFERENCE_FIELDS = {
    "num_iterations": 5,
    "num_inference_layers": 3,
    "inference_hidden_size": 28,
    "inference_intermediate_size": 30,
    "inference_dropout": 0.25,
    "cross_attention": "full",
    "use_fusion": False,
    "relation_embedding": "multi_label",
    "add_base_logits": True,
    "max_noise_rate": 0.15,
    "relation_noise": "by_label",
    "training_relations": "gold",
    "negatives_per_positive": 5,
    "contrastive_loss": "simclr",
    "contrastive_temperature": 0.5,
    "contrastive_hidden_size": 9,
    "base_loss_weight": 0.75,
    "contrastive_loss_weight": 0.0,
    "entity_salience": True,
    "document_threshold_weight": 1.5,
    "document_threshold_offset": -2.25,
}


def error_of(**fields):
    """The message with which a config of these fields is refused."""
    with pytest.raises(StrictDataclassError) as error:
        DocREIIConfig(**({"encoder_config": BertConfig(hidden_size=24)} | fields))
    return str(error.value)


def test_defaults_are_the_documented_ones():
    config = DocREIIConfig()

    assert isinstance(config.encoder_config, BertConfig)
    assert config.encoder_config.to_dict() == BertConfig().to_dict()
    assert config.pair_hidden_size == config.pair_bilinear_rank == config.pair_feature_size == 768
    assert config.pair_intermediate_size == 768
    assert config.pair_encoder == "low_rank_bilinear"
    assert config.pair_block_size == 64
    assert config.pair_dropout == 0.0
    assert config.entity_salience is False
    assert config.num_iterations == 3
    assert config.num_inference_layers == 2
    assert config.inference_hidden_size == config.inference_intermediate_size == 512
    assert config.inference_dropout == 0.1
    assert config.cross_attention == "extended"
    assert config.use_fusion is True
    assert config.relation_embedding == "argmax"
    assert config.iteration_update == "replace"
    assert config.add_base_logits is False
    assert config.max_noise_rate == 0.4
    assert config.relation_noise == "uniform"
    assert config.training_relations == "predicted"
    assert config.negatives_per_positive is None
    assert config.contrastive_loss == "simsiam"
    assert config.contrastive_temperature == 0.1
    assert config.contrastive_hidden_size == 256
    assert config.base_loss_weight == config.contrastive_loss_weight == 1.0
    assert config.document_threshold_weight == config.document_threshold_offset == 0.0
    assert config.window_size is None
    assert config.window_overlap == 128
    assert config.num_prefix_tokens == config.num_suffix_tokens == 1
    assert config.initializer_range == 0.02


def test_encoder_config_is_taken_as_an_object():
    config = DocREIIConfig(encoder_config=RobertaConfig(hidden_size=24))

    assert isinstance(config.encoder_config, RobertaConfig)
    assert config.hidden_size == 24


def test_encoder_config_is_taken_as_a_dict_with_its_model_type():
    config = DocREIIConfig(encoder_config={"model_type": "roberta", "hidden_size": 24})

    assert isinstance(config.encoder_config, RobertaConfig)
    assert config.hidden_size == 24


def test_encoder_config_dict_without_a_model_type_is_bert():
    config = DocREIIConfig(encoder_config={"hidden_size": 24})

    assert isinstance(config.encoder_config, BertConfig)
    assert config.hidden_size == 24


def test_hidden_size_follows_the_name_that_the_family_gives_it():
    assert DocREIIConfig(encoder_config={"model_type": "distilbert", "dim": 24}).hidden_size == 24


def test_unknown_encoder_family_is_refused():
    with pytest.raises(ValueError, match="no_such_encoder"):
        DocREIIConfig(encoder_config={"model_type": "no_such_encoder"})


@pytest.mark.parametrize("load", [DocREIIConfig.from_pretrained, AutoConfig.from_pretrained])
def test_saved_config_loads_equal(load, tmp_path):
    config = DocREIIConfig(
        encoder_config=RobertaConfig(hidden_size=24, max_position_embeddings=300),
        id2label={0: "Na", 1: "P17", 2: "P27"},
        pair_encoder="grouped_bilinear",
        pair_hidden_size=32,
        pair_block_size=8,
        pair_intermediate_size=40,
        pair_bilinear_rank=5,
        pair_feature_size=10,
        pair_dropout=0.25,
        **INFERENCE_FIELDS,
        window_size=100,
        window_overlap=7,
        num_prefix_tokens=2,
        num_suffix_tokens=3,
        initializer_range=0.1,
    )
    config.save_pretrained(tmp_path)
    loaded = load(tmp_path)

    assert isinstance(loaded, DocREIIConfig)
    assert loaded.to_dict() | {"_name_or_path": ""} == config.to_dict()
    assert {field: getattr(loaded, field) for field in INFERENCE_FIELDS} == INFERENCE_FIELDS
    assert isinstance(loaded.encoder_config, RobertaConfig)
    assert loaded.id2label == {0: "Na", 1: "P17", 2: "P27"}
    assert loaded.label2id == {"Na": 0, "P17": 1, "P27": 2}
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "docre_ii"


def test_auto_config_makes_it_from_its_model_type():
    config = AutoConfig.for_model("docre_ii", pair_feature_size=5)

    assert isinstance(config, DocREIIConfig)
    assert config.pair_feature_size == 5


def test_label_map_may_be_given_from_either_side():
    by_index = DocREIIConfig(id2label={0: "Na", 1: "P17", 2: "P27"})
    by_name = DocREIIConfig(label2id={"Na": 0, "P17": 1, "P27": 2})

    for config in (by_index, by_name):
        assert config.id2label == {0: "Na", 1: "P17", 2: "P27"}
        assert config.label2id == {"Na": 0, "P17": 1, "P27": 2}
        assert config.num_labels == 3


def test_number_of_labels_alone_names_them():
    assert DocREIIConfig(num_labels=5).num_labels == 5


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"id2label": {0: "Na", 2: "P27"}}, r"without a gap, got the indices [0, 2]"),
        ({"id2label": {1: "Na", 2: "P27"}}, r"without a gap, got the indices [1, 2]"),
        ({"id2label": {0: "Na", 1: "P27", 2: "P27"}}, "names more than one index ['P27']"),
        ({"id2label": {0: "Na"}}, "at least one relation"),
        ({"id2label": {}}, "at least one relation"),
        ({"label2id": {"Na": 0}}, "at least one relation"),
        (
            {"id2label": {0: "Na", 1: "P27"}, "label2id": {"Na": 1, "P27": 0}},
            "`label2id` is not the inverse of `id2label`",
        ),
        (
            {"id2label": {0: "Na", 1: "P27"}, "label2id": {"Na": 0, "P27": 1, "P17": 2}},
            "`label2id` is not the inverse of `id2label`",
        ),
    ],
)
def test_label_map_that_is_no_numbering_is_refused(labels, message):
    assert message in error_of(**labels)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("encoder_config", 3),
        ("pair_encoder", "bilinear"),
        ("pair_hidden_size", "768"),
        ("pair_intermediate_size", 1.5),
        ("pair_bilinear_rank", None),
        ("pair_block_size", "64"),
        ("pair_feature_size", 768.0),
        ("pair_dropout", "0.1"),
        ("num_iterations", 1.5),
        ("num_iterations", None),
        ("num_inference_layers", "2"),
        ("inference_hidden_size", 512.0),
        ("inference_intermediate_size", None),
        ("inference_dropout", "0.1"),
        ("cross_attention", "all"),
        ("use_fusion", "yes"),
        ("relation_embedding", "sum"),
        ("iteration_update", "add"),
        ("add_base_logits", "no"),
        ("max_noise_rate", "0.4"),
        ("relation_noise", "gaussian"),
        ("training_relations", "noisy"),
        ("negatives_per_positive", 0.5),
        ("inference_margin", "4"),
        ("contrastive_loss", "infonce"),
        ("contrastive_loss", None),
        ("contrastive_temperature", "0.1"),
        ("contrastive_hidden_size", 0.5),
        ("base_loss_weight", "1"),
        ("contrastive_loss_weight", None),
        ("window_size", "512"),
        ("window_overlap", 1.5),
        ("num_prefix_tokens", None),
        ("num_suffix_tokens", "1"),
        ("initializer_range", "0.02"),
    ],
)
def test_wrong_type_names_the_field(field, value):
    assert f"'{field}'" in error_of(**{field: value})


@pytest.mark.parametrize(
    "field",
    [
        "pair_hidden_size",
        "pair_intermediate_size",
        "pair_bilinear_rank",
        "pair_block_size",
        "pair_feature_size",
        "num_inference_layers",
        "inference_hidden_size",
        "inference_intermediate_size",
        "contrastive_hidden_size",
    ],
)
@pytest.mark.parametrize("value", [0, -4])
def test_sizes_have_to_be_positive(field, value):
    assert f"`{field}` must be at least 1, got {value}" in error_of(**{field: value})


@pytest.mark.parametrize("field", ["pair_dropout", "inference_dropout"])
@pytest.mark.parametrize("value", [-0.1, 1.0, 2, float("nan")])
def test_dropout_has_to_be_a_probability_below_one(field, value):
    assert f"`{field}` must lie in [0, 1)" in error_of(**{field: value})


@pytest.mark.parametrize("field", ["pair_dropout", "inference_dropout"])
@pytest.mark.parametrize("value", [0, 0.0, 0.99])
def test_dropout_may_be_a_whole_number(field, value):
    assert getattr(DocREIIConfig(**{field: value}), field) == value


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_iterations": -1}, "`num_iterations` cannot be negative, got -1"),
        ({"inference_hidden_size": 30}, "`inference_hidden_size` must be a multiple of the 4 heads, got 30"),
        ({"inference_hidden_size": 2}, "`inference_hidden_size` must be a multiple of the 4 heads, got 2"),
        ({"max_noise_rate": -0.1}, "`max_noise_rate` must lie in [0, 1], got -0.1"),
        ({"max_noise_rate": 1.1}, "`max_noise_rate` must lie in [0, 1], got 1.1"),
        ({"max_noise_rate": float("nan")}, "`max_noise_rate` must lie in [0, 1], got nan"),
        ({"inference_margin": -1}, "`inference_margin` cannot be negative or infinite, got -1"),
        ({"inference_margin": float("nan")}, "`inference_margin` cannot be negative or infinite, got nan"),
        ({"negatives_per_positive": 0}, "`negatives_per_positive` must be at least 1, got 0"),
        ({"add_base_logits": True, "iteration_update": "accumulate"}, "would add the base's logits twice"),
        ({"contrastive_temperature": 0.0}, "`contrastive_temperature` must be positive, got 0.0"),
        ({"contrastive_temperature": -1}, "`contrastive_temperature` must be positive, got -1"),
        ({"base_loss_weight": -0.5}, "`base_loss_weight` cannot be negative or infinite, got -0.5"),
        ({"contrastive_loss_weight": -1}, "`contrastive_loss_weight` cannot be negative or infinite, got -1"),
        ({"document_threshold_weight": -1}, "`document_threshold_weight` cannot be negative or infinite, got -1"),
        ({"document_threshold_offset": float("nan")}, "`document_threshold_offset` must be finite, got nan"),
        (
            {"document_threshold_weight": float("inf")},
            "`document_threshold_weight` cannot be negative or infinite, got inf",
        ),
    ],
)
def test_inference_module_that_makes_no_sense_is_refused(fields, message):
    assert message in error_of(**fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"num_iterations": 0},
        {"inference_hidden_size": 4},
        {"max_noise_rate": 0},
        {"max_noise_rate": 1},
        {"contrastive_temperature": 1},
        {"base_loss_weight": 0},
        {"contrastive_loss_weight": 2},
    ],
    ids=str,
)
def test_ends_of_the_ranges_are_allowed(fields):
    config = DocREIIConfig(**fields)

    assert {field: getattr(config, field) for field in fields} == fields


def test_blocks_have_to_divide_the_width_only_where_there_are_blocks():
    message = error_of(pair_encoder="grouped_bilinear", pair_hidden_size=768, pair_block_size=100)

    assert "`pair_block_size` must divide `pair_hidden_size`, got 100 and 768" in message
    assert DocREIIConfig(pair_encoder="concat", pair_block_size=100).pair_block_size == 100


def test_window_is_all_the_positions_by_default():
    assert DocREIIConfig(encoder_config=BertConfig(max_position_embeddings=300)).max_window_size == 300
    assert DocREIIConfig(encoder_config=ModernBertConfig(max_position_embeddings=1000)).max_window_size == 1000
    assert DocREIIConfig(encoder_config=DebertaV2Config(max_position_embeddings=300)).max_window_size == 300
    assert DocREIIConfig(encoder_config=BertConfig(), window_size=200).max_window_size == 200


@pytest.mark.parametrize("family", ["roberta", "xlm-roberta", "camembert", "mpnet"])
def test_positions_that_start_after_the_padding_id_are_not_counted(family):
    encoder_config = {"model_type": family, "max_position_embeddings": 514, "pad_token_id": 1}

    assert DocREIIConfig(encoder_config=encoder_config).max_window_size == 512
    assert DocREIIConfig(encoder_config=encoder_config, window_size=512).max_window_size == 512
    assert "`window_size` is 513, but the encoder has 512 positions" in error_of(
        encoder_config=encoder_config, window_size=513
    )


def test_window_has_to_fit_the_encoder():
    assert "`window_size` is 513, but the encoder has 512 positions" in error_of(window_size=513)


def test_encoder_without_a_limit_needs_a_window():
    encoder_config = T5Config()

    assert "`window_size` is needed: 't5' encoders name no limit" in error_of(encoder_config=encoder_config)
    assert DocREIIConfig(encoder_config=encoder_config, window_size=400).max_window_size == 400


@pytest.mark.parametrize("field", ["window_overlap", "num_prefix_tokens", "num_suffix_tokens"])
def test_token_counts_cannot_be_negative(field):
    assert "cannot be negative" in error_of(**{field: -1})


def test_window_has_to_move_forward():
    message = error_of(window_size=20, window_overlap=15, num_prefix_tokens=2, num_suffix_tokens=3)

    assert "a window of 20 tokens has no room for 15 overlapping and 5 special tokens" in message
    fitting = DocREIIConfig(window_size=20, window_overlap=14, num_prefix_tokens=2, num_suffix_tokens=3)
    assert fitting.window_overlap == 14


@pytest.mark.parametrize("size", [0, -3])
def test_window_has_to_hold_a_token(size):
    fields = {"window_overlap": 0, "num_prefix_tokens": 0, "num_suffix_tokens": 0}

    assert f"a window of {size} tokens has no room" in error_of(window_size=size, **fields)


def test_a_field_set_later_is_checked_too():
    config = DocREIIConfig()

    with pytest.raises(StrictDataclassError, match="pair_hidden_size"):
        config.pair_hidden_size = "wide"
