"""What a denoising network is told of the noise.

Each map scales with the image, as a network without biases needs it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from monai_dental.filters import low_pass
from monai_dental.noise.model import NoiseModel, interpolate_variance

_GUIDE_SIGMA = 2.0  # pixels: the expected intensity, with most of the noise gone


def noise_map(image: Tensor, noise: NoiseModel, channels: int = 3) -> Tensor:
    """Return the noise at each pixel of a noisy image, as channels for a network.

    Args:
        image: Noisy image, (H, W), in [0, 1].
        noise: Its noise.
        channels: 3 for the standard deviation in each octave; 2 for what networks of bundle version
            0.3 and earlier are told: the standard deviation, and the same times the correlation of
            neighbours. 1 for the standard deviation alone.

    Returns:
        The channels, (channels, H, W).

    Raises:
        ValueError: There is no map of so many channels.
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
