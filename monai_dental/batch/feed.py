"""What workers do next: tasks whose files are at hand, and the fetching of those that are not."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from monai_dental.batch.source import Instance, InstanceSource, RemoteSource
from monai_dental.errors import MonaiDentalError, OutputError, unforeseen


@dataclass(frozen=True)
class Task:
    """A file to do.

    Attributes:
        instance: The file.
        known: As of `Engine.run`.
        attempt: How often it has been begun, this time included.
    """

    instance: Instance
    known: str
    attempt: int = 1


class Feed:
    """The tasks that are left.

    Args:
        source: Where their instances come from.
        tasks: The tasks, in the order in which they are begun.

    Attributes:
        ready: Those whose files are at hand.
        fetching: Those whose files are being fetched.
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
        """Return how many are not begun."""
        return len(self.ready) + len(self.fetching) + len(self._waiting)

    def fill(self) -> None:
        """Begin to fetch, as far as there is room."""
        source = self._source
        while source and self._waiting and len(self.fetching) < source.fetchers:
            # Here, not in the thread that fetches: others would find the same room meanwhile.
            if not source.reserve(self._waiting[0].instance):
                break
            task = self._waiting.popleft()
            self.fetching[self._threads.submit(source.fetch, task.instance)] = task

    def collect(self, future: Future[None]) -> tuple[Task, str]:
        """What came of fetching a file.

        Args:
            future: One of `fetching`; done.

        Returns:
            The task, and why its file cannot be had; "" where it is ready now.

        Raises:
            OutputError: The source or the disk gives no more: the run cannot go on.
        """
        task = self.fetching.pop(future)
        try:
            future.result()
        except OutputError:
            raise
        except MonaiDentalError as error:
            return task, str(error)
        except Exception as error:  # noqa: BLE001 - its text could quote patient data
            return task, unforeseen(error)
        self.ready.append(task)
        return task, ""

    def release(self, task: Task) -> None:
        """Let go of a file, whose outcome is recorded."""
        if self._source is not None:
            self._source.release(task.instance)

    def close(self) -> None:
        """Fetch nothing more; waits for what is being fetched."""
        if self._source is not None:
            self._threads.shutdown(cancel_futures=True)
