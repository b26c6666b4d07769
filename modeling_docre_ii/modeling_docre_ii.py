"""PyTorch DocRE-II model."""

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers import AutoModel
from transformers.utils import can_return_tuple

from .configuration_docre_ii import DocREIIConfig
from .configuration_loading import HUB_ARGUMENTS, check_fields, load_config, load_encoder_config
from .document_encoding import DocumentEncoding, check_token_ids, encode_documents, register_mention_attention
from .entity_pairs import EntityPairs, dense_labels, require_pair_inputs
from .evidence import evidence_loss, sentence_shares, should_output_evidence
from .inference_module import InferenceModule, InferenceOutput, given_logits
from .loaded_weights import CheckedPreTrainedModel
from .losses import ContrastivePredictor, threshold_losses
from .model_outputs import DocREIIModelOutput, DocREIIOutput, logit_matrices
from .pair_features import PairFeatures


if TYPE_CHECKING:
    # `save_pretrained` copies every file that is imported here into the checkpoint, for users who load it with
    # `trust_remote_code`. These lines add the pipeline that the configuration names, and the handler of an endpoint.
    from .handler import EndpointHandler  # noqa: F401
    from .pipeline_docre_ii import DocumentRelationExtractionPipeline  # noqa: F401
    from .processing_docre_ii import DocREIIProcessor


class DocREIIPreTrainedModel(CheckedPreTrainedModel):
    """Base class of all DocRE-II models: weight initialization and loading."""

    config: DocREIIConfig
    base_model_prefix = "docre_ii"
    main_input_name = "input_ids"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _no_split_modules = ["PairFeatures", "InferenceModule", "ContrastivePredictor"]

    @classmethod
    def from_encoder_pretrained(
        cls,
        name_or_path: str,
        processor: "DocREIIProcessor | None" = None,
        encoder_kwargs: dict[str, Any] | None = None,
        **config_kwargs: Any,
    ) -> "DocREIIPreTrainedModel":
        r"""
        Starts a new model from a pretrained text encoder.

        All other weights are random. The defaults of [`DocREIIConfig`] are the paper's, except for the pair encoder.

        Args:
            name_or_path (`str`):
                A model on the Hub or a local folder that `AutoModel` loads.
            processor ([`DocREIIProcessor`], *optional*):
                Processor of the model, which defines its [`~DocREIIProcessor.config_fields`].
            encoder_kwargs (`dict`, *optional*):
                Changes to the encoder's configuration, such as `attention_probs_dropout_prob`.
            config_kwargs:
                Fields of [`DocREIIConfig`], such as `num_iterations=0` for the first stage of training, or `id2label`
                without a processor.

        Raises:
            `OSError`: there is no such encoder.
            `ValueError`: `encoder_kwargs` or `config_kwargs` has an unknown name.

        Example:

        ```python
        >>> relations = {"P17": "country", "P27": "country of citizenship"}
        >>> processor = DocREIIProcessor.from_encoder_pretrained("google-bert/bert-base-cased", relations=relations)
        >>> model = DocREIIForRelationExtraction.from_encoder_pretrained(
        ...     "google-bert/bert-base-cased", processor=processor
        ... )
        ```
        """
        check_fields(config_kwargs)
        encoder_config = load_encoder_config(name_or_path, **(encoder_kwargs or {}))
        if processor is not None:
            config_kwargs = processor.config_fields | config_kwargs
        model = cls(cls.config_class(encoder_config=encoder_config, **config_kwargs))
        encoder = AutoModel.from_pretrained(name_or_path, config=encoder_config, dtype=torch.float32)
        weights = {name: value for name, value in encoder.state_dict().items() if not name.startswith("pooler.")}
        model.base_model.encoder.load_state_dict(weights)
        return model


