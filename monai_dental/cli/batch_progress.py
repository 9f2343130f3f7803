"""Progress of a batch: a bar on a terminal, otherwise a line of text each minute."""

from __future__ import annotations

import sys
import time
from collections import Counter
from typing import TextIO

from tqdm import tqdm

_INTERVAL_S = 60.0


class Progress:
    """Progress of a batch, with rate and time left.

    Args:
        total: Number of files to process.
        stream: Stream to write to; default stderr.
        interval_s: Seconds between two lines if the stream is not a terminal.
    """

    def __init__(
        self, total: int, stream: TextIO | None = None, interval_s: float = _INTERVAL_S
    ) -> None:
        self._stream = stream or sys.stderr
        self._total, self._interval_s = total, interval_s
        self._counts: Counter[str] = Counter()
        self._begun = self._told = time.monotonic()
        self._bar = (
            tqdm(desc="denoising", total=total, unit="file", file=self._stream)
            if self._stream.isatty()
            else None
        )

    def update(self, outcome: str) -> None:
        """Count a file, and write a line if one is due."""
        self._counts[outcome] += 1
        if self._bar is not None:
            self._bar.update()
        elif time.monotonic() - self._told >= self._interval_s:
            self._told = time.monotonic()
            self._stream.write(f"{self.line()}\n")
            self._stream.flush()

    def write(self, line: str, file: TextIO) -> None:
        """Write a line without disturbing the bar."""
        if self._bar is not None:
            self._bar.write(line, file=file)
        else:
            file.write(f"{line}\n")

    def close(self) -> None:
        """End the bar."""
        if self._bar is not None:
            self._bar.close()

    def line(self) -> str:
        """Return the progress as one line."""
        done = sum(self._counts.values())
        rate = done / max(time.monotonic() - self._begun, 1e-9)
        left = (self._total - done) / rate if rate else 0.0
        counts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(self._counts.items()))
        return f"{done} of {self._total}: {counts}; {rate:.1f} files/s, {_duration(left)} left"


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
