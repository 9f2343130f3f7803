"""The entry of one image in a report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from monai_dental.report.compare import Figures


@dataclass(frozen=True)
class Entry:
    """One image of a report.

    Attributes:
        path: The original.
        number: Its number in the report, from 1.
        page: The number of its page, from 1.
        name: Its name in the report: its path below the source, or a digest of that.
        figures: Its figures; None if it could not be compared.
        reason: Why it could not be compared, in English; None if it was.
        notes: Notes for a reader of the figures, in English.
    """

    path: Path
    number: int
    page: int
    name: str
    figures: Figures | None = None
    reason: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def lacks_reference(self) -> bool:
        """Whether it was compared without a reference."""
        return self.figures is not None and self.figures.psnr_after is None
