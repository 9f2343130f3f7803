"""All files below a folder, whatever their names."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

from monai_dental.batch.masks import find_masks
from monai_dental.batch.source import Instance, ListedSource
from monai_dental.errors import DatasetError


class InventorySource(ListedSource):
    """Every file below a folder, by name, including hidden ones: each is accounted for.

    A folder that cannot be read is listed like a file, and so is a link to a folder that is not
    followed: each gets its own outcome.

    Args:
        folder: The folder.
        excluded: A folder whose files are ignored: the output, if it lies in the input.
        masks: A folder of masks; see `find_masks`. Its files are ignored too.
        patterns: Names of files and folders to ignore, with the wildcards "*" and "?"; a pattern
            with a "/" is compared with the whole path below `folder`.
        is_following_links: Whether to follow links to folders, wherever they lead.

    Raises:
        DatasetError: There is no such folder, it cannot be read, or it lies in `excluded`.
    """

    def __init__(
        self,
        folder: Path,
        excluded: Path,
        masks: Path | None = None,
        *,
        patterns: Sequence[str] = (),
        is_following_links: bool = False,
    ) -> None:
        if not folder.is_dir():
            what = "a file; need a folder" if folder.exists() else "no such folder"
            raise DatasetError(f"{folder}: {what}")
        if folder.resolve().is_relative_to(excluded.resolve()):
            raise DatasetError(f"{folder}: lies in the output folder; need another output folder")
        self.folder = folder
        self._patterns = [pattern.strip("/") for pattern in patterns]
        self._instances: list[Instance] = []
        seen = {os.path.realpath(each) for each in (folder, excluded, masks) if each is not None}
        for place, folders, names in os.walk(folder, onerror=self._note, followlinks=True):
            below = [name for name in folders if not self._is_excluded(Path(place, name))]
            folders[:] = []
            for name in below:
                if not is_following_links and os.path.islink(os.path.join(place, name)):
                    self._add(Path(place, name))
                elif (real := os.path.realpath(os.path.join(place, name))) not in seen:
                    seen.add(real)
                    folders.append(name)
            for path in (Path(place, name) for name in names):
                if not self._is_excluded(path):
                    self._add(path)
        self._instances.sort(key=lambda instance: instance.name.as_posix())
        if masks is not None:
            found = find_masks(masks, self._instances)
            self._instances = [replace(each, mask=found.get(each.name)) for each in self._instances]

    def _add(self, path: Path) -> None:
        self._instances.append(Instance(path, path.relative_to(self.folder)))

    def _note(self, error: OSError) -> None:
        """List a folder that cannot be read; raise an error if it is the input folder itself."""
        path = Path(error.filename)
        if path == self.folder:
            raise DatasetError(f"{path}: cannot read this folder: {error.strerror}") from error
        self._add(path)

    def _is_excluded(self, path: Path) -> bool:
        name = path.relative_to(self.folder).as_posix()
        return any(
            fnmatchcase(name if "/" in pattern else path.name, pattern)
            for pattern in self._patterns
        )
