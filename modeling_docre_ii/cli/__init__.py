"""The commands of `docre-ii`, also `python -m modeling_docre_ii.cli`."""

import importlib
import sys
from typing import NamedTuple

from ..utils.suggestions import did_you_mean


PROG = "docre-ii"
_INTERRUPTED = 130  # the exit status of a shell after Ctrl-C


class Command(NamedTuple):
    """
    A command.

    Args:
        module (`str`): Module whose `main(argv, prog)` runs it, imported when the command is called.
        summary (`str`): What it does, in a few words.
    """

    module: str
    summary: str


COMMANDS = {
    "train": Command("run_docre", "train, evaluate, predict and publish, as run_docre.py does"),
    "extract": Command("modeling_docre_ii.cli.extract", "extract the triples of text files"),
    "graph": Command("modeling_docre_ii.cli.graph", "make a knowledge graph of extracted triples"),
    "score": Command("modeling_docre_ii.cli.scoring", "score files of predictions, or compare two of them"),
    "evidence": Command("modeling_docre_ii.cli.evidence", "score the evidence of the rule, or of a model"),
    "teach": Command("modeling_docre_ii.cli.teach", "predict unlabeled documents for a training to learn from"),
    "experiments": Command("modeling_docre_ii.cli.experiments", "train the runs of a table, and write the table"),
    "import": Command("modeling_docre_ii.cli.importing", "make a corpus of what an annotation tool exports"),
    "export": Command("modeling_docre_ii.cli.export", "export a checkpoint for onnxruntime and OpenVINO"),
    "convert": Command("modeling_docre_ii.cli.convert", "rewrite a checkpoint that an earlier version saved"),
}


def main(argv: list[str] | None = None) -> None:
    """
    Runs the command that the first argument names, with the arguments after it.

    Args:
        argv (`list[str]`, *optional*):
            The command line, without the name of the program. Defaults to that of the process.

    Raises:
        `SystemExit`: there is no command or an unknown one, or the command ends with an error.
    """
    argv = sys.argv[1:] if argv is None else argv
    if not argv:
        raise SystemExit(_usage())
    if argv[0] in ("-h", "--help"):
        print(_usage())
        return
    name, *rest = argv
    if name not in COMMANDS:
        raise SystemExit(f"{PROG}: unknown command {name!r}{did_you_mean(name, COMMANDS)}\n\n{_usage()}")
    try:
        importlib.import_module(COMMANDS[name].module).main(rest, prog=f"{PROG} {name}")
    except KeyboardInterrupt:
        print(f"{PROG} {name}: interrupted", file=sys.stderr)
        raise SystemExit(_INTERRUPTED) from None


def _usage() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {command.summary}" for name, command in COMMANDS.items()]
    usage = f"usage: {PROG} COMMAND [argument ...]\n\ncommands:\n"
    return usage + "\n".join(lines) + f"\n\n{PROG} COMMAND --help shows the arguments of a command."


__all__ = ["COMMANDS", "Command", "main"]
