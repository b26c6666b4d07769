"""PyTorch DocRE-II model."""

import os
from typing import TYPE_CHECKING

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, PreTrainedModel
from transformers.utils import can_return_tuple

from .configuration_docre_ii import DocREIIConfig
from .contrastive import ContrastivePredictor, contrastive_loss
from .decoding import dense_labels
from .document_encoding import encode_documents, hand_out_mention_rows
from .entity_pairs import matrix_to_pairs, pairs_to_matrix
from .inference_module import InferenceModule
from .losses import adaptive_threshold_loss, sample_pairs
from .model_outputs import DocREIIModelOutput, DocREIIOutput
from .pair_features import PairFeatures
from .relation_matrix import corrupt_relations, draw_noise_rates


if TYPE_CHECKING:
    # `save_pretrained` writes every file that is imported here into the checkpoint, for those who load it with
    # `trust_remote_code`: with this line the pipeline that the configuration names is among them.
    from .pipeline_docre_ii import DocumentRelationExtractionPipeline  # noqa: F401


class DocREIIPreTrainedModel(PreTrainedModel):
    """
    Weight initialisation, loading and the attention implementation of all DocRE-II models.
    """

    config: DocREIIConfig
    base_model_prefix = "docre_ii"
    main_input_name = "input_ids"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _no_split_modules = ["PairFeatures", "InferenceModule", "ContrastivePredictor"]

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
        if os.path.isdir(name_or_path):
            # A folder of this machine is nothing that others should read in a published configuration.
            encoder_config._name_or_path = ""
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
        hand_out_mention_rows(self.encoder)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.encoder.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module):
        self.encoder.set_input_embeddings(value)

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.LongTensor | None = None,
        mention_positions: torch.LongTensor | None = None,
        mention_entities: torch.LongTensor | None = None,
        pair_mask: torch.BoolTensor | None = None,
        inputs_embeds: torch.FloatTensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | list[int] | None = None,
    ) -> tuple | DocREIIModelOutput:
        r"""
        Args:
            input_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`):
                Whole documents with marked mentions, of any length, padded on the right.
            attention_mask (`torch.LongTensor` of shape `(batch_size, sequence_length)`, *optional*):
                1 for tokens, 0 for padding. Defaults to no padding.
            mention_positions (`torch.LongTensor` of shape `(batch_size, num_mentions)`):
                Position of every mention's opening marker, -1 for padding.
            mention_entities (`torch.LongTensor` of shape `(batch_size, num_mentions)`):
                Entity of every mention, -1 for padding.
            pair_mask (`torch.BoolTensor` of shape `(batch_size, num_entities, num_entities)`):
                Candidate pairs (head, tail).
            inputs_embeds (`torch.FloatTensor` of shape `(batch_size, sequence_length, embedding_size)`, *optional*):
                Embeddings in place of `input_ids`.
            output_attentions (`bool`, *optional*):
                Whether to return the attention of the encoder, if it runs eager attention. Defaults to what the
                configuration says.
            output_hidden_states (`bool` or `list[int]`, *optional*):
                Whether to return the hidden states of the encoder, of all layers or of those in the list. Defaults to
                what the configuration says.
            return_dict (`bool`, *optional*):
                Whether to return the output as it is described here, or as a tuple. Defaults to what the
                configuration says.

        Raises:
            `ValueError`: an input is missing.
        """
        config = self.config
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("the model needs either `input_ids` or `inputs_embeds`")
        if any(value is None for value in (mention_positions, mention_entities, pair_mask)):
            raise ValueError("the model needs `mention_positions`, `mention_entities` and `pair_mask`")
        if attention_mask is None:
            tokens = input_ids if inputs_embeds is None else inputs_embeds[..., 0]
            attention_mask = torch.ones_like(tokens, dtype=torch.long)
        encoding = encode_documents(
            self.encoder,
            input_ids,
            attention_mask,
            mention_positions,
            inputs_embeds=inputs_embeds,
            output_attentions=config.output_attentions if output_attentions is None else output_attentions,
            output_hidden_states=(
                config.output_hidden_states if output_hidden_states is None else output_hidden_states
            ),
            **config.windows,
        )
        pair_mask = pair_mask.bool()
        pairs = pair_mask.nonzero(as_tuple=True)
        features = self.pair_features(
            encoding.last_hidden_state,
            encoding.mention_attention,
            mention_positions,
            mention_entities,
            pairs,
            pair_mask.shape[1],
        )
        logits = self.classifier(self.dropout(features))
        return DocREIIModelOutput(
            feature_matrix=pairs_to_matrix(features, pair_mask),
            base_logits=pairs_to_matrix(logits, pair_mask),
            hidden_states=encoding.hidden_states,
            attentions=encoding.attentions,
        )


