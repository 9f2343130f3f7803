"""Sharpness of a nonlinear processing: the transfer function of an edge of a given contrast.

A denoiser blurs faint edges more than strong ones, so it has no single MTF. As in AAPM's task-based
protocol, an edge of a given contrast is imaged many times with the noise of the task, each image is
processed, and the mean of the results is measured. The slanted-edge method is adapted from ISO
12233 and IEC 62220-1, without claiming conformity.

References:
    AAPM Task Group Report 233, 2019; Samei et al., Med. Phys. 46(11), 2019. Richard et al., Med.
    Phys. 39(7), 2012 (task transfer function).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from monai_dental.benchmark.observer import jackknife

Values = NDArray[np.floating[Any]]

_REACH = 16.0  # pixels to either side of an edge
_STEP = 0.25  # pixels from one point of a profile to the next
_PADDED = 4096  # points of the Fourier transform: frequencies 0.001 cycles per pixel apart
_FLAT = 0.5  # central part of the line spread function that the window leaves unchanged
_BLUR = 2.0  # pixels over which edges and the energy of a residual are averaged
_INTENSITIES = 32


def slanted_edge(shape: tuple[int, int], angle: float) -> Values:
    """Return an image of an almost vertical edge through its centre, 0 on the left to 1, (H, W).

    Pixels on the edge hold the fraction of their area to its right, for small angles.

    Args:
        shape: Rows and columns.
        angle: Angle between edge and columns in radians.
    """
    return np.asarray(np.clip(_distance(shape, angle) + 0.5, 0, 1))


def edge_spread(image: Values, angle: float) -> Values:
    """Return the profile across a slanted edge, sampled more finely than the pixels.

    Args:
        image: (H, W), with an edge like that of `slanted_edge`.
        angle: Angle between edge and columns in radians, not 0.

    Returns:
        Mean of the pixels whose centres lie in each quarter of a pixel, from 16 pixels left of the
        edge to 16 right of it, (128,).

    Raises:
        ValueError: The image is not (H, W), or a bin has no pixels.
    """
    if image.ndim != 2:
        raise ValueError(f"image has shape {image.shape}; need (H, W)")
    bins = round(2 * _REACH / _STEP)
    index = np.floor((_distance(image.shape, angle) + _REACH) / _STEP).astype(np.intp)
    within = (index >= 0) & (index < bins)
    counts = np.bincount(index[within], minlength=bins)
    if not counts.all():
        raise ValueError(
            f"{np.sum(counts == 0)} of {bins} steps across the edge hold no pixel; need a larger "
            f"image than {image.shape} or another angle than {angle:g}"
        )
    return np.asarray(np.bincount(index[within], image[within], minlength=bins) / counts)


def transfer_function(profile: Values) -> tuple[Values, Values]:
    """Return the modulation transfer function of an edge spread function.

    The line spread function is tapered in its outer halves. The attenuation by the bins and
    differences themselves is compensated.

    Args:
        profile: From `edge_spread`, (128,).

    Returns:
        Frequencies from 0 to 1 in cycles per pixel, and the transfer at each, normalized to 1 at 0.

    Raises:
        ValueError: The profile is not that of an edge: its ends are equal.
    """
    line = np.diff(profile)
    # A cosine taper suppresses noise far from the edge; its flat middle keeps the line unchanged.
    place = np.abs(np.linspace(-1, 1, len(line)))
    line = line * np.cos(np.pi / 2 * np.clip((place - _FLAT) / (1 - _FLAT), 0, 1)) ** 2
    spectrum = np.abs(np.fft.rfft(line, _PADDED))
    if not spectrum[0] > 1e-12 * np.abs(profile).max():
        raise ValueError("the profile does not rise or fall; need an edge")
    frequencies = np.fft.rfftfreq(_PADDED, _STEP)
    frequencies = frequencies[frequencies <= 1]
    own = np.sinc(frequencies * _STEP) ** 2
    return frequencies, np.asarray(spectrum[: len(frequencies)] / spectrum[0] / own)


def half_frequency(frequencies: Values, transfer: Values) -> float:
    """Return the first frequency at which a transfer function falls to 50 %, interpolated.

    Args:
        frequencies: Ascending, (K,).
        transfer: Transfer at each frequency, (K,), 1 at the first.

    Raises:
        ValueError: The function never falls below 50 %.
    """
    below = np.flatnonzero(transfer < 0.5)
    if not below.size:
        raise ValueError("the transfer function does not fall below 50 %")
    last, first = below[0] - 1, below[0]
    part = (transfer[last] - 0.5) / (transfer[last] - transfer[first])
    return float(frequencies[last] + part * (frequencies[first] - frequencies[last]))


def compare_edges(
    profiles: Mapping[str, Values], reference: str
) -> dict[str, dict[str, tuple[float, float]]]:
    """Return the frequency at which each processing's MTF is 50 %, with standard errors.

    Args:
        profiles: Edge spread functions of an ensemble for each processing, (images, 128), with the
            same noise in the same row.
        reference: Key of the images before processing.

    Returns:
        For each processing: the frequency in cycles per pixel and its ratio to the reference's,
            each with its jackknife error.

    Raises:
        ValueError: There are fewer than two images, or a mean profile has no such frequency.
    """

    def figures(rows: NDArray[np.bool_]) -> Values:
        found = {
            name: half_frequency(*transfer_function(each[rows].mean(axis=0)))
            for name, each in profiles.items()
        }
        return np.array([(one, one / found[reference]) for one in found.values()]).ravel()

    values, errors = jackknife(figures, np.arange(len(profiles[reference])))
    pairs = iter(zip(values.tolist(), errors.tolist(), strict=True))
    names = ("MTF50 cycles/pixel", f"MTF50 / {reference}")
    return {method: {name: next(pairs) for name in names} for method in profiles}


def edge_correlation(residual: Values, reference: Values) -> float:
    """Return how much of a residual lies on edges, from 0 for pure noise up to 1.

    This is the Pearson correlation of the residual's local energy with the gradient magnitude of
    the reference. Both are averaged over 2 pixels, and their mean at each of 32 intensities is
    subtracted, so that signal-dependent noise does not count as an edge.

    Args:
        residual: Noisy minus denoised image, (H, W).
        reference: Image whose edges count, (H, W): the noise-free image, or the noisy one if there
            is none. Residual and reference may have any unit.

    Raises:
        ValueError: The shapes are not the same (H, W).
    """
    if residual.shape != reference.shape or residual.ndim != 2:
        raise ValueError(f"residual {residual.shape} and reference {reference.shape}; need (H, W)")
    smooth = cv2.GaussianBlur(np.asarray(reference, dtype=np.float64), (0, 0), _BLUR)
    energy = np.square(np.subtract(residual, residual.mean(), dtype=np.float64))
    energy = np.asarray(cv2.GaussianBlur(energy, (0, 0), _BLUR))
    edges = np.hypot(*np.gradient(smooth))
    maps = (energy.ravel().copy(), edges.ravel().copy())
    for part in np.array_split(smooth.argsort(axis=None, kind="stable"), _INTENSITIES):
        for values in maps:
            values[part] -= values[part].mean()
    return float(np.corrcoef(*maps)[0, 1])


def _distance(shape: tuple[int, ...], angle: float) -> Values:
    """Return the signed distance of each pixel's centre from a line through the image's centre."""
    down, across = (np.arange(side) - (side - 1) / 2 for side in shape)
    return np.asarray(across * np.cos(angle) - down[:, None] * np.sin(angle))
