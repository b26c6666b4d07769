"""Describes a run for the model card."""

from pathlib import Path
from typing import Any

from dataset_scripts.known_corpora import KNOWN_CORPORA

from ..hub.hub_names import is_hub_id
from ..hub.training_record import CorpusDescription
from .arguments import Arguments, DataArguments


def describe_corpus(data_args: DataArguments) -> CorpusDescription:
    """
    Describes the corpus for the model card.

    Args:
        data_args ([`DataArguments`]):
            Which documents.

    Returns:
        [`CorpusDescription`]: of a published corpus all that is known, of other documents the name.
    """
    if not (data_args.files or data_args.data_dir):
        name = data_args.dataset_name
        return CorpusDescription(Path(name).name, hub_id=name if is_hub_id(name) else None)
    if data_args.relations_file is not None:
        return CorpusDescription("Own documents")
    known = KNOWN_CORPORA[data_args.dataset_name]
    return CorpusDescription(known.name, known.hub_id, known.texts, known.caution, known.language)


def card_kwargs(arguments: Arguments) -> dict[str, Any]:
    """
    Returns the arguments of [`DocREIITrainer.create_model_card`] that the command line knows. The corpus itself is
    described by [`describe_corpus`].

    Args:
        arguments ([`Arguments`]):
            All arguments of the run.

    Returns:
        `dict[str, Any]`: `language`, `license`, `finetuned_from`, `dataset_tags` and `dataset_args`, `None` where
        unknown.
    """
    data, card, model = arguments.data, arguments.card, arguments.model.model_name_or_path
    is_from_hub = describe_corpus(data).hub_id == data.dataset_name
    return {
        "language": card.hub_language,
        "license": card.hub_license,
        "finetuned_from": card.hub_base_model or (model if is_hub_id(model) else None),
        "dataset_tags": card.hub_dataset,
        "dataset_args": data.dataset_config_name if is_from_hub else None,
    }
