"""Evidence: shares of sentences, their loss, what is read from them, and the rule, against loops and by hand."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_docre_ii import PredictedFact
from modeling_docre_ii.document_encoding import pool_attention
from modeling_docre_ii.evidence import (
    add_evidence,
    evidence_loss,
    evidence_source,
    read_evidence,
    sentence_shares,
    with_model_evidence,
    with_rule_evidence,
)


# Sentence 1 of the first document has no token, and the second document is shorter.
SENTENCE_IDS = torch.tensor([[-1, 0, 0, 0, 2, 2, 3, -1], [-1, 0, 0, 1, 1, -1, -1, -1]])
FACTS = torch.tensor([[[0, 1, 2], [0, 1, 3], [2, 0, 1]], [[1, 0, 1], [0, 1, 1], [-100] * 3]])
# The third fact of the first document and the second one of the second document are not annotated.
EVIDENCE = torch.tensor([[[0, 3], [2, -100], [-100, -100]], [[1, 1], [-100, -100], [-100, -100]]])
ANNOTATED = [(0, 0, 1, {0, 3}), (0, 0, 1, {2}), (1, 1, 0, {1})]


@pytest.fixture
def attention():
    """Attention of two heads and three entities; that of the second document ends before its padding."""
    values = torch.rand(2, 2, 3, 8, generator=torch.Generator().manual_seed(0))
    values[1, ..., 5:] = 0.0
    return values / values.sum(-1, keepdim=True)


def share(attention, ids, head, tail, sentence):
    """The share of one sentence, from equation 1, among the tokens of all sentences."""
    heads, _, length = attention.shape
    weights = [sum(float(attention[i, head, k] * attention[i, tail, k]) for i in range(heads)) for k in range(length)]
    in_sentence, in_any = ([owner == sentence for owner in ids.tolist()], [owner >= 0 for owner in ids.tolist()])
    return sum(w for w, counts in zip(weights, in_sentence) if counts) / sum(
        w for w, counts in zip(weights, in_any) if counts
    )


def test_shares_are_those_of_a_loop(attention):
    shares = sentence_shares(attention, SENTENCE_IDS)

    assert shares.shape == (2, 3, 3, 4) and shares.dtype == torch.float32
    for document in range(2):
        for head, tail, sentence in torch.cartesian_prod(*map(torch.arange, (3, 3, 4))).tolist():
            expected = share(attention[document], SENTENCE_IDS[document], head, tail, sentence)
            assert float(shares[document, head, tail, sentence]) == pytest.approx(expected, abs=1e-6)
    assert not shares[0, :, :, 1].any(), "a sentence without a token has no share"


def test_shares_do_not_depend_on_the_batch(attention):
    alone = sentence_shares(attention[1:, ..., :6], SENTENCE_IDS[1:, :6])

    torch.testing.assert_close(sentence_shares(attention, SENTENCE_IDS)[1:, ..., :2], alone)


def test_shares_need_to_know_the_sentences(attention):
    with pytest.raises(ValueError, match="evidence needs `sentence_ids`"):
        sentence_shares(attention, None)


def loop_loss(shares):
    total = 0.0
    for document, head, tail, sentences in ANNOTATED:
        for sentence in sentences:
            q = 1 / len(sentences)
            total += q * math.log(q / float(shares[document, head, tail, sentence]))
    return total


def test_loss_is_that_of_a_loop_over_annotated_facts(attention):
    shares = sentence_shares(attention, SENTENCE_IDS)

    assert float(evidence_loss(shares, FACTS, EVIDENCE)) == pytest.approx(loop_loss(shares) / 3, rel=1e-5)
    assert float(evidence_loss(shares, FACTS, EVIDENCE, num_facts=7)) == pytest.approx(loop_loss(shares) / 7, rel=1e-5)
    of_first = evidence_loss(shares[:1], FACTS[:1], EVIDENCE[:1], num_facts=3)
    of_second = evidence_loss(shares[1:], FACTS[1:], EVIDENCE[1:], num_facts=3)
    torch.testing.assert_close(of_first + of_second, evidence_loss(shares, FACTS, EVIDENCE))


def test_loss_is_zero_where_the_pair_looks_at_its_evidence_alone():
    shares = torch.zeros(1, 2, 2, 3)
    shares[0, 0, 1] = torch.tensor([0.5, 0.0, 0.5])
    facts, evidence = torch.tensor([[[0, 1, 1]]]), torch.tensor([[[2, 0]]])

    assert float(evidence_loss(shares, facts, evidence)) == pytest.approx(0.0, abs=1e-6)
    assert float(evidence_loss(shares, facts, torch.tensor([[[0, -100]]]))) == pytest.approx(math.log(2), rel=1e-5)


def test_batch_without_annotated_facts_has_no_loss(attention):
    attention.requires_grad_()
    loss = evidence_loss(sentence_shares(attention, SENTENCE_IDS), FACTS, torch.full((2, 3, 1), -100))
    loss.backward()

    assert loss.item() == 0.0 and not attention.grad.any()


def test_evidence_of_a_sentence_without_tokens_is_left_out():
    """The last sentence of a document may be empty, and then no token has its number."""
    shares = torch.full((1, 2, 2, 2), 0.5)

    assert float(evidence_loss(shares, torch.tensor([[[0, 1, 1]]]), torch.tensor([[[0, 5]]]))) == pytest.approx(
        math.log(2), rel=1e-5
    )


def test_gradient_draws_attention_to_the_evidence(attention):
    attention.requires_grad_()
    evidence_loss(sentence_shares(attention, SENTENCE_IDS), FACTS[1:].expand(2, -1, -1), EVIDENCE[[1, 1]]).backward()

    # The evidence of (1, 0) is sentence 1: more attention to its tokens lowers the loss, to others raises it.
    assert (attention.grad[1, :, :2, 3:5] < 0).all() and (attention.grad[1, :, :2, 1:3] > 0).all()
    assert (attention.grad[1, :, :2, 0].abs() < 1e-6).all(), "a special token is in no sentence"
    assert not attention.grad[1, :, 2].any(), "the entity of no fact"


# Read-out


def mentions_in(*sentences):
    return [{"name": "x", "sent_id": sentence, "pos": [0, 1], "type": "ORG"} for sentence in sentences]


@pytest.mark.parametrize(
    ("shares", "threshold", "expected"),
    [
        ([0.5, 0.3, 0.1], 0.2, [0, 1, -1, -1]),
        ([0.3, 0.1, 0.6], 0.2, [2, 0, -1, -1]),
        ([0.1, 0.15, 0.05], 0.2, [-1, -1, -1, -1]),
        ([0.2, 0.1, 0.1], 0.2, [-1, -1, -1, -1]),
        ([0.6, 0.4], 0.5, [0]),
        ([0.4, 0.6], 0.9, [-1]),
        ([1.0], 0.3, [0, -1, -1]),
    ],
)
def test_sentences_above_the_threshold(shares, threshold, expected):
    assert read_evidence(torch.tensor([shares]), threshold).tolist() == [expected]


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(0.0, 1.0, width=32), min_size=1, max_size=12).filter(lambda values: sum(values) > 0.1),
    st.floats(0.05, 0.95),
)
def test_sentences_above_the_threshold_are_all_read(weights, threshold):
    shares = torch.tensor(weights, dtype=torch.float64)
    shares = shares / shares.sum()
    found = {sentence for sentence in read_evidence(shares[None], threshold)[0].tolist() if sentence >= 0}

    assert found == {i for i, value in enumerate(shares.tolist()) if value > threshold}


def test_evidence_of_a_model_joins_that_of_the_rule():
    document = {"vertexSet": [mentions_in(3, 1), mentions_in(2, 1), mentions_in(4)]}
    shares = torch.zeros(3, 3, 5)
    shares[0, 1] = torch.tensor([0.3, 0.1, 0.0, 0.0, 0.6])
    shares[0, 2] = torch.tensor([0.1, 0.9, 0.0, 0.0, 0.0])
    facts = [PredictedFact(0, 1, "P1", 0.9, (3,)), PredictedFact(0, 2, "P1", 0.8), PredictedFact(2, 1, "P2", 0.8)]

    # By the rule: 1, where both are; 1 and 4; 4 and 1. What the facts had before is forgotten.
    found = with_model_evidence(facts, document, shares, 0.2)
    assert [fact.evidence for fact in found] == [(0, 1, 4), (1, 4), (1, 4)]
    assert [fact[:4] for fact in found] == [fact[:4] for fact in facts]
    assert with_model_evidence([], document, shares, 0.2) == []


# The rule


def test_rule_by_hand():
    document = {"vertexSet": [mentions_in(3, 0), mentions_in(3, 1, 0), mentions_in(4, 2)]}
    facts = [PredictedFact(0, 1, "P1"), PredictedFact(0, 2, "P1"), PredictedFact(2, 1, "P2", 0.7)]

    # Both in sentences 0 and 3; none in common, so the first that mentions each, which is not the first listed.
    assert with_rule_evidence(facts, document) == [
        PredictedFact(0, 1, "P1", 1.0, (0, 3)),
        PredictedFact(0, 2, "P1", 1.0, (0, 2)),
        PredictedFact(2, 1, "P2", 0.7, (0, 2)),
    ]


def test_sources(attention):
    documents = [{"vertexSet": [mentions_in(1), mentions_in(1), mentions_in(0)]}] * 2
    facts = [[PredictedFact(0, 1, "P1", 0.9, (5,))], [PredictedFact(1, 0, "P1")]]
    shares = sentence_shares(attention, SENTENCE_IDS)

    assert [[fact.evidence for fact in rows] for rows in add_evidence(facts, documents, "rule")] == [[(1,)], [(1,)]]
    assert [[fact.evidence for fact in rows] for rows in add_evidence(facts, documents, "none")] == [[()], [()]]
    assert add_evidence(facts, documents, "model", shares, 0.15) == [
        with_model_evidence(rows, document, of_document, 0.15)
        for rows, document, of_document in zip(facts, documents, shares)
    ]
    with pytest.raises(ValueError, match="the output has no `sentence_shares`"):
        add_evidence(facts, documents, "model")
    with pytest.raises(ValueError, match=r"`evidence` must be one of .*, got 'rules'"):
        add_evidence(facts, documents, "rules")


def test_source_by_default_is_what_the_model_was_trained_for(docre_config):
    trained, untrained = docre_config(evidence_loss_weight=0.1), docre_config()

    assert (evidence_source(None, trained), evidence_source(None, untrained)) == ("model", "rule")
    assert [evidence_source(source, trained) for source in ("model", "rule", "none")] == ["model", "rule", "none"]
    with pytest.raises(ValueError, match="was not trained to find evidence .* use `evidence='rule'`"):
        evidence_source("model", untrained)


# The model


@pytest.fixture
def annotated_batch(tiny_batch):
    sentence_ids = torch.arange(24).div(5, rounding_mode="floor").repeat(2, 1)
    sentence_ids[:, 0] = sentence_ids[0, 23] = -1
    sentence_ids = sentence_ids.masked_fill(tiny_batch["attention_mask"] == 0, -1)
    return tiny_batch | {"sentence_ids": sentence_ids, "evidence": EVIDENCE}


def test_model_returns_the_shares_of_its_own_attention(tiny_model, annotated_batch, naive):
    model = tiny_model(evidence_loss_weight=0.1)
    output = model(**annotated_batch)
    encoder = model.base_model.encoder
    encoder.set_attn_implementation("eager")
    inputs = (annotated_batch["input_ids"], annotated_batch["attention_mask"])
    full = encoder(*inputs, output_attentions=True).attentions[-1]
    positions = annotated_batch["mention_positions"].clamp(min=0)
    rows = torch.stack([full[i, :, positions[i]] for i in range(2)])
    expected = sentence_shares(
        pool_attention(rows, annotated_batch["mention_entities"], 3), annotated_batch["sentence_ids"]
    )

    torch.testing.assert_close(output.sentence_shares, expected, rtol=1e-4, atol=1e-5)


def test_shares_are_returned_when_asked_for_or_learned(tiny_model, annotated_batch):
    untrained, trained = tiny_model(), tiny_model(evidence_loss_weight=0.1)
    without_sentences = {name: value for name, value in annotated_batch.items() if name != "sentence_ids"}

    assert untrained(**annotated_batch).sentence_shares is None
    assert trained(**without_sentences).sentence_shares is None
    assert trained(**annotated_batch, output_evidence=False).sentence_shares is None
    asked = untrained(**annotated_batch, output_evidence=True).sentence_shares
    torch.testing.assert_close(asked, trained(**annotated_batch).sentence_shares)
    assert trained.train()(**annotated_batch).sentence_shares is None
    with pytest.raises(ValueError, match="evidence needs `sentence_ids`"):
        untrained(**without_sentences, output_evidence=True)


@pytest.mark.parametrize("num_iterations", [0, 2])
def test_evidence_loss_is_added_in_training(deterministic_model, annotated_batch, num_iterations):
    def train(weight):
        model = deterministic_model(num_iterations=num_iterations, evidence_loss_weight=weight).train()
        torch.manual_seed(1)
        return model(**annotated_batch, output_evidence=True)

    plain, with_loss = train(0.0), train(0.25)
    expected = evidence_loss(plain.sentence_shares, annotated_batch["labels"], EVIDENCE)
    assert plain.evidence_loss is None
    torch.testing.assert_close(with_loss.evidence_loss, expected)
    torch.testing.assert_close(with_loss.loss, plain.loss + 0.25 * expected)
    torch.testing.assert_close(with_loss.base_loss, plain.base_loss)


def test_evaluation_has_no_evidence_loss(tiny_model, annotated_batch):
    assert tiny_model(evidence_loss_weight=0.1)(**annotated_batch).evidence_loss is None


def test_training_without_evidence_is_refused(tiny_model, tiny_batch):
    with pytest.raises(ValueError, match="training with an `evidence_loss_weight` needs `evidence`"):
        tiny_model(evidence_loss_weight=0.1).train()(**tiny_batch)


def test_training_draws_the_context_to_the_evidence(deterministic_model, annotated_batch):
    model = deterministic_model(evidence_loss_weight=1.0).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    losses = []
    for _ in range(30):
        output = model(**annotated_batch)
        losses.append(output.evidence_loss.item())
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()

    assert losses[-1] < 0.5 * losses[0]


def test_long_documents_have_shares_of_all_their_sentences(tiny_model, annotated_batch):
    """Three windows, and still a distribution over all sentences."""
    model = tiny_model(window_size=12, window_overlap=4, evidence_loss_weight=0.1)
    shares = model(**annotated_batch).sentence_shares
    assert shares.shape == (2, 3, 3, 5)

    has_tokens = torch.zeros(2, 3, 3, dtype=torch.bool)
    has_tokens[0], has_tokens[1, :2, :2] = True, True
    totals = shares.sum(-1)[has_tokens]
    # A pair without a common token has no context.
    assert (((totals - 1).abs() < 1e-5) | (totals == 0)).all() and (totals > 0).any()
