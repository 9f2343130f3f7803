"""What a node says and counts: lines for people, numbers for Prometheus; never patient data."""

from __future__ import annotations

import logging
import threading
from collections import Counter

from monai_dental.process.terminal import printable

LOG = logging.getLogger("monai_dental.node")

COUNTERS = {
    "received": "Instances taken and on the disk",
    "known": "Instances that had been taken before",
    "refused": "Instances that were not taken",
    "rejected": "Associations and connections that were not taken",
    "broken": "Associations that broke off",
    "derived": "Instances denoised",
    "skipped": "Instances that the rules do not ask for",
    "failed": "Instances that could not be denoised or forwarded",
    "forwarded": "Derived instances proven to have arrived",
    "retries": "Attempts to forward that did not succeed",
}
"""What is counted, and its description."""


class Counts:
    """Numbers since the node started, for any number of threads."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def add(self, name: str) -> None:
        """Count one more of `COUNTERS`."""
        with self._lock:
            self._counts[name] += 1

    def values(self) -> dict[str, int]:
        """All of them."""
        with self._lock:
            return {name: self._counts[name] for name in COUNTERS}


def say(level: int, text: str) -> None:
    """Say one line.

    Args:
        level: One of `logging`'s.
        text: The line; what would break it is told in escapes.
    """
    LOG.log(level, printable(text))
