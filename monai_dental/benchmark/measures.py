"""Measures that complement PSNR: noise left in flat parts, and texture kept.

A filter that blurs leaves neither noise nor texture; one that does nothing leaves both.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.floating[Any]]

TEXTURE_BANDS = ((0.1, 0.15), (0.15, 0.22))
"""Frequencies of trabecular bone and other fine detail, in cycles per pixel."""

_GREY = (0.1, 0.9)  # outside, clipping alone removes noise
_FLAT_SHARE = 0.1
_SMOOTHING, _NEIGHBOURHOOD = 2.0, 4.0  # pixels
_TILE, _HOP = 32, 16  # pixels
_TEXTURED = (40, 80)  # percentiles of energy: flat tiles are below, edges and letters above
_LEAST_SIDE, _REACH, _LEAKAGE = 64, 10, 3  # pixels; frequencies, less those of leakage
_FAINTEST = 0.001  # standard deviation in the band; below it, noise alone determines the result


def noise_left(noisy: Image, denoised: Image, clean: Image) -> float:
    """Return the fraction of the noise, by standard deviation, that is left in the flattest parts.

    The flattest parts are the tenth of the pixels of intensity 0.1 to 0.9 around which the
    noise-free image changes least.

    Args:
        noisy: Image with noise, (H, W).
        denoised: The image after denoising, of the same shape.
        clean: Image without noise, of the same shape, nominally in [0, 1].

    Returns:
        1 if nothing was done, 0 if no noise is left; NaN if no pixel has such an intensity.

    Raises:
        ValueError: The shapes are not the same (H, W).
    """
    _check(denoised, clean)
    _check(noisy, clean)
    smooth = cv2.GaussianBlur(np.asarray(clean, np.float64), (0, 0), _SMOOTHING)
    change = sum(np.square(gradient) for gradient in np.gradient(smooth))
    change = np.asarray(cv2.GaussianBlur(np.asarray(change), (0, 0), _NEIGHBOURHOOD))
    is_grey = (smooth > _GREY[0]) & (smooth < _GREY[1])
    if not is_grey.any():
        return math.nan
    is_flat = is_grey & (change <= np.quantile(change[is_grey], _FLAT_SHARE))
    before, after = ((image - clean)[is_flat].std(dtype=np.float64) for image in (noisy, denoised))
    return float(after / before)


def texture_kept(denoised: Image, clean: Image, band: tuple[float, float]) -> float:
    """Return the fraction of the texture's amplitude that is kept in a band of frequencies.

    This is the gain with which the denoised image follows the noise-free one, over squares of 32 ×
    32 pixels with medium energy in the band. Noise that is left does not count.

    Args:
        denoised: The noisy image after denoising, (H, W).
        clean: The image without noise, of the same shape, nominally in [0, 1].
        band: Lowest and highest frequency in cycles a pixel, in any direction.

    Returns:
        1 if all is kept, 0 if nothing is; NaN if the image is smaller than a square or has hardly
        any energy in the band.

    Raises:
        ValueError: The shapes are not the same (H, W).
    """
    _check(denoised, clean)
    if min(clean.shape) < _TILE:
        return math.nan
    frequency = np.fft.fftfreq(_TILE)
    radius = np.hypot(frequency[:, None], frequency)
    is_within = (radius >= band[0]) & (radius < band[1])
    made, true = (_spectra(image)[..., is_within] for image in (denoised, clean))
    energy = np.square(np.abs(true)).sum(axis=1)
    low, high = np.percentile(energy, _TEXTURED)
    least = np.square(_FAINTEST * _TILE) * np.square(_window()).sum()  # by Parseval's theorem
    kept = (energy >= max(low, least)) & (energy <= high)
    if not kept.any():
        return math.nan
    return float((made[kept] * true[kept].conj()).real.sum() / energy[kept].sum())


def grid_ratio(images: Iterable[Image]) -> float:
    """Return how far a grid of every other pixel stands out from the spectrum; 1 if it does not.

    This is the energy at half a cycle per pixel, divided by that of the surrounding frequencies:
    the largest of the ratios along the rows, the columns and both. A network that outputs 2 × 2
    pixels at a time leaves such a grid.

    Args:
        images: Denoised images, (H, W) each, whose energies are added; more images give a more
            reliable ratio.

    Raises:
        ValueError: An image is not (H, W), or has fewer than 64 pixels in a direction.
    """
    energies = np.zeros((3, 2))
    for image in images:
        if image.ndim != 2 or min(image.shape) < _LEAST_SIDE:
            raise ValueError(f"shape is {image.shape}; need (H, W) of {_LEAST_SIDE} pixels or more")
        rows, columns = (size // 2 * 2 for size in image.shape)
        part = np.asarray(image[:rows, :columns], np.float64)
        window = np.outer(np.hanning(rows + 1)[:-1], np.hanning(columns + 1)[:-1])
        energy = np.abs(np.fft.fft2((part - part.mean()) * window)) ** 2
        for place, row, column in zip(
            range(3), (rows // 2, 0, rows // 2), (0, columns // 2, columns // 2), strict=True
        ):
            around = np.arange(-_REACH, _REACH + 1)
            near = energy[np.ix_((row + around) % rows, (column + around) % columns)]
            beside = np.maximum.outer(np.abs(around), np.abs(around)) > _LEAKAGE
            energies[place] += near[_REACH, _REACH], near[beside].mean()
    return float((energies[:, 0] / energies[:, 1]).max())


def _spectra(image: Image) -> NDArray[np.complexfloating[Any, Any]]:
    """Return the Fourier transforms of overlapping squares, (squares, 32, 32)."""
    tiles = np.lib.stride_tricks.sliding_window_view(image, (_TILE, _TILE))[::_HOP, ::_HOP]
    tiles = tiles.reshape(-1, _TILE, _TILE)
    centred = tiles - tiles.mean(axis=(1, 2), keepdims=True)
    return np.asarray(np.fft.fft2(centred * _window()))


def _window() -> NDArray[np.float64]:
    taper = np.hanning(_TILE + 2)[1:-1]
    return np.outer(taper, taper)


def _check(image: Image, clean: Image) -> None:
    if image.shape != clean.shape or image.ndim != 2:
        raise ValueError(f"image {image.shape} and noise-free image {clean.shape}; need (H, W)")
