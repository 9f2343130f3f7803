"""All manifests of an output folder, read as one."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from monai_dental.batch.record.manifest import OUTCOMES, Manifest, Row
from monai_dental.batch.record.shard import Shard, missing_shards, shards_in
from monai_dental.errors import OutputError


class Manifests:
    """The record of a batch, whole or in shards.

    Args:
        folder: The output folder.

    Attributes:
        is_hashed: Whether rows hold digests instead of paths.

    Raises:
        OutputError: There is no manifest, one cannot be read, or only some of them were made with
            digests of paths.
    """

    def __init__(self, folder: Path) -> None:
        try:
            shards = shards_in(folder, ".sqlite")
        except OSError:
            shards = []
        with ExitStack() as stack:
            self._manifests: dict[Shard, Manifest] = {}
            for shard in shards or [Shard()]:
                manifest = Manifest(folder, shard=shard)
                stack.callback(manifest.close)
                self._manifests[shard] = manifest
            self._first = next(iter(self._manifests.values()))
            self.is_hashed = self._first.is_hashed
            if any(each.is_hashed != self.is_hashed for each in self._manifests.values()):
                raise OutputError(
                    f"{folder}: only some of the shards ran with --hash-paths; need all shards "
                    "of a folder with it or all without"
                )
            self._close = stack.pop_all().close

    def close(self) -> None:
        """Close all manifests."""
        self._close()

    def key(self, name: Path) -> str:
        """Return the name of a file in the manifests; see `Manifest.key`."""
        return self._first.key(name)

    @property
    def source(self) -> Path | None:
        """The input folder of a run, or None if the manifests keep paths secret."""
        return next((each.source for each in self._manifests.values() if each.source), None)

    @property
    def missing(self) -> list[Shard]:
        """The shards that have not begun, whose files are not in the manifests yet."""
        begun = [shard for shard, each in self._manifests.items() if each.is_planned]
        return missing_shards(begun) if begun else list(self._manifests)

    def rows(self) -> Iterator[Row]:
        """Yield all rows, ordered by name, each once.

        A file has two equal rows if a run was killed while it took over rows of another.
        """
        last = None
        rows = heapq.merge(*(e.rows() for e in self._manifests.values()), key=lambda row: row.name)
        for row in rows:
            if row.name != last:
                yield row
            last = row.name

    def superseded(self) -> list[str]:
        """Return outputs that others replaced; see `Manifest.superseded`."""
        return sorted({o for each in self._manifests.values() for o in each.superseded()})

    def counts(self) -> dict[str, int]:
        """Return the number of rows of each outcome."""
        found = Counter(row.outcome for row in self.rows())
        return {outcome: found[outcome] for outcome in OUTCOMES}
