"""A network for servers that only pass it an image and its noise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from monai_dental.noise import NoiseModel, noise_map

_SIDE = 16


class ToldSigma(nn.Module):
    """A network for exports, whose input is an image and its sigma instead of a noise map.

    It is for Triton, ONNX Runtime and MAPs, where `NoiseAwareInferer` does not run. Bias-free
    networks need no scaling to [0, 1] before: the result scales with image and sigma. The state is
    that of the wrapped network, so that `monai.bundle`'s exports load the bundle's weights into it.

    Args:
        network: Takes an image with its `noise_map`, (batch, 1 + noise_channels, H, W).
        noise_channels: Channels of the map.
        blur: Sigma in pixels of the Gaussian that blurs the noise; 0 for white noise. With 0.6,
            neighbours have a correlation of 0.5, as on intraoral sensors.
    """

    def __init__(self, network: nn.Module, noise_channels: int, blur: float = 0.6) -> None:
        super().__init__()
        self.network = network
        image = torch.full((_SIDE, _SIDE), 0.5)
        noise = NoiseModel.poisson_gaussian(gain=1.0, electronic_variance=0.0, blur=blur)
        told = noise_map(image, noise, noise_channels)[:, _SIDE // 2, _SIDE // 2]
        sigma = told.square().sum().sqrt() if noise_channels == 3 else told[0]
        self.register_buffer("told", (told / sigma)[None, :, None, None], persistent=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """Denoise a batch of images.

        Args:
            inputs: (batch, 2, H, W): the image, and the standard deviation of its noise at each
                pixel in the same unit.

        Returns:
            The denoised images, (batch, 1, H, W).
        """
        noise = inputs[:, 1:] * self.told  # type: ignore[operator]
        denoised: Tensor = self.network(torch.cat([inputs[:, :1], noise], dim=1))
        return denoised

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Return the state of the network."""
        return self.network.state_dict(*args, **kwargs)

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Load the state of the network."""
        return self.network.load_state_dict(state_dict, *args, **kwargs)
