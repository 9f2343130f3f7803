"""Parts of a batch that processes on one machine or several do side by side."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from monai_dental.batch.source import Instance, InstanceSource

_NAME = re.compile(r"(?:manifest|\.parts)(?:\.([1-9]\d*)-of-([1-9]\d*))?(?:\.sqlite|\.lock)?")


@dataclass(frozen=True, order=True)
class Shard:
    """One of so many parts of a batch; each file belongs to just one of them.

    Which one is decided by a hash of the file's name, that is its path below the source: it is
    known without opening the file, the same on every machine, and what the manifest calls the file
    by, so that a row can be told from its name to be of a shard. The SOP Instance UID would cost a
    read of every file by every shard, and files that are no DICOM have none. Where a source names
    instances by their UIDs it is the UID that decides.

    Attributes:
        index: Which one, from 1.
        count: Of how many; the one shard of 1 is the whole batch.

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
        """Name of the folder of what it is writing."""
        return f".parts{self._mark}"

    @property
    def _mark(self) -> str:
        return "" if self.count == 1 else f".{self.index}-of-{self.count}"

    def holds(self, key: str) -> bool:
        """Whether a file is of this shard.

        Args:
            key: What a manifest calls the file.
        """
        digest = hashlib.sha256(key.encode(errors="surrogateescape")).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.index - 1

    def overlaps(self, other: Shard) -> bool:
        """Whether there can be files that are of this shard and of another one.

        That is where one number leaves both remainders, by the Chinese remainder theorem.
        """
        return (self.index - other.index) % math.gcd(self.count, other.count) == 0


class ShardSource:
    """The files of a source that are of one shard.

    Args:
        source: All files.
        shard: Which of them.
        key: What the manifest calls a file, by its name.
    """

    def __init__(self, source: InstanceSource, shard: Shard, key: Callable[[Path], str]) -> None:
        self._instances = [each for each in source if shard.holds(key(each.name))]

    def __len__(self) -> int:
        """Return the number of files."""
        return len(self._instances)

    def __iter__(self) -> Iterator[Instance]:
        """Return the files in the order of the source."""
        return iter(self._instances)


def shard_of_name(name: str) -> Shard | None:
    """The shard that a file or folder in an output folder belongs to; None for results.

    Args:
        name: Of a manifest, a lock, or a folder of what is being written.
    """
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    index, count = (int(number or 1) for number in found.groups())
    return Shard(index, count) if index <= count else None


def shards_in(folder: Path, suffix: str = "") -> list[Shard]:
    """The shards that have left anything in an output folder, in order.

    Args:
        folder: The output folder.
        suffix: Count only what ends so.

    Raises:
        OSError: The folder cannot be read.
    """
    names = [path.name for path in folder.iterdir() if path.name.endswith(suffix)]
    found = {shard for name in names if (shard := shard_of_name(name)) is not None}
    return sorted(found, key=lambda shard: (shard.count, shard.index))


def missing_shards(shards: list[Shard]) -> list[Shard]:
    """The shards that lack to make a batch whole; none where all of one count are there.

    Args:
        shards: Those that are there.
    """
    missing = [
        [each for index in range(count) if (each := Shard(index + 1, count)) not in shards]
        for count in sorted({shard.count for shard in shards})
    ]
    return min(missing, key=len, default=[])
