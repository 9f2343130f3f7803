"""Noise by octave of spatial frequency: at full, half and quarter size.

The octaves are those of the Haar transform: the parts that two successive halvings of an image (by
means of 2 × 2 pixels) remove, and the remainder. Their variances add up to that of the noise.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

OCTAVES = 3
_NARROWEST = 0.05  # least intensity range of a group of pixels, on average


def halve(image: Tensor) -> Tensor:
    """Halve images, (..., H, W), by means of 2 × 2 pixels; an odd last row or column is dropped."""
    rows, columns = image.shape[-2] // 2 * 2, image.shape[-1] // 2 * 2
    even = image[..., :rows:2, :columns] + image[..., 1:rows:2, :columns]
    return (even[..., ::2] + even[..., 1::2]) / 4


def octave_shares(kernel: Tensor) -> Tensor:
    """Return the share of each octave in the variance of filtered white noise, (3,).

    Args:
        kernel: The filter, (2r+1, 2r+1), of unit energy.
    """
    left = torch.stack([_energy_of_means(kernel.double(), side) for side in (1, 2, 4)])
    return torch.cat([left[:-1] - left[1:], left[-1:]]).float()


def _energy_of_means(kernel: Tensor, side: int) -> Tensor:
    """Return the variance of means of side × side pixels of filtered white noise."""
    box = torch.full((1, 1, side, side), 1 / side**2, dtype=kernel.dtype)
    means = torch.nn.functional.conv2d(kernel[None, None], box, padding=side - 1)
    return means.square().sum()


def measure_octaves(noise: Tensor, clean: Tensor, *, bins: int, points: int) -> Tensor:
    """Return the variance of known noise in each octave by intensity.

    Args:
        noise: The noise, (H, W).
        clean: The image without it, (H, W), in [0, 1]; pixels at 0 and 1 are ignored.
        bins: Maximum number of groups of pixels of similar intensity; an image with a narrow
            intensity range has fewer.
        points: Number of intensities.

    Returns:
        Variances at equal steps of intensity from 0 to 1, (3, points); beyond the intensities of
        the image, the value of the nearest one.
    """
    half = halve(noise)
    quarter = halve(half)
    rows, columns = quarter.shape
    powers = [_power_of_cells(plane, rows, columns) for plane in (noise, half, quarter)]
    octaves = torch.stack([powers[0] - powers[1], powers[1] - powers[2], powers[2]]).flatten(1)
    intensities, order = halve(halve(clean)).flatten().sort()
    is_shown = (intensities > 0) & (intensities < 1)
    intensities, order = intensities[is_shown], order[is_shown]
    if not len(order):
        return torch.zeros(OCTAVES, points)
    octaves = octaves[:, order]
    low, high = intensities[len(order) // 20], intensities[-1 - len(order) // 20]
    bins = min(bins, 1 + int((high - low) / _NARROWEST))
    places = [float(group.mean()) for group in intensities.chunk(bins)]
    steps = np.linspace(0, 1, points)
    variances = torch.stack([group.mean(dim=1) for group in octaves.chunk(bins, dim=1)], 1).numpy()
    return torch.from_numpy(np.stack([np.interp(steps, places, v) for v in variances])).float()


def _power_of_cells(plane: Tensor, rows: int, columns: int) -> Tensor:
    """Return the mean square of each cell of a plane divided into rows × columns cells."""
    side = plane.shape[0] // rows
    cells = plane[: side * rows, : side * columns].reshape(rows, side, columns, side)
    return cells.square().mean(dim=(1, 3))
