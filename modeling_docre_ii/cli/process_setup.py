"""Setup of each process of a command: logs, threads and one-line errors."""

import io
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import datasets
import torch
import transformers


# The log of all commands.
logger = logging.getLogger("docre_ii")


def setup_logging(should_log: bool = True, transformers_level: int = logging.WARNING) -> None:
    """
    Logs to the standard output.

    Args:
        should_log (`bool`, *optional*, defaults to `True`):
            Whether this process logs its steps, and not only warnings. Usually only the main process does.
        transformers_level (`int`, *optional*, defaults to `logging.WARNING`):
            Level of transformers' own logs.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # names may have letters that a redirected output has not
    logging.basicConfig(format="%(message)s", stream=sys.stdout, level=logging.WARNING)
    logger.setLevel(logging.INFO if should_log else logging.WARNING)
    transformers.utils.logging.set_verbosity(transformers_level)
    datasets.utils.logging.set_verbosity_warning()


def use_all_cores() -> None:
    """Shares the cores among the processes of a CPU run."""
    # `accelerate launch` gives each process a single thread.
    if os.environ.get("OMP_NUM_THREADS") == "1":
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        torch.set_num_threads(max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))


@contextmanager
def one_line_errors(prog: str, *kinds: type[Exception]) -> Iterator[None]:
    """
    Ends the program with a one-line message for errors that the user can fix.

    Args:
        prog (`str`):
            How the user calls the program. The message starts with it.
        kinds (`type[Exception]`):
            The errors. All others pass through.

    Raises:
        `SystemExit`: one of the errors was raised.
    """
    try:
        yield
    except kinds as error:
        # Errors of other libraries can have several lines.
        raise SystemExit(f"{prog}: {' '.join(str(error).split())}") from error
