"""The noise model of a radiograph: variance by intensity and spatial correlation."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from torch.nn import functional

from monai_dental.noise.octaves import OCTAVES, octave_shares

CURVE_POINTS = 33


@dataclass(frozen=True, eq=False)
class NoiseModel:
    """Signal-dependent, spatially correlated, zero-mean noise of images in [0, 1].

    A detector's variance is linear in intensity, but display curves bend the line. Noise is drawn
    from the curve; the line only describes it.

    Attributes:
        gain: Slope of the line, variance = gain * intensity + electronic_variance.
        electronic_variance: Variance of the line at intensity 0.
        variances: Variance at equally spaced intensities from 0 to 1, (K,) float32; linear between
            them, constant outside.
        kernel: Filter that gives white noise the correlation of this noise, (2r+1, 2r+1) float32,
            symmetric about its centre, sum of squares 1.
        octaves: Variance in each octave at the same intensities, (3, K) float32; see
            `monai_dental.noise.octaves`. By default it is computed from the kernel, with the same
            shares at every intensity.
    """

    gain: float
    electronic_variance: float
    variances: Tensor
    kernel: Tensor
    octaves: Tensor = field(default_factory=lambda: torch.empty(OCTAVES, 0))

    def __post_init__(self) -> None:
        """Compute the octaves if they are not given."""
        if not self.octaves.numel():
            octaves = octave_shares(self.kernel)[:, None] * self.variances
            object.__setattr__(self, "octaves", octaves)

    @classmethod
    def poisson_gaussian(
        cls, gain: float, electronic_variance: float, blur: float = 0.0
    ) -> NoiseModel:
        """Return the model of a linear detector.

        Electronic noise is white, so the correlation depends on the intensity. `octaves` includes
        this; `kernel` holds for mid-grey.

        Args:
            gain: Variance of the quantum noise at intensity 1.
            electronic_variance: Variance of the remaining noise, at every intensity.
            blur: Standard deviation of the detector's Gaussian in pixels; 0 for white noise.

        Raises:
            ValueError: An argument is negative.
        """
        for name, value in (("gain", gain), ("electronic_variance", electronic_variance)):
            if value < 0:
                raise ValueError(f"{name} must not be negative, got {value}")
        quantum = gaussian_kernel(blur)
        quantum_share = 0.5 * gain / max(electronic_variance + 0.5 * gain, 1e-30)
        line = cls(
            gain=gain,
            electronic_variance=electronic_variance,
            variances=electronic_variance + gain * torch.linspace(0, 1, CURVE_POINTS),
            kernel=_partly_white(quantum, 1 - quantum_share),
        )
        blurred = octave_shares(quantum / quantum.square().sum().sqrt())[:, None]
        white = octave_shares(torch.ones(1, 1))[:, None]
        octaves = blurred * (line.variances - electronic_variance) + white * electronic_variance
        return replace(line, octaves=octaves)

    @property
    def autocorrelation(self) -> Tensor:
        """Correlation with the neighbour at each shift, (4r+1, 4r+1), 1 in the centre."""
        side = self.kernel.shape[-1]
        kernel = self.kernel[None, None]
        return functional.conv2d(kernel, kernel, padding=side - 1)[0, 0]

    @property
    def lag_one(self) -> float:
        """Correlation of neighbours, the mean of the vertical and the horizontal one."""
        down = (self.kernel[1:] * self.kernel[:-1]).sum()
        across = (self.kernel[:, 1:] * self.kernel[:, :-1]).sum()
        return float(down + across) / 2

    def variance(self, image: Tensor) -> Tensor:
        """Return the variance of the noise at the expected intensities `image`."""
        return interpolate_variance(image, self.variances)


def _partly_white(kernel: Tensor, share: float) -> Tensor:
    """Return a kernel of unit energy for noise with a given share of white noise."""
    kernel = kernel / kernel.square().sum().sqrt()
    side, radius = 8 * len(kernel), len(kernel) // 2
    power = (1 - share) * torch.fft.fft2(kernel, s=(side, side)).abs().square() + share
    filtered: Tensor = torch.fft.ifft2(power.sqrt()).real
    mixed = filtered.roll((radius, radius), (0, 1))[: len(kernel), : len(kernel)]
    return mixed / mixed.square().sum().sqrt()


def correlated_noise(
    guide: Tensor, variances: Tensor, kernel: Tensor, generator: torch.Generator | None = None
) -> Tensor:
    """Return noise with a given variance by intensity and a given correlation.

    Args:
        guide: Expected intensity, (..., H, W).
        variances: As in `NoiseModel`, (K,).
        kernel: As in `NoiseModel`, (2r+1, 2r+1).
        generator: Source of randomness, on the device of `guide`; None for torch's own.

    Returns:
        Noise of the shape of `guide`, with the right variance at the borders too.
    """
    rows, columns = guide.shape[-2:]
    margin = kernel.shape[-1] - 1
    white = torch.randn(
        (*guide.shape[:-2], rows + margin, columns + margin),
        generator=generator,
        dtype=guide.dtype,
        device=guide.device,
    )
    return interpolate_variance(guide, variances).sqrt() * filter_valid(white, kernel)


def interpolate_variance(image: Tensor, variances: Tensor) -> Tensor:
    """Interpolate the variance at each intensity of `image` from values at equal steps, (K,)."""
    variances = variances.to(image)
    if len(variances) == 1:
        return variances.expand(image.shape)
    position = image.clamp(0, 1) * (len(variances) - 1)
    below = position.floor().clamp(max=len(variances) - 2)
    # Takes half the time of `variances[index]`.
    index = below.flatten().int()
    steps = variances.diff().index_select(0, index).reshape(image.shape)
    return (position - below) * steps + variances.index_select(0, index).reshape(image.shape)


def filter_valid(image: Tensor, kernel: Tensor) -> Tensor:
    """Filter images, (..., H, W), only where the whole kernel lies within them."""
    if kernel.shape[-1] == 1:
        return image * kernel.to(image)[0, 0]
    rows, columns = image.shape[-2:]
    # Fourier transforms with small prime factors are much faster than a one-channel convolution.
    size = [-(-side // 16) * 16 for side in (rows, columns)]
    spectrum = torch.fft.rfft2(image, s=size) * torch.fft.rfft2(kernel.to(image), s=size)
    margin = kernel.shape[-1] - 1
    filtered: Tensor = torch.fft.irfft2(spectrum, s=size)
    return filtered[..., margin:rows, margin:columns]


def gaussian_kernel(blur: float) -> Tensor:
    """Return a sampled Gaussian of sum 1, (2r+1, 2r+1).

    Args:
        blur: Standard deviation in pixels; 0 for the identity kernel.

    Raises:
        ValueError: `blur` is negative.
    """
    if blur < 0:
        raise ValueError(f"blur must not be negative, got {blur}")
    if blur == 0:
        return torch.ones(1, 1)
    radius = math.ceil(3.5 * blur)
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float32)
    profile = torch.exp(-offsets.square() / (2 * blur**2))
    kernel = profile[:, None] * profile
    kernel /= kernel.sum()
    return kernel
