"""Outputs of the models."""

from dataclasses import dataclass
from typing import Any

import torch
from transformers.utils import ModelOutput

from .configuration_docre_ii import DocREIIConfig
from .decoding import raise_thresholds
from .entity_pairs import EntityPairs
from .inference_module import InferenceOutput


@dataclass
class DocREIIModelOutput(ModelOutput):
    """
    Output of [`DocREIIModel`].

    Args:
        feature_matrix (`torch.FloatTensor` of shape `(batch_size, num_entities, num_entities, pair_feature_size)`):
            F_0, the feature vectors of all pairs, zeros outside the candidate pairs.
        base_logits (`torch.FloatTensor` of shape `(batch_size, num_entities, num_entities, num_labels)`):
            Relation logits of the base module before the sigmoid of equation 4, zeros outside the candidate pairs.
            `config.document_threshold_weight` has no part in them.
        hidden_states (`tuple(torch.FloatTensor)`, *optional*, returned when `output_hidden_states=True`):
            Hidden states of the encoder, those of the embeddings and of every layer, each of shape `(batch_size,
            sequence_length, hidden_size)`. Long documents: averaged over windows.
        attentions (`tuple(torch.FloatTensor)`, *optional*, returned when `output_attentions=True`):
            Attention of every layer of the encoder, of shape `(batch_size, num_heads, sequence_length,
            sequence_length)`. Only with eager attention, and only for documents that fit one window.
        pair_features (`torch.FloatTensor` of shape `(num_pairs, pair_feature_size)`, returned with `pairs`):
            The feature vectors, one row per candidate pair, in place of `feature_matrix`.
        pair_logits (`torch.FloatTensor` of shape `(num_pairs, num_labels)`, returned with `pairs`):
            The logits, one row per candidate pair, in place of `base_logits`.
        sentence_shares (`torch.FloatTensor` of shape `(batch_size, num_entities, num_entities, num_sentences)`,
        *optional*, returned when `output_evidence=True`):
            Share of each sentence in the localized context of each pair, candidate or not.
    """

    feature_matrix: torch.FloatTensor | None = None
    base_logits: torch.FloatTensor | None = None
    hidden_states: tuple[torch.FloatTensor, ...] | None = None
    attentions: tuple[torch.FloatTensor, ...] | None = None
    pair_features: torch.FloatTensor | None = None
    pair_logits: torch.FloatTensor | None = None
    sentence_shares: torch.FloatTensor | None = None


@dataclass
class DocREIIOutput(ModelOutput):
    """
    Output of [`DocREIIForRelationExtraction`].

    Args:
        loss (`torch.FloatTensor` of shape `(1,)`, *optional*, returned when `labels` is given):
            The loss to train with, averaged over the candidate pairs. Without an inference module it is the adaptive
            threshold loss of the base module. With one it is the weighted sum of that loss, the same loss of the
            inference module and, in training, the contrastive loss. With an `evidence_loss_weight` the evidence loss,
            averaged over the annotated facts, is added in training.
        logits (`torch.FloatTensor` of shape `(batch_size, num_entities, num_entities, num_labels)`):
            Final relation logits, the threshold class first, zeros outside the candidate pairs. That of the threshold
            class has risen by `config.document_threshold_weight`, here and in the logits below.
        base_logits (`torch.FloatTensor` of shape `(batch_size, num_entities, num_entities, num_labels)`):
            Relation logits of the base module.
        iteration_logits (`tuple(torch.FloatTensor)`, *optional*, returned with an inference module):
            Relation logits of every iteration. The last are `logits`. There are K of them, and one in training.
        hidden_states (`tuple(torch.FloatTensor)`, *optional*, returned when `output_hidden_states=True`):
            Hidden states of the encoder, as in [`DocREIIModelOutput`].
        attentions (`tuple(torch.FloatTensor)`, *optional*, returned when `output_attentions=True`):
            Attention of the encoder, as in [`DocREIIModelOutput`].
        cross_attentions (`tuple(torch.FloatTensor)`, *optional*, returned when `output_attentions=True`, not in
        training, with an inference module of `cross_attention="extended"`):
            Extended Cross Attention of every iteration, of shape `(batch_size, num_inference_layers, 2, 4,
            num_entities, num_entities, num_entities)`: feature- and relation-level unit; row s, column s, row o,
            column o; head s and tail o of the pair; and the other entity of the pair attended to.
        sentence_shares (`torch.FloatTensor` of shape `(batch_size, num_entities, num_entities, num_sentences)`,
        *optional*, returned when `output_evidence=True`):
            Share of each sentence in the localized context of each pair, candidate or not: what the evidence of its
            triples is read from.
        base_loss, inference_loss, contrastive_loss, evidence_loss (`torch.FloatTensor` of shape `(1,)`, *optional*,
        returned when `labels` is given):
            The parts of `loss`, without their weights.
        views (`tuple(torch.FloatTensor)`, *optional*, returned in training with a contrastive loss):
            Two views of every candidate pair, `[F, R]` after the top inference layer, of shape `(num_pairs, 2 *
            inference_hidden_size)`. In the second, features and relations are exchanged.
        predicted_views (`tuple(torch.FloatTensor)`, *optional*, returned in training with a contrastive loss):
            The views after the MLP of equation 14.
    """

    loss: torch.FloatTensor | None = None
    logits: torch.FloatTensor | None = None
    base_logits: torch.FloatTensor | None = None
    iteration_logits: tuple[torch.FloatTensor, ...] | None = None
    hidden_states: tuple[torch.FloatTensor, ...] | None = None
    attentions: tuple[torch.FloatTensor, ...] | None = None
    cross_attentions: tuple[torch.FloatTensor, ...] | None = None
    sentence_shares: torch.FloatTensor | None = None
    base_loss: torch.FloatTensor | None = None
    inference_loss: torch.FloatTensor | None = None
    contrastive_loss: torch.FloatTensor | None = None
    evidence_loss: torch.FloatTensor | None = None
    views: tuple[torch.FloatTensor, ...] | None = None
    predicted_views: tuple[torch.FloatTensor, ...] | None = None


def logit_matrices(
    base_logits: torch.Tensor, inferred: InferenceOutput | None, pairs: EntityPairs, config: DocREIIConfig
) -> dict[str, Any]:
    """
    Converts rows of candidate pairs to the matrices of [`DocREIIOutput`].

    Args:
        base_logits (`torch.FloatTensor` of shape `(num_pairs, num_labels)`):
            Relation logits of the base module.
        inferred ([`InferenceOutput`], *optional*):
            Output of the inference module.
        pairs ([`EntityPairs`]):
            Index of the candidate pairs.
        config ([`DocREIIConfig`]):
            Configuration of the model, for the thresholds of [`raise_thresholds`].

    Returns:
        `dict`: `logits` and `base_logits`, with an inference module also `iteration_logits` and `cross_attentions`.
    """
    base_matrix = pairs.to_matrix(raise_thresholds(base_logits, pairs, config))
    if inferred is None:
        return {"logits": base_matrix, "base_logits": base_matrix}
    raised = (raise_thresholds(logits, pairs, config) for logits in inferred.logits)
    logits, attentions = inferred._replace(logits=tuple(raised)).to_matrices(pairs)
    return {
        "logits": logits[-1],
        "base_logits": base_matrix,
        "iteration_logits": logits,
        "cross_attentions": attentions,
    }


__all__ = ["DocREIIModelOutput", "DocREIIOutput"]
