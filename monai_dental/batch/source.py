"""Where instances come from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

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
    """

    path: Path
    name: Path
    mask: Path | None = None
    result: Path | None = None

    def read(self) -> Radiograph:
        """Read it; errors as of `monai_dental.formats.read_radiograph`."""
        return read_radiograph(self.path)


class InstanceSource(Protocol):
    """Gives instances one after another; their number is known beforehand."""

    def __len__(self) -> int:
        """Return the number of instances."""

    def __iter__(self) -> Iterator[Instance]:
        """Return the instances, in a fixed order."""
