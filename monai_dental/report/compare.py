"""The figures of one denoised radiograph beside its original."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from monai.metrics import SSIMMetric
from numpy.typing import NDArray

from monai_dental.filters import low_pass
from monai_dental.metrics import psnr
from monai_dental.noise import SMALLEST_SIDE, estimate_noise, noise_map
from monai_dental.radiograph import PixelArray

EDGE_SIGMA = 1.0
"""Blur, in pixels, before edges are measured."""

_SSIM_WINDOW = 11


@dataclass(frozen=True)
class Figures:
    """The figures of one pair; intensities are those of the [0, 1] image.

    A figure is None if it is undefined: for the correlation of a constant residual, for an image
    that is too small, and for PSNR and SSIM without a reference.

    Attributes:
        sigma_before: Estimated standard deviation of the original's noise.
        sigma_after: The same of the denoised image.
        residual_std: Standard deviation of the residual, original minus denoised.
        residual_lag1: Autocorrelation of the residual at a shift of one pixel, the mean of both
            directions: near 0 for white noise; for correlated noise, that of the detector's noise.
        residual_edges: Correlation of the residual's absolute value with the edge magnitude of the
            denoised image: large if edges are removed together with the noise.
        psnr_before: PSNR of the original against the reference in dB, data range 1.
        psnr_after: The same of the denoised image.
        ssim_before: SSIM of the original against the reference, data range 1.
        ssim_after: The same of the denoised image.
    """

    sigma_before: float | None
    sigma_after: float | None
    residual_std: float
    residual_lag1: float | None
    residual_edges: float | None
    psnr_before: float | None = None
    psnr_after: float | None = None
    ssim_before: float | None = None
    ssim_after: float | None = None


@dataclass(frozen=True, eq=False)
class Comparison:
    """The figures of one pair and the images that show where they come from.

    Attributes:
        figures: The figures.
        residual: Original minus denoised, (H, W).
        noise_map: Standard deviation of the original's noise at each pixel, (H, W); None if the
            image is too small for an estimate.
    """

    figures: Figures
    residual: PixelArray = field(repr=False)
    noise_map: PixelArray | None = field(repr=False)


def compare(
    original: PixelArray, denoised: PixelArray, reference: PixelArray | None = None
) -> Comparison:
    """Compare a denoised image with its original, and both with a reference if there is one.

    Args:
        original: The noisy image, (H, W), 0 = black and 1 = white as displayed.
        denoised: The denoised image, the same shape.
        reference: The image without noise, the same shape.

    Raises:
        ValueError: The shapes differ, or are not (H, W).
    """
    if original.ndim != 2 or denoised.shape != original.shape:
        raise ValueError(f"shapes {original.shape} and {denoised.shape}; need (H, W) twice")
    residual = original - denoised
    before, after = sigma_map(original), sigma_map(denoised)
    has_ssim = reference is not None and min(original.shape) >= _SSIM_WINDOW
    figures = Figures(
        sigma_before=_root_mean_square(before),
        sigma_after=_root_mean_square(after),
        residual_std=float(residual.std(dtype=np.float64)),
        residual_lag1=lag1_autocorrelation(residual),
        residual_edges=_correlation(np.abs(residual), edge_magnitude(denoised)),
        psnr_before=None if reference is None else psnr(original, reference, 1.0),
        psnr_after=None if reference is None else psnr(denoised, reference, 1.0),
        ssim_before=_ssim(original, reference) if reference is not None and has_ssim else None,
        ssim_after=_ssim(denoised, reference) if reference is not None and has_ssim else None,
    )
    return Comparison(figures, residual, before)


def sigma_map(image: PixelArray) -> PixelArray | None:
    """Return the standard deviation of the noise at each pixel, (H, W), by its intensity.

    Returns:
        The estimate at the blurred image's intensities; None for an image too small to measure.
    """
    if min(image.shape) < SMALLEST_SIDE:
        return None
    plane = torch.from_numpy(np.ascontiguousarray(image))
    sigma: PixelArray = noise_map(plane, estimate_noise(plane), 1)[0].numpy()
    return sigma


def lag1_autocorrelation(residual: PixelArray) -> float | None:
    """Return the autocorrelation of an image minus its mean, (H, W), at a shift of one pixel.

    Returns:
        Mean of the horizontal and the vertical correlation; None for an image that is constant or
        less than two pixels high or wide.
    """
    if min(residual.shape) < 2:
        return None
    across = _correlation(residual[:, :-1], residual[:, 1:])
    down = _correlation(residual[:-1], residual[1:])
    return None if across is None or down is None else (across + down) / 2


def edge_magnitude(image: PixelArray) -> PixelArray:
    """Return the length of the gradient of a slightly blurred image, (H, W), per pixel."""
    if min(image.shape) < 2:
        return np.zeros_like(image)
    blurred = low_pass(torch.from_numpy(np.ascontiguousarray(image)), EDGE_SIGMA).numpy()
    down, across = np.gradient(blurred)
    magnitude: PixelArray = np.hypot(down, across)
    return magnitude


def _root_mean_square(values: PixelArray | None) -> float | None:
    return None if values is None else math.sqrt(np.square(values).mean(dtype=np.float64))


def _correlation(one: NDArray[np.float32], other: NDArray[np.float32]) -> float | None:
    a = one - one.mean(dtype=np.float64)
    b = other - other.mean(dtype=np.float64)
    power = float(np.square(a).mean(dtype=np.float64)) * float(np.square(b).mean(dtype=np.float64))
    if not power > 1e-24:  # below the rounding error of float32 pixels
        return None
    return float((a * b).mean(dtype=np.float64)) / math.sqrt(power)


def _ssim(image: PixelArray, reference: PixelArray) -> float:
    metric = SSIMMetric(spatial_dims=2, data_range=1.0, win_size=_SSIM_WINDOW, kernel_sigma=1.5)
    pair = (torch.from_numpy(np.ascontiguousarray(each))[None, None] for each in (image, reference))
    return float(torch.as_tensor(metric(*pair)))
