"""The U-Net for images at their native size."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional


class DenoisingUNet(nn.Module):
    """U-Net of residual blocks at half resolution, without norms and biases, that learns the noise.

    The input is the image as 2 × 2 pixels in four channels, which takes a quarter of the time and
    loses nothing. The output is added to the image. Two properties matter beyond accuracy. Without
    normalization layers, a tile gives the same result as the whole image. Without biases, the
    result scales with the image, so the network also works for intensities and noise somewhat
    outside its training data. MONAI's U-Nets have biases, norms, or activations on their shortcuts.

    It accepts any height and width: the image is padded by repeating the edge to the multiple that
    the depth requires, and the result is cropped.

    Args:
        features: Channels of each level, from half resolution down.
        blocks: Residual blocks of two convolutions in each level, in encoder and decoder.
        noise_channels: Number of noise channels after the image's, see `noise_map`; they are
            averaged over 2 × 2 pixels.

    References:
        Ronneberger et al., U-Net, MICCAI 2015. Zhang et al., Plug-and-play image restoration with
        deep denoiser prior, IEEE TPAMI 44(10), 2022, for the blocks. Mohan et al., Robust and
        interpretable blind image denoising via bias-free convolutional neural networks, ICLR 2020.
    """

    def __init__(
        self, features: Sequence[int] = (32, 64, 128), blocks: int = 2, noise_channels: int = 0
    ) -> None:
        super().__init__()
        self.multiple = 2 ** len(features)
        steps = list(pairwise(features))
        self.first = _convolution(4 + noise_channels, features[0])
        self.encoders = nn.ModuleList(_level(channels, blocks) for channels in features[:-1])
        self.down = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2, bias=False) for a, b in steps)
        self.bottom = _level(features[-1], blocks)
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(b, a, 2, stride=2, bias=False) for a, b in reversed(steps)
        )
        self.decoders = nn.ModuleList(
            _level(channels, blocks) for channels in reversed(features[:-1])
        )
        self.last = _convolution(features[0], 4)
        # The network starts as the identity, and learns weak noise in a fraction of the steps.
        nn.init.zeros_(self.last.weight)

    def forward(self, image: Tensor) -> Tensor:
        """Denoise a batch of images.

        Args:
            image: Noisy images, nominally in [0, 1], and their `noise_channels`,
                (batch, 1 + noise_channels, H, W).

        Returns:
            Denoised images, (batch, 1, H, W).
        """
        height, width = image.shape[-2], image.shape[-1]
        bottom, right = -height % self.multiple, -width % self.multiple
        padded = functional.pad(image, [0, right, 0, bottom], mode="replicate")
        noisy = padded[:, :1]
        x = functional.pixel_unshuffle(noisy, 2)
        if self.first.in_channels > 4:
            # The mean of 2 × 2 pixels; on a CPU it takes less than half the time of `avg_pool2d`.
            halved = functional.interpolate(padded[:, 1:], scale_factor=0.5, mode="bilinear")
            x = torch.cat([x, halved], dim=1)
        x = self.first(x)
        shortcuts: list[Tensor] = []
        for encoder, down in zip(self.encoders, self.down, strict=True):
            x = encoder(x)
            shortcuts.append(x)
            x = down(x)
        x = self.bottom(x)
        for up, decoder in zip(self.up, self.decoders, strict=True):
            x = decoder(up(x).add_(shortcuts.pop()))
        denoised: Tensor = torch.add(noisy, functional.pixel_shuffle(self.last(x).contiguous(), 2))
        return torch.narrow(torch.narrow(denoised, -2, 0, height), -1, 0, width)


class _ResidualBlock(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _convolution(channels, channels)
        self.second = _convolution(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        # In place: an image's activations are tens of megabytes, and allocating memory takes as
        # long as filling it. No gradient needs the overwritten values.
        hidden = functional.relu_(self.first(x))
        added: Tensor = self.second(hidden).add_(x)
        return added


def _level(channels: int, blocks: int) -> nn.Sequential:
    return nn.Sequential(*(_ResidualBlock(channels) for _ in range(blocks)))


def _convolution(channels_in: int, channels_out: int) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False)
