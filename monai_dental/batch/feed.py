"""The queue of tasks for the workers, and the fetching of files that are not local."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from monai_dental.batch.source import Instance, InstanceSource, RemoteSource
from monai_dental.errors import MonaiDentalError, OutputError, unexpected


@dataclass(frozen=True)
class Task:
    """A file to do.

    Attributes:
        instance: The file.
        known: As in `Engine.run`.
        attempt: Number of attempts, including this one.
    """

    instance: Instance
    known: str
    attempt: int = 1


class Feed:
    """The tasks that are left.

    Args:
        source: Where their instances come from.
        tasks: The tasks, in the order in which they start.

    Attributes:
        ready: Tasks whose files are local.
        fetching: Tasks whose files are being fetched.
    """

    def __init__(self, source: InstanceSource, tasks: Iterable[Task]) -> None:
        self.ready: deque[Task] = deque()
        self.fetching: dict[Future[None], Task] = {}
        self._waiting: deque[Task] = deque()
        self._source = source if isinstance(source, RemoteSource) else None
        if self._source is None:
            self.ready.extend(tasks)
            return
        self._waiting.extend(tasks)
        self._threads = ThreadPoolExecutor(self._source.fetchers, thread_name_prefix="fetch")

    def __len__(self) -> int:
        """Return the number of tasks that have not started."""
        return len(self.ready) + len(self.fetching) + len(self._waiting)

    def fill(self) -> None:
        """Start fetching, as far as there is room."""
        source = self._source
        while source and self._waiting and len(self.fetching) < source.fetchers:
            # Here, not in the fetching thread: others would count the same room in the meantime.
            if not source.reserve(self._waiting[0].instance):
                break
            task = self._waiting.popleft()
            self.fetching[self._threads.submit(source.fetch, task.instance)] = task

    def collect(self, future: Future[None]) -> tuple[Task, str]:
        """Collect the result of fetching a file.

        Args:
            future: One of `fetching`; done.

        Returns:
            The task, and why its file could not be fetched; "" if it is ready.

        Raises:
            OutputError: The source or the disk cannot be used any more: the run cannot go on.
        """
        task = self.fetching.pop(future)
        try:
            future.result()
        except OutputError:
            raise
        except MonaiDentalError as error:
            return task, str(error)
        except Exception as error:  # noqa: BLE001 - its text could quote patient data
            return task, unexpected(error)
        self.ready.append(task)
        return task, ""

    def release(self, task: Task) -> None:
        """Release a file whose outcome is recorded."""
        if self._source is not None:
            self._source.release(task.instance)

    def close(self) -> None:
        """Stop fetching, and wait for fetches that are running."""
        if self._source is not None:
            self._threads.shutdown(cancel_futures=True)
