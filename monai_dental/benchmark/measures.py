"""What PSNR does not tell: noise that is left in flat parts, and texture that is kept.

A filter that blurs leaves no noise and no texture, one that does nothing leaves both.
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.floating[Any]]

TEXTURE_BANDS = ((0.1, 0.15), (0.15, 0.22))
"""Of trabecular bone and other fine detail, in cycles a pixel."""

_GREY = (0.1, 0.9)  # beyond, clipping alone takes noise off
_FLAT_SHARE = 0.1
_SMOOTHING, _NEIGHBOURHOOD = 2.0, 4.0  # pixels
_TILE, _HOP = 32, 16  # pixels
_TEXTURED = (40, 80)  # percentiles of energy: flat tiles are below, edges and letters above
_FAINTEST = 0.001  # standard deviation in the band: of less, noise alone would make the figure


def noise_left(noisy: Image, denoised: Image, clean: Image) -> float:
    """Return the part of the noise, by standard deviation, that is left in the flattest parts.

    These are the tenth of the pixels of intensity 0.1 to 0.9 around which the noise-free image
    changes least.

    Args:
        noisy: Image with noise, (H, W).
        denoised: What a method made of it, of the same shape.
        clean: Image without noise, of the same shape, nominally in [0, 1].

    Returns:
        1 where nothing was done, 0 where no noise is left; NaN where no pixel is of such intensity.

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
    """Return the part of the amplitude of texture in a band of frequencies that is kept.

    It is the gain by which the denoised image follows the noise-free one, over squares of 32 × 32
    pixels with neither least nor most energy in the band: noise that is left does not count.

    Args:
        denoised: What a method made of a noisy image, (H, W).
        clean: The image without noise, of the same shape, nominally in [0, 1].
        band: Lowest and highest frequency in cycles a pixel, in any direction.

    Returns:
        1 where all is kept, 0 where nothing is; NaN where the image is smaller than a square, or
        has hardly anything in the band.

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
