"""Linear filters as pure functions."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional


def low_pass(image: Tensor, sigma: float) -> Tensor:
    """Blur with a Gaussian; beyond the borders the edge pixel is repeated.

    MONAI's `GaussianSmooth` pads with zeros, which darkens the borders.

    Args:
        image: (..., H, W).
        sigma: Standard deviation of the Gaussian, in pixels.

    Returns:
        The blurred image, of the same shape.

    Raises:
        ValueError: `sigma` is not positive.
    """
    if sigma <= 0:
        raise ValueError(f"sigma must be positive, got {sigma}")
    radius = math.ceil(3 * sigma)
    offsets = torch.arange(-radius, radius + 1, dtype=image.dtype, device=image.device)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel /= kernel.sum()
    planes = image.reshape(-1, 1, *image.shape[-2:])
    padded = functional.pad(planes, [radius] * 4, mode="replicate")
    blurred = functional.conv2d(padded, kernel[None, None, :, None])
    return functional.conv2d(blurred, kernel[None, None, None, :]).reshape(image.shape)
