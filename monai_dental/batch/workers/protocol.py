"""What does the files of a batch one at a time, wherever it runs."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from monai_dental.batch.job import Job, Recipe, Result
from monai_dental.batch.source import Instance
from monai_dental.errors import WorkerError


@dataclass(frozen=True)
class Limits:
    """What one file may take in a worker.

    Attributes:
        seconds: Time; None for any.
        memory_mb: Memory beside the model, in MiB; None for any.
        threads: Threads of a worker's arithmetic.
    """

    seconds: float | None = None
    memory_mb: int | None = None
    threads: int = 1


class WorkerLostError(WorkerError):
    """A worker ended while it did a file; another one is started in its place."""


class WorkerGoneError(WorkerError):
    """A worker that had not begun its file yet ended, and none can be started in its place."""


class Worker(Protocol):
    """A worker with a loaded engine; files may crash, hang or blow it up one by one."""

    def describe(self) -> Recipe:
        """The engine's settings, once it is loaded.

        Raises:
            MonaiDentalError: The job cannot be done at all.
        """

    def submit(self, instance: Instance, known: str) -> Future[Result]:
        """Begin a file; the worker is idle.

        Args:
            instance: The file.
            known: As of `Engine.run`.

        Returns:
            A future; hand it to `collect` when it is done.
        """

    def collect(self, future: Future[Result]) -> Result:
        """What came of a file.

        Args:
            future: What `submit` returned; done.

        Raises:
            WorkerLostError: The worker ended; another one is started.
            WorkerGoneError: The worker is of no use any more.
            MonaiDentalError: The run cannot go on.
        """

    def stop(self) -> None:
        """End the worker, whatever it does."""


MakeWorker: TypeAlias = Callable[[Job, Limits], Worker]
"""Starts a worker that does a job within limits."""
