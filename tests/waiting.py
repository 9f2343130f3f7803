"""Waiting for what another process does."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable


def wait_until(
    condition: Callable[[], object],
    process: subprocess.Popen[str] | subprocess.Popen[bytes] | None = None,
    *,
    timeout_s: float = 300.0,
) -> None:
    """Look again and again; fail where it does not come, or where `process` ends before.

    Files and processes of others send no event that every system has.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert process is None or process.poll() is None, "the process ended before"
        assert time.monotonic() < deadline, f"not after {timeout_s:g} s"
        time.sleep(0.01)