class DocREIIModel(DocREIIPreTrainedModel):
    """
    Encoder and base module (section 2.1): features and predictions of all pairs.

    Args:
        config ([`DocREIIConfig`]):
            Configuration. The weights are random: to start from a pretrained encoder, use
            [`~DocREIIPreTrainedModel.from_encoder_pretrained`].
    """

    def __init__(self, config: DocREIIConfig):
        config.validate()  # what `from_pretrained` was given is set after the configuration is made
        super().__init__(config)
        self.encoder = AutoModel.from_config(config.encoder_config)
        # Parameters of a pooler would have no gradient.
        if getattr(self.encoder, "pooler", None) is not None:
            self.encoder.pooler = None
        self.pair_features = PairFeatures(config)
        self.dropout = nn.Dropout(config.pair_dropout)
        self.classifier = nn.Linear(config.pair_feature_size, config.num_labels)
        register_mention_attention(self.encoder)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.encoder.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
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
        pairs: EntityPairs | None = None,
        sentence_ids: torch.LongTensor | None = None,
        output_evidence: bool = False,
    ) -> tuple | DocREIIModelOutput:
        r"""
        Args:
            input_ids, attention_mask, mention_positions, mention_entities, pair_mask, inputs_embeds, sentence_ids,
            output_hidden_states:
                As for [`DocREIIForRelationExtraction`].
            output_attentions (`bool`, *optional*):
                Whether to return the attention of the encoder, if it runs eager attention. Defaults to what the
                configuration says.
            pairs ([`EntityPairs`], *optional*):
                Index of `pair_mask`, to get one row per candidate pair: the output then has `pair_features` and
                `pair_logits` in place of the matrices.
            output_evidence (`bool`, *optional*, defaults to `False`):
                Whether to return `sentence_shares`, which needs `sentence_ids`.
            return_dict (`bool`, *optional*):
                Whether to return a [`DocREIIModelOutput`] or a tuple.

        Raises:
            `ValueError`: an input is missing, or a token is not in the vocabulary.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("the model needs either `input_ids` or `inputs_embeds`")
        # Embeddings that an adapter wraps do not name their number.
        check_token_ids(input_ids, getattr(self.get_input_embeddings(), "num_embeddings", self.config.vocab_size))
        mention_positions, mention_entities, pair_mask = require_pair_inputs(
            mention_positions, mention_entities, pair_mask
        )
        if attention_mask is None:
            tokens = input_ids if inputs_embeds is None else inputs_embeds[..., 0]
            attention_mask = torch.ones_like(tokens, dtype=torch.long)
        encoding = encode_documents(
            self.encoder,
            input_ids,
            attention_mask,
            mention_positions,
            mention_entities,
            pair_mask.shape[1],
            inputs_embeds=inputs_embeds,
            output_attentions=self.config.output_attentions if output_attentions is None else output_attentions,
            output_hidden_states=(
                self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
            ),
            **self.config.windows,
        )
        beside = {"hidden_states": encoding.hidden_states, "attentions": encoding.attentions}
        if output_evidence:
            beside["sentence_shares"] = sentence_shares(encoding.entity_attention, sentence_ids)
        if pairs is not None:
            features, logits = self.encode_pairs(encoding, mention_positions, mention_entities, pairs)
            return DocREIIModelOutput(pair_features=features, pair_logits=logits, **beside)
        pairs = EntityPairs.from_mask(pair_mask)
        features, logits = self.encode_pairs(encoding, mention_positions, mention_entities, pairs)
        return DocREIIModelOutput(
            feature_matrix=pairs.to_matrix(features), base_logits=pairs.to_matrix(logits), **beside
        )

    def encode_pairs(
        self,
        encoding: DocumentEncoding,
        mention_positions: torch.Tensor,
        mention_entities: torch.Tensor,
        pairs: EntityPairs,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Computes features and logits of the candidate pairs, equations 1 to 4.

        Args:
            encoding ([`DocumentEncoding`]):
                Output of the encoder.
            mention_positions, mention_entities (`torch.LongTensor` of shape `(batch_size, num_mentions)`):
                As for the forward pass.
            pairs ([`EntityPairs`]):
                Index of the candidate pairs.

        Returns:
            `tuple(torch.FloatTensor)`: features of shape `(num_pairs, pair_feature_size)` and relation logits of shape
            `(num_pairs, num_labels)`.
        """
        features = self.pair_features(
            encoding.last_hidden_state, encoding.entity_attention, mention_positions, mention_entities, pairs
        )
        return features, self.classifier(self.dropout(features))


