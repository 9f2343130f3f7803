"""Image quality metrics for arrays; the engines use MONAI's handlers with the same formulas."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def psnr(
    denoised: NDArray[np.floating], reference: NDArray[np.floating], data_range: float
) -> float:
    """Return the peak signal-to-noise ratio, 20·log10(data_range) - 10·log10(MSE).

    Args:
        denoised: The image to score, any shape.
        reference: The reference image, same shape.
        data_range: Peak value: the nominal range of the images, never their own range.

    Returns:
        The ratio in decibels; infinite if the images are equal.

    Raises:
        ValueError: The shapes differ (they are never broadcast), or `data_range` is not positive.
    """
    if denoised.shape != reference.shape:
        raise ValueError(f"shapes {denoised.shape} and {reference.shape} differ")
    if data_range <= 0:
        raise ValueError(f"data_range must be positive, got {data_range}")
    error = float(np.mean(np.square(np.subtract(denoised, reference, dtype=np.float64))))
    return math.inf if error == 0 else 20 * math.log10(data_range) - 10 * math.log10(error)
