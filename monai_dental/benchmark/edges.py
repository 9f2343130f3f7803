"""Sharpness of faint edges at equal noise left.

A method that leaves more noise keeps edges sharper. Each result is therefore first blended with the
noisy image until all methods leave the same noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from monai_dental.benchmark.noises import Noise
from monai_dental.benchmark.sharpness import compare_edges, edge_spread, slanted_edge

Image = NDArray[np.float32]
Values = NDArray[np.floating[Any]]

EDGE_NOISES = (Noise(0.02), Noise(0.02, 0.76))
CONTRASTS = (0.1, 0.05)
LEVELS = (0.25, 0.5)
"""Fractions of the noise, by standard deviation, that are left."""

_EDGES = 32  # for each contrast
_SHAPE, _ANGLE, _MARGIN = (192, 160), math.radians(4.0), 24
_BLUR = 0.78  # of a sharp detector, in pixels
_FAR = 24  # pixels; distance from the edge at which the noise is measured


@dataclass(frozen=True)
class EdgeFigure:
    """Sharpness of edges of one contrast at one level of noise left.

    Attributes:
        contrast: Step of the edge, in units of the [0, 1] image.
        level: Fraction of the noise that is left.
        ratio: Frequency at which the MTF is 50 %, relative to that of the noise-free edge; NaN if
            the method leaves more noise at full strength, or if there is no such frequency.
        error: Jackknife error of the ratio.
    """

    contrast: float
    level: float
    ratio: float
    error: float


def measure_edges(
    denoise: Callable[[Image], Image], noise: Noise, seed: int, *, count: int = _EDGES
) -> list[EdgeFigure]:
    """Return the sharpness of faint edges at mid-grey after denoising.

    Args:
        denoise: The method; takes a noisy image, (H, W).
        noise: Noise to add to the edges.
        seed: Of the noise.
        count: Number of edges of each contrast, at least 2.
    """
    figures = []
    for place, contrast in enumerate(CONTRASTS):
        clean = edge_image(contrast)
        inner = (slice(_MARGIN, -_MARGIN),) * 2
        far = np.abs(_columns_from_edge())[inner] > _FAR
        profiles, moments = [], []
        for number in range(count):
            noisy = noise.add(clean, 10**6 * (seed + 1) + 1000 * place + number)
            images = (noisy, denoise(noisy))
            profiles.append([edge_spread(np.float64(image[inner]), _ANGLE) for image in images])
            before, after = (np.float64(image - clean)[inner][far] for image in images)
            moments.append([np.mean(before**2), np.mean(before * after), np.mean(after**2)])
        plain, made = np.swapaxes(np.array(profiles), 0, 1)
        truth = np.tile(edge_spread(np.float64(clean[inner]), _ANGLE), (count, 1))
        for level in LEVELS:
            strength = strength_for(level, *np.mean(moments, axis=0).tolist())
            blended = plain + strength * (made - plain)
            figures.append(EdgeFigure(contrast, level, *_sharpness(blended, truth)))
    return figures


@cache
def edge_image(contrast: float) -> Image:
    """Return an edge of a given contrast at mid-grey, blurred as by a detector, (192, 160)."""
    edge = 0.5 + contrast * (slanted_edge(_SHAPE, _ANGLE) - 0.5)
    edge[:12, :64], edge[:12, -64:] = 0, 1  # air and metal, so that the image spans its full range
    blurred = cv2.GaussianBlur(edge, (0, 0), _BLUR, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(blurred, np.float32)


def strength_for(level: float, before: float, between: float, after: float) -> float:
    """Return the smallest strength at which a blend leaves the given fraction of the noise.

    Args:
        level: Fraction of the noise, by standard deviation.
        before: Variance of the noise.
        between: Covariance of the noise before and after denoising at full strength.
        after: Variance of the noise left at full strength.

    Returns:
        Strength from 0 (the noisy image) to 1; NaN if every strength leaves more noise.
    """
    square, slope = before - 2 * between + after, between - before
    rest = before * (1 - level**2)
    discriminant = slope**2 - square * rest
    if discriminant < 0 or square <= 0:
        return math.nan
    strength = (-slope - math.sqrt(discriminant)) / square
    return strength if 0 <= strength <= 1 else math.nan


def _sharpness(profiles: Values, truth: Values) -> tuple[float, float]:
    if not np.isfinite(profiles).all():
        return math.nan, math.nan
    try:
        found = compare_edges({"method": profiles, "truth": truth}, "truth")
    except ValueError:  # the mean profile is no longer an edge, or is too noisy to measure
        return math.nan, math.nan
    return found["method"]["MTF50 / truth"]


def _columns_from_edge() -> Values:
    """Return the distance of each pixel from the middle of the edge along its row."""
    rows, columns = (np.arange(side) - (side - 1) / 2 for side in _SHAPE)
    return np.asarray(columns - rows[:, None] * np.tan(_ANGLE))
