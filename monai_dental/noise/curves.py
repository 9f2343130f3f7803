"""Energy curves of image patches at three sizes, by intensity, from which noise is estimated.

Every patch has noise, most have anatomy. Patches of similar intensity are sorted by the energy in
one half of their spatial frequencies, and the energy in the other half is measured. This way, the
selection of flat patches does not bias the noise. Over the flattest patches the curve is level if
they have only noise; it rises from the start if all of them have anatomy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from monai_dental.noise.clipping import clipped_levels
from monai_dental.noise.octaves import OCTAVES, halve

SIDE = 8
"""Rows and columns of a patch at each image size."""

SHARES = (0.03, 0.1, 0.3, 1.0)
"""Fractions of the patches, flattest first, over which the energy is averaged."""

RANGES = ((3, 5), (5, 8), (8, 15))
"""Ranges of spatial frequency: sums of the numbers of half waves down and across a patch."""

_MOST_PATCHES, _MOST_BINS, _PATCHES_PER_BIN = 8_000, 10, 150
_FEWEST = 4  # patches needed for a curve
_TREND = 3  # lower sums of half waves are the trend


@dataclass(frozen=True, eq=False)
class Curves:
    """Energy curves of an image.

    Attributes:
        intensities: Mean intensity of each group of patches, (bins,).
        energies: Mean energy of a coefficient, in units of the variance of white noise at full
            size; NaN for too few patches, (bins, sizes, shares, ranges).
        counts: Number of patches that do not overlap, (bins, sizes).
    """

    intensities: Tensor
    energies: Tensor
    counts: Tensor


@dataclass(frozen=True, eq=False)
class _Patches:
    """Patches at one size: means, (N,); energies, (N, 2 halves, ranges); number not overlapping."""

    means: Tensor
    energies: Tensor
    free: float


def measure_curves(images: Sequence[Tensor]) -> Curves | None:
    """Measure images with the same noise; return None if no patch varies.

    Patches that are constant or have clipped pixels are left out. If most patches of an image are
    constant, all of them are left out.

    Args:
        images: Images, (H, W), each side at least `SIDE` pixels.
    """
    sizes = [_cut_all(images, halvings) for halvings in range(OCTAVES)]
    full = sizes[0]
    if not len(full.means):
        return None
    bins = int(max(1, min(_MOST_BINS, full.free // _PATCHES_PER_BIN)))
    ordered = full.means.sort().values
    edges = ordered[torch.linspace(0, len(ordered) - 1, bins + 1).round().long()][1:-1].contiguous()
    groups = [torch.bucketize(size.means, edges) for size in sizes]
    intensities = torch.stack([_mean_in(full.means, groups[0], each) for each in range(bins)])
    energies = torch.full((bins, OCTAVES, len(SHARES), len(RANGES)), math.nan)
    counts = torch.zeros(bins, OCTAVES)
    for place, (size, group) in enumerate(zip(sizes, groups, strict=True)):
        for each in range(bins):
            chosen = (group == each).nonzero()[:, 0]
            counts[each, place] = len(chosen) * size.free / max(len(size.means), 1)
            if len(chosen) >= _FEWEST:
                energies[each, place] = _curve(size.energies[chosen])
    return Curves(intensities, energies, counts)


def _mean_in(means: Tensor, groups: Tensor, group: int) -> Tensor:
    chosen = means[groups == group]
    return chosen.mean() if len(chosen) else means.mean()


def _curve(energies: Tensor) -> Tensor:
    """Return the energies of the flattest patches, (shares, ranges); each half sorts the other.

    Args:
        energies: Energies of the two halves of the frequencies, (N, 2, ranges).
    """
    flatness = energies[:, :, :2].mean(dim=2)
    first, second = flatness[:, 0].argsort(), flatness[:, 1].argsort()
    sums = (energies[first, 1] + energies[second, 0]).cumsum(dim=0) / 2
    ends = [max(1, round(share * len(energies))) for share in SHARES]
    return torch.stack([sums[end - 1] / end for end in ends])


def _cut_all(images: Sequence[Tensor], halvings: int) -> _Patches:
    """Return the patches of images after some halvings of the images."""
    cuts = [_cut(image, halvings, _MOST_PATCHES // len(images)) for image in images]
    return _Patches(
        means=torch.cat([cut.means for cut in cuts]),
        energies=torch.cat([cut.energies for cut in cuts]),
        free=sum(cut.free for cut in cuts),
    )


def _cut(image: Tensor, halvings: int, most: int) -> _Patches:
    is_clipped = torch.zeros_like(image)
    for level in clipped_levels(image):
        is_clipped[image == level] = 1
    for _ in range(halvings):
        image, is_clipped = halve(image).contiguous(), halve(is_clipped).contiguous()
    places = math.prod(max(extent - SIDE + 1, 0) for extent in image.shape)
    if not places:
        return _Patches(torch.zeros(0), torch.zeros(0, 2, len(RANGES)), 0.0)
    stride = max(1, math.ceil(math.sqrt(places / max(most, 1))))
    patches, clipped = (
        plane.unfold(0, SIDE, stride).unfold(1, SIDE, stride).reshape(-1, SIDE * SIDE)
        for plane in (image, is_clipped)
    )
    is_within = clipped.amax(dim=1) == 0
    is_varied = is_within & (patches.amax(dim=1) > patches.amin(dim=1))
    if halvings == 0 and 2 * is_varied.sum() < is_within.sum():
        # If most of the image is constant, it has no noise, and patches that vary are edges.
        is_varied[:] = False
    patches = patches[is_varied]
    means = patches.mean(dim=1)
    matrix, ranges = _transform()
    energies = (((patches - means[:, None]) @ matrix.T).square_() @ ranges.T).reshape(
        -1, 2, len(RANGES)
    )
    return _Patches(means, energies, len(patches) * min(1.0, (stride / SIDE) ** 2))


@cache
def _transform() -> tuple[Tensor, Tensor]:
    """Return the cosine transform of patches without their quadratic trend, and mean weights.

    Returns:
        The transform, each coefficient of unit norm, (coefficients, SIDE * SIDE); and the weights
        of the coefficients in the mean of each half and range, (2 * ranges, coefficients). The
        halves alternate like the squares of a chessboard.
    """
    index = torch.arange(SIDE, dtype=torch.float64)
    waves = torch.cos(math.pi / SIDE * index[:, None] * (index + 0.5))
    waves /= waves.norm(dim=1, keepdim=True)
    matrix = torch.kron(waves, waves)
    place = (index + 0.5) / SIDE - 0.5
    down, across = torch.meshgrid(place, place, indexing="ij")
    trends = [down**a * across**b for a in range(3) for b in range(3 - a)]
    trend, _ = torch.linalg.qr(torch.stack(trends, -1).reshape(SIDE * SIDE, -1))
    matrix -= (matrix @ trend) @ trend.T
    v, u = (grid.flatten() for grid in torch.meshgrid(index, index, indexing="ij"))
    is_kept = v + u >= _TREND
    matrix, total, half = matrix[is_kept], (v + u)[is_kept], ((v + u) % 2)[is_kept]
    matrix /= matrix.norm(dim=1, keepdim=True)
    chosen = [
        (half == side) & (total >= low) & (total < high) for side in (0, 1) for low, high in RANGES
    ]
    weights = torch.stack(chosen).double()
    return matrix.float(), (weights / weights.sum(dim=1, keepdim=True)).float()
