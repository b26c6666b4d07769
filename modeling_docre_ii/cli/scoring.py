"""Scores files of predictions: `docre-ii score` and `--score_files`."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from dataset_scripts.corpus import Corpus

from ..evaluation.extraction_files import has_given_entities, is_extraction_file, read_extractions, read_triples
from ..evaluation.matching import PredictionError
from ..evaluation.mention_scores import count_extractions, score_extractions
from ..evaluation.scores import count_facts, score_facts, score_relations
from ..evaluation.significance import paired_bootstrap_of_counts, summarize_runs
from ..evaluation.submission import read_submission
from ..evaluation.tables import comparison_table, relation_table, runs_table, score_table
from .arguments import DataArguments
from .corpora import check_labels, read_corpus
from .parsing import parse_data_arguments
from .process_setup import one_line_errors, setup_logging


DESCRIPTION = """\
Scores files of predictions in DocRED's submission form on gold documents, one by one and as runs with different seeds,
or compares two of them.

    docre-ii score --dataset_name re_docred --validation_file DEV.json --score_files result.json
    docre-ii score --dataset_name re_docred --validation_file DEV.json --score_files a.json --compare_with b.json

With a --train_file the scores include Ign F1. A configuration file of a run may name the documents.

A .jsonl file holds what was extracted from raw text, as `docre-ii extract` writes it. Its mentions, entities and
relations are scored.
"""


def main(argv: list[str], prog: str = "docre-ii score") -> None:
    """
    Runs the command.

    Args:
        argv (`list[str]`):
            The command line, without the name of the program.
        prog (`str`, *optional*, defaults to `"docre-ii score"`):
            How the user calls the program.

    Raises:
        `SystemExit`: the arguments or a file are malformed, with a message that says how.
    """
    with one_line_errors(prog, ValueError, OSError):
        data_args = parse_data_arguments(argv, DESCRIPTION, prog)
        setup_logging()
        if not data_args.score_files:
            raise ValueError("there is nothing to score: set `score_files`")
        print_scores(read_corpus(data_args), data_args)


def print_scores(corpus: Corpus, data_args: DataArguments) -> None:
    """
    Scores files of predictions on the validation documents and prints tables.

    They show every score of each file, and

    - for a single file, the scores of the predicted relations or the comparison with another file;
    - for several files, mean and deviation.

    A `.jsonl` file holds what was extracted from raw text or, without texts, from documents with their entities; any
    other file is a submission on gold entities.

    Args:
        corpus ([`Corpus`]):
            The gold documents.
        data_args ([`DataArguments`]):
            The files, at least one in `score_files`.

    Raises:
        `ValueError`: there are no validation documents with labels, the files are of both kinds, or a file is
            malformed or about other documents ([`PredictionError`]).
    """
    check_labels(corpus, "validation")
    documents = list(corpus.documents("validation"))
    paths = [*(data_args.score_files or []), *([data_args.compare_with] if data_args.compare_with else [])]
    raw_text = [path for path in paths if is_extraction_file(path) and not has_given_entities(path)]
    if not raw_text:
        _print_fact_scores(corpus, documents, data_args)
    elif len(raw_text) == len(paths):
        _print_extraction_scores(documents, data_args)
    else:
        (other, *_) = (path for path in paths if path not in raw_text)
        raise ValueError(
            f"{raw_text[0]} holds extractions from raw text and {other} relations of given entities: score them one "
            "by one"
        )


def _print_fact_scores(corpus: Corpus, documents: list[dict[str, Any]], data_args: DataArguments) -> None:
    """Prints the scores of predicted relations between gold entities."""
    paths, unknown_titles = data_args.score_files or [], data_args.unknown_titles
    files = [_read_facts(path) for path in paths]
    runs = []
    for path, predictions in zip(paths, files):
        with _naming(path):
            runs.append(score_facts(predictions, documents, corpus.train_facts, corpus.distant_facts, unknown_titles))
    _print_runs(paths, runs)
    if len(runs) == 1 and data_args.compare_with is None:
        by_relation = score_relations(files[0], documents, unknown_titles)
        print(f"\n{relation_table(by_relation, corpus.relation_names, data_args.num_printed_relations)}")
    elif data_args.compare_with is not None:
        others = _read_facts(data_args.compare_with)
        with _naming(data_args.compare_with):
            systems = [
                count_facts(predictions, documents, corpus.train_facts, corpus.distant_facts, unknown_titles)
                for predictions in (files[0], others)
            ]
        _print_comparison(paths[0], data_args.compare_with, systems, len(documents))


def _read_facts(path: str) -> list[dict[str, Any]]:
    return read_triples(path) if is_extraction_file(path) else read_submission(path)


def _print_extraction_scores(documents: list[dict[str, Any]], data_args: DataArguments) -> None:
    """Prints the scores of mentions, entities and relations that were extracted from raw text."""
    paths, unknown_titles = data_args.score_files or [], data_args.unknown_titles
    files = [read_extractions(path) for path in paths]
    runs = []
    for path, predictions in zip(paths, files):
        with _naming(path):
            runs.append(score_extractions(predictions, documents, unknown_titles))
    _print_runs(paths, runs)
    if data_args.compare_with is not None:
        others = read_extractions(data_args.compare_with)
        with _naming(data_args.compare_with):
            systems = [count_extractions(predictions, documents, unknown_titles) for predictions in (files[0], others)]
        _print_comparison(paths[0], data_args.compare_with, systems, len(documents))


@contextmanager
def _naming(path: str) -> Iterator[None]:
    """Names the file of a prediction that cannot be scored."""
    try:
        yield
    except PredictionError as error:
        raise PredictionError(f"{path}: {error}") from None


def _print_runs(paths: list[str], runs: list[dict[str, float]]) -> None:
    for path, scores in zip(paths, runs):
        print(f"\n{path}\n{score_table(scores)}")
    if len(runs) > 1:
        print(f"\n{len(runs)} runs\n{runs_table(summarize_runs(runs))}")


def _print_comparison(path: str, other: str, systems: list[dict[str, np.ndarray]], num_documents: int) -> None:
    """Prints a paired bootstrap of every F1 that two systems have."""
    ours, theirs = systems
    comparisons = {
        name: paired_bootstrap_of_counts([ours], [theirs], num_documents, name)
        for name in ours
        if name.endswith("f1") and name in theirs
    }
    print(f"\n{path} and {other}, 1,000 resamples of the documents\n{comparison_table(comparisons)}")
