"""The work of the page's worker processes: one action on one file at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monai_dental.batch.job import Result
from monai_dental.batch.source import Instance

if TYPE_CHECKING:
    from monai_dental.dicom.derive import Derivation
    from monai_dental.web.engine import PageEngine

THUMBNAIL, BEFORE, AFTER, FULL, NOISE = (
    "thumbnail.png", "before.bin", "after.bin", "full.bin", "noise.bin",
)  # fmt: skip
"""Files in an image's folder: thumbnail PNG; grey values before and after; the network's result;
the noise map."""


@dataclass(frozen=True)
class Task(Instance):
    """One action on one file.

    Attributes:
        deed: The action: the name of a method of `PageEngine`.
        folder: The image's folder, for the files that the action makes.
        strength: Fraction of the correction to apply, 0 to 1.
        derivation: How the network's result was made, at any strength.
        frame: Index of the frame to measure, from 0.
        others: Tasks whose results the report shows.
        language: Tag of the report's language.
    """

    deed: str = "inspect"
    folder: Path = Path()
    strength: float = 1.0
    derivation: Derivation | None = None
    frame: int = 0
    others: tuple[Task, ...] = ()
    language: str = "en"


@dataclass(frozen=True)
class Answer(Result):
    """Result of an action.

    Attributes:
        info: Data for the page, JSON.
        derivation: How the network's result was made.
    """

    info: dict[str, Any] = field(default_factory=dict)
    derivation: Derivation | None = None


@dataclass(frozen=True)
class PageJob:
    """The page's work with one bundle.

    Attributes:
        bundle: The bundle's folder; None for a worker that only reads and writes files.
        device: See `Denoiser`.
        backend: See `Denoiser`.
    """

    bundle: Path | None
    device: str | None = None
    backend: str = "torch"

    def open(self) -> PageEngine:
        """Load the model, if there is one; see `Job.open`."""
        from monai_dental.web.engine import PageEngine

        if self.bundle is None:
            return PageEngine()
        from monai_dental.inference.denoiser import Denoiser

        return PageEngine(Denoiser(self.bundle, device=self.device, backend=self.backend))
