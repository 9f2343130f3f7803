"""Regression from energy curves to noise: small networks that have learned the effect of anatomy.

Each group of patches of similar intensity goes through the same layers. The mean and the maximum of
the outputs are then passed to all groups, since one image has one kind of noise. The network sees
logarithms minus their mean: an image with half the contrast has half the noise.

`scripts/train_estimator.py` trained three such networks on simulated radiographs, drawn shapes and
photographs; they differ in their seeds alone. The mean of their results has smaller errors on
images unlike those of the training (Lakshminarayanan et al., NeurIPS 2017).
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import cast

import torch
from torch import Tensor, nn

from monai_dental.noise.curves import RANGES, SHARES, Curves
from monai_dental.noise.octaves import OCTAVES

FLOOR = 2e-4
"""Standard deviation added to all others before taking the logarithm."""

_CURVE = OCTAVES * len(SHARES) * len(RANGES)
_WIDTH = 96


class NoiseRegression(nn.Module):
    """Network for the standard deviation of the noise in each octave and group of patches."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(2 * _CURVE + OCTAVES + 2, _WIDTH), nn.SiLU(),
            nn.Linear(_WIDTH, _WIDTH), nn.SiLU(),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            nn.Linear(3 * _WIDTH, _WIDTH), nn.SiLU(),
            nn.Linear(_WIDTH, _WIDTH), nn.SiLU(),
            nn.Linear(_WIDTH, OCTAVES),
        )  # fmt: skip
        self.direct = nn.Linear(_CURVE, OCTAVES)

    def forward(
        self, logs: Tensor, counts: Tensor, intensities: Tensor, is_group: Tensor
    ) -> Tensor:
        """Return logarithms of standard deviations plus `FLOOR`.

        Args:
            logs: Logarithms of the curves' standard deviations, (images, bins, _CURVE), NaN if
                missing; see `logs_of`.
            counts: Number of patches that do not overlap, (images, bins, sizes).
            intensities: Mean intensity, (images, bins).
            is_group: 1 for a group, 0 for padding, (images, bins).

        Returns:
            (images, bins, octaves).
        """
        is_missing = torch.isnan(logs)
        known = (~is_missing).float() * is_group[..., None]
        level = (torch.nan_to_num(logs) * known).sum((1, 2), keepdim=True)
        level = level / known.sum((1, 2), keepdim=True).clamp_min(1)
        curves = torch.where(is_missing, 0.0, logs - level)
        about = [
            curves, is_missing.float(), torch.log2(counts + 1) / 8 - 0.5,
            (level.expand(-1, logs.shape[1], 1) + 4) / 2, intensities[..., None],
        ]  # fmt: skip
        groups = self.encoder(torch.cat(about, -1))
        mean = (groups * is_group[..., None]).sum(1, keepdim=True) / is_group.sum(1)[:, None, None]
        largest = groups.masked_fill(is_group[..., None] == 0, -1e9).amax(1, keepdim=True)
        together = [groups, mean.expand_as(groups), largest.expand_as(groups)]
        found = self.decoder(torch.cat(together, -1)) + self.direct(curves) + level
        return cast(Tensor, found)


def logs_of(energies: Tensor) -> Tensor:
    """Return the network's input logarithms of energies, (bins, sizes, shares, ranges)."""
    return 0.5 * torch.log(energies.clamp_min(0) + FLOOR**2).flatten(1)


def octaves_of(curves: Curves) -> Tensor:
    """Return the variance of the noise in each octave and group of patches, (bins, octaves).

    It is limited to the total energy of the patches.
    """
    inputs = (
        logs_of(curves.energies)[None], curves.counts[None], curves.intensities[None],
        torch.ones(1, len(curves.intensities)),
    )  # fmt: skip
    with torch.inference_mode():
        found = torch.cat([network(*inputs) for network in _shipped()]).mean(dim=0)
    variances = (found.exp() - FLOOR).clamp_min(0).square()
    return variances.minimum(curves.energies.nan_to_num(torch.inf).amax(dim=(2, 3)))


@cache
def _shipped() -> list[NoiseRegression]:
    with files("monai_dental.noise").joinpath("regression.pt").open("rb") as stream:
        states = torch.load(stream, map_location="cpu", weights_only=True)
    networks = [NoiseRegression().eval() for _ in states]
    for network, state in zip(networks, states, strict=True):
        network.load_state_dict(state)
    return networks
