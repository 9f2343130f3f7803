"""Noise maps: input channels of denoising networks.

Each map scales with the image, as bias-free networks need it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from monai_dental.filters import low_pass
from monai_dental.noise.model import NoiseModel, interpolate_variance

_GUIDE_SIGMA = 2.0  # pixels; blurs most of the noise away for the expected intensity


def noise_map(image: Tensor, noise: NoiseModel, channels: int = 3) -> Tensor:
    """Return the noise at each pixel of a noisy image as channels for a network.

    Args:
        image: Noisy image, (H, W), in [0, 1].
        noise: Its noise.
        channels: 3 for the standard deviation in each octave; 2 for the standard deviation, and the
            same times the correlation of neighbours, for networks of bundle version 0.3 and
            earlier; 1 for the standard deviation alone.

    Returns:
        The channels, (channels, H, W).

    Raises:
        ValueError: `channels` is not 1, 2 or 3.
    """
    guide = low_pass(image, _GUIDE_SIGMA)
    if channels == 3:
        return torch.stack([interpolate_variance(guide, octave) for octave in noise.octaves]).sqrt()
    sigma = interpolate_variance(guide, noise.variances).sqrt()
    if channels == 2:
        return torch.stack([sigma, sigma * noise.lag_one])
    if channels == 1:
        return sigma[None]
    raise ValueError(f"noise_channels is {channels}; need 1, 2 or 3")
