"""The relation matrix R (section 2.2), and its noise in training (section 2.3)."""

import torch
from torch import nn

from .configuration_docre_ii import DocREIIConfig
from .entity_pairs import EntityPairs


# The authors' released code embeds at most this many relations of a pair.
_MAX_EMBEDDED_RELATIONS = 4
# Weights of relations that differ by less are the same, for a fixed point.
_WEIGHT_TOLERANCE = 1e-3
_SURE_LOGIT = 1e4
# Shares of the pairs without and with a relation that the authors' released code corrupts.
_RELEASED_RATES = ((0.05, 0.15), (0.2, 0.5))


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


def changed_documents(
    previous: torch.Tensor | None, relations: torch.Tensor, pairs: EntityPairs
) -> tuple[torch.Tensor | slice, torch.Tensor | slice]:
    """
    Finds the documents whose relation matrix has changed in an iteration.

    Args:
        previous, relations (`torch.Tensor` of shape `(num_pairs, num_labels)`):
            Entries of the matrix before, `None` in the first iteration, and now.
        pairs ([`EntityPairs`]):
            Index of the pairs.

    Returns:
        `tuple`: masks of the documents, of shape `(batch_size,)`, and of their pairs, `(num_pairs,)`; or two slices
        of everything if all have changed. In a compiled or exported graph, which cannot depend on values, they are
        always slices.
    """
    everything = slice(None), slice(None)
    if previous is None or torch.compiler.is_compiling():
        return everything
    changed = torch.zeros(pairs.num_documents, dtype=torch.bool, device=relations.device)
    changed[pairs.document[have_changed(relations, previous)]] = True
    return everything if changed.all() else (changed, changed[pairs.document])


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

    A pair is chosen with the rate of its kind, and gets one class, drawn evenly from all that are wrong for it. Its
    relations are right for it, or class 0 if it has none. Of the weights of `relation_embedding="soft"`, only a share
    moves to that class, drawn from U(0, 1): such a matrix is seldom sure. Draws come from torch's global generator,
    which `set_seed` seeds and a checkpoint keeps.

    Args:
        relations (`torch.Tensor` of shape `(num_pairs, num_labels)`):
            Entries of the relation matrix from [`read_relations`], class 0 for no relation.
        labels (`torch.BoolTensor` of shape `(num_pairs, num_labels)`):
            Relations that hold.
        document (`torch.LongTensor` of shape `(num_pairs,)`):
            Document of each pair.
        rates (`torch.FloatTensor` of shape `(num_documents, 2)`):
            Share of the pairs without and with a relation to corrupt, from [`draw_noise_rates`].
        exposed (`torch.BoolTensor` of shape `(num_pairs,)`, *optional*):
            Pairs that may be corrupted. Defaults to all.

    Returns:
        `torch.Tensor` of shape `(num_pairs, num_labels)` and the type of `relations`. The input does not change.
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
    noise = nn.functional.one_hot(drawn, relations.shape[-1]).to(relations.dtype)
    if relations.is_floating_point():
        noise = relations.lerp(noise, torch.rand_like(relations[:, :1]))
    return torch.where(is_noisy[:, None], noise, relations)
