"""Watches the pushes of a training to the Hub, which run in the background."""

from collections.abc import Iterable
from concurrent.futures import Future
from functools import partial
from typing import Any

from transformers.utils import logging


logger = logging.get_logger(__name__)


class PushWatch:
    """
    Reports pushes that fail during a training.

    Each failure is a warning in the log, and [`~PushWatch.summary`] counts them. Training continues: its checkpoints
    are on the disk, and the last push sends the final model.
    """

    def __init__(self) -> None:
        self.failures: list[str] = []
        self._watched: set[int] = set()

    def watch(self, jobs: Iterable[Future[Any]], step: int) -> None:
        """Watches the pushes that were started after a step, each of them once."""
        for job in jobs:
            if id(job) not in self._watched:
                self._watched.add(id(job))
                job.add_done_callback(partial(self._report, step=step))

    def _report(self, job: Future[Any], step: int) -> None:
        error = None if job.cancelled() else job.exception()
        if error is not None:
            self.failures.append(f"step {step}: {' '.join(str(error).split())}")
            logger.warning(f"a push to the Hub failed, training continues ({self.failures[-1]})")

    def summary(self) -> str:
        """Returns one line about the failed pushes, empty if there were none."""
        if not self.failures:
            return ""
        return f"{len(self.failures)} push(es) to the Hub failed during training, the last at {self.failures[-1]}"


__all__ = ["PushWatch"]
