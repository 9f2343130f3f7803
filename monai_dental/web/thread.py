"""A thread that lasts as long as the server, for what blocks."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

_Value = TypeVar("_Value")


class LastingThread:
    """Calls functions one after another in a thread of their own, for asyncio.

    A worker process ends with the thread that started it, so that thread must not end before. And a
    call that never returns must not keep the server from ending: the thread is a daemon.
    """

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        threading.Thread(target=self._run, daemon=True).start()

    def call(self, function: Callable[..., _Value], *arguments: Any) -> asyncio.Future[_Value]:
        """Return a future of what a function returns or raises."""
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
            except Exception as caught:  # noqa: BLE001 - told to whoever awaits the future
                error = caught
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody awaits it
                loop.call_soon_threadsafe(tell, value, error)

        self._calls.put(run)
        return future

    def _run(self) -> None:
        while True:
            self._calls.get()()
