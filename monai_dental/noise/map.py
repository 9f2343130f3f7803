"""What a denoising network is told of the noise."""

from __future__ import annotations

import torch
from torch import Tensor

from monai_dental.filters import low_pass
from monai_dental.noise.model import interpolate_variance

_GUIDE_SIGMA = 2.0  # pixels: the expected intensity, with most of the noise gone


def noise_map(image: Tensor, variances: Tensor, correlation: float | Tensor) -> Tensor:
    """Return the noise at each pixel of a noisy image, as channels for a network.

    Both channels scale with the image, as a network without biases needs it.

    Args:
        image: Noisy image, (H, W), in [0, 1].
        variances: Variance of the noise by intensity, as in `NoiseModel`, (K,).
        correlation: Correlation of the noise of neighbours, see `NoiseModel.lag_one`.

    Returns:
        The standard deviation, and the same times the correlation, (2, H, W).
    """
    sigma = interpolate_variance(low_pass(image, _GUIDE_SIGMA), variances).sqrt()
    return torch.stack([sigma, sigma * correlation])
