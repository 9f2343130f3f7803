"""Blind estimation of the noise of radiographs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from monai_dental.noise.curves import SIDE, measure_curves
from monai_dental.noise.model import CURVE_POINTS, NoiseModel, gaussian_kernel
from monai_dental.noise.octaves import OCTAVES, octave_shares
from monai_dental.noise.regression import octaves_of

Image = Tensor | NDArray[Any]

SMALLEST_SIDE = SIDE
"""Least rows and columns of an image for distinguishing noise from anatomy."""

_BLURS = np.linspace(0, 4, 41)  # sigma in pixels
_WHITE_SHARES = np.linspace(0, 1, 21)
_SHARPENED = np.linspace(0.1, 2.0, 20)  # amount of an unsharp mask of one pixel


def estimate_noise(images: Image | Sequence[Image]) -> NoiseModel:
    """Return the noise of an image: its variance by intensity in each octave of frequency.

    Noise is measured in the flattest patches of each intensity, at full, half and quarter size, as
    energy curves (`measure_curves`). A small network separates noise from anatomy in these curves
    (`octaves_of`).

    Beyond the intensities of the image the variance is that of the nearest one. A line is fitted to
    the variances with `gain` and `electronic_variance` not negative. The kernel is that of a blur
    or an unsharp mask, plus white noise, that best fits the octaves, and is the same in all
    directions. If there are only constant or clipped patches, the variance is 0.

    Args:
        images: A noisy image, (H, W), in [0, 1], or several with the same noise, which are measured
            together.

    Raises:
        ValueError: There is no image, or one is not (H, W), less than 8 pixels high or wide, or not
            finite.

    References:
        The selection of patches follows Ponomarenko et al., CAOL 2007, and Colom et al., J. Opt.
        Soc. Am. A 31(4), 2014; noise at three scales follows Ponomarenko et al., Blind denoising of
        dental X-ray images, Electronic Imaging 2023, IPAS-299.
    """
    curves = measure_curves(_checked(images))
    if curves is None:
        return _model(torch.zeros(1), torch.zeros(1, OCTAVES))
    order = curves.intensities.argsort()
    return _model(curves.intensities[order], octaves_of(curves)[order])


def _checked(images: Image | Sequence[Image]) -> list[Tensor]:
    several = [images] if isinstance(images, Tensor | np.ndarray) else list(images)
    if not several:
        raise ValueError("there is no image to estimate noise from")
    checked = []
    for image in several:
        plane = torch.as_tensor(image).detach().to("cpu", torch.float32)
        if plane.ndim != 2 or min(plane.shape) < SMALLEST_SIDE:
            raise ValueError(
                f"image has shape {tuple(plane.shape)}; need (H, W) of at least "
                f"{SMALLEST_SIDE} pixels each"
            )
        if not np.isfinite(plane.numpy()).all():
            raise ValueError("image has values that are not finite")
        checked.append(plane)
    return checked


def _model(intensities: Tensor, octaves: Tensor) -> NoiseModel:
    variances = octaves.sum(dim=1)
    gain, electronic_variance = _fit_line(intensities.double(), variances.double())
    steps = torch.linspace(0, 1, CURVE_POINTS)
    curve = torch.stack([_interpolate(steps, intensities, each) for each in octaves.T])
    total = octaves.sum(dim=0)
    return NoiseModel(
        gain=gain,
        electronic_variance=electronic_variance,
        variances=curve.sum(dim=0),
        kernel=_kernel_of(total / total.sum()) if total.sum() > 0 else torch.ones(1, 1),
        octaves=curve,
    )


def _fit_line(intensities: Tensor, variances: Tensor) -> tuple[float, float]:
    """Return the nonnegative slope and intercept with the least relative squared error."""
    if not variances.any():
        return 0.0, 0.0
    weights = 1 / (variances + 0.01 * variances.mean()).square()
    weights /= weights.sum()
    x, y = float(weights @ intensities), float(weights @ variances)
    spread = float(weights @ (intensities - x).square())
    gain = float(weights @ ((intensities - x) * (variances - y))) / spread if spread else 0.0
    if gain <= 0:
        return 0.0, y
    if y < gain * x:
        return float(weights @ (intensities * variances) / (weights @ intensities.square())), 0.0
    return gain, y - gain * x


def _kernel_of(shares: Tensor) -> Tensor:
    """Return the kernel of unit energy whose octave shares are closest to given ones, (3,)."""
    powers, known = _kernels()
    nearest = int((known - shares).square().sum(dim=1).argmin())
    return _kernel_with(powers[nearest])


def _kernel_with(power: Tensor) -> Tensor:
    """Return the zero-phase kernel of unit energy with a given power spectrum, (side, side)."""
    filtered: Tensor = torch.fft.ifft2(power.sqrt()).real
    radius = len(power) // 2 - 1
    shifts = torch.arange(-radius, radius + 1)
    kernel = filtered[shifts[:, None], shifts]
    # Crop the margin, which has only rounding errors.
    significant = (kernel.abs() > 1e-3 * kernel.abs().max()).nonzero() - radius
    reach = int(significant.abs().max())
    kernel = kernel[radius - reach : radius + reach + 1, radius - reach : radius + reach + 1]
    return (kernel / kernel.square().sum().sqrt()).float().contiguous()


@cache
def _kernels() -> tuple[Tensor, Tensor]:
    """Return power spectra of noise, (N, 64, 64), and the shares of their octaves, (N, 3)."""
    side = 64
    blurs = [_spectrum(gaussian_kernel(float(blur)), side) for blur in _BLURS]
    white = torch.ones(side, side)
    powers = [
        (1 - share) * blur / blur.mean() + share * white
        for blur in (response.square() for response in blurs)
        for share in _WHITE_SHARES
    ]
    smooth = _spectrum(gaussian_kernel(1.0), side)
    powers += [(1 + amount * (1 - smooth)).square() for amount in _SHARPENED]
    kernels = [_kernel_with(power) for power in powers]
    return torch.stack(powers), torch.stack([octave_shares(kernel) for kernel in kernels])


def _spectrum(kernel: Tensor, side: int) -> Tensor:
    """Return the response of a symmetric kernel at each frequency, (side, side)."""
    response: Tensor = torch.fft.fft2(kernel, s=(side, side)).abs()
    return response


def _interpolate(x: Tensor, places: Tensor, values: Tensor) -> Tensor:
    """Interpolate linearly at `x`, constant outside the places."""
    return torch.from_numpy(np.interp(x.numpy(), places.numpy(), values.numpy())).float()
