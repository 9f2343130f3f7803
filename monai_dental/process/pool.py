"""Worker processes that end with their caller."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
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
    """Yield a pool of spawned processes, which end at once on any exception or interrupt.

    Processes are spawned, not forked, since torch's threads do not survive a fork.

    Args:
        workers: Number of processes.
        initializer: Function that each process runs first.
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
    """Start a pool of spawned processes that ignore Ctrl-C: the caller must end it."""
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
    """End this process as soon as its parent has ended, even by SIGKILL.

    On Linux the kernel does it. A process that `multiprocessing` started also watches its parent,
    which may have ended before the kernel was asked.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent,), daemon=True).start()


def _end_after(process: multiprocessing.process.BaseProcess) -> None:
    process.join()
    os._exit(1)


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Block SIGINT for threads and processes started in this context."""
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or not hasattr(signal, "pthread_sigmask"):  # Windows has none
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
