"""What a report says of one image."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from monai_dental.report.compare import Figures


@dataclass(frozen=True)
class Entry:
    """One image of a report.

    Attributes:
        path: The original.
        number: Its place in the report, from 1.
        page: The page that it is on, from 1.
        name: How the report calls it: its path below the source, or a digest of that.
        figures: Its figures; None where it could not be compared.
        reason: Why it could not be compared; None where it could.
        notes: What a reader of the figures should know.
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
        """Whether it could be compared, but with no reference."""
        return self.figures is not None and self.figures.psnr_after is None

    def with_figures(self, figures: Figures, notes: tuple[str, ...]) -> Entry:
        """The entry of an image that could be compared."""
        return replace(self, figures=figures, notes=notes)

    def with_reason(self, reason: str) -> Entry:
        """The entry of an image that could not be compared."""
        return replace(self, reason=reason)
