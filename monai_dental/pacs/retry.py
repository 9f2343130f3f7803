"""When to try again: pauses between attempts, and failures that tell a PACS from an instance."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from monai_dental.errors import PacsError, PacsUnavailableError

_FAULTS = 5
_T = TypeVar("_T")


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

    def persist(self, action: Callable[[], _T], is_worth_it: Callable[[BaseException], bool]) -> _T:
        """Do something, and again where it fails.

        Args:
            action: What to do.
            is_worth_it: Whether to try again after an error; asked once for each.

        Returns:
            What the action returns.

        Raises:
            BaseException: What the action raised to the last.
        """
        from tenacity import Retrying, retry_if_exception

        retry: Any = retry_if_exception(is_worth_it)
        return Retrying(retry=retry, reraise=True, **self._pauses())(action)

    def until(self, check: Callable[[], bool]) -> bool:
        """Ask until the answer is yes; whether it was."""
        from tenacity import Retrying, retry_if_result

        retry: Any = retry_if_result(lambda answer: not answer)
        retrying = Retrying(retry=retry, retry_error_callback=lambda _: False, **self._pauses())
        return bool(retrying(check))

    def _pauses(self) -> dict[str, Any]:
        from tenacity import stop_after_attempt, wait_exponential

        return {
            "stop": stop_after_attempt(self.attempts),
            "wait": wait_exponential(self.first_pause_s, max=self.longest_pause_s),
        }


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
