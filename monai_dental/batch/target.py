"""Where results go to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from monai_dental.radiograph import Radiograph

if TYPE_CHECKING:
    from monai_dental.dicom.derive import Derivation


class InstanceTarget(Protocol):
    """Takes results one after another."""

    def store(self, radiograph: Radiograph, name: Path, derivation: Derivation) -> None:
        """Store one result, whole or not at all.

        Args:
            radiograph: The denoised radiograph.
            name: Path of its source below the source's root.
            derivation: How it was made.

        Raises:
            MonaiDentalError: It could not be stored.
        """
