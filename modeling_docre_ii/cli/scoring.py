"""Scores files of predictions: `docre-ii score` and `--score_files`."""

from dataset_scripts.corpus import Corpus

from ..evaluation.scores import score_facts, score_relations
from ..evaluation.significance import paired_bootstrap, summarize_runs
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

    Args:
        corpus ([`Corpus`]):
            The gold documents.
        data_args ([`DataArguments`]):
            The files, at least one in `score_files`.

    Raises:
        `ValueError`: there are no validation documents with labels, or a file is not a submission about them
            ([`PredictionError`]).
    """
    check_labels(corpus, "validation")
    documents = list(corpus.documents("validation"))
    paths, unknown_titles = data_args.score_files or [], data_args.unknown_titles
    files = [read_submission(path) for path in paths]
    runs = [
        score_facts(predictions, documents, corpus.train_facts, corpus.distant_facts, unknown_titles)
        for predictions in files
    ]
    for path, scores in zip(paths, runs):
        print(f"\n{path}\n{score_table(scores)}")
    if len(runs) > 1:
        print(f"\n{len(runs)} runs\n{runs_table(summarize_runs(runs))}")
    elif data_args.compare_with is None:
        by_relation = score_relations(files[0], documents, unknown_titles)
        print(f"\n{relation_table(by_relation, corpus.relation_names, data_args.num_printed_relations)}")
    else:
        others = read_submission(data_args.compare_with)
        other_scores = score_facts(others, documents, corpus.train_facts, unknown_titles=unknown_titles)
        comparisons = {
            name: paired_bootstrap(
                files[0],
                others,
                documents,
                name,
                train_facts=corpus.train_facts,
                unknown_titles=unknown_titles,
            )
            for name in runs[0]
            if name.endswith("f1") and name in other_scores
        }
        heading = f"{paths[0]} and {data_args.compare_with}, 1,000 resamples of the documents"
        print(f"\n{heading}\n{comparison_table(comparisons)}")
