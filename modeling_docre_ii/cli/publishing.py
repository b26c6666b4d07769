"""Prepares a push to the Hub, and describes a run for the model card."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from huggingface_hub import create_repo, upload_file

from dataset_scripts.known_corpora import KNOWN_CORPORA

from ..hub.hub_names import is_hub_id
from ..hub.training_record import CorpusDescription
from ..training.arguments import DocREIITrainingArguments
from .arguments import Arguments, DataArguments


_MODEL = {"model_name_or_path"}
_CORPUS = {"dataset_name", "dataset_config_name", "data_dir", "train_file", "relations_file"}
# Each statement of the model card, and the arguments that it describes.
_DESCRIBED = {"hub_base_model": _MODEL, "hub_license": _MODEL, "hub_dataset": _CORPUS, "hub_language": _CORPUS}


def without_stale_statements(values: dict[str, Any], overridden: Collection[str]) -> dict[str, Any]:
    """
    Drops statements about a model or corpus that the command line replaces.

    Args:
        values (`dict[str, Any]`):
            The arguments in the configuration file.
        overridden (`Collection[str]`):
            Names of the arguments that have another value on the command line.

    Returns:
        `dict[str, Any]`: `values` without `hub_base_model` and `hub_license` for another model, without `hub_dataset`
        and `hub_language` for another corpus, and without the name of a published corpus in another form than
        DocRED's if the command line gives the relations of the user's own.
    """
    kept = {name: value for name, value in values.items() if _DESCRIBED.get(name, set()).isdisjoint(overridden)}
    corpus = KNOWN_CORPORA.get(kept.get("dataset_name", ""))
    if "relations_file" in overridden and corpus is not None and not corpus.is_in_docred_form:
        del kept["dataset_name"]
        kept.pop("dataset_config_name", None)
    return kept


def reserve_repository(args: DocREIITrainingArguments) -> None:
    """
    Creates the repository that a run pushes to, and writes its `.gitignore`.

    A missing token, right or connection is found before the training, not after it.

    Args:
        args ([`DocREIITrainingArguments`]):
            The training arguments, with the name of the repository and the token.

    Raises:
        `ValueError`: the repository cannot be created or written.
    """
    folder = Path(args.output_dir).absolute()
    name = args.hub_model_id or folder.name
    try:
        repository = create_repo(name, token=args.hub_token, private=args.hub_private_repo, exist_ok=True)
        # With a repository of someone else, only a commit shows that this user may write.
        upload_file(
            path_or_fileobj=folder / ".gitignore",
            path_in_repo=".gitignore",
            repo_id=repository.repo_id,
            token=args.hub_token,
            revision=args.hub_revision,
            commit_message="Start of a training",
        )
    # Connection errors of the HTTP client have no class that all versions of huggingface_hub share.
    except Exception as error:
        raise ValueError(
            f"`push_to_hub`: cannot write to the repository {name!r} ({error}): log in with `hf auth login`, choose "
            "another `hub_model_id`, or train without `push_to_hub` and push later"
        ) from error


def describe_corpus(data_args: DataArguments) -> CorpusDescription:
    """
    Describes the corpus for the model card.

    Args:
        data_args ([`DataArguments`]):
            Which documents.

    Returns:
        [`CorpusDescription`]: the full description of a published corpus, the name alone for other documents.
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
    Returns the arguments of [`DocREIITrainer.create_model_card`].

    The corpus is not among them: [`describe_corpus`] describes it.

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
