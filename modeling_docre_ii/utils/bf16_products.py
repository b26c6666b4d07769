"""
Times matrix products in bf16 and in float32, on one thread.

Run as a script, it prints the seconds of both as JSON. Imports torch alone, so that such a script starts fast.
"""

import json
import time
from collections.abc import Callable
from functools import partial

import torch


# Large enough for the kernels that a model uses, small enough for a fraction of a millisecond where they are fast.
_SIZE = 384

_MAX_ROUNDS = 10
_MAX_SECONDS = 0.05


def multiply(dtype: torch.dtype) -> None:
    """Multiplies two square matrices on the CPU."""
    ones = torch.ones(_SIZE, _SIZE, dtype=dtype)
    ones @ ones


bf16_product = partial(multiply, torch.bfloat16)
float32_product = partial(multiply, torch.float32)


def best_times(*functions: Callable[[], None]) -> list[float]:
    """
    Returns the shortest time that each function takes, in seconds.

    They run in turn, so that other work on the machine slows all of them alike. A first, untimed call of each compiles
    its kernel.
    """
    for function in functions:
        function()
    best = [float("inf")] * len(functions)
    end = time.perf_counter() + _MAX_SECONDS
    for rounds in range(_MAX_ROUNDS):
        if rounds and time.perf_counter() > end:
            break
        for index, function in enumerate(functions):
            start = time.perf_counter()
            function()
            best[index] = min(best[index], time.perf_counter() - start)
    return best


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(best_times(bf16_product, float32_product)))
