"""Log lines and counters (for Prometheus) of a node, without patient data."""

from __future__ import annotations

import logging
import sys
import threading
from collections import Counter
from typing import Any

from monai_dental.errors import unexpected
from monai_dental.process.terminal import printable

LOG = logging.getLogger("monai_dental.node")

COUNTERS = {
    "received": "Instances received and on the disk",
    "known": "Instances that had been received before",
    "refused": "Instances that were refused",
    "rejected": "Associations and connections that were rejected",
    "broken": "Associations that broke off",
    "derived": "Instances denoised",
    "skipped": "Instances that the selection rules do not select",
    "failed": "Instances that could not be denoised or forwarded",
    "forwarded": "Derived instances proven to have arrived",
    "retries": "Failed attempts to forward",
}
"""Names of the counters, and their descriptions."""


class Counts:
    """Counters since the node started; safe to use from several threads."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._of_archives: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    def add(self, name: str, archive: str = "") -> None:
        """Increment one of `COUNTERS`, and that of an archive if one is given."""
        with self._lock:
            self._counts[name] += 1
            if archive:
                self._of_archives[name, archive] += 1

    def of_archive(self, name: str, archive: str) -> int:
        """Return a counter of an archive."""
        with self._lock:
            return self._of_archives[name, archive]

    def values(self) -> dict[str, int]:
        """Return all counters."""
        with self._lock:
            return {name: self._counts[name] for name in COUNTERS}


def say(level: int, text: str) -> None:
    """Log one line, at a level of `logging`; control characters are escaped."""
    LOG.log(level, printable(text))


class LoggedErrors:
    """A `socketserver` that logs the kind and place, but not the text, of connections' errors."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log an error that ended a connection."""
        error = sys.exc_info()[1]
        reason = "an error" if error is None else unexpected(error)
        say(logging.WARNING, f"peer {client_address[0]}: {reason}; connection closed")
