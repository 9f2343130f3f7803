"""The number of threads of torch."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_count = 0  # of callers that are within `one_thread`
_before = 1


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit torch to one thread, for many small steps in which threads mostly wait for each other.

    On a busy machine the estimate of noise takes twenty times as long with two threads. Several
    callers may be inside at once: each one that leaves restores the number from before the first.
    """
    import torch

    global _count, _before
    with _lock:
        if _count == 0:
            _before = torch.get_num_threads()
        _count += 1
        torch.set_num_threads(1)
    try:
        yield
    finally:
        with _lock:
            _count -= 1
            torch.set_num_threads(_before)
