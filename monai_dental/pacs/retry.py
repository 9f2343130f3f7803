"""How long one goes on with a PACS that does not answer just now."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


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
