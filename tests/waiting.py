"""Waiting for what another thread or process does, but never for ever."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")


def wait_until(
    check: Callable[[], _T],
    process: subprocess.Popen[str] | subprocess.Popen[bytes] | None = None,
    *,
    timeout_s: float = 300.0,
) -> _T:
    """Return what `check` returns once that is true; fail where it never is.

    Files and processes of others send no event that every system has.

    Args:
        check: Asked again and again.
        process: Its end before ends the waiting.
        timeout_s: How long; then the test fails.
    """
    deadline = time.monotonic() + timeout_s
    while not (found := check()):
        assert process is None or process.poll() is None, "the process ended before"
        assert time.monotonic() < deadline, f"not after {timeout_s:g} s"
        time.sleep(0.01)
    return found
