"""Simulation of noise by pure functions of (image, parameters, generator)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from monai_dental.noise.model import filter_valid, gaussian_kernel


def add_gaussian_noise(image: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    """Add white Gaussian noise.

    Args:
        image: Noise-free images, (..., H, W), nominally in [0, 1].
        sigma: Standard deviation, in units of the [0, 1] image.
        generator: Source of randomness, on the device of `image`.

    Returns:
        Noisy images of the same shape; like in the published protocol, not clipped to [0, 1].

    Raises:
        ValueError: `sigma` is negative.
    """
    if sigma < 0:
        raise ValueError(f"sigma must not be negative, got {sigma}")
    noise = torch.randn(image.shape, generator=generator, dtype=image.dtype, device=image.device)
    return image + sigma * noise


def add_poisson_gaussian_noise(
    image: Tensor,
    *,
    gain: float,
    electronic_sigma: float,
    blur: float,
    generator: torch.Generator,
) -> Tensor:
    """Add the noise of a linear detector: quanta, blur, electronics.

    The image has already passed the detector, so the blur only affects the deviation of the quanta
    from their mean.

    Args:
        image: Noise-free images, (..., H, W), nominally in [0, 1].
        gain: Variance of the blurred quantum noise at intensity 1.
        electronic_sigma: Standard deviation of the white noise after the blur.
        blur: Standard deviation of the detector's Gaussian in pixels; 0 for none.
        generator: Source of randomness, on the device of `image`.

    Returns:
        Noisy images of the same shape with mean `image` and, in smooth regions, variance `gain *
        image + electronic_sigma**2`; not clipped to [0, 1].

    Raises:
        ValueError: A parameter is negative, or `image` has negative values.

    References:
        Foi et al., IEEE Trans. Image Process. 17(10), 2008.
    """
    if gain < 0:
        raise ValueError(f"gain must not be negative, got {gain}")
    kernel = gaussian_kernel(blur)
    if image.numel() and image.min() < 0:
        raise ValueError(f"image must not be negative, its minimum is {image.min():g}")
    noisy = add_gaussian_noise(image, electronic_sigma, generator)
    if gain == 0:
        return noisy
    # The blur reduces the variance of independent pixels to this fraction.
    photons = float(kernel.square().sum()) / gain
    planes = image.reshape(-1, 1, *image.shape[-2:])
    mean = functional.pad(planes, [kernel.shape[-1] // 2] * 4, mode="replicate")
    counts = torch.poisson(mean * photons, generator=generator)
    quantum = filter_valid(counts / photons - mean, kernel)
    return noisy + quantum.reshape(image.shape)
