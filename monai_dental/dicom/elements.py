"""Reading and checking of the elements that describe Pixel Data.

Elements are named by their keywords. Every function that takes a dataset is called within
`quiet_pydicom`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pydicom import Dataset, Sequence
from pydicom.datadict import dictionary_description, tag_for_keyword
from pydicom.multival import MultiValue

from monai_dental.dicom.quiet import PYDICOM_ERRORS, VALUE_ERRORS
from monai_dental.errors import CorruptImageError, UnsupportedImageError

_GRAYSCALE = ("MONOCHROME1", "MONOCHROME2")
COLOUR_SPACES = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT")
"""Photometric interpretations with three samples whose pixels may still be grey."""

_ONLY_OF_COLOUR = ("PlanarConfiguration", "ICCProfile", "ColorSpace")
_CODE_STRING = re.compile(r"(MONOCHROME|RGB|YBR|PALETTE|HSV|ARGB|CMYK|XYB)[A-Z0-9_ ]{0,12}")


@dataclass(frozen=True)
class ImagePixel:
    """The Image Pixel Module (PS3.3 C.7.6.3) of an image, as far as decoding needs it.

    Attributes:
        samples: Samples per Pixel: 1, or 3 for an image that may still be grey.
        is_planar: Whether the samples are stored plane by plane.
        notes: Values that were interpreted differently from what the dataset says.
    """

    frames: int
    rows: int
    columns: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    is_signed: bool
    photometric_interpretation: str
    samples: int = 1
    is_planar: bool = False
    notes: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int, int]:
        """(frames, rows, columns)."""
        return self.frames, self.rows, self.columns

    @property
    def shift(self) -> int:
        """Number of unused bits of a pixel cell below the stored value."""
        return self.high_bit + 1 - self.bits_stored

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the stored values, in native byte order."""
        return np.dtype(f"{'i' if self.is_signed else 'u'}{self.bits_allocated // 8}")


def element(keyword: str) -> str:
    """Return an element's name for messages: `(gggg,eeee) Name`."""
    tag = tag_for_keyword(keyword) or 0
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X}) {dictionary_description(tag)}"


def integer(dataset: Dataset, keyword: str, default: int | None = None) -> int:
    """Return the value of an integer element, or the default if it is absent or empty.

    Raises:
        CorruptImageError: The element is missing and has no default, or is not a single integer.
    """
    broken = CorruptImageError(f"{element(keyword)} is not an integer")
    try:
        value = dataset.get(keyword)
    except PYDICOM_ERRORS:
        raise broken from None
    if value is None or value == "":
        if default is not None:
            return default
        raise CorruptImageError(f"{element(keyword)} is missing")
    try:
        return int(value)
    except VALUE_ERRORS:
        raise broken from None


def texts(dataset: Dataset, keyword: str) -> list[str]:
    """Return an element's values as text; none if it is absent, empty or broken."""
    try:
        value = dataset.get(keyword)
    except PYDICOM_ERRORS:
        return []
    if value is None or value == "":
        return []
    return [str(each) for each in (value if isinstance(value, (MultiValue, list)) else [value])]


def items(dataset: Dataset, keyword: str) -> list[Dataset]:
    """Return the items of a sequence; none if it is absent, empty, broken or not a sequence."""
    try:
        value = dataset.get(keyword)
    except PYDICOM_ERRORS:
        return []
    return list(value) if isinstance(value, Sequence) else []


def read_image_pixel(dataset: Dataset) -> ImagePixel:
    """Read and check the Image Pixel Module of a dataset with pixel data.

    Returns:
        The module's values, consistent with each other. As in other readers, Number of Frames 0 is
        taken as 1, and the High Bit of whole cells as their uppermost bit; both are noted.

    Raises:
        UnsupportedImageError: The image is neither greyscale nor RGB or YBR in three channels, or
            not of 8 or 16 bits allocated.
        CorruptImageError: An element is missing or contradicts another.
    """
    photometric, samples = _read_photometric(dataset)
    allocated = integer(dataset, "BitsAllocated")
    if allocated not in (8, 16):
        raise UnsupportedImageError(f"{element('BitsAllocated')} is {allocated}; need 8 or 16")
    stored = integer(dataset, "BitsStored", allocated)
    if not 1 <= stored <= allocated:
        raise CorruptImageError(f"{element('BitsStored')} is {stored}; need 1 to {allocated}")
    high_bit = integer(dataset, "HighBit", stored - 1)
    notes = []
    if stored == allocated != high_bit + 1:  # only one is possible
        notes.append(f"{element('HighBit')} is {high_bit}, taken as {stored - 1}")
        high_bit = stored - 1
    if not stored - 1 <= high_bit < allocated:
        raise CorruptImageError(
            f"{element('HighBit')} is {high_bit}; need {stored - 1} to {allocated - 1}"
        )
    sign = integer(dataset, "PixelRepresentation", 0)
    if sign not in (0, 1):
        raise CorruptImageError(f"{element('PixelRepresentation')} is {sign}; need 0 or 1")
    if sign and stored == 1:
        raise UnsupportedImageError(f"{element('BitsStored')} is 1 and signed; need 2 or more")
    frames = integer(dataset, "NumberOfFrames", 1)
    if frames == 0:
        notes.append(f"{element('NumberOfFrames')} is 0, taken as 1")
    return ImagePixel(
        frames=frames or 1,
        rows=integer(dataset, "Rows"),
        columns=integer(dataset, "Columns"),
        bits_allocated=allocated,
        bits_stored=stored,
        high_bit=high_bit,
        is_signed=bool(sign),
        photometric_interpretation=photometric,
        samples=samples,
        is_planar=samples > 1 and integer(dataset, "PlanarConfiguration", 0) == 1,
        notes=tuple(notes),
    )


