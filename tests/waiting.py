"""Wait for another thread or process, but never forever."""

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
    """Return the first true result of `check`; fail if there is none.

    Files and other processes send no event that is available on every system.

    Args:
        check: Function to call repeatedly.
        process: A process whose earlier end stops the waiting.
        timeout_s: Time limit, after which the test fails.
    """
    deadline = time.monotonic() + timeout_s
    while not (found := check()):
        assert process is None or process.poll() is None, "the process ended before"
        assert time.monotonic() < deadline, f"not after {timeout_s:g} s"
        time.sleep(0.01)
    return found
