"""
Tries whether bf16 works on this CPU, and whether it is faster than float32.

CPU flags do not tell. Some virtual machines advertise `amx_bf16` but do not provide AMX: the first bf16 product ends
the process with SIGILL. On other CPUs bf16 works, but is slower than float32. So a child process tries.
"""

import faulthandler
import json
import math
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from multiprocessing.connection import wait
from typing import NoReturn

import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from transformers.utils import logging

from . import bf16_products


logger = logging.get_logger(__name__)

# macOS has fork, but its libraries do not work in a child that has not started a program of its own.
_CAN_FORK = hasattr(os, "fork") and sys.platform != "darwin"
# Both are generous: the products take milliseconds, and importing torch seconds.
_FORK_TIME_LIMIT = 10.0
_NEW_PROCESS_TIME_LIMIT = 120.0


@dataclass(frozen=True)
class BF16Trial:
    """
    Result of trying bf16 on a CPU.

    Args:
        slowdown (`float`, *optional*, defaults to infinity):
            Time of a bf16 matrix product over that of a float32 one, below 1 where bf16 is faster.
        failure (`str`, *optional*):
            How a bf16 matrix product fails, such as "ends the process with SIGILL".
        cpu (`str`, *optional*, defaults to `"this CPU"`):
            The CPU, for messages.
    """

    slowdown: float = math.inf
    failure: str | None = None
    cpu: str = "this CPU"

    @property
    def is_alive(self) -> bool:
        return self.failure is None

    @property
    def is_faster(self) -> bool:
        return self.slowdown < 1

    def __str__(self) -> str:
        if self.failure is not None:
            return f"a bf16 matrix product {self.failure} on {self.cpu}"
        return f"bf16 takes {self.slowdown:.1f} times as long as float32 on {self.cpu}"


@cache
def try_bf16() -> BF16Trial:
    """
    Multiplies matrices in bf16 and in float32 in a child process.

    It tries once a process, then returns the same answer.

    Returns:
        [`BF16Trial`].
    """
    if _CAN_FORK:
        return try_in_fork(bf16_products.bf16_product, bf16_products.float32_product)
    return try_in_new_process([sys.executable, bf16_products.__file__])


def try_bf16_in_all_processes() -> BF16Trial:
    """
    Tries bf16 in every process of a run, so that all of them decide alike.

    All processes must call it: the first call gathers their answers.

    Returns:
        [`BF16Trial`]: the worst answer, the same in every process.
    """
    return _worst_trial(PartialState().num_processes)


@cache
def _worst_trial(num_processes: int) -> BF16Trial:
    trials = gather_object([try_bf16()])
    worst = max(range(num_processes), key=lambda index: trials[index].slowdown)
    return replace(trials[worst], cpu=f"the CPU of process {worst}") if worst else trials[worst]


def warn_of_float32(trial: BF16Trial) -> None:
    """Warns, once a process, that float32 is used although bf16 was requested."""
    logger.warning_once(f"`bf16` is switched off, and float32 is used instead: {trial}")


def try_in_fork(
    bf16_product: Callable[[], None], float32_product: Callable[[], None], time_limit: float = _FORK_TIME_LIMIT
) -> BF16Trial:
    """
    Times two functions in a forked child.

    Args:
        bf16_product, float32_product (`Callable`):
            The functions. They may use torch on the CPU and nothing else.
        time_limit (`float`, *optional*, defaults to 10):
            Seconds after which the child is killed, which counts as a failure.

    Returns:
        [`BF16Trial`].
    """
    reader, writer = os.pipe()
    try:
        with warnings.catch_warnings():
            # Python 3.12 warns of a fork beside threads, after which a child may wait for a lock that nobody releases.
            # This child is killed then.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
    except OSError as error:
        os.close(reader)
        os.close(writer)
        return _cannot_be_tried(error)
    if child == 0:
        _answer_and_exit(writer, bf16_product, float32_product)
    os.close(writer)
    answer, status = b"", 0
    try:
        ended = wait([reader], time_limit)
        answer = os.read(reader, 1000) if ended else b""
    finally:
        os.close(reader)
        # In a program that ignores SIGCHLD, the system has removed the child already.
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
    return_code = os.waitstatus_to_exitcode(status)
    if not ended and return_code == -signal.SIGKILL:
        return _without_end(time_limit)
    return _read_answer(answer, return_code)


def _answer_and_exit(writer: int, *products: Callable[[], None]) -> NoReturn:
    """Writes the times to a pipe and ends the child, without cleaning up what belongs to its parent."""
    try:
        # A child that dies leaves neither a core file nor a line on the terminal.
        faulthandler.disable()
        import resource  # Windows does not have it

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        # The threads of the parent are not here: torch would wait for them forever.
        torch.set_num_threads(1)
        os.write(writer, json.dumps(bf16_products.best_times(*products)).encode())
        os._exit(0)
    finally:
        os._exit(1)


def try_in_new_process(command: list[str], time_limit: float = _NEW_PROCESS_TIME_LIMIT) -> BF16Trial:
    """
    Runs a program that times both products, where there is no fork.

    Args:
        command (`list[str]`):
            The program, which prints the seconds of the bf16 and of the float32 product as a JSON list.
        time_limit (`float`, *optional*, defaults to 120):
            Seconds after which the program is killed, which counts as a failure.

    Returns:
        [`BF16Trial`].
    """
    try:
        ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=time_limit)
    except subprocess.TimeoutExpired:
        return _without_end(time_limit)
    except OSError as error:
        return _cannot_be_tried(error)
    return _read_answer(ended.stdout if ended.returncode == 0 else b"", ended.returncode)


def _read_answer(answer: bytes, return_code: int) -> BF16Trial:
    if answer:
        bf16_time, float32_time = json.loads(answer)
        return BF16Trial(slowdown=bf16_time / float32_time)
    if return_code < 0:
        return BF16Trial(failure=f"ends the process with {signal.Signals(-return_code).name}")
    return BF16Trial(failure=f"fails (exit code {return_code:#x})")


def _without_end(time_limit: float) -> BF16Trial:
    return BF16Trial(failure=f"does not end within {time_limit:g} seconds")


def _cannot_be_tried(error: OSError) -> BF16Trial:
    return BF16Trial(failure=f"cannot be tried in a child process ({error})")


__all__ = ["BF16Trial", "try_bf16", "try_bf16_in_all_processes", "warn_of_float32"]
