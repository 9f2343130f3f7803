"""Variance stabilization: make a detector's noise the same at every intensity, for filters.

References:
    Mäkitalo and Foi, IEEE Trans. Image Process. 22(1), 2013 (generalized Anscombe transform, exact
    unbiased inverse).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monai_dental.benchmark.noises import Noise

Image = NDArray[np.float32]
Values = NDArray[np.floating[Any]]

_INTENSITIES = np.linspace(0, 1.25, 2501)
_NODES = 40


@dataclass(frozen=True)
class Stabilizer:
    """A transform that gives noise a standard deviation of 1 at every intensity.

    Attributes:
        gain: Variance of the quantum noise at intensity 1, positive.
        constant: Variance of the rest.
    """

    gain: float
    constant: float

    def forward(self, image: Values) -> Values:
        """Return the integral of 1 / standard deviation up to each intensity (may be negative)."""
        variance = np.maximum(self.gain * np.asarray(image, np.float64) + self.constant, 0)
        return np.asarray(2 / self.gain * np.sqrt(variance))

    def inverse(self, values: Values) -> Values:
        """Return the intensities, 0 to 1.25, whose noisy values have these means of `forward`.

        The algebraic inverse would be too dark, as the mean of a root is less than the root of the
        mean.
        """
        return np.asarray(np.interp(values, self._means, _INTENSITIES))

    @cached_property
    def _means(self) -> Values:
        """Mean of `forward` of noisy values at each of `_INTENSITIES`."""
        nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES)
        sigma = np.sqrt(self.gain * _INTENSITIES + self.constant)
        noisy = _INTENSITIES[:, None] + sigma[:, None] * nodes
        return np.asarray(self.forward(noisy) @ weights / weights.sum())


def denoise_stabilized(
    denoise: Callable[[Image, float], Image], image: Image, noise: Noise
) -> Image:
    """Denoise with a filter for noise of constant variance, after variance stabilization.

    Args:
        denoise: The filter, called with an image, nominally in [0, 1], and its noise's standard
            deviation.
        image: Noisy image, (H, W), not clipped.
        noise: Its noise.

    Returns:
        The denoised image; in [0, 1.25] if the noise depends on the intensity.
    """
    if noise.gain == 0:
        return denoise(image, noise.sigma)
    stabilizer = Stabilizer(noise.gain, noise.electronic_sigma**2)
    # The filters' thresholds are for images in [0, 1].
    black, white = stabilizer.forward(np.array([0.0, 1.0]))
    scaled = (stabilizer.forward(image) - black) / (white - black)
    denoised = denoise(np.float32(scaled), float(1 / (white - black)))
    restored = stabilizer.inverse(np.float64(denoised) * (white - black) + black)
    return np.asarray(restored, np.float32)
