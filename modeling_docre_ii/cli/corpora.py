"""Reads and checks the documents that the data arguments name."""

import logging

import numpy as np
from transformers import PreTrainedConfig

from dataset_scripts.corpus import Corpus, load_corpus
from dataset_scripts.known_corpora import KNOWN_CORPORA

from ..configuration_docre_ii import DocREIIConfig
from ..documents import count_documents
from ..evaluation.scores import count_facts
from ..evaluation.tables import SCORE_GROUPS, iteration_names
from ..training.arguments import DocREIITrainingArguments
from ..training.checks import check_choice
from ..training.metrics import SCORES_OF_ITERATIONS
from ..utils.suggestions import check_names
from .arguments import Arguments, DataArguments
from .process_setup import logger


# The scores of an evaluation, which also has some of them for the base module and for each iteration.
_METRICS = [
    "loss",
    "calibrated_f1",
    "cross_calibrated_f1",
    "infer_cross_calibrated_f1",
    *(f"{group}{score}" for group in SCORE_GROUPS for score in ("f1", "precision", "recall")),
]


def read_corpus(data_args: DataArguments) -> Corpus:
    """
    Reads the documents and logs their counts.

    Args:
        data_args ([`DataArguments`]):
            The data arguments.

    Returns:
        [`Corpus`]

    Raises:
        `ValueError`: there are no files of a corpus that is read from files; otherwise as [`load_corpus`].
    """
    name = data_args.dataset_name
    if name in KNOWN_CORPORA and not (data_args.files or data_args.data_dir):
        raise ValueError(
            f"no documents were given: {name!r} is read from files, set `train_file`, `validation_file` or `test_file`"
        )
    corpus = load_corpus(
        name,
        data_args.dataset_config_name,
        files=data_args.files,
        data_dir=data_args.data_dir,
        relations_file=data_args.relations_file,
        distant_file=data_args.distant_file,
        unlabeled_file=data_args.unlabeled_file,
        max_documents={"train": data_args.max_train_documents, "validation": data_args.max_eval_documents},
        mesh_tree_file=data_args.mesh_tree_file,
        train_pmids_file=data_args.train_pmids_file,
    )
    # Counting reads every row. It is skipped where the counts are not shown, and for bulk extraction, which may have
    # millions of rows.
    bulk = None if data_args.triples_dir is None else corpus.predicted_split
    if logger.isEnabledFor(logging.INFO):
        for split, rows in corpus.splits.items():
            counts = f"{len(rows):,} documents" if split == bulk else count_documents(rows)
            logger.info("%s: %s", split, counts)
    return corpus


def check_steps(args: DocREIITrainingArguments) -> None:
    """
    Checks that a run does something.

    Args:
        args ([`DocREIITrainingArguments`]):
            What the run does.

    Raises:
        `ValueError`: it neither trains nor evaluates nor predicts.
    """
    if not (args.do_train or args.do_eval or args.do_predict):
        raise ValueError("nothing to do: set `do_train`, `do_eval` or `do_predict`")


def check_splits(corpus: Corpus, args: DocREIITrainingArguments) -> None:
    """
    Checks that a run has the documents that its steps need.

    Args:
        corpus ([`Corpus`]):
            The documents of the run.
        args ([`DocREIITrainingArguments`]):
            The steps of the run.

    Raises:
        `ValueError`: the documents of a step were not given or have no labels.
    """
    if args.do_train:
        check_labels(corpus, "train")
    if args.do_eval or (args.do_train and (args.calibrate_iterations or args.calibrate_threshold)):
        check_labels(corpus, "validation")
    if args.do_predict and not {"validation", "test"} & set(corpus.splits):
        raise ValueError("no test documents were given, but `do_predict` needs them: set `test_file`")


def check_metrics(arguments: Arguments, corpus: Corpus, start: PreTrainedConfig) -> None:
    """
    Checks that evaluations have the scores that choose the best checkpoints.

    A mistake would otherwise end the run at its first evaluation.

    Args:
        arguments ([`Arguments`]):
            All arguments of the run.
        corpus ([`Corpus`]):
            Its documents.
        start (`PreTrainedConfig`):
            Configuration of the model that the run starts from.

    Raises:
        `ValueError`: the `metric_for_best_model` of a stage is unknown, its evaluations lack this score, or there is
            none before its end.
    """
    new = arguments.model.config_fields.get("num_iterations", DocREIIConfig.num_iterations)
    for stage, args in arguments.training.items():
        if args.do_train:
            check_choice(args)
        if args.do_train and args.metric_for_best_model:
            num_iterations = 0 if stage == 1 else getattr(start, "num_iterations", 0) or new
            _check_metric(args.metric_for_best_model, corpus, num_iterations)


def _check_metric(metric: str, corpus: Corpus, num_iterations: int) -> None:
    argument, name = f"`metric_for_best_model` is {metric!r}", metric.removeprefix("eval_")
    if num_iterations == 0 and name.startswith(("base_", "iteration_")):
        raise ValueError(f"{argument}, but stage 1 has no iterations: set another one, or this one in `stage_2`")
    iterations = iteration_names(1 + num_iterations) if num_iterations else []
    known = [f"{iteration}_{score}" for iteration in iterations for score in SCORES_OF_ITERATIONS]
    check_names("`metric_for_best_model`", [name], [*_METRICS, *known])
    if "filtered" in name and not corpus.has_uncounted:
        raise ValueError(f"{argument}, for which CDR needs a `mesh_tree_file`")
    if "ign_distant" in name and corpus.distant_facts is None:
        raise ValueError(f"{argument}, which needs a `distant_file`")
    if "infer" in name and not np.any(count_facts([], corpus.documents("validation")).get("infer_f1", 0)):
        raise ValueError(
            f"{argument}, but no validation document has facts (h, r, o), (o, s, t) and (h, q, t) to infer"
        )
    if "evidence" in name:
        raise ValueError(f"{argument}, which evaluations without a correct prediction do not have: set another one")


def check_labels(corpus: Corpus, split: str) -> None:
    """
    Checks that a split is there and has labels.

    Args:
        corpus ([`Corpus`]):
            The documents of the run.
        split (`str`):
            `"train"` or `"validation"`.

    Raises:
        `ValueError`: there are no documents, or none of them has a label.
    """
    if split not in corpus.splits:
        raise ValueError(f"no {split} documents were given, but the run needs them: set `{split}_file`")
    if not any(row.get("labels") for row in corpus.splits[split]):
        raise ValueError(f"none of the {split} documents has a label")
