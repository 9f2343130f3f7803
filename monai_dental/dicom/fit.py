"""Agreement of a codestream and its dataset on the content of pixel cells.

If they disagree, the decoded values would be misread: as other shades of grey, or as negative
numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from monai_dental.dicom.codestream import CodestreamHeader
from monai_dental.dicom.elements import ImagePixel, element
from monai_dental.errors import ColourImageError, CorruptImageError

_Samples = NDArray[np.integer[Any]]


def fit_cells(
    samples: _Samples, header: CodestreamHeader, image_pixel: ImagePixel, *, is_lossy: bool
) -> _Samples:
    """Convert the decoded samples of a frame to pixel cells.

    Lossy codecs overshoot at edges: values beyond the stored bits are clipped (PS3.5 8.2.1). A
    lossless codestream of whole cells may have anything in their unused bits, as native cells do.

    Args:
        samples: Decoded samples, any shape.
        header: Header of the codestream.
        image_pixel: Image Pixel Module of the dataset.
        is_lossy: Whether the codestream is lossy.

    Returns:
        Cells of the same shape, whose lower `high_bit + 1` bits hold the stored value.

    Raises:
        CorruptImageError: Codestream and dataset disagree, and this affects the values.
    """
    bits, top = header.bits, image_pixel.high_bit + 1
    low, high = int(samples.min()), int(samples.max())
    is_whole_cell = bits == image_pixel.bits_allocated and not is_lossy
    if header.is_signed and not image_pixel.is_signed and low < 0:
        raise CorruptImageError(
            f"has a signed codestream with values down to {low}; "
            f"{element('PixelRepresentation')} is 0 (unsigned), which cannot be right"
        )
    if not header.is_signed and image_pixel.is_signed:
        if bits == top or is_whole_cell or high < 1 << (min(bits, top) - 1):
            return samples
        if bits < top:
            raise CorruptImageError(
                f"has an unsigned codestream of {bits} bits, but signed pixels with "
                f"{element('HighBit')} {top - 1}; cannot tell if its largest values are negative"
            )
        is_sign_extended = high >= 1 << min(bits - 1, top)
        if not is_sign_extended and (not is_lossy or high >= 3 << (top - 2)):
            return samples  # the sign is in the uppermost of the stored bits
        samples = samples.astype(np.int32)
        samples -= (samples >> (bits - 1)) << bits
    elif is_whole_cell and not header.is_signed:
        return samples
    return _clip(samples, top, image_pixel, is_lossy)


def to_grey(samples: _Samples, photometric_interpretation: str, *, is_lossy: bool) -> _Samples:
    """Return the single channel of a three-channel image that is grey.

    Args:
        samples: (..., 3), not converted to another colour space.
        photometric_interpretation: Of the dataset. Codestreams are often in another colour space
            than it says, so samples that are grey in either space count as grey.
        is_lossy: Whether the channels may differ by one rounding step.

    Returns:
        The grey channel, without the last axis.

    Raises:
        ColourImageError: The image has colours.
    """
    wide = samples.astype(np.int16 if samples.itemsize == 1 else np.int32)
    first, second, third = (wide[..., channel] for channel in range(3))
    tolerance = 1 if is_lossy else 0
    neutral = 1 << (8 * samples.itemsize - 1)
    spread = max(int(np.abs(second - first).max()), int(np.abs(third - first).max()))
    chroma = max(int(np.abs(second - neutral).max()), int(np.abs(third - neutral).max()))
    if spread > tolerance and chroma > tolerance:
        raise ColourImageError(
            f"{element('PhotometricInterpretation')} is '{photometric_interpretation}', and the "
            "channels differ; need greyscale"
        )
    return np.ascontiguousarray(samples[..., 1 if spread <= tolerance else 0])


def _clip(samples: _Samples, top: int, image_pixel: ImagePixel, is_lossy: bool) -> _Samples:
    lowest, highest = (-(1 << (top - 1)), (1 << (top - 1)) - 1)
    if not image_pixel.is_signed:
        lowest, highest = 0, (1 << top) - 1
    low, high = int(samples.min()), int(samples.max())
    if lowest <= low and high <= highest:
        return samples
    slack = (highest - lowest) // 2  # no codec overshoots by more
    if not is_lossy or low < lowest - slack or high > highest + slack:
        raise CorruptImageError(
            f"has a codestream with values from {low} to {high}; {element('HighBit')} is "
            f"{top - 1}, which allows {lowest} to {highest}"
        )
    return np.clip(samples, lowest, highest)
