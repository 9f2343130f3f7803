"""Linear filters and intensity scaling as pure functions."""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional


def low_pass(image: Tensor, sigma: float) -> Tensor:
    """Blur with a Gaussian; the edge pixel is repeated beyond the borders.

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
    """Compute `low_pass` with OpenCV, in a thirtieth of the time."""
    taps = kernel.numpy()
    blurred = torch.empty(image.shape, dtype=image.dtype)
    for source, target in zip(
        image.reshape(-1, *image.shape[-2:]), blurred.view(-1, *image.shape[-2:]), strict=True
    ):
        target.numpy()[:] = cv2.sepFilter2D(
            source.numpy(), -1, taps, taps, borderType=cv2.BORDER_REPLICATE
        )
    return blurred


def intensity_range(image: Tensor) -> tuple[Tensor, Tensor]:
    """Return minimum and span (maximum minus minimum) of each channel of (C, H, W), (C, 1, 1)."""
    low = image.amin(dim=(-2, -1), keepdim=True)
    return low, image.amax(dim=(-2, -1), keepdim=True) - low


def scale_to_unit(image: Tensor, low: Tensor, span: Tensor) -> Tensor:
    """Scale an image so that `low` becomes 0 and `low + span` 1; divide by 1 if the span is 0.

    Args:
        image: (C, H, W).
        low: (C, 1, 1), see `intensity_range`.
        span: (C, 1, 1), not negative.
    """
    return (image - low) / torch.where(span > 0, span, torch.ones_like(span))


def keep_low_frequencies(image: Tensor, reference: Tensor, sigma: float) -> Tensor:
    """Replace the low frequencies of an image, (..., H, W), with those of the reference."""
    return image + low_pass(reference.to(image.device) - image, sigma)


def checked_strength(strength: float) -> float:
    """Return the fraction of a correction to apply, after checking it.

    Raises:
        ValueError: It is not from 0 to 1.
    """
    if not 0 <= strength <= 1:
        raise ValueError(f"strength is {strength:g}; need 0 to 1")
    return float(strength)


def blend(
    pixels: NDArray[np.float32], denoised: NDArray[np.float32], strength: float
) -> NDArray[np.float32]:
    """Apply a fraction of a correction.

    Args:
        pixels: The noisy image, in [0, 1].
        denoised: The denoised image, of the same shape; may exceed [0, 1].
        strength: 0 returns `pixels`, 1 `denoised`.

    Returns:
        The image between the two, clipped to [0, 1].
    """
    blended: NDArray[np.float32] = pixels + np.float32(strength) * (denoised - pixels)
    return np.asarray(blended.clip(0.0, 1.0), dtype=np.float32)