def as_grey(image_pixel: ImagePixel) -> ImagePixel:
    """Return the Image Pixel Module of an image after its conversion to one grey channel.

    Returns:
        The same for a one-channel image; otherwise MONOCHROME2 with one sample, and a note.
    """
    if image_pixel.samples == 1:
        return image_pixel
    note = (
        f"three channels of {image_pixel.photometric_interpretation} without colour, taken as grey"
    )
    return replace(
        image_pixel,
        photometric_interpretation="MONOCHROME2",
        samples=1,
        is_planar=False,
        notes=(*image_pixel.notes, note),
    )


def _read_photometric(dataset: Dataset) -> tuple[str, int]:
    """Read Photometric Interpretation and Samples per Pixel, which depend on each other."""
    photometric = " ".join(texts(dataset, "PhotometricInterpretation")).strip()
    samples = integer(dataset, "SamplesPerPixel", 1)
    if samples == 3 and photometric in COLOUR_SPACES:
        return photometric, samples
    if photometric not in _GRAYSCALE:
        # Only terms of the standard are quoted: a broken file may hold a patient's name here.
        found = f"is '{photometric}'" if _CODE_STRING.fullmatch(photometric) else "is not known"
        if not photometric:
            raise CorruptImageError(f"{element('PhotometricInterpretation')} is missing")
        raise UnsupportedImageError(
            f"{element('PhotometricInterpretation')} {found}; need MONOCHROME1 or MONOCHROME2"
        )
    if samples != 1:
        raise CorruptImageError(f"{element('SamplesPerPixel')} is {samples}; need 1")
    return photometric, samples


def read_spacing(dataset: Dataset) -> tuple[tuple[float, float] | None, str | None]:
    """Read the distance between pixel centres, and find which element gives it.

    Pixel Spacing comes first: if Imager Pixel Spacing is present too, Pixel Spacing is the
    corrected or calibrated value (PS3.3 10.7.1.1).

    Returns:
        (row, column) spacing in mm and the keyword; (None, None) if no element gives a positive
        spacing.
    """
    shared = items(dataset, "SharedFunctionalGroupsSequence")
    measures = items(shared[0], "PixelMeasuresSequence") if shared else []
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        for holder in (dataset, *measures):
            try:
                row, column = (float(value) for value in texts(holder, keyword))
            except ValueError:
                continue
            if np.isfinite([row, column]).all() and min(row, column) > 0:
                return (row, column), keyword
    return None, None


def rescale_slopes(dataset: Dataset) -> list[float]:
    """Return all rescale slopes of an instance: its own, and those of its functional groups.

    Raises:
        CorruptImageError: A slope is zero or not a number.
    """
    holders = [dataset]
    for keyword in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for group in items(dataset, keyword):
            holders += items(group, "PixelValueTransformationSequence")
    slopes = []
    for holder in holders:
        try:
            value = holder.get("RescaleSlope")
        except PYDICOM_ERRORS:
            value = b""
        if value is None or value == "":
            continue
        try:
            slopes.append(float(value))
        except VALUE_ERRORS:
            raise CorruptImageError(f"{element('RescaleSlope')} is not a number") from None
    if not np.isfinite(slopes).all() or 0.0 in slopes:
        raise CorruptImageError(f"{element('RescaleSlope')} is zero or not finite")
    return slopes


def write_image_pixel(dataset: Dataset, image_pixel: ImagePixel) -> None:
    """Write the Image Pixel Module, as it was interpreted, into a dataset, in place.

    Only elements that are absent or differ are set.
    """
    values = {
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": image_pixel.photometric_interpretation,
        "BitsAllocated": image_pixel.bits_allocated,
        "BitsStored": image_pixel.bits_stored,
        "HighBit": image_pixel.high_bit,
        "PixelRepresentation": int(image_pixel.is_signed),
    }
    if "NumberOfFrames" in dataset:
        values["NumberOfFrames"] = image_pixel.frames
    for keyword in _ONLY_OF_COLOUR:
        dataset.pop(keyword, None)
    for keyword, value in values.items():
        if texts(dataset, keyword) != [str(value)]:
            put(dataset, keyword, value)


def put(dataset: Dataset, keyword: str, value: Any) -> None:
    """Replace an element, in place, with the value representation of the standard.

    Plain assignment would keep the source's value representation, right or wrong.
    """
    dataset.pop(keyword, None)
    setattr(dataset, keyword, value)
