"""Read an original and its result on the same scale: equal pixels are equal stored values."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from monai_dental.batch.source import Instance
from monai_dental.errors import DatasetError, MonaiDentalError, without_path
from monai_dental.formats import read_radiograph
from monai_dental.radiograph import PixelArray, Radiograph, StoredArray
from monai_dental.viewer.pixels import describe, grey_values


@dataclass(frozen=True, eq=False)
class Pair:
    """One frame of an original and of its result.

    Attributes:
        original: The original, (H, W).
        denoised: The result, the same shape.
        greys: Both as grey values (`viewer.pixels.grey_values`) on the original's scale.
        info: Properties of the original for the viewer (`viewer.pixels.describe`).
        reference: The image without noise, the same shape, or None.
        notes: Notes for a reader of the figures, in English, without file names or a full stop.
    """

    original: PixelArray = field(repr=False)
    denoised: PixelArray = field(repr=False)
    greys: tuple[StoredArray, StoredArray] = field(repr=False)
    info: dict[str, Any]
    reference: PixelArray | None = field(default=None, repr=False)
    notes: tuple[str, ...] = ()


def read_pair(instance: Instance, denoised_dir: Path, reference_dir: Path | None = None) -> Pair:
    """Read an original, its result, and its reference if there is one.

    Of several frames, the middle one is used. A reference that is missing or does not fit is left
    out, with a note.

    Args:
        instance: The original, its name in the other folders, and its result's name if that
            differs.
        denoised_dir: Folder of the results.
        reference_dir: Folder of clean images.

    Raises:
        MonaiDentalError: The original or the result is missing, unreadable, or does not fit. The
            message contains no path.
    """
    notes: list[str] = []
    original = _read(instance.path, "original", notes)
    denoised = _read(denoised_dir / (instance.result or instance.name), "result", notes)
    _check_shape(denoised, original, "result")
    if not is_same_scale(denoised, original):
        notes.append("the result stores its values differently: each is shown on its own scale")
    if original.frames > 1:
        notes.append(f"frame {original.frames // 2 + 1} of {original.frames}: the middle one")
    reference = None
    if reference_dir is not None:
        try:
            clean = _read(reference_dir / instance.name, "reference", notes)
            _check_shape(clean, original, "reference")
            reference = _middle_frame(clean, original)
        except MonaiDentalError as error:
            notes.append(f"no PSNR and SSIM: {error}")
    return Pair(
        _middle_frame(original, original),
        _middle_frame(denoised, original),
        _grey_frames(original, denoised),
        describe(original),
        reference,
        tuple(notes),
    )


def is_same_scale(radiograph: Radiograph, original: Radiograph) -> bool:
    """Return whether the stored values of two radiographs have the same meaning."""
    one, other = radiograph.encoding, original.encoding
    return (
        (one.dtype, one.bits_stored, one.zero > one.one, one.table)
        == (other.dtype, other.bits_stored, other.zero > other.one, other.table)
    ) and radiograph.image_format == original.image_format


def _middle_frame(radiograph: Radiograph, original: Radiograph) -> PixelArray:
    """Return the middle frame on the original's scale, as some formats have a range per file."""
    values, stored = radiograph.pixels, radiograph.stored
    if stored is not None and stored.shape == values.shape and is_same_scale(radiograph, original):
        frame = original.encoding.decode(stored if stored.ndim == 2 else stored[len(stored) // 2])
    else:
        frame = values if values.ndim == 2 else values[len(values) // 2]
    return np.array(frame, np.float32, order="C")  # a copy, to free the other frames


def _grey_frames(original: Radiograph, denoised: Radiograph) -> tuple[StoredArray, StoredArray]:
    """Return the middle frames as grey values on the original's scale."""
    if not is_same_scale(denoised, original):
        denoised = original.with_pixels(denoised.pixels)
    before, after = (grey_values(each)[original.frames // 2] for each in (original, denoised))
    return before, after


def _read(path: Path, role: str, notes: list[str]) -> Radiograph:
    """Read a file, adding the reader's warnings, such as colour, to the notes."""
    if not path.is_file():
        raise DatasetError(f"there is no {role} of this name")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            radiograph = read_radiograph(path)
        except MonaiDentalError as error:
            raise type(error)(f"{role}: {without_path(error, path)}") from error
    own = (str(each.message) for each in caught)
    notes += [f"{role}: {without_path(text, path)}" for text in own if text.startswith(f"{path}: ")]
    return radiograph


def _check_shape(radiograph: Radiograph, original: Radiograph, role: str) -> None:
    if radiograph.pixels.shape != original.pixels.shape:
        found, wanted = (" x ".join(map(str, each.pixels.shape)) for each in (radiograph, original))
        raise DatasetError(f"{role}: {found} pixels, where the original has {wanted}")
