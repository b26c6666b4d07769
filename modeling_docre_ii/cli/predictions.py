"""Writes and prints predicted triples."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..explanation import describe_explanation
from ..modeling_docre_ii import DocREIIForRelationExtraction
from ..pipeline_docre_ii import DocumentRelationExtractionPipeline
from ..processing_docre_ii import DocREIIProcessor
from ..training.trainer import DocREIITrainer
from ..utils.atomic_write import atomic_write
from ..utils.wording import counted


def write_predictions(path: Path, predictions: Sequence[Mapping[str, Any]]) -> None:
    """
    Writes predictions as JSON.

    Args:
        path (`Path`):
            The file.
        predictions (`list[dict]`):
            `title` and `triples` of each document, the triples as [`~DocREIIProcessor.name_facts`] makes them.
    """
    with atomic_write(path) as partial:
        partial.write_text(json.dumps(predictions, ensure_ascii=False, indent=1), encoding="utf-8")


def print_triples(predictions: Sequence[Mapping[str, Any]], num_documents: int, num_triples: int) -> None:
    """
    Prints the first triples of the first documents.

    Args:
        predictions (`list[dict]`):
            As for [`write_predictions`].
        num_documents, num_triples (`int`):
            How many documents, and how many triples of each.
    """
    for prediction in predictions[:num_documents]:
        print(f"\n{prediction['title']}: {counted(len(prediction['triples']), 'triple')} predicted")
        for triple in prediction["triples"][:num_triples]:
            head, tail = triple["head"]["name"], triple["tail"]["name"]
            print(f"  {triple['score']:.2f}  {head}  --{triple['relation_name']}-->  {tail}")


def print_explanation(
    trainer: DocREIITrainer, processor: DocREIIProcessor, documents: Sequence[Mapping[str, Any]]
) -> None:
    """
    Prints why the model predicted one of the triples in some documents.

    It is a triple that took the most iterations. Nothing is printed if the model has no inference module with Extended
    Cross Attention, or if no triple is supported by others.

    Args:
        trainer ([`DocREIITrainer`]):
            The Trainer, which has the model.
        processor ([`DocREIIProcessor`]):
            The processor.
        documents (`list[dict]`):
            The documents.
    """
    model: DocREIIForRelationExtraction = trainer.accelerator.unwrap_model(trainer.model).eval()
    if not model.config.num_iterations or model.config.cross_attention != "extended":
        return
    extractor = DocumentRelationExtractionPipeline(model=model, processor=processor, device=model.device)
    with trainer.compute_loss_context_manager():
        explained = extractor(list(documents), explain=True)
    supported = [triple for triples in explained for triple in triples if triple["support"]]
    if supported:
        print(f"\nWhy, for one of them:\n{describe_explanation(max(supported, key=lambda t: t['iteration']))}")
