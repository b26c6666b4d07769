"""Predicts unlabeled documents for a training: `docre-ii teach`."""

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..evaluation.tables import teacher_table
from ..training.distillation import Teacher, write_teacher_probabilities
from ..training.teacher_scores import score_teachers
from ..utils.bounds import check_at_least
from ..utils.wording import counted
from .arguments import DataArguments
from .corpora import read_corpus
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
    output_file: str = field(
        default="teacher.safetensors", metadata={"metavar": "FILE", "help": "Where their predictions are written."}
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
        if not data_args.unlabeled_file and not data_args.validation_file:
            raise ValueError(
                "no documents were given: set `unlabeled_file`, to predict them, or `validation_file`, to score the "
                "teachers on them"
            )
        corpus = read_corpus(replace(data_args, test_file=data_args.unlabeled_file, unlabeled_file=None))
        # Predicting takes minutes, so a mistyped folder is an error before.
        if Path(args.output_file).is_dir():
            raise ValueError(f"`output_file`: {args.output_file!r} is a folder")
        teachers = [Teacher(name, corpus.relations) for name in args.teachers]
        if data_args.validation_file:
            labeled = list(corpus.documents("validation"))
            print(teacher_table(score_teachers(teachers, labeled, args.batch_size), len(labeled)))
        if data_args.unlabeled_file:
            documents = list(corpus.documents("test"))
            Path(args.output_file).parent.mkdir(parents=True, exist_ok=True)
            write_teacher_probabilities(teachers, documents, args.output_file, args.batch_size)
            print(
                f"{counted(len(teachers), 'model')} predicted {counted(len(documents), 'document')}: "
                f"{args.output_file}"
            )
