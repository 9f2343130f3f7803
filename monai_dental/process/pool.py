"""Worker processes that end when their caller does."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any


@contextmanager
def process_pool(
    workers: int, initializer: Callable[..., object] | None = None, *arguments: Any
) -> Iterator[ProcessPoolExecutor]:
    """Give a pool of spawned processes, which any exception ends at once, an interrupt among them.

    Python's own waits for what runs and for some of what is queued, which may be minutes. Spawned,
    not forked, as torch's threads do not survive a fork.

    Args:
        workers: How many processes.
        initializer: What each runs first.
        arguments: Its arguments.
    """
    others = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, _start, (initializer, arguments))
    is_done = False
    try:
        yield pool
        is_done = True
    finally:
        if not is_done:
            for process in set(multiprocessing.active_children()) - others:
                process.terminate()
        pool.shutdown(cancel_futures=True)


def _start(initializer: Callable[..., object] | None, arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the caller, who ends us
    if initializer is not None:
        initializer(*arguments)
