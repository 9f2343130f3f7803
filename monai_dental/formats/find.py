"""Find the images in a folder."""

from __future__ import annotations

import os
import re
from pathlib import Path

from monai_dental.errors import DatasetError
from monai_dental.formats.registry import SUFFIXES, is_supported_name


def natural_key(path: Path) -> list[tuple[int, str]]:
    """Return a sort key by which `2.png` comes before `10.png`."""
    parts = re.split(r"(\d+)", str(path))
    return [(int(part), "") if part.isdecimal() else (0, part) for part in parts]


def find_images(folder: Path) -> list[Path]:
    """Find the files in a folder and its subfolders whose names may be those of images.

    Args:
        folder: The folder. Hidden files and folders, and DICOMDIRs, are passed over; a linked
            folder is searched once.

    Returns:
        Paths in natural order (1, 2, … 10), at least one.

    Raises:
        DatasetError: There is no such folder, no such file in it, or a folder in it cannot be
            read: none is passed over in silence.
    """
    wanted = f"{', '.join(SUFFIXES)} or DICOM files without an ending"
    if not folder.is_dir():
        found = "a file" if folder.exists() else "nothing"
        raise DatasetError(f"{folder}: need a folder of images ({wanted}), found {found}")
    paths = []
    seen = {os.path.realpath(folder)}
    for place, folders, names in os.walk(folder, onerror=_fail, followlinks=True):
        folders[:] = [name for name in folders if _is_new(Path(place, name), seen)]
        files = (Path(place, name) for name in names)
        # A link to nothing is listed: to read it fails, and says so.
        paths += [p for p in files if is_supported_name(p) and (p.is_file() or p.is_symlink())]
    if not paths:
        raise DatasetError(f"{folder}: no images in this folder; looked for {wanted}")
    return sorted(paths, key=natural_key)


def _is_new(folder: Path, seen: set[str]) -> bool:
    """Return whether a folder is to be searched, and note that it was."""
    place = os.path.realpath(folder)
    if folder.name.startswith(".") or place in seen:
        return False
    seen.add(place)
    return True


def _fail(error: OSError) -> None:
    raise DatasetError(f"{error.filename}: cannot read this folder: {error.strerror}") from error
