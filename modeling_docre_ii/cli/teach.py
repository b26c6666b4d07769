"""Predicts unlabeled documents for a training: `docre-ii teach`."""

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

from dataset_scripts.corpus import Corpus

from ..evaluation.tables import teacher_table
from ..training.distillation import Teacher, write_teacher_probabilities
from ..training.teacher_scores import score_teachers
from ..utils.bounds import check_at_least
from ..utils.wording import counted
from .arguments import DataArguments
from .corpora import check_labels, read_corpus
from .parsing import parse_some_arguments
from .process_setup import one_line_errors, setup_logging


DESCRIPTION = """\
Predicts unlabeled documents with one or several trained models, and writes the mean of what they say. A training
learns from it with `unlabeled_file` and `teacher_file`.

    docre-ii teach --dataset_name re_docred --unlabeled_file TEST.json \\
        --teachers outputs/seed_42 outputs/seed_43 outputs/seed_44 --output_file outputs/teacher.safetensors

With documents that have labels, it prints first how good the models are, each and all together:

    docre-ii teach --dataset_name re_docred --validation_file DEV.json --teachers outputs/seed_42 outputs/seed_43
"""


@dataclass
class TeachArguments:
    """The models, and what is written."""

    _argument_group_name = "teachers"

    teachers: list[str] = field(
        metadata={
            "metavar": "MODEL",
            "help": "Models on the Hub or in folders, with the relations of the documents. Several, trained with "
            "different seeds, know more than each of them.",
        },
    )
    output_file: str | None = field(
        default=None,
        metadata={
            "metavar": "FILE",
            "help": "Where their predictions of the `unlabeled_file` are written. Default: teacher.safetensors.",
        },
    )
    batch_size: int = field(default=8, metadata={"help": "Number of documents that go through a model at once."})

    def __post_init__(self) -> None:
        check_at_least(1, self, "batch_size")
        for name, count in Counter(self.teachers).items():
            if count > 1:
                raise ValueError(f"`teachers` names {name!r} {count} times")


def main(argv: list[str], prog: str = "docre-ii teach") -> None:
    """
    Runs the command.

    Args:
        argv (`list[str]`):
            The command line, without the name of the program.
        prog (`str`, *optional*, defaults to `"docre-ii teach"`):
            How the user calls the program.

    Raises:
        `SystemExit`: the arguments, a file or a model are malformed, with a message that says how.
    """
    with one_line_errors(prog, ValueError, OSError):
        args, data_args = parse_some_arguments((TeachArguments, DataArguments), argv, DESCRIPTION, prog)
        setup_logging()
        _check(args, data_args, argv)
        labeled, unlabeled = _read(data_args)
        relations = next(corpus.relations for corpus in (labeled, unlabeled) if corpus is not None)
        teachers = [Teacher(name, relations) for name in args.teachers]
        if labeled is not None:
            documents = list(labeled.documents("validation"))
            print(teacher_table(score_teachers(teachers, documents, args.batch_size), len(documents)))
        if unlabeled is not None:
            documents, path = list(unlabeled.documents("train")), Path(args.output_file or "teacher.safetensors")
            path.parent.mkdir(parents=True, exist_ok=True)
            write_teacher_probabilities(teachers, documents, path, args.batch_size)
            print(f"{counted(len(teachers), 'model')} predicted {counted(len(documents), 'document')}: {path}")


def _check(args: TeachArguments, data_args: DataArguments, argv: list[str]) -> None:
    if not (data_args.unlabeled_file or data_args.validation_file or data_args.data_dir):
        raise ValueError(
            "no documents were given: set `unlabeled_file`, to predict them, or `validation_file`, to score the "
            "teachers on them"
        )
    # A configuration is that of the training too, so it may name documents that are not read here.
    if any(word.replace("-", "_").startswith("__test_file") for word in argv):
        raise ValueError("`test_file`: documents to predict are an `unlabeled_file` here")
    if args.output_file is not None and not data_args.unlabeled_file:
        raise ValueError("`output_file` is for the predictions of an `unlabeled_file`: set it as well")
    # Predicting takes minutes, so a mistyped folder is an error before.
    if args.output_file is not None and Path(args.output_file).is_dir():
        raise ValueError(f"`output_file`: {args.output_file!r} is a folder")


def _read(data_args: DataArguments) -> tuple[Corpus | None, Corpus | None]:
    """Reads the documents to score the teachers on, and those to predict."""
    labeled = unlabeled = None
    if data_args.validation_file or data_args.data_dir:
        labeled = read_corpus(replace(data_args, train_file=None, test_file=None, unlabeled_file=None))
        check_labels(labeled, "validation")
    if data_args.unlabeled_file:
        # As in the training that learns from them: all of them, whose titles may repeat.
        rest = replace(data_args, validation_file=None, test_file=None, data_dir=None, max_train_documents=None)
        unlabeled = read_corpus(replace(rest, train_file=data_args.unlabeled_file, unlabeled_file=None))
    return labeled, unlabeled
