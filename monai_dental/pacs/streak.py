"""Whether an instance is at fault, or the PACS: it is when it fails with several on end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from monai_dental.errors import PacsError, PacsUnavailableError

_FAULTS = 5


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
