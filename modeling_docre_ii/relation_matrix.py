"""The relation matrix R: read from logits, embedded, and noisy in training."""

import torch
from torch import nn

from .configuration_docre_ii import DocREIIConfig


# The authors' released code embeds at most this many relations of a pair ...
_MAX_EMBEDDED_RELATIONS = 4
# ... and corrupts these shares of the pairs without and with a relation.
_RELEASED_RATES = ((0.05, 0.15), (0.2, 0.5))


def read_relations(logits: torch.Tensor, relation_embedding: str) -> torch.Tensor:
    """
    Reads the relations of each pair that its entry in the relation matrix embeds.

    Args:
        logits (`torch.FloatTensor` of shape `(num_pairs, num_labels)`):
            Relation logits, the threshold class first.
        relation_embedding (`str`):
            `"argmax"`: the class with the highest logit (the paper); `"multi_label"`: the relations above the
            threshold class, the 4 highest at most (the released code), class 0 where there is none.

    Returns:
        `torch.BoolTensor` of shape `(num_pairs, num_labels)`.
    """
    if relation_embedding == "argmax":
        return nn.functional.one_hot(logits.argmax(-1), logits.shape[-1]).bool()
    highest, classes = logits[:, 1:].topk(min(_MAX_EMBEDDED_RELATIONS, logits.shape[-1] - 1), dim=-1)
    relations = torch.zeros_like(logits, dtype=torch.bool).scatter(1, classes + 1, highest > logits[:, :1])
    relations[:, 0] = ~relations.any(-1)
    return relations


class RelationEmbeddings(nn.Embedding):
    """
    Embeddings of the relation classes, of which the relation matrix R is made.

    Everything that is linear in R is computed for the table of classes and looked up for the pairs.

    Args:
        config ([`DocREIIConfig`]):
            `num_labels` classes, `inference_hidden_size`, and how many relations an entry embeds.
    """

    def __init__(self, config: DocREIIConfig):
        super().__init__(config.num_labels, config.inference_hidden_size)
        self.has_one_relation = config.relation_embedding == "argmax"

    def table(self, device: torch.device) -> torch.Tensor:
        """Returns all embeddings, of shape `(num_labels, width)`."""
        # By a call of the module, which has the weights there when they are kept on the disk or another device.
        return self(torch.arange(self.num_embeddings, device=device))

    def look_up(self, table: torch.Tensor, relations: torch.Tensor) -> torch.Tensor:
        """
        Sums the rows of a table over the relations of each pair: `(num_labels, width)` and `(num_pairs, num_labels)`
        -> `(num_pairs, width)`. With the table of embeddings this is R_0.
        """
        if self.has_one_relation:
            return table.index_select(0, relations.int().argmax(-1))
        return relations.to(table.dtype) @ table


def draw_noise_rates(num_documents: int, config: DocREIIConfig, device: torch.device) -> torch.Tensor:
    """
    Draws the share of pairs of each document that get a wrong relation.

    Args:
        num_documents (`int`):
            Number of documents.
        config ([`DocREIIConfig`]):
            `relation_noise="uniform"` draws r ~ U(0, `max_noise_rate`) for all pairs of a document, as in the paper;
            `"by_label"` draws from U(0.05, 0.15) for its pairs without a relation and from U(0.2, 0.5) for those with
            one, as the released code does.
        device (`torch.device`):
            Device of the result.

    Returns:
        `torch.FloatTensor` of shape `(num_documents, 2)`: the rate of pairs without and with a relation.
    """
    if config.relation_noise == "uniform":
        return config.max_noise_rate * torch.rand(num_documents, 1, device=device).expand(-1, 2)
    low, high = torch.tensor(_RELEASED_RATES, device=device).unbind(-1)
    return low + (high - low) * torch.rand(num_documents, 2, device=device)


def corrupt_relations(
    relations: torch.Tensor,
    labels: torch.Tensor,
    document: torch.Tensor,
    rates: torch.Tensor,
    exposed: torch.Tensor | None = None,
) -> torch.Tensor:
    r"""
    Gives a share of the pairs a wrong relation.

    A pair is chosen with the probability of its kind, and gets one class drawn evenly from all that are wrong for it.
    Right are its relations or, where it has none, class 0. The relation of a pair can be taken away, but what is right
    is never drawn. Draws come from torch's global generator, which `set_seed` seeds and a checkpoint keeps.

    Args:
        relations (`torch.BoolTensor` of shape `(num_pairs, num_labels)`):
            Entries of the relation matrix, class 0 where there is no relation.
        labels (`torch.BoolTensor` of shape `(num_pairs, num_labels)`):
            Relations that hold.
        document (`torch.LongTensor` of shape `(num_pairs,)`):
            Document of each pair.
        rates (`torch.FloatTensor` of shape `(num_documents, 2)`):
            Share of the pairs without and with a relation to corrupt, from [`draw_noise_rates`].
        exposed (`torch.BoolTensor` of shape `(num_pairs,)`, *optional*):
            Pairs that may be corrupted. Defaults to all.

    Returns:
        `torch.BoolTensor` of shape `(num_pairs, num_labels)`; the input is not changed.
    """
    if not len(relations):
        return relations
    is_positive = labels[:, 1:].any(-1)
    wrong = ~labels.bool()
    wrong[:, 0] = is_positive
    drawn = torch.multinomial(wrong.float(), 1)[:, 0]
    is_noisy = torch.rand(len(relations), device=relations.device) < rates[document, is_positive.long()]
    if exposed is not None:
        is_noisy = is_noisy & exposed
    noise = nn.functional.one_hot(drawn, relations.shape[-1]).bool()
    return torch.where(is_noisy[:, None], noise, relations)
