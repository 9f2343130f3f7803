"""How large an image may be."""

from __future__ import annotations

import math
from collections.abc import Sequence

from monai_dental.errors import CorruptImageError, UnsupportedImageError

MAX_PIXELS = 2**28
"""Most pixels, of all frames together, that are decoded: 1 GiB as float32. A forged header would
otherwise ask for any amount of memory; the largest panoramic radiographs have 2**23 pixels."""


def check_size(name: str, shape: Sequence[int]) -> None:
    """Check the size that a file's header tells, before anything is decoded.

    Args:
        name: How messages name the image.
        shape: Frames (if any), rows and columns.

    Raises:
        CorruptImageError: The image is empty.
        UnsupportedImageError: The image has more than `MAX_PIXELS` pixels.
    """
    size = " x ".join(str(int(extent)) for extent in shape)
    if any(extent < 1 for extent in shape):
        raise CorruptImageError(f"{name}: the image is empty ({size} pixels)")
    if math.prod(shape) > MAX_PIXELS:
        raise UnsupportedImageError(f"{name}: {size} pixels; need at most {MAX_PIXELS} in all")
