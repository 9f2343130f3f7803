"""A priority queue of tasks for one worker process."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from monai_dental.batch.job import Job, Result
from monai_dental.batch.workers.local import LocalWorker
from monai_dental.batch.workers.protocol import Limits
from monai_dental.errors import MonaiDentalError, unexpected
from monai_dental.web.job import Answer, Task
from monai_dental.web.thread import LastingThread

URGENT, SOON, LATER = range(3)
"""Priorities: the user is waiting; the user has asked; everything else."""


_ENDED = "the server has stopped"


class DeedError(MonaiDentalError):
    """A task failed; the message is for the page."""


@dataclass
class _Waiting:
    task: Task
    urgency: int
    number: int
    future: asyncio.Future[Answer]
    began: Callable[[], None] | None = field(default=None, repr=False)


class Line:
    """One worker process and its queue of tasks; the limits are those of one task."""

    def __init__(self, job: Job, limits: Limits) -> None:
        self._job, self._limits = job, limits
        self._waiting: list[_Waiting] = []
        self._current: _Waiting | None = None
        self._numbers = itertools.count()
        self._news = asyncio.Event()
        self._thread = LastingThread()
        self._made: asyncio.Future[LocalWorker] | None = None
        self._runner: asyncio.Task[None] | None = None
        self._broken: str | None = None

    async def start(self) -> None:
        """Start the process, and wait until it has loaded its model.

        Raises:
            MonaiDentalError: The process cannot do its job at all.
        """
        self._made = self._thread.call(LocalWorker, self._job, self._limits)
        worker = await asyncio.shield(self._made)
        try:
            await self._thread.call(worker.describe)
        except MonaiDentalError as error:
            self._broken = str(error)
            for each in self._waiting:
                each.future.set_exception(DeedError(self._broken))
            raise
        self._runner = asyncio.create_task(self._run(worker))

    async def do(
        self, task: Task, urgency: int = SOON, began: Callable[[], None] | None = None
    ) -> Answer:
        """Run a task and return its result.

        Args:
            task: The task.
            urgency: `URGENT`, `SOON` or `LATER`.
            began: Called when the process starts the task.

        Raises:
            DeedError: The task failed.
        """
        if self._broken is not None:
            raise DeedError(self._broken)
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(task, urgency, next(self._numbers), future, began))
        self._news.set()
        return await future

    def hasten(self, path: Path) -> None:
        """Make the waiting tasks of a file urgent."""
        for each in self._waiting:
            if each.task.path == path:
                each.urgency = URGENT

    async def stop(self) -> None:
        """End the process, even if it is busy; whoever waits for a task gets an error."""
        self._broken = _ENDED
        if self._runner is not None:
            self._runner.cancel()
        for each in (self._current, *self._waiting):
            if each is not None and not each.future.done():
                each.future.set_exception(DeedError(_ENDED))
        if self._made is not None:  # a process that is still starting must end too
            worker = None
            with contextlib.suppress(Exception):  # `start` has raised it
                worker = await self._made
            if worker is not None:
                await asyncio.to_thread(worker.stop)

    async def _run(self, worker: LocalWorker) -> None:
        while True:
            while not self._waiting:
                self._news.clear()
                await self._news.wait()
            next_one = min(self._waiting, key=lambda each: (each.urgency, each.number))
            self._current = next_one
            self._waiting.remove(next_one)
            if next_one.future.cancelled():
                continue
            if next_one.began is not None:
                next_one.began()
            try:
                result = await self._thread.call(_do, worker, next_one.task)
            except MonaiDentalError as error:
                result = Result("failed", str(error))
            except Exception as error:  # noqa: BLE001 - continue with the next task
                result = Result("failed", unexpected(error))
            if next_one.future.cancelled():
                continue
            if isinstance(result, Answer):
                next_one.future.set_result(result)
            else:
                next_one.future.set_exception(DeedError(result.reason))


def _do(worker: LocalWorker, task: Task) -> Result:
    future = worker.submit(task, "")
    concurrent.futures.wait([future])
    return worker.collect(future)
