"""PyTorch DocRE-II model."""

from dataclasses import dataclass

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, PreTrainedModel
from transformers.utils import ModelOutput

from .configuration_docre_ii import DocREIIConfig
from .document_encoding import MENTION_ROWS, encode_documents
from .facts import dense_labels
from .losses import adaptive_threshold_loss
from .pair_features import PairFeatures


@dataclass
class DocREIIModelOutput(ModelOutput):
    """
    Output of [`DocREIIModel`].

    Args:
        feature_matrix (`torch.FloatTensor` of shape `(batch_size, num_entities, num_entities, pair_feature_size)`):
            F_0, the feature vectors of all pairs, zeros outside the candidate pairs.
        base_logits (`torch.FloatTensor` of shape `(batch_size, num_entities, num_entities, num_labels)`):
            Relation logits of the base module before the sigmoid of equation 4, zeros outside the candidate pairs.
    """

    feature_matrix: torch.FloatTensor | None = None
    base_logits: torch.FloatTensor | None = None


@dataclass
class DocREIIOutput(ModelOutput):
    """
    Output of [`DocREIIForRelationExtraction`].

    Args:
        loss (`torch.FloatTensor` of shape `(1,)`, *optional*, returned when `labels` is given):
            Adaptive threshold loss, averaged over the candidate pairs.
        logits (`torch.FloatTensor` of shape `(batch_size, num_entities, num_entities, num_labels)`):
            Final relation logits, the threshold class first, zeros outside the candidate pairs.
        base_logits (`torch.FloatTensor` of shape `(batch_size, num_entities, num_entities, num_labels)`):
            Relation logits of the base module.
    """

    loss: torch.FloatTensor | None = None
    logits: torch.FloatTensor | None = None
    base_logits: torch.FloatTensor | None = None


class DocREIIPreTrainedModel(PreTrainedModel):
    """
    Weight initialisation, loading and the attention implementation of all DocRE-II models.
    """

    config: DocREIIConfig
    base_model_prefix = "docre_ii"
    main_input_name = "input_ids"
    supports_gradient_checkpointing = True
    _supports_sdpa = True

    def set_attn_implementation(self, attn_implementation: str | dict, allow_all_kernels: bool = False):
        super().set_attn_implementation(attn_implementation, allow_all_kernels)
        for module in self.modules():
            if isinstance(module, DocREIIModel):
                module.read_mention_rows()

    @classmethod
    def from_encoder_pretrained(
        cls, name_or_path: str, encoder_kwargs: dict | None = None, **config_kwargs
    ) -> "DocREIIPreTrainedModel":
        r"""
        Starts a new model from a pretrained text encoder; all other weights are drawn at random.

        Args:
            name_or_path (`str`):
                A model on the Hub or a local folder that `AutoModel` loads.
            encoder_kwargs (`dict`, *optional*):
                Changes of the encoder's configuration, as `attention_probs_dropout_prob`.
            config_kwargs:
                Fields of [`DocREIIConfig`], as `id2label` and `pair_encoder`.

        Raises:
            `OSError`: there is no such encoder.
            `ValueError`: `encoder_kwargs` names something the encoder's configuration does not have.

        Example:

        ```python
        >>> model = DocREIIForRelationExtraction.from_encoder_pretrained(
        ...     "google-bert/bert-base-uncased", id2label={0: "Na", 1: "P17", 2: "P27"}
        ... )
        ```
        """
        encoder_config, unused = AutoConfig.from_pretrained(
            name_or_path, return_unused_kwargs=True, **(encoder_kwargs or {})
        )
        if unused:
            raise ValueError(f"{encoder_config.model_type!r} encoders have no setting {sorted(unused)}")
        # The dtype an encoder was saved in is not the one to train in.
        encoder_config.dtype = None
        model = cls(cls.config_class(encoder_config=encoder_config, **config_kwargs))
        encoder = AutoModel.from_pretrained(name_or_path, config=encoder_config, dtype=torch.float32)
        weights = {name: value for name, value in encoder.state_dict().items() if not name.startswith("pooler.")}
        model.base_model.encoder.load_state_dict(weights)
        return model


