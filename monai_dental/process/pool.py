"""Worker processes that end when their caller does."""

from __future__ import annotations

import ctypes
import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from pebble import ProcessPool

_PR_SET_PDEATHSIG = 1


@contextmanager
def process_pool(
    workers: int, initializer: Callable[..., object] | None = None, *arguments: Any
) -> Iterator[ProcessPool]:
    """Give a pool of spawned processes, which any exception ends at once, an interrupt among them.

    Spawned, not forked, as torch's threads do not survive a fork.

    Args:
        workers: How many processes.
        initializer: What each runs first.
        arguments: Its arguments.
    """
    pool = start_pool(workers, initializer, arguments)
    try:
        yield pool
        pool.close()  # type: ignore[no-untyped-call]
    except BaseException:
        pool.stop()  # type: ignore[no-untyped-call]
        raise
    finally:
        pool.join()


def start_pool(
    workers: int, initializer: Callable[..., object] | None, arguments: tuple[Any, ...]
) -> ProcessPool:
    """Start such a pool, which Ctrl-C passes by: it is for the caller to end it."""
    pool = ProcessPool(
        max_workers=workers,
        initializer=initializer,
        initargs=arguments,
        context=multiprocessing.get_context("spawn"),
    )
    with _without_interrupts():
        _ = pool.active  # starts threads and processes
    return pool


def end_with_parent() -> None:
    """Have the kernel end this process as soon as its parent has ended: on Linux."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Start threads and processes that do not get SIGINT."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
