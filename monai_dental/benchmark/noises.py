"""Noise that the benchmark adds: white noise, detector-blurred quantum noise, or a sensor's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from monai_dental.noise import (
    NoiseModel,
    add_gaussian_noise,
    add_poisson_gaussian_noise,
    correlated_noise,
)
from monai_dental.noise.model import CURVE_POINTS, gaussian_kernel
from monai_dental.noise.octaves import octave_shares

Image = NDArray[np.float32]

ELECTRONIC_SIGMA = 0.005

SENSORS = {"sensor": (1.0, 0.844, 0.577, 0.320, 0.142, 0.042, 0.0)}
"""Autocorrelation of real sensors' noise at shifts of 0, 1, 2, … pixels along an axis.

`sensor` is an intraoral sensor that exports 8 bits, smoothed by its maker's program: the mean of
two exports, measured in the air beside the jaw (220 × 130 and 180 × 160 pixels) after subtracting a
surface of degree 5, and assumed to be the same in all directions.
"""


@dataclass(frozen=True)
class Noise:
    """Noise to add: white noise, Poisson noise blurred by a detector, or a sensor's noise.

    Attributes:
        sigma: Standard deviation; for Poisson noise, at mid-grey after the blur, electronic noise
            included.
        blur: Sigma of the detector's blur in pixels; 0 for white noise.
        sensor: A key of `SENSORS`, for noise with that sensor's correlation and the same variance
            at every intensity; "" for no sensor.
    """

    sigma: float
    blur: float = 0.0
    sensor: str = ""

    @property
    def name(self) -> str:
        """Name of the noise in the tables."""
        if self.sensor:
            return f"{self.sensor} {self.sigma:g}"
        return f"white {self.sigma:g}" if self.blur == 0 else f"blur {self.blur:g}, {self.sigma:g}"

    @property
    def is_white(self) -> bool:
        """Whether neighbouring pixels are independent."""
        return self.blur == 0 and not self.sensor

    @property
    def electronic_sigma(self) -> float:
        """Standard deviation of the signal-independent part; for weak noise a quarter of sigma."""
        return min(ELECTRONIC_SIGMA, self.sigma / 4) if self.blur else self.sigma

    @property
    def gain(self) -> float:
        """Variance of the quantum noise at intensity 1."""
        return (self.sigma**2 - self.electronic_sigma**2) / 0.5 if self.blur else 0.0

    @property
    def kernel(self) -> Tensor:
        """Filter of unit energy that correlates all but the electronic noise, (2r+1, 2r+1)."""
        if self.sensor:
            return kernel_of(SENSORS[self.sensor])
        kernel = gaussian_kernel(self.blur)
        return kernel / kernel.square().sum().sqrt()

    def spectrum(self, shape: tuple[int, ...], intensity: float) -> NDArray[np.float64]:
        """Return the power spectrum of the noise at an intensity, scaled to a variance of 1.

        Args:
            shape: Rows and columns.
            intensity: Expected intensity of the image.

        Returns:
            Power at each frequency of NumPy's `fft2`, of the given shape; its mean is 1.
        """
        filtered = np.fft.fft2(np.float64(self.kernel.numpy()), shape)
        power = np.square(np.abs(filtered))
        if self.gain:
            quantum = self.gain * max(intensity, 0.0)
            share = quantum / (quantum + self.electronic_sigma**2)
            power = share * power + (1 - share)
        return np.asarray(power / power.mean())

    def add(self, clean: Image, seed: int) -> Image:
        """Return a noisy image, not clipped."""
        generator = torch.Generator().manual_seed(seed)
        plane = torch.from_numpy(clean)
        if self.sensor:
            variances = torch.tensor([self.sigma**2])
            return (plane + correlated_noise(plane, variances, self.kernel, generator)).numpy()
        if self.blur == 0:
            return add_gaussian_noise(plane, self.sigma, generator).numpy()
        return add_poisson_gaussian_noise(
            plane, gain=self.gain, electronic_sigma=self.electronic_sigma, blur=self.blur,
            generator=generator,
        ).numpy()  # fmt: skip

    def model(self, low: float, span: float) -> NoiseModel:
        """Return the noise model of an image after subtracting `low` and dividing by `span`."""
        constant = self.electronic_sigma**2 / span**2
        # Noise below black is the same as at black.
        intensities = (low + span * torch.linspace(0, 1, CURVE_POINTS)).clamp_min(0)
        quantum = self.gain * intensities / span**2
        if self.sensor:
            return NoiseModel(0.0, constant, quantum + constant, self.kernel)
        line = NoiseModel.poisson_gaussian(self.gain / span, constant, self.blur)
        white, blurred = (octave_shares(k)[:, None] for k in (torch.ones(1, 1), self.kernel))
        octaves = blurred * quantum + white * constant
        return replace(line, variances=quantum + constant, octaves=octaves)


NOISES = (
    *(Noise(sigma) for sigma in (0.02, 0.05, 0.07, 0.10)),
    *(Noise(sigma, blur) for blur in (0.76, 1.1) for sigma in (0.02, 0.04)),
    *(Noise(0.025, blur) for blur in (1.4, 1.8, 2.4)),
    Noise(0.025, sensor="sensor"),
)
"""Noise for clean images as published, which already contain some noise of their own."""

WEAK_NOISES = tuple(Noise(sigma, blur) for blur in (0.0, 1.1) for sigma in (0.005, 0.01))
"""Weak noise, for references that are clean enough."""


@cache
def kernel_of(correlation: tuple[float, ...]) -> Tensor:
    """Return a filter that gives white noise an isotropic autocorrelation.

    Args:
        correlation: Autocorrelation at shifts of 0, 1, 2, … pixels; the last one is 0.

    Returns:
        The filter, (2r+1, 2r+1) float32 with r the number of shifts, symmetric, of unit energy. An
        autocorrelation that no two-dimensional noise can have is replaced by one near it.
    """
    reach = len(correlation)
    offsets = np.arange(-4 * reach, 4 * reach)
    radii = np.hypot(offsets[:, None], offsets)
    # Interpolate over the squared shift, with which a Gaussian's peak falls: this leaves no spike.
    values = np.interp(radii**2, np.arange(reach) ** 2.0, correlation)
    power = np.fft.fft2(np.fft.ifftshift(values)).real.clip(0)
    filtered = np.fft.fftshift(np.fft.ifft2(np.sqrt(power)).real)
    middle = slice(3 * reach, 5 * reach + 1)
    kernel = torch.from_numpy(filtered[middle, middle]).float()
    return kernel / kernel.square().sum().sqrt()
