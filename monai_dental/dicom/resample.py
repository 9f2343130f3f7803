"""Adaptation of a header to a pixel matrix of another size."""

from __future__ import annotations

from pydicom import Dataset
from pydicom.tag import BaseTag

from monai_dental.dicom.elements import element, put
from monai_dental.errors import UnsupportedImageError

_SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
_POSITIONS = ("ImagePositionPatient", "PlanePositionSequence")
_REGIONS = (0x0018, 0x1600, 0x1622), (0x0018, 0x1700, 0x1720)  # display shutter, collimator


def resample_header(header: Dataset, shape: tuple[int, int], new_shape: tuple[int, int]) -> None:
    """Adapt a header, in place, to other rows and columns over the same field of view.

    Spacings are scaled. Elements in pixels of the old matrix are dropped: overlays, shutter,
    collimator outline, pixel aspect ratio.

    Raises:
        UnsupportedImageError: The image has patient coordinates (CT), which cannot be adapted.
    """
    factors = [old / new for old, new in zip(shape, new_shape, strict=True)]
    _scale_spacings(header, factors)
    for tag in list(header.keys()):
        if _is_in_pixels(tag):
            del header[tag]
    header.pop("PixelAspectRatio", None)
    put(header, "Rows", new_shape[0])
    put(header, "Columns", new_shape[1])


def _scale_spacings(dataset: Dataset, factors: list[float]) -> None:
    for keyword in _POSITIONS:
        if keyword in dataset:
            raise UnsupportedImageError(
                f"{element(keyword)} is present; an image with patient coordinates can only "
                "be denoised at its own size (native)"
            )
    for keyword in _SPACINGS:
        if dataset.get(keyword):
            scaled = [float(v) * f for v, f in zip(dataset[keyword].value, factors, strict=True)]
            put(dataset, keyword, [f"{value:.8g}" for value in scaled])
    for keyword in (
        "SharedFunctionalGroupsSequence",
        "PerFrameFunctionalGroupsSequence",
        "PixelMeasuresSequence",
    ):
        for item in dataset.get(keyword) or ():
            _scale_spacings(item, factors)


def _is_in_pixels(tag: BaseTag) -> bool:
    is_overlay = 0x6000 <= tag.group <= 0x60FF
    return is_overlay or any(
        tag.group == group and first <= tag.element <= last for group, first, last in _REGIONS
    )
