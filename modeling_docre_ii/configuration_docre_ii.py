"""DocRE-II model configuration."""

import math
import os
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal, TypedDict

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec
from transformers.utils import TRANSFORMERS_DYNAMIC_MODULE_NAME


# Families that number positions from `pad_token_id + 1`, so that many rows of their position table are never used.
_POSITIONS_AFTER_PADDING = (
    "camembert",
    "data2vec-text",
    "ibert",
    "longformer",
    "luke",
    "mpnet",
    "roberta",
    "roberta-prelayernorm",
    "xlm-roberta",
    "xlm-roberta-xl",
    "xmod",
)

# Where `pipeline` finds the code of the pipeline that goes with a checkpoint.
_CUSTOM_PIPELINES = {
    "document-relation-extraction": {
        "impl": "pipeline_docre_ii.DocumentRelationExtractionPipeline",
        "pt": ["AutoModel"],
    }
}
# The packages that the code in a checkpoint needs. Inference Endpoints installs them from requirements.txt.
REQUIREMENTS = "syntok>=1.4.2\ntransformers>=5.20\n"
# Default of the processor. Before 0.1.0 it was a field of the configuration.
_FORMER_MAX_LABELS_PER_PAIR = 4

_IS_REMOTE_CODE = __name__.startswith(f"{TRANSFORMERS_DYNAMIC_MODULE_NAME}.")


class Windows(TypedDict):
    """
    Arguments of [`encode_documents`] for long documents, in tokens.

    See [`DocREIIConfig`] for what they mean.
    """

    window_size: int
    window_overlap: int
    num_prefix_tokens: int
    num_suffix_tokens: int


def num_positions(config: Any) -> int | None:
    """Returns the longest input of a text encoder, `None` without a limit."""
    positions = getattr(config, "max_position_embeddings", None)
    if positions is None or positions < 1:
        return None
    if config.model_type in _POSITIONS_AFTER_PADDING:
        positions -= config.pad_token_id + 1
    return positions


