"""Sources of instances."""

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
        path: The file.
        name: Its path below the source, which the result keeps.
        mask: An image of the pixels to leave unchanged, if any.
        result: Its result's path below the target; None if the result keeps the name.
        sop_instance_uid: Its SOP Instance UID, if known before the file is read.
        stamp: Changes whenever the instance does; None to use the stamp of the file.
    """

    path: Path
    name: Path
    mask: Path | None = None
    result: Path | None = None
    sop_instance_uid: str = ""
    stamp: str | None = None

    def read(self) -> Radiograph:
        """Read it; raises the errors of `monai_dental.formats.read_radiograph`."""
        return read_radiograph(self.path)


class InstanceSource(Protocol):
    """An iterable of instances whose number is known in advance."""

    def __len__(self) -> int:
        """Return the number of instances."""

    def __iter__(self) -> Iterator[Instance]:
        """Return the instances, in a fixed order."""


class ListedSource:
    """A source whose instances are in `_instances`, in its order."""

    _instances: list[Instance]

    def __len__(self) -> int:
        return len(self._instances)

    def __iter__(self) -> Iterator[Instance]:
        return iter(self._instances)


@runtime_checkable
class RemoteSource(InstanceSource, Protocol):
    """A source of remote instances: a file exists from `fetch` to `release`."""

    @property
    def fetchers(self) -> int:
        """Maximum number of threads that fetch at the same time."""

    def prepare(self, spool: Path) -> None:
        """Prepare a folder, before the first instance is listed.

        Args:
            spool: Where files go; its content is removed. Its parent exists.

        Raises:
            OutputError: It cannot be written.
        """

    def close(self) -> None:
        """Remove the folder and close connections; nothing may be fetched after that."""

    def reserve(self, instance: Instance) -> bool:
        """Reserve disk space for an instance of any size until its release.

        Returns:
            Whether there is enough space.
        """

    def fetch(self, instance: Instance) -> None:
        """Fetch an instance, for which space is reserved, to its path; called by several threads.

        Raises:
            PacsUnavailableError: The source does not answer: the run cannot go on.
            OutputError: The disk cannot be written any more: the run cannot go on.
            MonaiDentalError: This instance cannot be fetched.
        """

    def release(self, instance: Instance) -> None:
        """Remove the file of an instance whose outcome is recorded, and free its disk space."""
