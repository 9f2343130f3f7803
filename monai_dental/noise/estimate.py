"""Estimate the noise of radiographs from nothing but themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from monai_dental.noise.model import CURVE_POINTS, NoiseModel
from monai_dental.noise.patches import (
    LARGE_SIDE,
    REACH,
    SMALLEST_SIDE,
    PatchTransform,
    cut_patches,
    patch_transform,
)

Image = Tensor | NDArray[Any]

_FLAT_PART = 0.1  # of the patches of each intensity: as many show hardly any anatomy
_QUANTILE, _CHI_SQUARE = 0.3, 0.1485  # of chi-square with one degree of freedom
_SELECTING_BELOW = 10.0  # frequencies at which anatomy shows, half waves in 16 pixels
_MEASURING_FROM = 7.0  # below there is anatomy in every patch
_MOST_BINS = 24
_PATCHES_PER_BIN = 32
_ROUNDS = 4


def estimate_noise(images: Image | Sequence[Image]) -> NoiseModel:
    """Return the noise of an image, its variance by intensity and its correlation.

    Noise is measured in the flattest patches of each intensity, by spatial frequency. So that the
    choice of patches does not make the noise small, one half of the frequencies chooses patches
    for the other. In the lowest frequencies there is always anatomy: there the power is what a
    covariance that ends at 4 pixels continues to.

    Beyond the intensities of the image the variance is that of the nearest one. The line through
    the variances is one with `gain` and `electronic_variance` not negative. Diagonal directions
    are taken to be alike. Where nothing but constant or clipped patches is, the variance is 0.

    Args:
        images: A noisy image, (H, W), in [0, 1], or several with the same noise, which are
            measured together.

    Raises:
        ValueError: There is no image, or one is not (H, W), less than 8 pixels high or wide, or
            not finite.

    References:
        The choice of patches follows Ponomarenko et al., CAOL 2007, and Colom et al., J. Opt. Soc.
        Am. A 31(4), 2014.
    """
    patches, free = cut_patches(_checked(images))
    if len(patches) == 0:
        return _model(torch.zeros(1), torch.zeros(1), torch.zeros(REACH + 1, REACH + 1))
    means, patches = _group_by_intensity(patches, free)
    transform = patch_transform(LARGE_SIDE if patches.shape[-1] == LARGE_SIDE**2 else SMALLEST_SIDE)
    spectrum, amplitudes = _measure(patches, means, transform)
    covariance = _fit_covariance(spectrum, transform)
    return _model(means.mean(dim=1), amplitudes * covariance[0, 0], covariance)


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


def _group_by_intensity(patches: Tensor, free: int) -> tuple[Tensor, Tensor]:
    """Return mean intensities, (bins, N), and patches less their mean, (bins, N, pixels)."""
    bins = max(1, min(_MOST_BINS, free // _PATCHES_PER_BIN, len(patches)))
    means, order = patches.mean(dim=1).sort()
    # What does not go into bins of one size is left out, as evenly as may be.
    kept = torch.linspace(0, len(order) - 1, len(order) // bins * bins).round().long()
    means, patches = means[kept], patches.index_select(0, order[kept])
    patches -= means[:, None]
    return means.reshape(bins, -1), patches.reshape(bins, len(kept) // bins, -1)


def _measure(patches: Tensor, means: Tensor, transform: PatchTransform) -> tuple[Tensor, Tensor]:
    """Return the power at each frequency and what to multiply it with in each bin, (bins,)."""
    halves = (slice(0, transform.split), slice(transform.split, None))
    matrices = [transform.matrix[half] for half in halves]
    chooses = [transform.frequency[half] < _SELECTING_BELOW for half in halves]
    measures = [(transform.frequency[half] >= _MEASURING_FROM).float() for half in halves]
    # Of all patches only the frequencies that choose are needed, of the chosen ones all.
    choosing = [_power(patches, m[choose]) for m, choose in zip(matrices, chooses, strict=True)]
    relative = torch.ones_like(means)
    spectra = [torch.ones(len(matrix)) for matrix in matrices]
    amplitudes = torch.ones(len(means))
    for _ in range(_ROUNDS):
        energies = [
            power @ (1 / spectrum[choose])
            for power, choose, spectrum in zip(choosing, chooses, spectra, strict=True)
        ]
        chosen = [_flattest(energy) for energy in reversed(energies)]
        flat = [_power(_take(patches, i), m) for i, m in zip(chosen, matrices, strict=True)]
        scales = [relative.gather(1, index) for index in chosen]
        spectra = [_robust_power(f / s[..., None]) for f, s in zip(flat, scales, strict=True)]
        floor = 0.003 * torch.cat(spectra).amax().clamp_min(1e-20)
        spectra = [spectrum.clamp_min(floor) for spectrum in spectra]
        amplitudes = _amplitudes(flat, spectra, measures)
        relative = _interpolate(means, means.mean(dim=1), amplitudes).clamp_min(1e-12)
    return torch.cat(spectra), amplitudes


def _flattest(energies: Tensor) -> Tensor:
    """Return the indices of the patches of each bin with the least energy, (bins, n)."""
    count = max(1, round(_FLAT_PART * energies.shape[1]))
    return energies.topk(count, dim=1, largest=False).indices


def _power(patches: Tensor, matrix: Tensor) -> Tensor:
    return (patches @ matrix.T).square_()


def _take(patches: Tensor, index: Tensor) -> Tensor:
    """Return patches of each bin, (bins, n, pixels), by their indices, (bins, n)."""
    bins, count, pixels = patches.shape
    places = index + count * torch.arange(bins)[:, None]
    return patches.reshape(-1, pixels).index_select(0, places.flatten()).reshape(bins, -1, pixels)


def _robust_power(flat: Tensor) -> Tensor:
    """Return the mean square of each coefficient, as if what exceeds noise were not there."""
    rows = flat.flatten(0, 1)
    if len(rows) < 1 / _QUANTILE:
        return rows.mean(dim=0)
    place = round(_QUANTILE * len(rows)) - 1
    # Four times as fast as torch's kthvalue.
    quantile = np.partition(np.ascontiguousarray(rows.numpy().T), place, axis=1)[:, place]
    return torch.from_numpy(quantile) / _CHI_SQUARE


def _amplitudes(
    flat: Sequence[Tensor], spectra: Sequence[Tensor], measures: Sequence[Tensor]
) -> Tensor:
    """Return how strong the noise of each bin is against the spectrum, (bins,)."""
    # Where the noise of the blurred quanta has died away only the electronic noise is seen.
    strong = 0.1 * torch.cat(list(spectra)).quantile(0.98)
    total, count = torch.zeros(len(flat[0])), 0.0
    for power, spectrum, measure in zip(flat, spectra, measures, strict=True):
        weights = measure * (spectrum > strong)
        total += (power @ (weights / spectrum)).mean(dim=1)
        count += float(weights.sum())
    return total.div(count) if count else torch.ones_like(total)


def _fit_covariance(spectrum: Tensor, transform: PatchTransform) -> Tensor:
    """Return the covariance at shifts (down, across), (REACH + 1, REACH + 1)."""
    power = spectrum.double()
    weights = (transform.frequency >= _MEASURING_FROM) / (power + 0.05 * power.quantile(0.98))
    system = transform.power * weights[:, None]
    normal = system.T @ system
    normal += 1e-6 * normal.diagonal().mean() * torch.eye(len(normal))
    covariance = torch.linalg.solve(normal, system.T @ (power * weights))
    return torch.as_tensor(covariance, dtype=torch.float32).reshape(REACH + 1, REACH + 1)


def _model(intensities: Tensor, variances: Tensor, covariance: Tensor) -> NoiseModel:
    variances = variances.clamp_min(0)
    gain, electronic_variance = _fit_line(intensities.double(), variances.double())
    return NoiseModel(
        gain=gain,
        electronic_variance=electronic_variance,
        variances=_interpolate(torch.linspace(0, 1, CURVE_POINTS), intensities, variances),
        kernel=_kernel(covariance),
    )


def _fit_line(intensities: Tensor, variances: Tensor) -> tuple[float, float]:
    """Return slope and intercept, not negative, that fit with the least relative errors."""
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


def _kernel(covariance: Tensor) -> Tensor:
    """Return the zero-phase filter whose autocorrelation is nearest, of unit energy."""
    side = 8 * REACH
    shifts = torch.arange(-REACH, REACH + 1)
    plane = torch.zeros(side, side)
    plane[shifts[:, None], shifts] = covariance[shifts.abs()[:, None], shifts.abs()]
    response = torch.fft.fft2(plane).real.clamp_min(0).sqrt()
    kernel: Tensor = torch.fft.ifft2(response).real[shifts[:, None], shifts]
    energy = kernel.square().sum()
    if energy > 0:
        return kernel.div(energy.sqrt())
    white = torch.zeros_like(kernel)
    white[REACH, REACH] = 1
    return white


def _interpolate(x: Tensor, places: Tensor, values: Tensor) -> Tensor:
    """Return linear interpolation at `x`, constant outside of the places."""
    return torch.from_numpy(np.interp(x.numpy(), places.numpy(), values.numpy())).float()
