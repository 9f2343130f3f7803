"""The interface of workers, which do the files of a batch one at a time."""

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
    """Limits for one file in a worker.

    Attributes:
        seconds: Time in seconds; None for no limit.
        memory_mb: Memory in addition to the model, in MiB; None for no limit.
        threads: Number of threads for a worker's computations.
    """

    seconds: float | None = None
    memory_mb: int | None = None
    threads: int = 1


class WorkerLostError(WorkerError):
    """A worker ended while it did a file; another one replaces it."""


class WorkerGoneError(WorkerError):
    """A worker ended before it started its file, and cannot be replaced."""


class Worker(Protocol):
    """A worker with a loaded engine, which may crash, hang or run out of memory on a file."""

    def describe(self) -> Recipe:
        """Return the engine's settings once it is loaded.

        Raises:
            MonaiDentalError: The job cannot be done at all.
        """

    def submit(self, instance: Instance, known: str) -> Future[Result]:
        """Start a file; the worker must be idle.

        Args:
            instance: The file.
            known: As in `Engine.run`.

        Returns:
            A future; pass it to `collect` when it is done.
        """

    def collect(self, future: Future[Result]) -> Result:
        """Return the result for a file, from the future of `submit`, which is done.

        Raises:
            WorkerLostError: The worker ended; another one replaces it.
            WorkerGoneError: The worker can no longer be used.
            MonaiDentalError: The run cannot go on.
        """

    def stop(self) -> None:
        """End the worker, even if it is busy."""


MakeWorker: TypeAlias = Callable[[Job, Limits], Worker]
"""Starts a worker that does a job within limits."""
