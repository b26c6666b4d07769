"""Scores evidence: `docre-ii evidence`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from transformers import AutoModel, AutoProcessor

from ..configuration_loading import load_config
from ..decoding import PredictedFact
from ..evaluation.evidence_scores import annotated_facts, best_evidence_threshold, read_model, score_evidence
from ..evaluation.tables import evidence_table
from ..evidence import add_evidence
from ..utils.bounds import check_at_least
from .arguments import DataArguments
from .corpora import check_labels, read_corpus
from .parsing import parse_some_arguments
from .process_setup import one_line_errors, setup_logging


DESCRIPTION = """\
Scores the rule that finds evidence without a model, with all relations given: on the facts that have annotated
evidence. With a checkpoint, it scores the rule with the sentences that the model adds on the same facts, and both on
those facts that the model predicts.

    docre-ii evidence --dataset_name re_docred --validation_file DEV.json
    docre-ii evidence --dataset_name re_docred --validation_file DEV.json --checkpoint outputs/redocred_minilm
"""

# Shares of a sentence that are tried as thresholds.
_THRESHOLDS = [step / 100 for step in range(5, 55, 5)]


@dataclass
class EvidenceArguments:
    """The model."""

    _argument_group_name = "model"

    checkpoint: str | None = field(
        default=None,
        metadata={"help": "A model on the Hub or in a folder, also one that was not trained to find evidence."},
    )
    batch_size: int = field(default=8, metadata={"help": "Number of documents that go through it at once."})

    def __post_init__(self) -> None:
        check_at_least(1, self, "batch_size")


def main(argv: list[str], prog: str = "docre-ii evidence") -> None:
    """
    Runs the command.

    Args:
        argv (`list[str]`):
            The command line, without the name of the program.
        prog (`str`, *optional*, defaults to `"docre-ii evidence"`):
            How the user calls the program.

    Raises:
        `SystemExit`: the arguments, a file or the checkpoint are malformed, with a message that says how.
    """
    with one_line_errors(prog, ValueError, OSError):
        args, data_args = parse_some_arguments((EvidenceArguments, DataArguments), argv, DESCRIPTION, prog)
        setup_logging()
        corpus = read_corpus(data_args)
        check_labels(corpus, "validation")
        print_evidence_scores(list(corpus.documents("validation")), args.checkpoint, args.batch_size)


def print_evidence_scores(
    documents: Sequence[Mapping[str, Any]], checkpoint: str | None = None, batch_size: int = 8
) -> None:
    """
    Scores the evidence of the rule, and of a model, and prints tables.

    Args:
        documents (`list[dict]`):
            Documents in DocRED's form, with labels.
        checkpoint (`str`, *optional*):
            The model.
        batch_size (`int`, *optional*, defaults to 8):
            Number of documents that go through the model at once.

    Raises:
        `ValueError`: no fact has evidence.
    """
    given = [annotated_facts(document) for document in documents]
    num_given = sum(map(len, given))
    if not num_given:
        raise ValueError("no fact of the documents has annotated evidence")
    rows = {"rule": score_evidence(add_evidence(given, documents, "rule"), documents)}
    if checkpoint is None:
        print(f"\n{evidence_table('relations given', num_given, rows)}")
        return
    load_config(checkpoint)  # names a missing checkpoint
    model, processor = AutoModel.from_pretrained(checkpoint), AutoProcessor.from_pretrained(checkpoint)
    found = read_model(model, processor, documents, batch_size)

    def by_model(facts: Sequence[Sequence[PredictedFact]], threshold: float) -> list[list[PredictedFact]]:
        return add_evidence(facts, documents, "model", found.shares, threshold)

    threshold = processor.evidence_threshold
    best = best_evidence_threshold(given, documents, found.shares, _THRESHOLDS)
    at_threshold = f"rule and model, share above {threshold:g}"
    for label, value in ((at_threshold, threshold), (f"rule and model, best: above {best:g}", best)):
        rows[label] = score_evidence(by_model(given, value), documents)
    print(f"\n{evidence_table('relations given', num_given, rows)}")
    keys = [{fact[:3] for fact in facts} for facts in given]
    correct = [[fact for fact in facts if fact[:3] in known] for facts, known in zip(found.predicted, keys)]
    rows = {
        "rule": score_evidence(add_evidence(correct, documents, "rule"), documents),
        at_threshold: score_evidence(by_model(correct, threshold), documents),
    }
    print(f"\n{evidence_table('facts that the model predicts', sum(map(len, correct)), rows)}")
