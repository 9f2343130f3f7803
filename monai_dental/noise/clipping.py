"""Levels at which an image is clipped."""

from __future__ import annotations

import numpy as np
from torch import Tensor


def clipped_levels(image: Tensor) -> list[float]:
    """Return the minimum and the maximum of an image, each only if the image is clipped there.

    A histogram falls off towards its ends, unless values beyond an end were clipped to it.
    """
    levels = []
    pixels = image.numpy()
    for find, beyond in ((np.min, np.inf), (np.max, -np.inf)):
        end = find(pixels)
        count = np.count_nonzero(pixels == end)
        if 8 <= count < pixels.size:
            next_end = find(pixels, where=pixels != end, initial=beyond)
            if count > 2 * np.count_nonzero(pixels == next_end):
                levels.append(float(end))
    return levels
