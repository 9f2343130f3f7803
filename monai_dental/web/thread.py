"""A thread for blocking calls that lasts as long as the server."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

_Value = TypeVar("_Value")


class LastingThread:
    """Calls functions in turn in a separate thread, for asyncio.

    A worker process ends with the thread that started it, so the thread must outlive it. The thread
    is a daemon, so a call that never returns does not keep the server from ending.
    """

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        threading.Thread(target=self._run, daemon=True).start()

    def call(self, function: Callable[..., _Value], *arguments: Any) -> asyncio.Future[_Value]:
        """Return a future for the result or exception of a function."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_Value] = loop.create_future()

        def tell(value: _Value | None, error: BaseException | None) -> None:
            if future.cancelled():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(value)  # type: ignore[arg-type]

        def run() -> None:
            value, error = None, None
            try:
                value = function(*arguments)
            except Exception as caught:  # noqa: BLE001 - passed on by the future
                error = caught
            with contextlib.suppress(RuntimeError):  # the loop has ended: nothing awaits it
                loop.call_soon_threadsafe(tell, value, error)

        self._calls.put(run)
        return future

    def _run(self) -> None:
        while True:
            self._calls.get()()
