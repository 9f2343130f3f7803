"""Whether a codestream and the header around it agree of what a pixel cell holds.

Where they do not, a decoder's values would be read as what they are not: a shade of grey as another
one, or as a negative number.
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
    """Pixel cells from what a decoder made of a frame.

    A lossy codec overshoots at edges: what goes beyond the stored bits is clipped (PS3.5 8.2.1).
    A lossless codestream of whole cells may have anything in their unused bits, as native cells do.

    Args:
        samples: Decoded samples, any shape.
        header: What the codestream tells of them.
        image_pixel: What the dataset tells of them.
        is_lossy: Whether the codestream is lossy.

    Returns:
        Cells, of the same shape, whose lower `high_bit + 1` bits hold the stored value.

    Raises:
        CorruptImageError: Codestream and dataset disagree, and the values show it.
    """
    bits, top = header.bits, image_pixel.high_bit + 1
    low, high = int(samples.min()), int(samples.max())
    is_whole_cell = bits == image_pixel.bits_allocated and not is_lossy
    if header.is_signed and not image_pixel.is_signed and low < 0:
        raise CorruptImageError(
            f"has a codestream with a sign, and values down to {low}; "
            f"{element('PixelRepresentation')} is 0, unsigned, and cannot be right"
        )
    if not header.is_signed and image_pixel.is_signed:
        if bits == top or is_whole_cell or high < 1 << (min(bits, top) - 1):
            return samples
        if bits < top:
            raise CorruptImageError(
                f"has a codestream of {bits} bits without a sign, {element('HighBit')} is "
                f"{top - 1} with one: whether its largest values are negative cannot be told"
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
    """The one channel of a picture that has three but is grey.

    Args:
        samples: (..., 3), not converted to another colour space.
        photometric_interpretation: Of the dataset. Codestreams are often in the other space: what
            has no chrominance is grey in either.
        is_lossy: Whether a step of rounding may lie between the channels.

    Returns:
        The grey channel, without the last axis.

    Raises:
        ColourImageError: The picture has colours.
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
            "channels differ; need grayscale"
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
