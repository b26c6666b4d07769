"""The model that a stage starts from: a new one, or a checkpoint."""

from importlib import resources
from typing import Any

from transformers import AutoConfig

from dataset_scripts.corpus import Corpus

from ..configuration_docre_ii import DocREIIConfig
from ..modeling_docre_ii import DocREIIForRelationExtraction
from ..pipeline_docre_ii import check_label_map, differing
from ..processing_docre_ii import DocREIIProcessor
from .arguments import Arguments
from .stages import Stage


def load_model(
    arguments: Arguments, stage: Stage, corpus: Corpus
) -> tuple[DocREIIForRelationExtraction, DocREIIProcessor]:
    """
    Loads a DocRE-II checkpoint, or makes a new model on a pretrained encoder.

    In training, the model has an inference module in stage 2 and none in stage 1.

    Args:
        arguments ([`Arguments`]):
            All arguments of the run.
        stage ([`Stage`]):
            The stage that starts from the model.
        corpus ([`Corpus`]):
            The documents, which have the relations and the candidate types.

    Returns:
        `tuple(DocREIIForRelationExtraction, DocREIIProcessor)`

    Raises:
        `ValueError`: the checkpoint is of the wrong stage, or has other relations than the documents and
            `ignore_mismatched_sizes` is not set.
    """
    path, model_args = resolve_path(stage.start), arguments.model
    limit = model_args.max_labels_per_pair
    decoding: dict[str, Any] = {} if limit is None else {"max_labels_per_pair": limit}
    relations = corpus.relation_names
    candidate_types = arguments.data.candidate_type_pairs or corpus.candidate_types
    if AutoConfig.from_pretrained(path).model_type == DocREIIConfig.model_type:
        if _has_label_map(path, corpus, may_differ=model_args.ignore_mismatched_sizes and stage.args.do_train):
            return _load_checkpoint(arguments, stage, path), DocREIIProcessor.from_pretrained(path, **decoding)
        processor = DocREIIProcessor.from_pretrained(
            path, relations=relations, candidate_types=candidate_types, **decoding
        )
        changes = {**processor.label_maps, "ignore_mismatched_sizes": True}
        return _load_checkpoint(arguments, stage, path, **changes), processor
    processor = DocREIIProcessor.from_encoder_pretrained(
        path,
        relations,
        model_args.mention_anchor,
        candidate_types=candidate_types,
        mark_types=model_args.mark_types,
        **decoding,
    )
    config_kwargs = model_args.config_fields | ({"num_iterations": 0} if stage.number == 1 else {})
    model = DocREIIForRelationExtraction.from_encoder_pretrained(
        path, processor=processor, encoder_kwargs=model_args.encoder_changes, **config_kwargs
    )
    return model, processor


def resolve_path(name_or_path: str) -> str:
    """
    Finds `package:NAME/FOLDER` inside an installed Python package.

    Args:
        name_or_path (`str`):
            Such a path, or a name on the Hub or a folder.

    Returns:
        `str`: the folder. Names and other folders are returned unchanged.

    Raises:
        `ValueError`: the package is not installed.
    """
    if not name_or_path.startswith("package:"):
        return name_or_path
    package, _, folder = name_or_path.removeprefix("package:").partition("/")
    try:
        return str(resources.files(package) / folder)
    except ModuleNotFoundError as error:
        raise ValueError(f"{name_or_path!r}: the Python package {package!r} is not installed") from error


def _load_checkpoint(arguments: Arguments, stage: Stage, path: str, **changes: Any) -> DocREIIForRelationExtraction:
    has_inference = DocREIIConfig.from_pretrained(path).num_iterations > 0
    if not stage.args.do_train:
        return DocREIIForRelationExtraction.from_pretrained(path)
    if stage.number == 1 and has_inference:
        raise ValueError(f"{path!r} has an inference module: set `stages: [2]` to train it further")
    if stage.number == 1 or has_inference:
        return DocREIIForRelationExtraction.from_pretrained(path, **changes)
    return DocREIIForRelationExtraction.from_base_pretrained(path, **arguments.model.config_fields, **changes)


def _has_label_map(path: str, corpus: Corpus, may_differ: bool) -> bool:
    """
    Returns whether a checkpoint has the relations of the documents.

    Raises:
        `ValueError`: they differ but may not, or the checkpoint's model and processor differ.
    """
    relations = DocREIIProcessor.from_pretrained(path).relations
    check_label_map(DocREIIConfig.from_pretrained(path).id2label, relations)
    if relations == corpus.relations:
        return True
    if not may_differ:
        raise ValueError(
            f"the label map of {path!r} is not that of the documents: {differing(relations, corpus.relations)}; to "
            "train it on their relations, set `ignore_mismatched_sizes`"
        )
    return False
