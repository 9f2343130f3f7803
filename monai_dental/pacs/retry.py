"""When to try again: pauses between attempts, and failures that tell a PACS from an instance."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from monai_dental.errors import PacsError, PacsUnavailableError

_FAULTS = 5


@dataclass(frozen=True)
class Patience:
    """Attempts with growing pauses between them.

    Attributes:
        attempts: How often a thing is tried.
        first_pause_s: Seconds before the second attempt; each later pause is twice as long.
        longest_pause_s: Seconds that no pause exceeds.
    """

    attempts: int = 8
    first_pause_s: float = 1.0
    longest_pause_s: float = 30.0

    def pauses(self) -> Iterator[float]:
        """Seconds to wait before each attempt, the first of them 0."""
        yield 0.0
        for number in range(self.attempts - 1):
            yield min(self.first_pause_s * 2**number, self.longest_pause_s)


BRIEF = Patience(attempts=3, first_pause_s=0.2)
"""For the question whether a PACS is there at all."""


class FaultError(PacsError):
    """The PACS failed of itself, or of this very instance: one failure does not tell which."""


class Streak:
    """The instances that a PACS failed with since it succeeded; for any number of threads."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._lock = threading.Lock()

    @contextmanager
    def watch(self, name: str) -> Iterator[None]:
        """Watch what is done with an instance.

        Args:
            name: The instance; the same one counts once.

        Raises:
            PacsUnavailableError: The PACS failed, as with four others since it succeeded.
        """
        try:
            yield
        except FaultError as error:
            with self._lock:
                if len(self._names) < _FAULTS:
                    self._names.add(name)
                count = len(self._names)
            if count == _FAULTS:
                text = f"{error}; so with {_FAULTS} instances on end"
                raise PacsUnavailableError(text) from None
            raise
        with self._lock:
            self._names.clear()