class DocREIIForRelationExtraction(DocREIIPreTrainedModel):
    """
    DocRE-II for document-level relation extraction: the base module, and the inference module that refines its
    predictions iteratively.

    With `config.num_iterations=0` there is no inference module, and the final logits are those of the base module: the
    model of the first training stage. [`~DocREIIForRelationExtraction.from_base_pretrained`] puts an inference module
    on it.

    In training with labels, the inference module runs once, on a relation matrix with noise, as in section 2.3;
    otherwise it iterates.

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
        self.inference_module, self.contrastive_predictor = None, None
        if config.num_iterations:
            self.inference_module = InferenceModule(config, config.pair_feature_size)
            if config.contrastive_loss_weight:
                self.contrastive_predictor = ContrastivePredictor(config)
        self.post_init()

    @classmethod
    def from_base_pretrained(cls, name_or_path: str, **config_kwargs) -> "DocREIIForRelationExtraction":
        r"""
        Puts a new inference module on a base module, as the second stage of training starts.

        Args:
            name_or_path (`str`):
                A checkpoint of the first stage (`num_iterations=0`), on the Hub or in a local folder.
            config_kwargs:
                Fields of [`DocREIIConfig`] for the inference module, as `num_inference_layers`. Those of the base
                module have to be as they are in the checkpoint.

        Raises:
            `ValueError`: `num_iterations=0`, or the checkpoint does not have all weights of the base module.
        """
        config_kwargs = {"num_iterations": 3} | config_kwargs
        if not config_kwargs["num_iterations"]:
            raise ValueError("the inference module needs a `num_iterations` of at least 1")
        model_type = AutoConfig.from_pretrained(name_or_path).model_type
        if model_type != cls.config_class.model_type:
            raise ValueError(f"{name_or_path!r} is not a checkpoint of this base module, but a {model_type!r} model")
        try:
            model, info = cls.from_pretrained(name_or_path, output_loading_info=True, **config_kwargs)
        except RuntimeError as error:  # weights of other sizes
            raise ValueError(f"{name_or_path!r} is not a checkpoint of this base module: {error}") from error
        missing = sorted(name for name in info["missing_keys"] if name.startswith("docre_ii."))
        if missing:
            raise ValueError(f"{name_or_path!r} is not a checkpoint of this base module: it has no {missing[0]!r}")
        return model

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.LongTensor | None = None,
        mention_positions: torch.LongTensor | None = None,
        mention_entities: torch.LongTensor | None = None,
        pair_mask: torch.BoolTensor | None = None,
        labels: torch.LongTensor | None = None,
        num_items_in_batch: torch.Tensor | int | None = None,
        output_attentions: bool | None = None,
        inputs_embeds: torch.FloatTensor | None = None,
        output_hidden_states: bool | list[int] | None = None,
    ) -> tuple | DocREIIOutput:
        r"""
        Args:
            input_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`):
                Whole documents with marked mentions, of any length, padded on the right.
            attention_mask (`torch.LongTensor` of shape `(batch_size, sequence_length)`, *optional*):
                1 for tokens, 0 for padding. Defaults to no padding.
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
            output_attentions (`bool`, *optional*):
                Whether to return the attention of the inference module and, if it runs eager attention, of the
                encoder. Defaults to what the configuration says.
            inputs_embeds (`torch.FloatTensor` of shape `(batch_size, sequence_length, embedding_size)`, *optional*):
                Embeddings in place of `input_ids`.
            output_hidden_states (`bool` or `list[int]`, *optional*):
                Whether to return the hidden states of the encoder, of all layers or of those in the list. Defaults to
                what the configuration says.
            return_dict (`bool`, *optional*):
                Whether to return the output as it is described here, or as a tuple. Defaults to what the
                configuration says.

        Raises:
            `ValueError`: an input is missing.
        """
        if output_attentions is None:
            output_attentions = self.config.output_attentions
        base = self.docre_ii(
            input_ids,
            attention_mask,
            mention_positions,
            mention_entities,
            pair_mask,
            inputs_embeds=inputs_embeds,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        pair_mask = pair_mask.bool()
        dense = None if labels is None else dense_labels(labels, pair_mask.shape[1], self.config.num_labels)[pair_mask]
        output = self.infer(base, pair_mask, dense, output_attentions)
        if dense is None:
            return output
        num_pairs = max(len(dense) if num_items_in_batch is None else num_items_in_batch, 1)
        sample = slice(None)
        if self.inference_module is not None and self.training and self.config.negatives_per_positive is not None:
            sample = sample_pairs(dense, self.config.negatives_per_positive)
        base_loss = _loss(matrix_to_pairs(base.base_logits, pair_mask), dense, num_pairs, sample)
        if self.inference_module is None:
            return DocREIIOutput(loss=base_loss, base_loss=base_loss, **output)
        inference_loss = _loss(matrix_to_pairs(output.logits, pair_mask), dense, num_pairs, sample)
        loss = self.config.base_loss_weight * base_loss + inference_loss
        parts = {"base_loss": base_loss, "inference_loss": inference_loss}
        if output.views is not None:
            with torch.autocast(loss.device.type, enabled=False):
                losses = contrastive_loss(output.predicted_views, output.views, pair_mask, self.config)
            parts["contrastive_loss"] = losses.sum() / num_pairs
            loss = loss + self.config.contrastive_loss_weight * parts["contrastive_loss"]
        return DocREIIOutput(loss=loss, **parts, **output)

    def infer(
        self,
        base: DocREIIModelOutput,
        pair_mask: torch.BoolTensor,
        labels: torch.BoolTensor | None = None,
        output_attentions: bool = False,
    ) -> DocREIIOutput:
        r"""
        Everything behind the base module.

        Args:
            base ([`DocREIIModelOutput`]):
                Feature matrix and logits of a base module, this model's or any other.
            pair_mask (`torch.BoolTensor` of shape `(batch_size, num_entities, num_entities)`):
                Candidate pairs.
            labels (`torch.BoolTensor` of shape `(num_pairs, num_labels)`, *optional*):
                Relations of the candidate pairs. With them, a model in training mode makes its one noisy pass.
            output_attentions (`bool`, *optional*, defaults to `False`):
                Whether to return the attention of the inference module, if it is Extended Cross Attention.

        Returns:
            [`DocREIIOutput`] without losses.
        """
        of_encoder = {"hidden_states": base.hidden_states, "attentions": base.attentions}
        if self.inference_module is None:
            return DocREIIOutput(logits=base.base_logits, base_logits=base.base_logits, **of_encoder)
        features = matrix_to_pairs(base.feature_matrix, pair_mask)
        base_logits = matrix_to_pairs(base.base_logits, pair_mask)
        if self.training and labels is not None:
            logits, views = self._train_pass(features, base_logits, pair_mask, labels)
            logits = pairs_to_matrix(logits, pair_mask)
            output = DocREIIOutput(
                logits=logits, base_logits=base.base_logits, iteration_logits=(logits,), **of_encoder
            )
            if views:
                output.views = views
                output.predicted_views = tuple(self.contrastive_predictor(view) for view in views)
            return output
        output_attentions = output_attentions and self.config.cross_attention == "extended"
        inferred = self.inference_module(features, base_logits, pair_mask, output_attentions)
        iteration_logits = tuple(pairs_to_matrix(logits, pair_mask) for logits in inferred.logits)
        output = DocREIIOutput(
            logits=iteration_logits[-1],
            base_logits=base.base_logits,
            iteration_logits=iteration_logits,
            **of_encoder,
        )
        if output_attentions:
            # The pairs come first as they are computed, and behind layer, unit and head as they are returned.
            output.cross_attentions = tuple(
                pairs_to_matrix(weights.flatten(1), pair_mask)
                .unflatten(-1, weights.shape[1:])
                .permute(0, 3, 4, 5, 1, 2, 6)
                for weights in inferred.attentions
            )
        return output

    def _noise_rates(self, pair_mask: torch.Tensor) -> torch.Tensor:
        return draw_noise_rates(len(pair_mask), self.config, pair_mask.device)

    def _train_pass(
        self, features: torch.Tensor, base_logits: torch.Tensor, pair_mask: torch.Tensor, labels: torch.Tensor
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        """One pass over relations with noise; for the contrastive loss a second one, with other noise and F and R
        exchanged."""
        module = self.inference_module
        document = pair_mask.nonzero(as_tuple=True)[0]
        layout = module.layout(pair_mask)
        is_gold = self.config.training_relations == "gold"
        relations = module.read_relations(labels.float() if is_gold else base_logits.detach())

        noisy = corrupt_relations(relations, labels, document, self._noise_rates(pair_mask))
        encoded, _ = module.encode(module.project_features(features), module.project_relations(noisy), layout)
        logits = module.classify(encoded, base_logits)
        if self.contrastive_predictor is None:
            return logits, ()
        noisy = corrupt_relations(relations, labels, document, self._noise_rates(pair_mask))
        first_layer = module.layers[0]
        reversed_encoded, _ = module.encode(
            first_layer.project_features(module.embed(noisy)),
            first_layer.project_relations(module.feature_projection(features)),
            layout,
        )
        return logits, (encoded, reversed_encoded)


def _loss(
    logits: torch.Tensor, labels: torch.Tensor, num_pairs: torch.Tensor | int, sample: torch.Tensor | slice
) -> torch.Tensor:
    """The mean over the sampled pairs, weighed by all pairs of this batch among `num_pairs`."""
    losses = adaptive_threshold_loss(logits[sample], labels[sample])
    return losses.sum() * (len(labels) / max(len(losses), 1)) / num_pairs


__all__ = [
    "DocREIIForRelationExtraction",
    "DocREIIModel",
    "DocREIIPreTrainedModel",
]
