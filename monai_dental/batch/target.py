"""Where results go to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from monai_dental.radiograph import Radiograph

if TYPE_CHECKING:
    from pydicom import Dataset

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


@dataclass(frozen=True)
class StoredObject:
    """A derived instance as a target holds it.

    Attributes:
        location: Where: for a folder the path below it.
        sop_instance_uid: Its SOP Instance UID.
        digest: SHA-256 of its bytes.
        stamp: Changes whenever the target's copy is touched; "" where the target has no such thing.
    """

    location: str
    sop_instance_uid: str
    digest: str
    stamp: str


class ObjectTarget(Protocol):
    """Takes derived instances, and can be asked later whether it still holds them.

    It is made in the process that runs the batch, and sent to each worker: it survives pickling.
    """

    def prepare(self) -> None:
        """Check, before the first instance, that it can be used; called in one process alone.

        Raises:
            MonaiDentalError: It cannot.
        """

    def close(self) -> None:
        """Let go of what `prepare` and `find` took; called in that process."""

    def store(self, derived: Dataset) -> StoredObject:
        """Store an instance, whole or not at all; the same one again changes nothing.

        Args:
            derived: The instance, with file meta information.

        Returns:
            What the target holds, once it is safe there.

        Raises:
            OutputError: The target takes no more: the run cannot go on.
            CorruptImageError: The instance cannot be written.
        """

    def find(self, stored: StoredObject) -> StoredObject | None:
        """What the target holds of an instance that it took.

        Args:
            stored: As `store` returned it.

        Returns:
            The same with its present stamp; None where the instance is gone or is another one.
        """
