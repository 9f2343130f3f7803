"""Where instances come from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from monai_dental.formats import read_radiograph
from monai_dental.radiograph import Radiograph


@dataclass(frozen=True)
class Instance:
    """One file to denoise.

    Attributes:
        path: Where it is.
        name: Its path below the source, which the result keeps.
        mask: An image that says which pixels are left as they are, where there is one.
        result: Its result's path below the target; None where that keeps the name.
        sop_instance_uid: Its SOP Instance UID, where that is known before the file is read.
        stamp: Changes whenever the instance does; None where the file itself tells.
    """

    path: Path
    name: Path
    mask: Path | None = None
    result: Path | None = None
    sop_instance_uid: str = ""
    stamp: str | None = None

    def read(self) -> Radiograph:
        """Read it; errors as of `monai_dental.formats.read_radiograph`."""
        return read_radiograph(self.path)


class InstanceSource(Protocol):
    """Gives instances one after another; their number is known beforehand."""

    def __len__(self) -> int:
        """Return the number of instances."""

    def __iter__(self) -> Iterator[Instance]:
        """Return the instances, in a fixed order."""


@runtime_checkable
class RemoteSource(InstanceSource, Protocol):
    """Gives instances that are elsewhere: a file is there from its fetching to its release."""

    @property
    def fetchers(self) -> int:
        """How many threads may fetch at the same time."""

    def prepare(self, spool: Path) -> None:
        """Make a folder ready, before the first instance is named.

        Args:
            spool: Where files go; what it holds is removed. Its parent is there.

        Raises:
            OutputError: It cannot be written.
        """

    def close(self) -> None:
        """Remove the folder and end what is open; nothing is fetched any more."""

    def reserve(self, instance: Instance) -> bool:
        """Keep disk for an instance, however large, until its release.

        Returns:
            Whether there is so much.
        """

    def fetch(self, instance: Instance) -> None:
        """Bring an instance, for which disk is kept, to its path; called by several threads.

        Raises:
            PacsUnavailableError: The source does not answer: the run cannot go on.
            OutputError: The disk takes no more: the run cannot go on.
            MonaiDentalError: This instance cannot be had.
        """

    def release(self, instance: Instance) -> None:
        """Remove the file of an instance, whose outcome is recorded, and keep no disk for it."""
