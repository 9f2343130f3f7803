"""Noise as pure functions of (image, parameters, generator)."""

from __future__ import annotations

import torch
from torch import Tensor


def add_gaussian_noise(image: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    """Add white Gaussian noise.

    Args:
        image: Noise-free images, (..., H, W), nominally in [0, 1].
        sigma: Standard deviation, in units of the [0, 1] image.
        generator: Source of randomness, on the device of `image`.

    Returns:
        Noisy images of the same shape; not clipped to [0, 1], as the published protocol does not.

    Raises:
        ValueError: `sigma` is negative.
    """
    if sigma < 0:
        raise ValueError(f"sigma must not be negative, got {sigma}")
    noise = torch.randn(image.shape, generator=generator, dtype=image.dtype, device=image.device)
    return image + sigma * noise
