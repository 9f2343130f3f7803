"""The half of a node that denoises received instances, exactly as `monai-dental batch` does."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import wait
from pathlib import Path

from monai_dental.batch.job import Job, Recipe, Result
from monai_dental.batch.source import Instance
from monai_dental.batch.workers.local import LocalWorker
from monai_dental.batch.workers.protocol import Limits, Worker, WorkerLostError
from monai_dental.errors import MonaiDentalError, unexpected
from monai_dental.node.log import Counts, say
from monai_dental.node.queue import DERIVED, FAILED, SKIPPED, Queue, QueuedInstance
from monai_dental.node.spool import Spool

_ATTEMPTS = 2  # as for a batch
_PAUSE_S = 5.0
_LOOK_S = 1.0


class DenoisePool:
    """Worker processes, each with a thread that hands it one instance after another.

    Args:
        job: The processing of each instance; it stores into the spool's `derived`.
        limits: Limits for one instance.
        workers: Number of worker processes.
        spool: The spool that holds the instances.
        queue: The queue of instances.
        counts: The node's counters.
        route: Returns the destinations of a derived instance, given its source's sender and its
            file.
        pause_s: How long a worker pauses after an error of its own, in seconds.
    """

    def __init__(
        self,
        job: Job,
        limits: Limits,
        workers: int,
        *,
        spool: Spool,
        queue: Queue,
        counts: Counts,
        route: Callable[[str, Path], Sequence[str]] = lambda sender, path: ("",),
        pause_s: float = _PAUSE_S,
    ) -> None:
        self._pause_s, self._route = pause_s, route
        self._spool, self._queue, self._counts = spool, queue, counts
        self._taken: set[str] = set()
        self._pauses: dict[Worker, str] = {}
        self._changed = threading.Condition()
        self._stopped = threading.Event()
        self._pool: list[Worker] = []
        self._threads: list[threading.Thread] = []
        try:
            self._pool.append(LocalWorker(job, limits))
            self.recipe: Recipe = self._pool[0].describe()
            self._pool += [LocalWorker(job, limits) for _ in range(workers - 1)]
        except BaseException:
            self.stop()
            raise
        self._threads += [
            threading.Thread(target=self._serve, args=(worker,), daemon=True)
            for worker in self._pool
        ]

    @property
    def pauses(self) -> tuple[str, ...]:
        """Why workers pause, in words."""
        with self._changed:
            return tuple(sorted(set(self._pauses.values())))

    def start(self) -> None:
        """Start to denoise."""
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Wake the threads: there may be something to do."""
        with self._changed:
            self._changed.notify_all()

    def stop(self) -> None:
        """Stop the workers; instances that they have not finished remain in the queue."""
        self._stopped.set()
        self.wake()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()
        for worker in self._pool:
            worker.stop()

    def _serve(self, worker: Worker) -> None:
        while not self._stopped.is_set():
            queued: QueuedInstance | None = None
            try:
                queued = self._next()
                if queued is None:
                    continue
                result = self._denoise(worker, queued)
                if result is not None:
                    self._record(queued, result)
                with self._changed:
                    self._pauses.pop(worker, None)
            except MonaiDentalError as error:  # a full disk, a model that cannot be loaded again
                self._pause(worker, str(error))
            except Exception as error:  # noqa: BLE001 - its text could quote patient data
                self._pause(worker, unexpected(error))
            finally:
                if queued is not None:
                    with self._changed:
                        self._taken.discard(queued.key)

    def _pause(self, worker: Worker, reason: str) -> None:
        text = f"denoising pauses: {reason}"
        with self._changed:
            is_told = self._pauses.get(worker) == text
            self._pauses[worker] = text
        if not is_told:
            say(logging.ERROR, text)
        self._stopped.wait(self._pause_s)

    def _next(self) -> QueuedInstance | None:
        with self._changed:
            # A derived instance can be larger than its source. If the spool is full, wait until
            # derived ones are forwarded; if there are none, nothing else could free space.
            must_wait = self._spool.is_full and self._queue.counts()[DERIVED] > 0
            queued = None if must_wait else self._queue.next_received(self._taken)
            if queued is None:
                if not self._taken:  # nothing is left that could cause a pause
                    self._pauses.clear()
                self._changed.wait(_LOOK_S)
            else:
                self._taken.add(queued.key)
            return queued

    def _denoise(self, worker: Worker, queued: QueuedInstance) -> Result | None:
        """Denoise an instance; return None if the node stops first."""
        instance = Instance(self._spool.path(queued.key), Path(queued.key))
        for attempt in range(_ATTEMPTS):
            future = worker.submit(instance, "")
            while not wait([future], timeout=_LOOK_S / 4).done:
                if self._stopped.is_set():
                    return None
            try:
                return worker.collect(future)
            except WorkerLostError as error:
                if attempt == _ATTEMPTS - 1:
                    return Result(FAILED, f"{error}, {_ATTEMPTS} times")
        return None

    def _record(self, queued: QueuedInstance, result: Result) -> None:
        mark = self.recipe.mark(result.outcome)
        self._counts.add(result.outcome)
        if result.stored is not None:
            self._spool.note_derived(result.stored)
            path = self._spool.derived.path(result.stored.location)
            self._queue.derive(queued.key, mark, result.stored, self._route(queued.sender, path))
        elif result.outcome == SKIPPED:
            self._queue.finish(queued.key, SKIPPED, result.reason, mark)
        else:
            self._queue.finish(queued.key, FAILED, result.reason, mark)
            say(logging.ERROR, f"instance {queued.uid or queued.key}: failed: {result.reason}")
        if not self._queue.is_source_wanted(queued.key):
            self._spool.remove(queued.key)
