"""Sets of clean images for scoring: unchanged, at half size, or simulated."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from monai_dental.benchmark.noises import NOISES, WEAK_NOISES, Noise
from monai_dental.errors import DatasetError
from monai_dental.files.outputs import prepare_output_folder
from monai_dental.formats import read_radiograph
from monai_dental.formats.opencv import write_png
from monai_dental.phantom import simulate_exposure

REFERENCES = ("images", "half", "clean", "phantoms")
"""Published images unchanged, the same at half size, noise-free images (such as downscaled
photographs), and phantoms."""

PHANTOMS = range(11000, 11024)
"""No bundle was trained on phantoms from number 10000 on."""

_VIEWS = ("periapical", "bitewing")
_SIZE = (512, 512)


def noises_for(references: str) -> tuple[Noise, ...]:
    """Return the noises to add to a set, including weak noise if its images are noise-free.

    Args:
        references: One of `REFERENCES`.
    """
    return NOISES if references == "images" else WEAK_NOISES + NOISES


def prepare_references(
    references: str, paths: Sequence[Path], folder: Path, *, phantoms: Sequence[int] = PHANTOMS
) -> list[Path]:
    """Return the images of a set; write generated ones unless they exist.

    Args:
        references: One of `REFERENCES`.
        paths: Images; empty for phantoms.
        folder: Folder for generated images, 16-bit PNG.
        phantoms: Numbers of the phantoms.

    Raises:
        DatasetError: An image has several frames.
        MonaiDentalError: An image cannot be read.
        OutputError: A file cannot be written.
    """
    if references in ("images", "clean"):
        return list(paths)
    prepare_output_folder(folder, overwrite=True)
    made = []
    names = [path.name for path in paths]
    for number, path in enumerate(paths):
        # Images in different folders may share a name.
        name = path.stem if names.count(path.name) == 1 else f"{number:04d} {path.stem}"
        target = folder / f"{name}.png"
        if not target.is_file():
            write_png(target, _halved(path))
        made.append(target)
    for index in phantoms if references == "phantoms" else ():
        target = folder / f"phantom {index}.png"
        if not target.is_file():
            view = _VIEWS[index % len(_VIEWS)]
            exposure = simulate_exposure(index, size=_SIZE, view=view, bits_stored=16)
            write_png(target, np.float32(exposure.clean) / np.float32(65535))
        made.append(target)
    return made


def _halved(path: Path) -> NDArray[np.float32]:
    """Return an image at half size by averaging 2 × 2 pixels; drop an odd last row or column."""
    pixels = read_radiograph(path).pixels
    if pixels.ndim != 2:
        raise DatasetError(f"{path}: has shape {pixels.shape}; need one frame")
    rows, columns = (side // 2 for side in pixels.shape)
    even = pixels[: 2 * rows, : 2 * columns].reshape(rows, 2, columns, 2)
    return np.asarray(even.mean(axis=(1, 3), dtype=np.float64), np.float32)
