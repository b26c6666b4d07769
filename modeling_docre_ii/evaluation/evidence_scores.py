"""Evidence of given relations: the rule and a model on the same facts."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from transformers import PreTrainedModel

from ..data_collator import DataCollatorForRelationExtraction
from ..decoding import PredictedFact
from ..evidence import add_evidence
from ..processing_docre_ii import DocREIIProcessor
from .matching import gold_facts
from .scores import score_facts
from .submission import to_submission


class EvidenceOfModel(NamedTuple):
    """
    What a model says of some documents.

    Args:
        shares (`list[torch.FloatTensor]`):
            `sentence_shares` of each document, of shape `(num_entities, num_entities, num_sentences)`.
        predicted (`list[list[PredictedFact]]`):
            The facts that it predicts in each document, without evidence.
    """

    shares: list[torch.Tensor]
    predicted: list[list[PredictedFact]]


def annotated_facts(document: Mapping[str, Any]) -> list[PredictedFact]:
    """
    Returns the gold facts of a document that have annotated evidence.

    Args:
        document (`dict`):
            A document in DocRED's form, with labels.
    """
    return [
        PredictedFact(*fact)
        for fact, labels in gold_facts(document).items()
        if any(label.get("evidence") for label in labels)
    ]


def score_evidence(
    facts: Sequence[Sequence[PredictedFact]], documents: Sequence[Mapping[str, Any]]
) -> dict[str, float]:
    """
    Scores the evidence of correct facts that have gold evidence.

    Args:
        facts (`list[list[PredictedFact]]`):
            Facts with evidence of each document.
        documents (`list[dict]`):
            The gold documents, with different titles.

    Returns:
        `dict[str, float]`: `f1`, `precision` and `recall` in percent, `correct_evidence_f1` and so on of
        [`score_facts`]. Empty without such a fact.
    """
    scores, prefix = score_facts(to_submission(facts, documents), documents), "correct_evidence_"
    return {name.removeprefix(prefix): score for name, score in scores.items() if name.startswith(prefix)}


def read_model(
    model: PreTrainedModel, processor: DocREIIProcessor, documents: Sequence[Mapping[str, Any]], batch_size: int = 8
) -> EvidenceOfModel:
    """
    Runs a model on documents.

    Args:
        model ([`DocREIIForRelationExtraction`]):
            The model, on the device to run on.
        processor ([`DocREIIProcessor`]):
            Its processor.
        documents (`list[dict]`):
            The documents in DocRED's form.
        batch_size (`int`, *optional*, defaults to 8):
            Number of documents that go through the model at once.

    Returns:
        [`EvidenceOfModel`]
    """
    collate = DataCollatorForRelationExtraction(processor.tokenizer)
    shares, predicted = [], []
    model.eval()
    for batch in _batches(documents, batch_size):
        features = processor(batch)
        inputs = collate([dict(zip(features, values)) for values in zip(*features.values())])
        with torch.no_grad():
            outputs = model(**{name: values.to(model.device) for name, values in inputs.items()}, output_evidence=True)
        for document, of_document in zip(batch, outputs.sentence_shares.cpu()):
            size = len(document["vertexSet"])
            shares.append(of_document[:size, :size, : len(document["sents"])].clone())
        for triples in processor.post_process_relation_extraction(outputs, batch, evidence="none"):
            predicted.append([_fact_of(triple) for triple in triples])
    return EvidenceOfModel(shares, predicted)


def best_evidence_threshold(
    facts: Sequence[Sequence[PredictedFact]],
    documents: Sequence[Mapping[str, Any]],
    shares: Sequence[torch.Tensor],
    candidates: Iterable[float],
) -> float:
    """
    Returns the threshold of shares with the best F1 of evidence.

    Args:
        facts, documents:
            As for [`score_evidence`]. The evidence of the facts is not read.
        shares (`list[torch.FloatTensor]`):
            From [`read_model`].
        candidates (`Iterable[float]`):
            The thresholds to try. Of several that are equally good, the first is returned.
    """

    def f1(threshold: float) -> float:
        found = add_evidence(facts, documents, "model", shares, threshold)
        return score_evidence(found, documents).get("f1", 0.0)

    return max(candidates, key=f1)


def _fact_of(triple: Mapping[str, Any]) -> PredictedFact:
    return PredictedFact(triple["head"]["entity"], triple["tail"]["entity"], triple["relation"], triple["score"])


def _batches(documents: Sequence[Mapping[str, Any]], size: int) -> Iterator[Sequence[Mapping[str, Any]]]:
    return (documents[start : start + size] for start in range(0, len(documents), size))


__all__ = ["EvidenceOfModel", "annotated_facts", "best_evidence_threshold", "read_model", "score_evidence"]
