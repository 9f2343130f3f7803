"""Search for images in a folder."""

from __future__ import annotations

import os
import re
from pathlib import Path

from monai_dental.errors import DatasetError
from monai_dental.formats.registry import SUFFIXES, is_supported_name


def natural_key(path: Path) -> list[tuple[int, str]]:
    """Return a sort key that puts `2.png` before `10.png`."""
    parts = re.split(r"(\d+)", str(path))
    return [(int(part), "") if part.isdecimal() else (0, part) for part in parts]


def find_images(folder: Path) -> list[Path]:
    """Find the files in a folder and its subfolders that may be images by their names.

    Args:
        folder: The folder. Hidden files and folders and DICOMDIRs are ignored; a linked folder is
            searched once.

    Returns:
        Paths in natural order (1, 2, … 10), at least one.

    Raises:
        DatasetError: There is no such folder, it has no such file, or one of its folders cannot be
            read.
    """
    wanted = f"{', '.join(SUFFIXES)} or DICOM files without a suffix"
    if not folder.is_dir():
        found = "a file" if folder.exists() else "nothing"
        raise DatasetError(f"{folder}: need a folder of images ({wanted}), found {found}")
    paths = []
    seen = {os.path.realpath(folder)}
    for place, folders, names in os.walk(folder, onerror=_fail, followlinks=True):
        folders[:] = [name for name in folders if _is_new(Path(place, name), seen)]
        files = (Path(place, name) for name in names)
        # A broken link is listed too, so that reading it reports an error.
        paths += [p for p in files if is_supported_name(p) and (p.is_file() or p.is_symlink())]
    if not paths:
        raise DatasetError(f"{folder}: no images in this folder; looked for {wanted}")
    return sorted(paths, key=natural_key)


def _is_new(folder: Path, seen: set[str]) -> bool:
    """Return whether a folder should be searched, and add it to those seen."""
    place = os.path.realpath(folder)
    if folder.name.startswith(".") or place in seen:
        return False
    seen.add(place)
    return True


def _fail(error: OSError) -> None:
    raise DatasetError(f"{error.filename}: cannot read this folder: {error.strerror}") from error
