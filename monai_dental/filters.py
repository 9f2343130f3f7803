"""Linear filters as pure functions."""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
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
    is_plain = image.dtype in (torch.float32, torch.float64) and not image.requires_grad
    if image.device.type == "cpu" and is_plain:
        return _low_pass_on_cpu(image, kernel)
    planes = image.reshape(-1, 1, *image.shape[-2:])
    padded = functional.pad(planes, [radius] * 4, mode="replicate")
    blurred = functional.conv2d(padded, kernel[None, None, :, None])
    return functional.conv2d(blurred, kernel[None, None, None, :]).reshape(image.shape)


def _low_pass_on_cpu(image: Tensor, kernel: Tensor) -> Tensor:
    """Return the same by OpenCV, in a thirtieth of the time."""
    taps = kernel.numpy()
    blurred = torch.empty(image.shape, dtype=image.dtype)
    for source, target in zip(
        image.reshape(-1, *image.shape[-2:]), blurred.view(-1, *image.shape[-2:]), strict=True
    ):
        target.numpy()[:] = cv2.sepFilter2D(
            source.numpy(), -1, taps, taps, borderType=cv2.BORDER_REPLICATE
        )
    return blurred


def checked_strength(strength: float) -> float:
    """Return the share of a correction that is to be applied.

    Raises:
        ValueError: It is not from 0 to 1.
    """
    if not 0 <= strength <= 1:
        raise ValueError(f"strength is {strength:g}; need 0 to 1")
    return float(strength)


def blend(
    pixels: NDArray[np.float32], denoised: NDArray[np.float32], strength: float
) -> NDArray[np.float32]:
    """Apply a share of a correction.

    Args:
        pixels: The noisy image, in [0, 1].
        denoised: The denoised image, of the same shape; may exceed [0, 1].
        strength: 0 returns `pixels`, 1 `denoised`.

    Returns:
        The image between the two, clipped to [0, 1].
    """
    blended: NDArray[np.float32] = pixels + np.float32(strength) * (denoised - pixels)
    return np.asarray(blended.clip(0.0, 1.0), dtype=np.float32)
