"""The encoder families of the tests: model type and sizes of a tiny encoder of each."""

# Number of positions that a token can have.
POSITIONS = 64
SIZES = {
    "vocab_size": 100,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": POSITIONS,
    "initializer_range": 0.3,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
# These families number positions from `pad_token_id + 1`.
OFFSET_SIZES = SIZES | {"max_position_embeddings": POSITIONS + 2, "pad_token_id": 1, "bos_token_id": 0}
MODERNBERT_SIZES = SIZES | {"local_attention": 8, "cls_token_id": 1, "sep_token_id": 2}
FAMILIES = {
    "bert": ("bert", SIZES),
    "roberta": ("roberta", OFFSET_SIZES),
    "xlm-roberta": ("xlm-roberta", OFFSET_SIZES),
    "electra": ("electra", SIZES | {"embedding_size": 8}),
    "albert": ("albert", SIZES | {"embedding_size": 8}),
    "albert with two layer groups": ("albert", SIZES | {"embedding_size": 8, "num_hidden_groups": 2}),
    "distilbert": ("distilbert", SIZES | {"hidden_dim": 32}),
    "modernbert, last layer local": ("modernbert", MODERNBERT_SIZES | {"global_attn_every_n_layers": 2}),
    "modernbert, last layer global": (
        "modernbert",
        MODERNBERT_SIZES | {"global_attn_every_n_layers": 3, "num_hidden_layers": 4},
    ),
    "deberta-v2": (
        "deberta-v2",
        SIZES | {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "position_buckets": 8},
    ),
    "deberta-v3": (
        "deberta-v2",
        SIZES
        | {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "position_buckets": 8, "share_att_key": True}
        | {"position_biased_input": False, "norm_rel_ebd": "layer_norm", "type_vocab_size": 0},
    ),
    "mpnet": ("mpnet", OFFSET_SIZES),
}
# These families do not use transformers' AttentionInterface.
OFF_THE_INTERFACE = ("deberta-v2", "deberta-v3", "mpnet")
