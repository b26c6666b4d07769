"""The relation matrix R, read from logits and embedded (section 2.2)."""

import torch
from torch import nn

from .configuration_docre_ii import DocREIIConfig


# The authors' released code embeds at most this many relations of a pair.
_MAX_EMBEDDED_RELATIONS = 4
# Weights of relations that differ by less are the same, for a fixed point.
_WEIGHT_TOLERANCE = 1e-3
_SURE_LOGIT = 1e4


def read_relations(logits: torch.Tensor, relation_embedding: str, temperature: float = 1.0) -> torch.Tensor:
    r"""
    Reads the relations of each pair for the relation matrix.

    Args:
        logits (`torch.FloatTensor` of shape `(num_pairs, num_labels)`):
            Relation logits, the threshold class first.
        relation_embedding (`str`):
            - `"argmax"`: the class with the highest logit (the paper);
            - `"multi_label"`: the relations above the threshold class, at most the 4 highest (the released code), or
              class 0 if there is none;
            - `"soft"`: every relation, with the weight sigmoid((logit_r - logit_TH) / temperature), and class 0 with
              what the highest weight leaves to 1.
        temperature (`float`, *optional*, defaults to 1.0):
            Temperature of `"soft"`.

    Returns:
        `torch.BoolTensor` of shape `(num_pairs, num_labels)`, or for `"soft"` `torch.FloatTensor`: the weight of the
        embedding of each class.
    """
    if relation_embedding == "argmax":
        return nn.functional.one_hot(logits.argmax(-1), logits.shape[-1]).bool()
    if relation_embedding == "soft":
        weights = ((logits[:, 1:] - logits[:, :1]) / temperature).sigmoid()
        return torch.cat([1 - weights.amax(-1, keepdim=True), weights], dim=-1)
    highest, classes = logits[:, 1:].topk(min(_MAX_EMBEDDED_RELATIONS, logits.shape[-1] - 1), dim=-1)
    relations = torch.zeros_like(logits, dtype=torch.bool).scatter(1, classes + 1, highest > logits[:, :1])
    relations[:, 0] = ~relations.any(-1)
    return relations


def sure_logits(labels: torch.Tensor) -> torch.Tensor:
    """
    Returns logits from which [`read_relations`] reads the labels.

    Args:
        labels (`torch.BoolTensor` of shape `(num_pairs, num_labels)`):
            Relations that hold. Column 0, the threshold class, is ignored.

    Returns:
        `torch.FloatTensor` of shape `(num_pairs, num_labels)`.
    """
    logits = torch.where(labels, _SURE_LOGIT, -_SURE_LOGIT)
    logits[:, 0] = 0.0
    return logits


def have_changed(relations: torch.Tensor, previous: torch.Tensor) -> torch.Tensor:
    """
    Returns which entries of a relation matrix differ from those before.

    Args:
        relations, previous (`torch.Tensor` of shape `(num_pairs, num_labels)`):
            From [`read_relations`]. Weights within 0.001 of each other count as the same.

    Returns:
        `torch.BoolTensor` of shape `(num_pairs,)`.
    """
    if relations.dtype == torch.bool:
        return (relations != previous).any(-1)
    return ((relations - previous).abs() > _WEIGHT_TOLERANCE).any(-1)


class RelationEmbeddings(nn.Embedding):
    """
    Embeddings of the relation classes, the entries of the relation matrix R.

    Linear functions of R are computed for the table of classes and looked up for the pairs.

    Args:
        config ([`DocREIIConfig`]):
            `num_labels`, `inference_hidden_size` and `relation_embedding`.
    """

    def __init__(self, config: DocREIIConfig):
        super().__init__(config.num_labels, config.inference_hidden_size)
        self.has_one_relation = config.relation_embedding == "argmax"

    def table(self, device: torch.device) -> torch.Tensor:
        """Returns all embeddings, of shape `(num_labels, width)`."""
        # A call of the module fetches weights that are on the disk or another device.
        return self(torch.arange(self.num_embeddings, device=device))

    def look_up(self, table: torch.Tensor, relations: torch.Tensor) -> torch.Tensor:
        """
        Sums the rows of a table over the relations of each pair, with their weights.

        `(num_labels, width)` and `(num_pairs, num_labels)` -> `(num_pairs, width)`. With the table of embeddings this
        is R_0.
        """
        if self.has_one_relation:
            return table.index_select(0, relations.int().argmax(-1))
        return relations.to(table.dtype) @ table
