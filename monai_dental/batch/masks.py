"""Masks of pixels to leave unchanged: burned-in text, side markers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from monai_dental.batch.source import Instance
from monai_dental.errors import CorruptImageError, DatasetError, MonaiDentalError, without_path
from monai_dental.formats import read_radiograph

SUFFIX = ".png"
"""Suffix that a mask's name adds to the name of its file."""


def find_masks(folder: Path, instances: list[Instance]) -> dict[Path, Path]:
    """Find the mask of each file that has one.

    Args:
        folder: Folder of masks, in the tree of the files: `a/b.dcm.png` is the mask of `a/b.dcm`.
        instances: The files.

    Returns:
        The masks, by the name of the file.

    Raises:
        DatasetError: There is no such folder, or it has a mask without a file.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder}: no such folder")
    masks = {path.relative_to(folder).with_suffix(""): path for path in folder.rglob(f"*{SUFFIX}")}
    for name in sorted(masks.keys() - {instance.name for instance in instances}):
        raise DatasetError(f"{masks[name]}: a mask, but there is no input file {name}")
    return masks


def read_mask(path: Path, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Read a mask.

    Args:
        path: An image; pixels that are not black are left unchanged.
        shape: (rows, columns) of the file's pixels.

    Returns:
        True for pixels to leave unchanged, (rows, columns).

    Raises:
        CorruptImageError: The mask cannot be read, or has another size.
    """
    try:
        mask: NDArray[np.bool_] = read_radiograph(path).pixels > 0
    except MonaiDentalError as error:
        reason = without_path(error, path, "the mask")
        raise CorruptImageError(f"its mask cannot be used: {reason}") from error
    if mask.shape != shape:
        found, needed = (" x ".join(map(str, each)) for each in (mask.shape, shape))
        raise CorruptImageError(f"its mask has {found} pixels; need {needed}")
    return mask
