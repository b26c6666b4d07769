import itertools
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from modeling_docre_ii import DocREIIModelOutput
from modeling_docre_ii.entity_pairs import EntityPairs
from modeling_docre_ii.inference_module import InferenceModule
from modeling_docre_ii.losses import adaptive_threshold_loss


FEATURE_SIZE, NUM_LABELS = 6, 4


# Plug and play: a base module that knows the types of two entities and nothing else. In a document, a pair of types
# A, B has relation 1 and one of types B, C relation 2; A, C has relation 3 only where there is a B to go through.

A, B, C, OTHER = range(4)


class TypeBase(nn.Module):
    """A base module of one embedding."""

    def __init__(self, feature_size):
        super().__init__()
        self.head = nn.Embedding(4, feature_size // 2)
        self.tail = nn.Embedding(4, feature_size // 2)
        self.classifier = nn.Linear(feature_size, NUM_LABELS)
        self.pair_logits = nn.Embedding(16, NUM_LABELS)
        nn.init.zeros_(self.pair_logits.weight)

    def forward(self, types):
        size = types.shape[1]
        heads, tails = types[:, :, None].expand(-1, -1, size), types[:, None].expand(-1, size, -1)
        features = torch.cat([self.head(heads), self.tail(tails)], -1)
        return DocREIIModelOutput(
            feature_matrix=features, base_logits=self.classifier(features) + self.pair_logits(4 * heads + tails)
        )


def type_corpus(num_documents, seed):
    """Types, candidate pairs and relations of documents of 3 or 4 entities; half of them have a B."""
    generator = torch.Generator().manual_seed(seed)
    types = torch.zeros(num_documents, 4, dtype=torch.long)
    pair_mask = torch.zeros(num_documents, 4, 4, dtype=torch.bool)
    labels = torch.zeros(num_documents, 4, 4, NUM_LABELS, dtype=torch.bool)
    for document in range(num_documents):
        entities = [A, C, B if document % 2 else OTHER] + [OTHER] * (document // 2 % 2)
        entities = [entities[i] for i in torch.randperm(len(entities), generator=generator)]
        types[document, : len(entities)] = torch.tensor(entities)
        pair_mask[document, : len(entities), : len(entities)] = ~torch.eye(len(entities), dtype=torch.bool)
        for (s, head), (o, tail) in itertools.permutations(enumerate(entities), 2):
            labels[document, s, o, 1] = (head, tail) == (A, B)
            labels[document, s, o, 2] = (head, tail) == (B, C)
            labels[document, s, o, 3] = (head, tail) == (A, C) and B in entities
    return SimpleNamespace(types=types, pair_mask=pair_mask, labels=labels[pair_mask])


@pytest.mark.parametrize("relation_embedding", ["argmax", "multi_label", "soft"])
def test_any_base_module_can_be_refined(docre_config, relation_embedding):
    torch.manual_seed(1)
    config = docre_config(
        inference_hidden_size=16,
        inference_intermediate_size=16,
        inference_dropout=0.0,
        num_iterations=2,
        relation_embedding=relation_embedding,
    )
    base = TypeBase(FEATURE_SIZE)
    module = InferenceModule(config, FEATURE_SIZE)
    train, test = type_corpus(8, seed=0), type_corpus(16, seed=1)

    def infer(corpus):
        output, pairs = base(corpus.types), EntityPairs.from_mask(corpus.pair_mask)
        base_logits = pairs.to_rows(output.base_logits)
        return base_logits, module(pairs.to_rows(output.feature_matrix), base_logits, pairs).logits

    optimizer = torch.optim.AdamW([*base.parameters(), *module.parameters()], lr=0.03)
    losses = []
    for _ in range(30):
        base_logits, logits = infer(train)
        loss = sum(adaptive_threshold_loss(predicted, train.labels).mean() for predicted in (base_logits, *logits))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    with torch.no_grad():
        base_logits, logits = infer(test)

    def right_pairs(logits, relation, pairs):
        return ((logits[:, relation] > logits[:, 0]) == test.labels[:, relation])[pairs].float().mean().item()

    heads, tails = test.types[:, :, None].expand(-1, 4, 4), test.types[:, None].expand(-1, 4, 4)
    from_a_to_c = ((heads == A) & (tails == C) & test.pair_mask)[test.pair_mask]
    everywhere = torch.ones_like(from_a_to_c)
    assert losses[-1] < losses[0] / 4
    # All pairs A, C are the same to the base module, and half of them have relation 3.
    assert [right_pairs(base_logits, relation, everywhere) for relation in (1, 2)] == [1.0, 1.0]
    assert right_pairs(base_logits, 3, from_a_to_c) == 0.5
    assert [right_pairs(logits[-1], relation, everywhere) for relation in (1, 2, 3)] == [1.0, 1.0, 1.0]