class DocREIIForRelationExtraction(DocREIIPreTrainedModel):
    """
    DocRE-II: a base module and an inference module that refines its predictions.

    With `config.num_iterations=0` there is no inference module, and the logits are those of the base module: the model
    of the first training stage. [`~DocREIIForRelationExtraction.from_base_pretrained`] puts an inference module on it.

    In training with labels, the inference module runs once over a relation matrix with noise (section 2.3). Otherwise
    it iterates.

    Args:
        config ([`DocREIIConfig`]):
            Configuration. The weights are random: to start from a pretrained encoder, use
            [`~DocREIIPreTrainedModel.from_encoder_pretrained`].
    """

    # `num_items_in_batch` counts pairs. Trainer would count facts; DocREIITrainer passes it all the same.
    accepts_loss_kwargs = False

    def __init__(self, config: DocREIIConfig):
        super().__init__(config)
        self.docre_ii = DocREIIModel(config)
        self.inference_module: InferenceModule | None = None
        self.contrastive_predictor: ContrastivePredictor | None = None
        if config.num_iterations:
            self.inference_module = InferenceModule(config, config.pair_feature_size)
            if config.contrastive_loss_weight:
                self.contrastive_predictor = ContrastivePredictor(config)
        self.post_init()

    @classmethod
    def from_base_pretrained(cls, name_or_path: str, **config_kwargs: Any) -> "DocREIIForRelationExtraction":
        r"""
        Puts a new inference module on a trained base module, to start stage 2.

        Args:
            name_or_path (`str`):
                A checkpoint of the first stage (`num_iterations=0`), on the Hub or in a local folder.
            config_kwargs:
                Fields of [`DocREIIConfig`] for the inference module, such as `num_inference_layers`, and arguments of
                `from_pretrained`, such as `revision`. Fields of the base module must be those of the checkpoint.

        Raises:
            `OSError`: there is no such checkpoint.
            `ValueError`: `num_iterations=0`, or the checkpoint lacks weights of the base module or has an inference
                module.
        """
        config_kwargs = {"num_iterations": 3} | config_kwargs
        if not config_kwargs["num_iterations"]:
            raise ValueError("the inference module needs a `num_iterations` of at least 1")
        config = load_config(
            name_or_path, **{name: config_kwargs[name] for name in HUB_ARGUMENTS & config_kwargs.keys()}
        )
        if (model_type := config.model_type) != cls.config_class.model_type:
            raise ValueError(f"{name_or_path!r} is not a checkpoint of this base module, but a {model_type!r} model")
        if config.num_iterations:
            raise ValueError(f"{name_or_path!r} has an inference module: to train it further, use `from_pretrained`")
        try:
            cls._keys_to_ignore_on_load_missing = [r"^(?!docre_ii\.)"]  # new weights are expected
            model, info = cls.from_pretrained(name_or_path, output_loading_info=True, **config_kwargs)
        except RuntimeError as error:  # weights of other sizes
            raise ValueError(f"{name_or_path!r} is not a checkpoint of this base module: {error}") from error
        finally:
            cls._keys_to_ignore_on_load_missing = None
        if missing := info["missing_keys"]:
            raise ValueError(f"{name_or_path!r} is not a checkpoint of this base module: it has no {min(missing)!r}")
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
        base_logits: torch.FloatTensor | None = None,
        sentence_ids: torch.LongTensor | None = None,
        evidence: torch.LongTensor | None = None,
        num_evidence_in_batch: torch.Tensor | int | None = None,
        output_evidence: bool | None = None,
        teacher_probabilities: torch.FloatTensor | None = None,
    ) -> tuple | DocREIIOutput:
        r"""
        Args:
            input_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`):
                Whole documents with marked mentions, of any length, padded on the right.
            attention_mask (`torch.LongTensor` of shape `(batch_size, sequence_length)`, *optional*):
                1 for tokens, 0 for padding. Defaults to no padding.
            mention_positions (`torch.LongTensor` of shape `(batch_size, num_mentions)`):
                Positions of the tokens that stand for the mentions (`mention_anchor`), -1 for padding.
            mention_entities (`torch.LongTensor` of shape `(batch_size, num_mentions)`):
                Entity of each of them, -1 for padding.
            pair_mask (`torch.BoolTensor` of shape `(batch_size, num_entities, num_entities)`):
                Candidate pairs (head, tail).
            labels (`torch.LongTensor` of shape `(batch_size, num_facts, 3)`, *optional*):
                Facts (head, tail, relation), -100 for padding.
            num_items_in_batch (`int` or `torch.Tensor`, *optional*):
                Number of candidate pairs of an optimizer step, to average the loss over. Defaults to this batch's.
            output_attentions (`bool`, *optional*):
                Whether to return the attention of the inference module and, with eager attention, the encoder's.
                Defaults to what the configuration says.
            inputs_embeds (`torch.FloatTensor` of shape `(batch_size, sequence_length, embedding_size)`, *optional*):
                Embeddings in place of `input_ids`.
            output_hidden_states (`bool` or `list[int]`, *optional*):
                Whether to return the encoder's hidden states, all or of these layers. Defaults to the configuration's.
            base_logits (`torch.FloatTensor`, *optional*):
                Predictions of another base module, of shape `(batch_size, num_entities, num_entities, num_labels)`,
                for the inference module. Encoder and base module do not run. Needs `inference_features="logits"`.
            sentence_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`, *optional*):
                Sentence of every token, -1 for special tokens and padding.
            evidence (`torch.LongTensor` of shape `(batch_size, num_facts, num_evidence)`, *optional*):
                Sentences in the evidence of each of the `labels`, -100 for padding. Facts without any are not
                annotated. Needed, with `sentence_ids`, to train with an `evidence_loss_weight`.
            num_evidence_in_batch (`int` or `torch.Tensor`, *optional*):
                Number of annotated facts of an optimizer step, to average the evidence loss over, likewise.
            output_evidence (`bool`, *optional*):
                Whether to return `sentence_shares`, which needs `sentence_ids`. By default, a model with an
                `evidence_loss_weight` does so outside of training if they are given.
            teacher_probabilities (`torch.FloatTensor`, *optional*):
                In training, what a teacher predicts for unlabeled documents, whose `labels` are empty. Of the shape of
                `base_logits`; -100 for documents with labels.
            return_dict (`bool`, *optional*):
                Whether to return a [`DocREIIOutput`] or a tuple.

        Raises:
            `ValueError`: an input is missing, a token is unknown, or no inference module can read the `base_logits`.
        """
        output_attentions = self.config.output_attentions if output_attentions is None else output_attentions
        _, _, pair_mask = require_pair_inputs(mention_positions, mention_entities, pair_mask)
        pairs = EntityPairs.from_mask(pair_mask)
        is_encoded = base_logits is None
        learns_evidence = self.training and is_encoded and labels is not None and self.config.evidence_loss_weight > 0
        if learns_evidence and evidence is None:
            raise ValueError("training with an `evidence_loss_weight` needs `evidence`, which comes with the labels")
        asked = False if output_evidence is None and (self.training or not is_encoded) else output_evidence
        output_evidence = should_output_evidence(asked, sentence_ids, self.config)
        if base_logits is not None:
            base = DocREIIModelOutput(pair_logits=given_logits(self.inference_module, pairs.to_rows(base_logits)))
        else:
            base = self.docre_ii(
                input_ids,
                attention_mask,
                mention_positions,
                mention_entities,
                pair_mask,
                inputs_embeds=inputs_embeds,
                output_attentions=output_attentions,
                output_hidden_states=output_hidden_states,
                pairs=pairs,
                sentence_ids=sentence_ids,
                output_evidence=output_evidence or learns_evidence,
                return_dict=True,
            )
        rows = (base.pair_features, base.pair_logits, pairs)
        beside = {"hidden_states": base.hidden_states, "attentions": base.attentions}
        beside |= {"sentence_shares": base.sentence_shares} if output_evidence else {}
        if labels is None:
            return DocREIIOutput(**self.infer(*rows, output_attentions), **beside)
        dense = pairs.to_rows(dense_labels(labels, pairs.num_entities, self.config.num_labels))
        taught = None if teacher_probabilities is None else pairs.to_rows(teacher_probabilities)
        num_pairs = max(len(dense) if num_items_in_batch is None else num_items_in_batch, 1)
        if self.training and self.inference_module is not None and self.config.num_iterations:
            output = self._train(self.inference_module, *rows, dense, num_pairs, taught)
        else:
            inferred = self._iterate(*rows, output_attentions)
            output = logit_matrices(base.pair_logits, inferred, pairs, self.config)
            last = inferred and inferred.logits[-1]
            output |= threshold_losses(base.pair_logits, last, dense, num_pairs, self.config, None, taught)
        if learns_evidence:
            loss = evidence_loss(base.sentence_shares, labels, evidence, num_evidence_in_batch)
            output |= {"loss": output["loss"] + self.config.evidence_loss_weight * loss, "evidence_loss": loss}
        return DocREIIOutput(**output, **beside)

    def infer(
        self,
        features: torch.Tensor | None,
        base_logits: torch.Tensor,
        pairs: EntityPairs,
        output_attentions: bool = False,
    ) -> dict[str, Any]:
        r"""
        Refines the predictions of a base module, this or any other.

        Args:
            features (`torch.FloatTensor` of shape `(num_pairs, pair_feature_size)`, *optional*):
                Feature vectors of the candidate pairs, for `inference_features="pair"`.
            base_logits (`torch.FloatTensor` of shape `(num_pairs, num_labels)`):
                Relation logits of the base module.
            pairs ([`EntityPairs`]):
                Index of the candidate pairs.
            output_attentions (`bool`, *optional*, defaults to `False`):
                Whether to return the attention of the inference module, with `cross_attention="extended"`.

        Returns:
            `dict`: `logits`, `base_logits`, `iteration_logits` and `cross_attentions` as in [`DocREIIOutput`].
        """
        inferred = self._iterate(features, base_logits, pairs, output_attentions)
        return logit_matrices(base_logits, inferred, pairs, self.config)

    def _iterate(
        self, features: torch.Tensor | None, base_logits: torch.Tensor, pairs: EntityPairs, output_attentions: bool
    ) -> InferenceOutput | None:
        if self.inference_module is None or not self.config.num_iterations:
            return None
        output_attentions = output_attentions and self.config.cross_attention == "extended"
        return self.inference_module(features, base_logits, pairs, output_attentions)

    def _train(
        self,
        inference_module: InferenceModule,
        features: torch.Tensor | None,
        base_logits: torch.Tensor,
        pairs: EntityPairs,
        labels: torch.Tensor,
        num_pairs: torch.Tensor | int,
        taught: torch.Tensor | None,
    ) -> dict[str, Any]:
        """Runs the inference module over a relation matrix with noise, with losses."""
        known = labels if taught is None else labels | (taught > 0.5)  # for the noise and the sample
        noisy = inference_module.noisy_pass(features, base_logits, pairs, known)
        output = logit_matrices(base_logits, InferenceOutput((noisy.logits,), None), pairs, self.config)
        output |= threshold_losses(base_logits, noisy.logits, labels, num_pairs, self.config, noisy.sample, taught)
        if noisy.views is not None and self.contrastive_predictor is not None:
            output |= self.contrastive_predictor.compare(noisy.views, noisy.document, num_pairs)
            output["loss"] = output["loss"] + self.config.contrastive_loss_weight * output["contrastive_loss"]
        return output


__all__ = ["DocREIIForRelationExtraction", "DocREIIModel", "DocREIIPreTrainedModel"]
