"""Folders of files as source and target."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from monai_dental.batch.source import Instance, ListedSource
from monai_dental.errors import DatasetError
from monai_dental.files.outputs import prepare_output_folder
from monai_dental.formats import write_radiograph
from monai_dental.formats.find import find_images
from monai_dental.radiograph import Radiograph

if TYPE_CHECKING:
    from monai_dental.dicom.derive import Derivation


class FolderSource(ListedSource):
    """The files given by the user, and all images in the folders given by the user.

    Their order is that of the inputs, and natural within a folder.

    Args:
        inputs: Files and folders.
        excluded: A folder whose files are ignored: the output, if it lies in an input.

    Raises:
        DatasetError: An input does not exist or lies in the output, a folder holds no images, or
            two files would get the same name in the output.
    """

    def __init__(self, inputs: Sequence[Path], excluded: Path | None = None) -> None:
        self._instances: list[Instance] = []
        for path in inputs:
            if _is_below(path, excluded):
                raise DatasetError(f"{path}: lies in the output folder; need another output folder")
            if path.is_dir():
                found = [Instance(file, file.relative_to(path)) for file in find_images(path)]
            elif path.is_file():
                found = [Instance(path, Path(path.name))]
            else:
                raise DatasetError(f"{path}: no such file or folder")
            self._instances += [item for item in found if not _is_below(item.path, excluded)]
        by_name: dict[Path, Instance] = {}
        for instance in self._instances:
            other = by_name.setdefault(instance.name, instance).path
            if other.resolve() != instance.path.resolve():
                raise DatasetError(
                    f"{instance.path} and {other}: both would be written as {instance.name}; "
                    "denoise them into two folders"
                )
        self._instances = list(by_name.values())


class FolderTarget:
    """A folder that keeps the names and the tree of the source.

    Args:
        folder: The folder; must exist.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def store(self, radiograph: Radiograph, name: Path, derivation: Derivation) -> None:
        """Write one file in the format of its source; see `InstanceTarget.store`."""
        path = self._folder / name
        prepare_output_folder(path.parent, overwrite=True)
        write_radiograph(radiograph, path, derivation=derivation)


def _is_below(path: Path, folder: Path | None) -> bool:
    return folder is not None and path.resolve().is_relative_to(folder.resolve())