class DocREIIModel(DocREIIPreTrainedModel):
    """
    Encoder and base module (section 2.1): the feature matrix of all entity pairs and first predictions of them.

    Args:
        config ([`DocREIIConfig`]):
            Configuration; the weights are drawn at random. Use [`~DocREIIPreTrainedModel.from_encoder_pretrained`] to
            start from a pretrained encoder.
    """

    def __init__(self, config: DocREIIConfig):
        super().__init__(config)
        self.encoder = AutoModel.from_config(config.encoder_config)
        # A pooler would be parameters without a gradient.
        if getattr(self.encoder, "pooler", None) is not None:
            self.encoder.pooler = None
        self.pair_features = PairFeatures(config)
        self.dropout = nn.Dropout(config.pair_dropout)
        self.classifier = nn.Linear(config.pair_feature_size, config.num_labels)
        self.read_mention_rows()
        self.post_init()

    def read_mention_rows(self):
        """Has an encoder that runs sdpa hand out the attention of the mentions; any other is left as it is."""
        if self.encoder.config._attn_implementation == "sdpa":
            self.encoder.set_attn_implementation(MENTION_ROWS)

    def get_input_embeddings(self) -> nn.Module:
        return self.encoder.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module):
        self.encoder.set_input_embeddings(value)

    def forward(
        self,
        input_ids: torch.LongTensor,
        attention_mask: torch.LongTensor,
        mention_positions: torch.LongTensor,
        mention_entities: torch.LongTensor,
        pair_mask: torch.BoolTensor,
    ) -> DocREIIModelOutput:
        r"""
        Args:
            input_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`):
                Whole documents with marked mentions, of any length, padded on the right.
            attention_mask (`torch.LongTensor` of shape `(batch_size, sequence_length)`):
                1 for tokens, 0 for padding.
            mention_positions (`torch.LongTensor` of shape `(batch_size, num_mentions)`):
                Position of every mention's opening marker, -1 for padding.
            mention_entities (`torch.LongTensor` of shape `(batch_size, num_mentions)`):
                Entity of every mention, -1 for padding.
            pair_mask (`torch.BoolTensor` of shape `(batch_size, num_entities, num_entities)`):
                Candidate pairs (head, tail).
        """
        config = self.config
        hidden_states, mention_attention = encode_documents(
            self.encoder,
            input_ids,
            attention_mask,
            mention_positions,
            config.max_window_size,
            config.window_overlap,
            config.num_prefix_tokens,
            config.num_suffix_tokens,
        )
        pairs = pair_mask.nonzero(as_tuple=True)
        features = self.pair_features(
            hidden_states, mention_attention, mention_positions, mention_entities, pairs, pair_mask.shape[1]
        )
        logits = self.classifier(self.dropout(features))
        return DocREIIModelOutput(
            feature_matrix=_matrix(features, pairs, pair_mask), base_logits=_matrix(logits, pairs, pair_mask)
        )


class DocREIIForRelationExtraction(DocREIIPreTrainedModel):
    """
    DocRE-II for document-level relation extraction.

    Stage 1 of the paper: the final logits are those of the base module. The inference module, which refines them
    iteratively from the feature matrix, takes its place between the two here.

    Args:
        config ([`DocREIIConfig`]):
            Configuration; the weights are drawn at random. Use [`~DocREIIPreTrainedModel.from_encoder_pretrained`] to
            start from a pretrained encoder.
    """

    # The loss is normalised by `num_items_in_batch`, so that Trainer does not divide it once more.
    accepts_loss_kwargs = True

    def __init__(self, config: DocREIIConfig):
        super().__init__(config)
        self.docre_ii = DocREIIModel(config)
        self.post_init()

    def forward(
        self,
        input_ids: torch.LongTensor,
        attention_mask: torch.LongTensor,
        mention_positions: torch.LongTensor,
        mention_entities: torch.LongTensor,
        pair_mask: torch.BoolTensor,
        labels: torch.LongTensor | None = None,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> DocREIIOutput:
        r"""
        Args:
            input_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`):
                Whole documents with marked mentions, of any length, padded on the right.
            attention_mask (`torch.LongTensor` of shape `(batch_size, sequence_length)`):
                1 for tokens, 0 for padding.
            mention_positions (`torch.LongTensor` of shape `(batch_size, num_mentions)`):
                Position of every mention's opening marker, -1 for padding.
            mention_entities (`torch.LongTensor` of shape `(batch_size, num_mentions)`):
                Entity of every mention, -1 for padding.
            pair_mask (`torch.BoolTensor` of shape `(batch_size, num_entities, num_entities)`):
                Candidate pairs (head, tail).
            labels (`torch.LongTensor` of shape `(batch_size, num_facts, 3)`, *optional*):
                Facts (head, tail, relation), -100 for padding.
            num_items_in_batch (`int` or `torch.Tensor`, *optional*):
                Number of candidate pairs that the loss is averaged over, those of all batches of one optimizer step.
                Defaults to the pairs of this batch.
        """
        base = self.docre_ii(input_ids, attention_mask, mention_positions, mention_entities, pair_mask)
        logits = base.base_logits
        loss = None
        if labels is not None:
            dense = dense_labels(labels, pair_mask.shape[1], self.config.num_labels)
            per_pair = adaptive_threshold_loss(logits[pair_mask], dense[pair_mask])
            num_pairs = per_pair.shape[0] if num_items_in_batch is None else num_items_in_batch
            loss = per_pair.sum() / max(num_pairs, 1)
        return DocREIIOutput(loss=loss, logits=logits, base_logits=base.base_logits)


def _matrix(values: torch.Tensor, pairs: tuple[torch.Tensor, ...], pair_mask: torch.Tensor) -> torch.Tensor:
    """Lays `(num_pairs, width)` out as `(batch_size, num_entities, num_entities, width)`, zeros elsewhere."""
    return values.new_zeros(*pair_mask.shape, values.shape[-1]).index_put(pairs, values)


__all__ = [
    "DocREIIForRelationExtraction",
    "DocREIIModel",
    "DocREIIModelOutput",
    "DocREIIOutput",
    "DocREIIPreTrainedModel",
]
