"""Retries: pauses between attempts, and whether the PACS or an instance is at fault."""

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
        attempts: Maximum number of attempts.
        first_pause_s: Seconds before the second attempt; each later pause is twice as long.
        longest_pause_s: Maximum length of a pause, in seconds.
    """

    attempts: int = 8
    first_pause_s: float = 1.0
    longest_pause_s: float = 30.0

    def persist(self, action: Callable[[], _T], is_worth_it: Callable[[BaseException], bool]) -> _T:
        """Do something, and retry if it fails.

        Args:
            action: What to do.
            is_worth_it: Returns whether to retry after an error; called once for each error.

        Raises:
            BaseException: The error of the last attempt.
        """
        from tenacity import Retrying, retry_if_exception

        retry: Any = retry_if_exception(is_worth_it)
        return Retrying(retry=retry, reraise=True, **self._pauses())(action)

    def until(self, check: Callable[[], bool]) -> bool:
        """Repeat a check until it is true; return whether it became true."""
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
"""For checks whether a PACS can be reached at all."""


class FaultError(PacsError):
    """The PACS failed, by its own fault or the instance's: one failure does not show which."""


class Streak:
    """Instances with which a PACS failed since its last success; safe for several threads."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._lock = threading.Lock()

    @contextmanager
    def watch(self, name: str) -> Iterator[None]:
        """Watch the processing of an instance.

        Args:
            name: The instance; each counts once.

        Raises:
            PacsUnavailableError: The PACS failed, as with four others since its last success.
        """
        try:
            yield
        except FaultError as error:
            with self._lock:
                if len(self._names) < _FAULTS:
                    self._names.add(name)
                count = len(self._names)
            if count == _FAULTS:
                text = f"{error}; the same with {_FAULTS} instances in a row"
                raise PacsUnavailableError(text) from None
            raise
        with self._lock:
            self._names.clear()
