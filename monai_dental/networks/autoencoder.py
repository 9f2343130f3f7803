"""The convolutional denoising autoencoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


def _convolution(in_channels: int, out_channels: int) -> nn.Conv2d:
    """Return a 3 × 3 "same" convolution with the initialization of Keras.

    Weights are Glorot uniform and biases zero; torch's default weights are smaller.
    """
    convolution = nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1)
    nn.init.xavier_uniform_(convolution.weight)
    assert convolution.bias is not None
    nn.init.zeros_(convolution.bias)
    return convolution


class DenoisingAutoencoder(nn.Module):
    """Convolutional denoising autoencoder, 1 → 64 → 64 → 64 → 64 → 1 channels, two poolings deep.

    With the default `features` it has the published 112,001 parameters. The network is fully
    convolutional: it was published for 64 × 64 images, but accepts any size. A height or width that
    is not a multiple of 4 is padded by repeating the edge, and the result is cropped.

    Args:
        features: Channels of the hidden layers.

    References:
        Gondara, Medical image denoising using convolutional denoising autoencoders,
        arXiv:1608.04667, 2016.
    """

    def __init__(self, features: int = 64) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            _convolution(1, features), nn.ReLU(), nn.MaxPool2d(2),
            _convolution(features, features), nn.ReLU(), nn.MaxPool2d(2),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            _convolution(features, features), nn.ReLU(), nn.Upsample(scale_factor=2.0),
            _convolution(features, features), nn.ReLU(), nn.Upsample(scale_factor=2.0),
            _convolution(features, 1), nn.Sigmoid(),
        )  # fmt: skip

    def forward(self, image: Tensor) -> Tensor:
        """Denoise a batch of images.

        Args:
            image: Noisy images, (batch, 1, H, W), nominally in [0, 1].

        Returns:
            Denoised images of the same shape, in (0, 1).
        """
        height, width = image.shape[-2], image.shape[-1]
        bottom, right = (4 - height % 4) % 4, (4 - width % 4) % 4
        padded = functional.pad(image, [0, right, 0, bottom], mode="replicate")
        denoised: Tensor = self.decoder(self.encoder(padded))
        return torch.narrow(torch.narrow(denoised, -2, 0, height), -1, 0, width)