@strict
class DocREIIConfig(PreTrainedConfig):
    r"""
    Configuration of a [`DocREIIModel`] or [`DocREIIForRelationExtraction`].

    The model has three parts: a text encoder, the base module, which computes a feature vector and relation logits for
    every pair of entities, and the inference module, which refines the predictions iteratively.

    Class 0 of the label map is always the threshold class TH of the adaptive threshold loss, "no relation" in the
    corpora (`Na` in DocRED). A relation is predicted when its logit is above that of class 0.

    The defaults are the paper's, except for `pair_encoder` (the paper: `"concat"`). With a few hundred training
    documents, also set `add_base_logits=True`, `contrastive_loss_weight=0.0`, `relation_embedding="soft"` and
    `inference_margin=4.0`, as `configuration/redocred_minilm.yaml` does. `iteration_update`, `training_relations`,
    `relation_noise`, `negatives_per_positive` and the value `"multi_label"` of `relation_embedding` are variants of
    the authors' released code, which `configuration/docred_bert_released_code.yaml` sets together.

    Args:
        encoder_config (`PreTrainedConfig` or `dict`, *optional*):
            Configuration of the encoder, of any family that `AutoModel` knows. Defaults to [`BertConfig`]'s defaults.
        entity_pooling (`str`, *optional*, defaults to `"logsumexp"`):
            How the hidden states of its mentions become the vector of an entity:

            - `"logsumexp"`: the logarithm of the sum of their exponentials, as in the paper;
            - `"logmeanexp"`: that of their mean, for a processor with `mention_anchor="span"`, where the sum would say
              how many tokens the mentions have. [`~DocREIIPreTrainedModel.from_encoder_pretrained`] chooses it then.
        entity_salience (`bool`, *optional*, defaults to `False`):
            Whether the vectors of head and tail also get how often the document mentions the entity: the logarithm of
            the number of its mentions, and that of its ratio to the most mentioned head or tail. `"logmeanexp"` does
            not say it.
        pair_encoder (`str`, *optional*, defaults to `"low_rank_bilinear"`):
            How the vectors of head, tail and context become the feature vector of the pair (equations 2 and 3):

            - `"concat"`: the paper's FNN over the concatenation of the two context-aware entity vectors;
            - `"grouped_bilinear"`: the authors' released code, block-wise outer products of the two;
            - `"low_rank_bilinear"`: `"concat"` with the element-wise product of two learned projections as a third
              part. It learns nearly as fast as the outer product, at about the cost of the concatenation.
        pair_hidden_size (`int`, *optional*, defaults to 768):
            Width of the context-aware entity vectors `tanh(W_s [h_s, c])` and `tanh(W_o [h_o, c])`.
        pair_intermediate_size (`int`, *optional*, defaults to 768):
            Width inside the feed-forward network of `"concat"` and `"low_rank_bilinear"`.
        pair_bilinear_rank (`int`, *optional*, defaults to 768):
            Number of element-wise products of `"low_rank_bilinear"`.
        pair_block_size (`int`, *optional*, defaults to 64):
            Side of the blocks of `"grouped_bilinear"`; must divide `pair_hidden_size`.
        pair_feature_size (`int`, *optional*, defaults to 768):
            Width of the feature vector of a pair, F in the paper.
        pair_dropout (`float`, *optional*, defaults to 0.0):
            Dropout on the feature vector before the relation classifier.
        num_iterations (`int`, *optional*, defaults to 3):
            K, the number of iterations of the inference module outside training. With 0 there is no inference module:
            the model is the base module alone, as in the first stage of training.
        num_inference_layers (`int`, *optional*, defaults to 2):
            N_I, number of inference layers.
        inference_hidden_size (`int`, *optional*, defaults to 512):
            Width d of the inference module, a multiple of its 4 attention heads. Feature vectors of another width are
            projected to it. The paper gives no number, the released code has 512.
        inference_intermediate_size (`int`, *optional*, defaults to 512):
            Width inside the feed-forward networks of equations 10 and 11.
        inference_dropout (`float`, *optional*, defaults to 0.1):
            Dropout after those networks and before the classifier of equation 12.
        cross_attention (`str`, *optional*, defaults to `"extended"`):
            - `"extended"`: Extended Cross Attention, one head for each line of overlapping pairs;
            - `"full"`: all heads attend to all pairs of the document (Table 4, "w/o ECA").
        use_fusion (`bool`, *optional*, defaults to `True`):
            Whether the gate of equations 8 and 9 joins the two attention units; without it (Table 4, "w/o fusion
            sub-layer") F and R are each updated from their own unit.
        add_base_logits (`bool`, *optional*, defaults to `False`):
            Whether the logits of equation 12 are added to those of the base module, in training as well.
        max_noise_rate (`float`, *optional*, defaults to 0.4):
            In training, r ~ U(0, `max_noise_rate`) of the pairs of a document get a wrong relation in the relation
            matrix.
        base_loss_weight, contrastive_loss_weight (`float`, *optional*, defaults to 1.0):
            Weights of the base module's and of the contrastive loss in the second stage, beside 1 for the inference
            module's. With a `contrastive_loss_weight` of 0 (Table 4, "w/o contrastive loss") the second view of the
            pairs is not computed.
        evidence_loss_weight (`float`, *optional*, defaults to 0.0):
            Weight of the evidence loss in both stages: it draws the localized context of a pair (equation 1) to the
            sentences that are annotated as evidence of its facts (DREEAM, Ma et al., 2023). Above 0, the model also
            says which sentences state a fact. 0.1 is a good value.
        contrastive_loss (`str`, *optional*, defaults to `"simsiam"`):
            - `"simsiam"`: equation 14, which only pulls the two views of a pair together;
            - `"simclr"`: pushes different pairs apart as well (Table 4, "w/ negative pairs").
        contrastive_temperature (`float`, *optional*, defaults to 0.1):
            Temperature of `"simclr"`.
        contrastive_hidden_size (`int`, *optional*, defaults to 256):
            Width inside the MLP of equation 14.
        inference_margin (`float`, *optional*):
            Lets the inference module see only the pairs with a relation whose logit is above that of the threshold
            class, or less than this below it. Pairs that certainly have no relation keep the base module's logits.
            Defaults to all pairs, as in the paper.
        inference_features (`str`, *optional*, defaults to `"pair"`):
            What the inference module reads of a pair beside its relations, F_0:

            - `"pair"`: its feature vector from the base module, as in the paper;
            - `"logits"`: its logits from the base module, relative to that of the threshold class. Such a module can
              learn from the predictions of other base modules, as `cross_fit_folds` of `run_docre.py` does.
        document_threshold_weight, document_threshold_offset (`float`, *optional*, defaults to 0.0):
            With a weight, the logits of the threshold class are returned with weight * log((E + 0.1) / 1.1) + offset
            added, where E is the expected number of facts of the document. Calibration sets the offset. A weight of
            1.0 is for abstracts that all have facts.
        relation_embedding (`str`, *optional*, defaults to `"argmax"`):
            What the relation matrix holds for a pair:

            - `"argmax"`: the embedding of its most probable class, as in the paper;
            - `"multi_label"`: the sum of the embeddings of its predicted relations, the 4 most probable at most, as in
              the released code;
            - `"soft"`: the sum of the embeddings of all relations, each with the weight sigmoid((logit_r - logit_TH) /
              `relation_temperature`), and of class 0 with what the highest weight leaves to 1. The next iteration
              sees how sure a prediction is.
        relation_temperature (`float`, *optional*, defaults to 1.0):
            Temperature of `"soft"`. Towards 0 it becomes `"multi_label"`, without its limit.
        iteration_update (`str`, *optional*, defaults to `"replace"`):
            - `"replace"`: the logits of an iteration replace those before, as in the paper;
            - `"accumulate"`: they are added to those before, the base module's first, as in the released code.
        training_relations (`str`, *optional*, defaults to `"predicted"`):
            Relations in the relation matrix in training, before the noise:

            - `"predicted"`: the predictions of the base module, as in the paper;
            - `"gold"`: the labels, as in the released code.
        relation_noise (`str`, *optional*, defaults to `"uniform"`):
            - `"uniform"`: noise on `max_noise_rate` of all pairs at most, as in the paper;
            - `"by_label"`: on 20 to 50% of the pairs with a relation, and 5 to 15% of those without that
              `negatives_per_positive` draws, as in the released code.
        negatives_per_positive (`int`, *optional*):
            Number of pairs without a relation, drawn at random, for each pair with one, in the adaptive threshold loss
            of the second stage of training: 5 in the released code. Defaults to all pairs.
        window_size (`int`, *optional*):
            Longest sequence, special tokens included, that the encoder reads at once. Longer documents are read
            through overlapping windows. Defaults to the number of positions of the encoder.
        window_overlap (`int`, *optional*, defaults to 128):
            Smallest number of tokens that two neighboring windows of a document share.
        num_prefix_tokens, num_suffix_tokens (`int`, *optional*, defaults to 1):
            Number of special tokens before the text (`[CLS]`, `<s>`) and after it (`[SEP]`, `</s>`), repeated around
            every window. [`~DocREIIPreTrainedModel.from_encoder_pretrained`] takes them from the processor.
        initializer_range (`float`, *optional*, defaults to 0.02):
            Standard deviation of the normal distribution of new weight matrices.

    Raises:
        `huggingface_hub.errors.StrictDataclassError`: a field has a wrong type, a size is not positive, the label map
            does not number the labels from 0, or the windows do not fit the encoder.

    Example:

    ```python
    >>> from modeling_docre_ii import DocREIIConfig, DocREIIForRelationExtraction

    >>> config = DocREIIConfig(id2label={0: "Na", 1: "P17", 2: "P27"})
    >>> model = DocREIIForRelationExtraction(config)  # random weights
    ```
    """

    model_type = "docre_ii"
    sub_configs_defaults = {"encoder_config": SubConfigSpec(config_class=AutoConfig, model_type="bert")}

    encoder_config: PreTrainedConfig | dict | None = None

    # The base module.
    entity_pooling: Literal["logsumexp", "logmeanexp"] = "logsumexp"
    entity_salience: bool = False
    pair_encoder: Literal["concat", "grouped_bilinear", "low_rank_bilinear"] = "low_rank_bilinear"
    pair_hidden_size: int = 768
    pair_intermediate_size: int = 768
    pair_bilinear_rank: int = 768
    pair_block_size: int = 64
    pair_feature_size: int = 768
    pair_dropout: float | int = 0.0

    # The inference module.
    num_iterations: int = 3
    num_inference_layers: int = 2
    inference_hidden_size: int = 512
    inference_intermediate_size: int = 512
    inference_dropout: float | int = 0.1
    cross_attention: Literal["extended", "full"] = "extended"
    use_fusion: bool = True
    add_base_logits: bool = False

    # Its training.
    max_noise_rate: float | int = 0.4
    base_loss_weight: float | int = 1.0
    contrastive_loss_weight: float | int = 1.0
    evidence_loss_weight: float | int = 0.0
    contrastive_loss: Literal["simsiam", "simclr"] = "simsiam"
    contrastive_temperature: float | int = 0.1
    contrastive_hidden_size: int = 256

    inference_margin: float | int | None = None
    inference_features: Literal["pair", "logits"] = "pair"
    document_threshold_weight: float | int = 0.0
    document_threshold_offset: float | int = 0.0

    # Variants of the authors' released code; the defaults are the paper's.
    relation_embedding: Literal["argmax", "multi_label", "soft"] = "argmax"
    relation_temperature: float | int = 1.0
    iteration_update: Literal["replace", "accumulate"] = "replace"
    training_relations: Literal["predicted", "gold"] = "predicted"
    relation_noise: Literal["uniform", "by_label"] = "uniform"
    negatives_per_positive: int | None = None

    # Windows over long documents.
    window_size: int | None = None
    window_overlap: int = 128
    num_prefix_tokens: int = 1
    num_suffix_tokens: int = 1

    initializer_range: float = 0.02

    def __post_init__(self, **kwargs: Any) -> None:
        # `pipeline` requires `trust_remote_code=True` for a configuration with this attribute. The installed package
        # has registered its own pipeline and needs no remote code.
        if not _IS_REMOTE_CODE:
            kwargs.pop("custom_pipelines", None)
        self._drop_former_fields(kwargs)
        if self.id2label is None and self.label2id is not None:
            self.id2label: dict[int, str] = {index: label for label, index in self.label2id.items()}
        super().__post_init__(**kwargs)
        if self.label2id is None:
            self.label2id: dict[str, int] = {label: index for index, label in self.id2label.items()}

    def _drop_former_fields(self, kwargs: dict[str, Any]) -> None:
        """Drops fields that an earlier version has saved, if they change nothing."""
        most = kwargs.pop("max_labels_per_pair", None)
        num_relations = len(self.id2label or self.label2id or ()) - 1
        if most is not None and most != _FORMER_MAX_LABELS_PER_PAIR and most < num_relations:
            raise ValueError(
                f"`max_labels_per_pair` ({most}) belongs to the processor, no longer to the configuration: rewrite "
                "the checkpoint with `docre-ii convert OLD_FOLDER NEW_FOLDER`"
            )
        for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
            kwargs.pop(name, None)

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> "DocREIIConfig":
        asked = {name: kwargs.pop(name, None) for name in ("id2label", "label2id", "num_labels")}
        labels = {name: value for name, value in asked.items() if value is not None}
        if labels and labels != {"num_labels": len(config_dict.get("id2label") or ())}:
            # Other labels replace both maps, even if only one is given.
            config_dict = {name: value for name, value in config_dict.items() if name not in asked} | labels
        return super().from_dict(config_dict, **kwargs)

    def save_pretrained(self, save_directory: str | os.PathLike, push_to_hub: bool = False, **kwargs: Any) -> None:
        # transformers saves the code beside config.json, but not what it needs.
        super().save_pretrained(save_directory, push_to_hub=push_to_hub, **kwargs)
        partial = Path(save_directory, f"requirements.txt.{os.getpid()}.partial")
        partial.write_text(REQUIREMENTS, encoding="utf-8")
        partial.replace(partial.with_name("requirements.txt"))

    def to_dict(self) -> dict[str, Any]:
        return super().to_dict() | {"custom_pipelines": deepcopy(_CUSTOM_PIPELINES)}

    def get_text_config(self, decoder: bool | None = None, encoder: bool | None = None) -> PreTrainedConfig:
        """Returns the configuration of the encoder. There is no decoder."""
        return self if decoder and not encoder else self.encoder_config

    @property
    def hidden_size(self) -> int:
        """Width of the encoder's hidden states."""
        return self.get_text_config().hidden_size

    @property
    def vocab_size(self) -> int:
        """Number of rows of the encoder's embeddings."""
        return self.get_text_config().vocab_size

    @vocab_size.setter
    def vocab_size(self, value: int) -> None:
        self.get_text_config().vocab_size = value

    @property
    def max_window_size(self) -> int:
        """Longest window, in tokens: `window_size` or all positions of the encoder."""
        size = num_positions(self.get_text_config()) if self.window_size is None else self.window_size
        if size is None:
            raise ValueError(f"`window_size` is needed: {self.get_text_config().model_type!r} encoders name no limit")
        return size

    @property
    def windows(self) -> Windows:
        """Settings of the windows over long documents."""
        return {
            "window_size": self.max_window_size,
            "window_overlap": self.window_overlap,
            "num_prefix_tokens": self.num_prefix_tokens,
            "num_suffix_tokens": self.num_suffix_tokens,
        }

    def validate_sizes(self) -> None:
        """Checks that widths and counts are positive and dropouts are probabilities."""
        for name in (
            "pair_hidden_size",
            "pair_intermediate_size",
            "pair_bilinear_rank",
            "pair_block_size",
            "pair_feature_size",
            "num_inference_layers",
            "inference_hidden_size",
            "inference_intermediate_size",
            "contrastive_hidden_size",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, got {getattr(self, name)}")
        for name in ("pair_dropout", "inference_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"`{name}` must lie in [0, 1), got {getattr(self, name)}")
        if self.pair_encoder == "grouped_bilinear" and self.pair_hidden_size % self.pair_block_size:
            raise ValueError(
                f"`pair_block_size` must divide `pair_hidden_size`, got {self.pair_block_size} and "
                f"{self.pair_hidden_size}"
            )

    def validate_inference(self) -> None:
        """Checks the numbers of the inference module and of its losses."""
        if self.num_iterations < 0:
            raise ValueError(f"`num_iterations` cannot be negative, got {self.num_iterations}")
        if self.inference_hidden_size % 4:
            raise ValueError(
                f"`inference_hidden_size` must be a multiple of the 4 heads, got {self.inference_hidden_size}"
            )
        if not math.isfinite(self.document_threshold_offset):
            raise ValueError(f"`document_threshold_offset` must be finite, got {self.document_threshold_offset}")
        if self.inference_margin is not None and not 0 <= self.inference_margin < math.inf:
            raise ValueError(f"`inference_margin` cannot be negative or infinite, got {self.inference_margin}")
        if self.add_base_logits and self.iteration_update == "accumulate":
            raise ValueError("`add_base_logits` and `iteration_update='accumulate'` would add the base's logits twice")
        if self.negatives_per_positive is not None and self.negatives_per_positive < 1:
            raise ValueError(f"`negatives_per_positive` must be at least 1, got {self.negatives_per_positive}")
        if not 0 <= self.max_noise_rate <= 1:
            raise ValueError(f"`max_noise_rate` must lie in [0, 1], got {self.max_noise_rate}")
        for name in ("contrastive_temperature", "relation_temperature"):
            if not getattr(self, name) > 0:
                raise ValueError(f"`{name}` must be positive, got {getattr(self, name)}")
        losses = ("base_loss_weight", "contrastive_loss_weight", "evidence_loss_weight")
        for name in (*losses, "document_threshold_weight"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"`{name}` cannot be negative or infinite, got {getattr(self, name)}")

    def validate_label_map(self) -> None:
        """Checks that `id2label` numbers the threshold class and relations from 0."""
        indices, labels = sorted(self.id2label), list(self.id2label.values())
        if indices != list(range(len(labels))):
            raise ValueError(f"`id2label` must number the labels from 0 without a gap, got the indices {indices}")
        if len(labels) < 2:
            raise ValueError(
                f"`id2label` needs the threshold class (index 0) and at least one relation, got {self.id2label}"
            )
        doubled = sorted({label for label in labels if labels.count(label) > 1})
        if doubled:
            raise ValueError(f"`id2label` names more than one index {doubled}")
        if self.label2id != {label: index for index, label in self.id2label.items()}:
            raise ValueError("`label2id` is not the inverse of `id2label`")

    def validate_windows(self) -> None:
        """Checks that a window fits the encoder and moves forward over a document."""
        positions, size = num_positions(self.get_text_config()), self.max_window_size
        if positions is not None and size > positions:
            raise ValueError(f"`window_size` is {size}, but the encoder has {positions} positions")
        if min(self.window_overlap, self.num_prefix_tokens, self.num_suffix_tokens) < 0:
            raise ValueError("`window_overlap`, `num_prefix_tokens` and `num_suffix_tokens` cannot be negative")
        if size <= self.window_overlap + self.num_prefix_tokens + self.num_suffix_tokens:
            raise ValueError(
                f"a window of {size} tokens has no room for {self.window_overlap} overlapping and "
                f"{self.num_prefix_tokens + self.num_suffix_tokens} special tokens"
            )


__all__ = ["DocREIIConfig", "num_positions"]
