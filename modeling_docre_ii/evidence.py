"""Evidence: the sentences that state a fact, from the model or by a rule."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from .configuration_docre_ii import DocREIIConfig
from .decoding import PredictedFact
from .pair_features import localized_context
from .quoting import quote


EVIDENCE_SOURCES = ("model", "rule", "none")

# A sentence with a larger share of the localized context of a pair joins the evidence that the rule finds.
EVIDENCE_THRESHOLD = 0.4


def sentence_shares(entity_attention: torch.Tensor, sentence_ids: torch.Tensor | None) -> torch.Tensor:
    r"""
    Sums the weights of equation 1 by sentence: where each pair looks.

        share_{s,o}(i) = sum_{l in sentence i} (A_s * A_o)_l / sum_{l in any sentence} (A_s * A_o)_l

    This is the localized context of a pair where the hidden state of a token says which sentence it is in. Special
    tokens, which can have most of the attention, are in no sentence.

    Args:
        entity_attention (`torch.FloatTensor` of shape `(batch_size, num_heads, num_entities, sequence_length)`):
            A, the attention of every entity to all tokens.
        sentence_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`):
            Sentence of each token, -1 for special tokens and padding.

    Returns:
        `torch.FloatTensor` of shape `(batch_size, num_entities, num_entities, num_sentences)` in float32. The shares
        of a pair sum up to 1. Pairs that attend to no common token have zeros.

    Raises:
        `ValueError`: there are no `sentence_ids`.
    """
    if sentence_ids is None:
        raise ValueError("evidence needs `sentence_ids`: pass all that the processor returns to the model")
    num_sentences = max(int(sentence_ids.max()) + 1, 1)
    indicator = nn.functional.one_hot(sentence_ids + 1, num_sentences + 1)[..., 1:]
    with torch.autocast(sentence_ids.device.type, enabled=False):
        shares = localized_context(indicator.float(), entity_attention.float())
    total = shares.sum(-1, keepdim=True)
    return shares / torch.where(total > 1e-30, total, 1.0)


def evidence_loss(
    shares: torch.Tensor, facts: torch.Tensor, evidence: torch.Tensor, num_facts: torch.Tensor | int | None = None
) -> torch.Tensor:
    r"""
    Computes the divergence of where pairs look from the annotated evidence.

    It is the mean over the annotated facts (s, r, o) of

        KL(q || share_{s,o}) = sum_{sentences i} q(i) log( q(i) / share_{s,o}(i) )

    where q is 1 / |evidence| for the sentences in the evidence of the fact, and 0 for the others. A pair with several
    annotated facts is drawn to the mean of their q. A fact without evidence was not annotated, and is left out.

    Args:
        shares (`torch.FloatTensor` of shape `(batch_size, num_entities, num_entities, num_sentences)`):
            From [`sentence_shares`].
        facts (`torch.LongTensor` of shape `(batch_size, num_facts, 3)`):
            Head, tail and relation of each fact, -100 for padding.
        evidence (`torch.LongTensor` of shape `(batch_size, num_facts, num_evidence)`):
            Sentences in the evidence of each fact, -100 for padding.
        num_facts (`int` or `torch.Tensor`, *optional*):
            Number of annotated facts to average over. Defaults to those of this batch.

    Returns:
        `torch.FloatTensor` of shape `()`, 0 without an annotated fact.

    Reference: Ma et al., DREEAM: Guiding Attention with Evidence for Improving Document-Level Relation Extraction,
    EACL 2023. There a pair with several facts has the union of their evidence.
    """
    document, fact = (evidence >= 0).any(-1).nonzero(as_tuple=True)
    head, tail, _ = facts[document, fact].unbind(-1)
    shares, sentences = shares[document, head, tail].float(), evidence[document, fact]
    # The last column takes the padding, and sentences without a token.
    num_sentences = shares.shape[-1]
    columns = torch.where((sentences >= 0) & (sentences < num_sentences), sentences, num_sentences)
    is_evidence = shares.new_zeros(len(shares), num_sentences + 1).scatter_(1, columns, 1.0)[:, :-1]
    target = is_evidence / is_evidence.sum(-1, keepdim=True).clamp(min=1.0)
    divergence = torch.special.xlogy(target, target) - target * shares.clamp(min=1e-30).log()
    return divergence.sum() / max(len(shares) if num_facts is None else num_facts, 1)


def read_evidence(shares: torch.Tensor, threshold: float) -> torch.Tensor:
    """
    Reads the sentences above a threshold.

    [`with_model_evidence`] joins them with those of the rule.

    Args:
        shares (`torch.FloatTensor` of shape `(num_facts, num_sentences)`):
            Share of each sentence in the context of the fact's pair, from [`sentence_shares`].
        threshold (`float`):
            Share above which a sentence is evidence.

    Returns:
        `torch.LongTensor` of shape `(num_facts, most_evidence)`: indices of sentences, the largest share first, -1 for
        padding. Fewer than 1 / `threshold` sentences can be above the threshold, so `most_evidence`, which is at least
        1, depends on nothing else.
    """
    most_evidence = max(math.ceil(1 / threshold) - 1, 1)
    shares = nn.functional.pad(shares, (0, max(most_evidence - shares.shape[-1], 0)))
    # Of equal shares the first sentence, also if a pair has no share at all.
    largest, sentences = (values[:, :most_evidence] for values in shares.sort(dim=-1, descending=True, stable=True))
    return torch.where(largest > threshold, sentences, -1)


def with_model_evidence(
    facts: Sequence[PredictedFact], document: Mapping[str, Any], shares: torch.Tensor, threshold: float
) -> list[PredictedFact]:
    """
    Adds evidence from the model to the facts of a document.

    It is the evidence of the rule ([`with_rule_evidence`]), and every other sentence whose share is above a threshold.

    Args:
        facts (`list[PredictedFact]`):
            The facts.
        document (`dict`):
            Their document in DocRED's form.
        shares (`torch.FloatTensor` of shape `(num_entities, num_entities, num_sentences)`):
            Those of the document, from [`sentence_shares`].
        threshold (`float`):
            As for [`read_evidence`].
    """
    if not facts:
        return []
    heads, tails = ([fact[side] for fact in facts] for side in (0, 1))
    found = read_evidence(shares[heads, tails], threshold).tolist()
    return join_rule_evidence(
        [
            fact._replace(evidence=tuple(sentence for sentence in sentences if sentence >= 0))
            for fact, sentences in zip(facts, found)
        ],
        document,
    )


def with_rule_evidence(facts: Iterable[PredictedFact], document: Mapping[str, Any]) -> list[PredictedFact]:
    """
    Adds evidence to the facts of a document by a rule, without a model.

    It is the sentences in which both entities have a mention. If there is none, it is the first sentence of each that
    mentions it.

    Args:
        facts (`Iterable[PredictedFact]`):
            The facts.
        document (`dict`):
            Their document in DocRED's form.
    """
    sentences = [{mention["sent_id"] for mention in mentions} for mentions in document["vertexSet"]]

    def rule(head: set[int], tail: set[int]) -> tuple[int, ...]:
        return tuple(sorted(head & tail or {min(head), min(tail)}))

    return [fact._replace(evidence=rule(sentences[fact.head], sentences[fact.tail])) for fact in facts]


def join_rule_evidence(facts: Sequence[PredictedFact], document: Mapping[str, Any]) -> list[PredictedFact]:
    """
    Adds the evidence of the rule to the evidence that facts have.

    Args:
        facts (`list[PredictedFact]`):
            The facts, with sentences that a model has found.
        document (`dict`):
            Their document in DocRED's form.
    """
    return [
        fact._replace(evidence=tuple(sorted({*fact.evidence, *by_rule.evidence})))
        for fact, by_rule in zip(facts, with_rule_evidence(facts, document))
    ]


def add_evidence(
    facts: Sequence[Sequence[PredictedFact]],
    documents: Sequence[Mapping[str, Any]],
    source: str,
    shares: torch.Tensor | Sequence[torch.Tensor] | None = None,
    threshold: float = EVIDENCE_THRESHOLD,
) -> list[list[PredictedFact]]:
    """
    Adds evidence to the facts of each document.

    Args:
        facts (`list[list[PredictedFact]]`):
            The facts of each document.
        documents (`list[dict]`):
            The documents.
        source (`str`):
            Where the evidence comes from: `"model"`, `"rule"` or `"none"`.
        shares (`torch.FloatTensor` of shape `(batch_size, num_entities, num_entities, num_sentences)`, *optional*):
            From [`sentence_shares`], for the model. Or a list of those of each document.
        threshold (`float`, *optional*, defaults to 0.4):
            As for [`read_evidence`].

    Raises:
        `ValueError`: there is no such source, or no `shares` for the model.
    """
    if source not in EVIDENCE_SOURCES:
        raise ValueError(f"`evidence` must be one of {EVIDENCE_SOURCES}, got {quote(source)}")
    if source == "none":
        return [[fact._replace(evidence=()) for fact in rows] for rows in facts]
    if source == "rule":
        return [with_rule_evidence(rows, document) for rows, document in zip(facts, documents)]
    if shares is None:
        raise ValueError("the output has no `sentence_shares`: call the model with `output_evidence=True`")
    return [
        with_model_evidence(rows, document, share, threshold)
        for rows, document, share in zip(facts, documents, shares)
    ]


def should_output_evidence(asked: bool | None, sentence_ids: torch.Tensor | None, config: DocREIIConfig) -> bool:
    """
    Returns whether a model that is not in training returns `sentence_shares`.

    Args:
        asked (`bool`, *optional*):
            Its argument `output_evidence`. By default it returns them if it was trained to find evidence.
        sentence_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`, *optional*):
            Its input, which they need.
        config ([`DocREIIConfig`]):
            Its configuration.
    """
    return config.evidence_loss_weight > 0 and sentence_ids is not None if asked is None else asked


def evidence_source(evidence: str | None, config: DocREIIConfig) -> str:
    """
    Returns where the evidence of predicted triples comes from.

    Args:
        evidence (`str`, *optional*):
            What the user asked for: `"model"`, `"rule"` or `"none"`. Defaults to the model if it was trained to find
            evidence (`evidence_loss_weight` above 0), and to the rule otherwise.
        config ([`DocREIIConfig`]):
            Configuration of the model.

    Raises:
        `ValueError`: there is no such source, or the model was not trained to find evidence.
    """
    is_trained = config.evidence_loss_weight > 0
    if evidence is None:
        return "model" if is_trained else "rule"
    if evidence not in EVIDENCE_SOURCES:
        raise ValueError(f"`evidence` must be one of {EVIDENCE_SOURCES}, got {quote(evidence)}")
    if evidence == "model" and not is_trained:
        raise ValueError(
            "the model was not trained to find evidence (`evidence_loss_weight` is 0): use `evidence='rule'`, or "
            "train it with an `evidence_loss_weight` such as 0.1"
        )
    return evidence
