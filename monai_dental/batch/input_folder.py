"""All files below a folder, each of them, whatever it is called."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from monai_dental.batch.masks import find_masks
from monai_dental.batch.source import Instance
from monai_dental.errors import DatasetError


class InventorySource:
    """Every file below a folder; hidden ones and links to files too.

    Args:
        folder: The folder.
        excluded: A folder whose files are passed over: the output, where it lies in the input.
        masks: A folder of masks; see `find_masks`. Passed over likewise.

    Attributes:
        folder: The folder.

    Raises:
        DatasetError: There is no such folder, it lies in `excluded`, or a folder in it cannot be
            read: files that are not seen would not be accounted for.
    """

    def __init__(self, folder: Path, excluded: Path, masks: Path | None = None) -> None:
        if not folder.is_dir():
            raise DatasetError(f"{folder}: no such folder")
        if folder.resolve().is_relative_to(excluded.resolve()):
            raise DatasetError(f"{folder}: lies in the output folder; need another output folder")
        self.folder = folder
        seen = {os.path.realpath(each) for each in (folder, excluded, masks) if each is not None}
        self._instances: list[Instance] = []
        for place, folders, names in os.walk(folder, onerror=_fail, followlinks=True):
            folders[:] = [name for name in folders if _is_new(os.path.join(place, name), seen)]
            for name in names:
                path = Path(place, name)
                self._instances.append(Instance(path, path.relative_to(folder)))
        self._instances.sort(key=lambda instance: instance.name.as_posix())
        if masks is not None:
            found = find_masks(masks, self._instances)
            self._instances = [replace(each, mask=found.get(each.name)) for each in self._instances]

    def __len__(self) -> int:
        """Return the number of files."""
        return len(self._instances)

    def __iter__(self) -> Iterator[Instance]:
        """Return the files in the order of their names."""
        return iter(self._instances)


def _is_new(folder: str, seen: set[str]) -> bool:
    place = os.path.realpath(folder)
    if place in seen:
        return False
    seen.add(place)
    return True


def _fail(error: OSError) -> None:
    raise DatasetError(f"{error.filename}: cannot read this folder: {error.strerror}") from error
