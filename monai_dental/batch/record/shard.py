"""Parts of a batch for parallel processes on one or several machines."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from monai_dental.batch.source import InstanceSource, ListedSource

_NAME = re.compile(r"(?:manifest|\.parts)(?:\.([1-9]\d*)-of-([1-9]\d*))?(?:\.sqlite|\.lock)?")


@dataclass(frozen=True, order=True)
class Shard:
    """One part of a batch; each file belongs to exactly one shard.

    A hash of the file's name, which is its path below the source, determines its shard. The name is
    known without opening the file and is the same on every machine. It is also the name in the
    manifest, so the name of a row determines its shard. With the SOP Instance UID each shard would
    have to read every file, and files that are not DICOM have none. If a source names instances by
    their UIDs, the UID determines the shard.

    Attributes:
        index: Index of the shard, from 1.
        count: Number of shards; with 1, the shard is the whole batch.

    Raises:
        ValueError: `index` is not from 1 to `count`.
    """

    index: int = 1
    count: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.count:
            raise ValueError(f"shard {self.index}/{self.count}: need an index from 1 to the count")

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    @property
    def manifest(self) -> str:
        """Name of its manifest."""
        return f"manifest{self._mark}.sqlite"

    @property
    def lock(self) -> str:
        """Name of its lock."""
        return f"manifest{self._mark}.lock"

    @property
    def parts(self) -> str:
        """Name of its folder of unfinished files."""
        return f".parts{self._mark}"

    @property
    def _mark(self) -> str:
        return "" if self.count == 1 else f".{self.index}-of-{self.count}"

    def holds(self, key: str) -> bool:
        """Return whether a file belongs to this shard, by its name in a manifest."""
        digest = hashlib.sha256(key.encode(errors="surrogateescape")).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.index - 1

    def overlaps(self, other: Shard) -> bool:
        """Return whether a file can belong to both this shard and another one.

        By the Chinese remainder theorem, that is if one number can have both remainders.
        """
        return (self.index - other.index) % math.gcd(self.count, other.count) == 0


class ShardSource(ListedSource):
    """The files of a source that belong to one shard, in its order.

    Args:
        source: All files.
        shard: The shard.
        key: Returns the name of a file in the manifest.
    """

    def __init__(self, source: InstanceSource, shard: Shard, key: Callable[[Path], str]) -> None:
        self._instances = [each for each in source if shard.holds(key(each.name))]


def shard_of_name(name: str) -> Shard | None:
    """Return the shard of a file or folder in an output folder, or None for results.

    Args:
        name: Name of a manifest, a lock, or a folder of unfinished files.
    """
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    index, count = (int(number or 1) for number in found.groups())
    return Shard(index, count) if index <= count else None


def shards_in(folder: Path, suffix: str = "") -> list[Shard]:
    """Return the shards with any file in an output folder, in order.

    Args:
        folder: The output folder.
        suffix: Consider only names with this suffix.

    Raises:
        OSError: The folder cannot be read.
    """
    names = [path.name for path in folder.iterdir() if path.name.endswith(suffix)]
    found = {shard for name in names if (shard := shard_of_name(name)) is not None}
    return sorted(found, key=lambda shard: (shard.count, shard.index))


def missing_shards(shards: list[Shard]) -> list[Shard]:
    """Return the shards missing from a complete batch; none if all of one count are there."""
    missing = [
        [each for index in range(count) if (each := Shard(index + 1, count)) not in shards]
        for count in sorted({shard.count for shard in shards})
    ]
    return min(missing, key=len, default=[])
