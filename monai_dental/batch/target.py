"""Targets for results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from monai_dental.radiograph import Radiograph

if TYPE_CHECKING:
    from pydicom import Dataset

    from monai_dental.dicom.derive import Derivation


class InstanceTarget(Protocol):
    """A target that stores results one after another."""

    def store(self, radiograph: Radiograph, name: Path, derivation: Derivation) -> None:
        """Store one result completely or not at all.

        Args:
            radiograph: The denoised radiograph.
            name: Path of its source below the source's root.
            derivation: How it was made.

        Raises:
            MonaiDentalError: It could not be stored.
        """


@dataclass(frozen=True)
class StoredObject:
    """A derived instance in a target.

    Attributes:
        location: Location in the target: for a folder, the path below it.
        sop_instance_uid: Its SOP Instance UID.
        digest: SHA-256 of its bytes.
        stamp: Changes whenever the target's copy is touched; "" if the target has no stamps.
    """

    location: str
    sop_instance_uid: str
    digest: str
    stamp: str


class ObjectTarget(Protocol):
    """A target that stores derived instances, and can check later whether it still holds them.

    It is made in the process that runs the batch and sent to each worker: it must be picklable.
    """

    def prepare(self) -> None:
        """Check, before the first instance, that it can be used; called in one process only.

        Raises:
            MonaiDentalError: It cannot be used.
        """

    def close(self) -> None:
        """Release the resources of `prepare` and `find`; called in the same process."""

    def store(self, derived: Dataset) -> StoredObject:
        """Store an instance completely or not at all; storing it again changes nothing.

        Args:
            derived: The instance, with file meta information.

        Returns:
            The stored instance, once it is safe in the target.

        Raises:
            OutputError: The target cannot be written any more: the run cannot go on.
            CorruptImageError: The instance cannot be written.
        """

    def find(self, stored: StoredObject) -> StoredObject | None:
        """Find an instance that was stored.

        Args:
            stored: As returned by `store`.

        Returns:
            The same with its current stamp, or None if the instance is gone or has changed.
        """
