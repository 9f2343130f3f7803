"""The results of a batch, together with their sources."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

from monai_dental.batch.input_folder import InventorySource
from monai_dental.batch.record.manifest import DERIVED
from monai_dental.batch.record.manifests import Manifests
from monai_dental.batch.source import ListedSource
from monai_dental.errors import DatasetError


class BatchResults(ListedSource):
    """The files that a batch denoised, by name, each with the location of its result.

    Args:
        output: The batch's output folder.
        source: Its input folder; None for the one in the manifest.

    Attributes:
        is_hashed: Whether the batch keeps paths secret; code that shows its results should too.

    Raises:
        DatasetError: The input folder is not recorded or is gone, or nothing in it was denoised.
        OutputError: There is no manifest, or it cannot be read.
    """

    def __init__(self, output: Path, source: Path | None = None) -> None:
        with closing(Manifests(output)) as manifest:
            source = source or manifest.source
            if source is None:
                raise DatasetError(
                    f"{output}: does not name its input folder; give that folder too"
                )
            self.is_hashed = manifest.is_hashed
            results = {row.name: row.output for row in manifest.rows() if row.outcome == DERIVED}
            self._instances = [
                replace(each, result=Path(results[key]))
                for each in InventorySource(source, excluded=output, is_following_links=True)
                if (key := manifest.key(each.name)) in results
            ]
        if not self._instances:
            raise DatasetError(f"{output}: nothing in {source} was denoised into this folder")
