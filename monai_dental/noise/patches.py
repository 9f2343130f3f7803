"""Patches of an image and their noise power by spatial frequency."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

LARGE_SIDE = 16
SMALLEST_SIDE = 8
REACH = 4
"""Largest shift in pixels at which noise is taken to be correlated."""

_LARGE_AREA = 128 * 128  # pixels from which on the larger patches are enough
_MOST_PATCHES = 10_000


@dataclass(frozen=True)
class PatchTransform:
    """Cosine transform of square patches, their quadratic trend taken out.

    Its coefficients are two groups that lie among each other like the squares of a chessboard: the
    noise of the one says nothing of the noise of the other, the anatomy of the one much.

    Attributes:
        matrix: The transform, (coefficients, side * side), without the lowest frequencies.
        frequency: Sum of the vertical and horizontal frequency, half waves in 16 pixels, (coefs,).
        power: What the noise's covariance at each shift, from (0, 0), (0, 1) to (REACH, REACH),
            gives to the mean square of each coefficient, (coefficients, (REACH + 1)**2), float64.
        split: Where the second group starts.
    """

    matrix: Tensor
    frequency: Tensor
    power: Tensor
    split: int


@cache
def patch_transform(side: int) -> PatchTransform:
    """Return the transform of patches of (side, side) pixels."""
    index = torch.arange(side, dtype=torch.float64)
    waves = torch.cos(math.pi / side * index[:, None] * (index + 0.5))
    waves /= waves.norm(dim=1, keepdim=True)
    matrix = torch.kron(waves, waves)
    place = (index + 0.5) / side - 0.5
    down, across = torch.meshgrid(place, place, indexing="ij")
    trends = [down**a * across**b for a in range(3) for b in range(3 - a)]
    trend, _ = torch.linalg.qr(torch.stack(trends, -1).reshape(side * side, -1))
    matrix -= (matrix @ trend) @ trend.T
    v, u = (grid.flatten() for grid in torch.meshgrid(index, index, indexing="ij"))
    chess = (v // 2 + u // 2) % 2
    order = torch.argsort(chess, stable=True)
    order = order[(v + u)[order] >= 3]  # lower ones are the trend
    matrix = matrix[order]
    return PatchTransform(
        matrix=matrix.float(),
        frequency=(v + u)[order] * (16 / side),
        power=_power_of_covariances(matrix.reshape(-1, side, side)),
        split=int((chess[order] == 0).sum()),
    )


def _power_of_covariances(waves: Tensor) -> Tensor:
    """Return `PatchTransform.power`: sums of the autocorrelation of each wave, (N, side, side).

    The squares of cosines do not tell a shift down and right from one down and left; noise is
    taken to be the same for both.
    """
    size = [side + REACH for side in waves.shape[-2:]]
    spectrum = torch.fft.rfft2(waves, s=size).abs().square()
    overlap = torch.fft.irfft2(spectrum, s=size)
    columns = []
    for down in range(REACH + 1):
        for across in range(REACH + 1):
            shifts = {(down, across), (down, -across), (-down, across), (-down, -across)}
            columns.append(sum((overlap[:, y, x] for y, x in shifts), torch.zeros(len(waves))))
    return torch.stack(columns, -1).double()


def cut_patches(images: Sequence[Tensor]) -> tuple[Tensor, int]:
    """Return patches in which noise can be seen, (N, side * side), and how many do not overlap.

    Patches that are constant or hold clipped pixels are left out; where most are constant, all.

    Args:
        images: Images, (H, W), each side at least `SMALLEST_SIDE` pixels.

    Returns:
        At most some 10,000 patches from all over the images, none if all were left out.
    """
    area = sum(image.numel() for image in images)
    shortest = min(extent for image in images for extent in image.shape)
    side = LARGE_SIDE if area >= _LARGE_AREA and shortest >= LARGE_SIDE else SMALLEST_SIDE
    quota = max(1, _MOST_PATCHES // len(images))
    cuts, free = [], 0.0
    for image in images:
        places = math.prod(extent - side + 1 for extent in image.shape)
        stride = math.ceil(math.sqrt(places / quota))
        patches = image.unfold(0, side, stride).unfold(1, side, stride).reshape(-1, side * side)
        patches = patches.index_select(0, _is_usable(patches, image).nonzero()[:, 0])
        cuts.append(patches)
        free += len(patches) * min(1.0, (stride / side) ** 2)
    return torch.cat(cuts), math.ceil(free)


def _is_usable(patches: Tensor, image: Tensor) -> Tensor:
    """Return which patches of an image, (N, pixels), are neither constant nor clipped, (N,)."""
    least, largest = patches.amin(dim=1), patches.amax(dim=1)
    is_within = torch.ones(len(patches), dtype=torch.bool)
    for level in clipped_levels(image):
        is_within &= (least != level) & (largest != level)
    is_varied = is_within & (largest > least)
    # Where most of the image is constant there is no noise: what varies is an edge.
    return is_varied & (2 * is_varied.sum() >= is_within.sum())


def clipped_levels(image: Tensor) -> list[float]:
    """Return the minimum and the maximum of an image, each if it is one at which it is clipped.

    A histogram falls off towards its ends, unless what is beyond has been put there.
    """
    levels = []
    pixels = image.numpy()
    for find, beyond in ((np.min, np.inf), (np.max, -np.inf)):
        end = find(pixels)
        count = np.count_nonzero(pixels == end)
        if 8 <= count < pixels.size:
            next_end = find(pixels, where=pixels != end, initial=beyond)
            if count > 2 * np.count_nonzero(pixels == next_end):
                levels.append(float(end))
    return levels
