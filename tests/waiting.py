"""Waiting for what another thread or process does, but never for ever."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")
_PAUSE_S = 0.01


def wait_until(check: Callable[[], _T], seconds: float = 60.0) -> _T:
    """Return what `check` returns once that is true.

    Args:
        check: Asked again and again.
        seconds: How long; then the test fails.
    """
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not (found := check()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:g} s in vain")
        pause.wait(_PAUSE_S)
    return found
