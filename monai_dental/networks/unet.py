"""The U-Net for images at their native size."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from monai_dental.networks.fused import can_fuse, convolve_and_activate, convolve_and_add


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
        negative_slope: Slope of the activations below 0, as in `torch.nn.LeakyReLU`. With 0, a long
            training may stop many channels: most features are positive, so without biases, a
            channel that has become negative is 0 for all images, and stays so.
        mean_size: Side, in cells of 2 × 2 pixels and odd, of the square around each cell whose mean
            is taken from the image that the network sees, though not from the result. Without the
            mean, features have both signs, so that activations do something. 0 for none.

    Raises:
        ValueError: `mean_size` is even or negative.

    References:
        Ronneberger et al., U-Net, MICCAI 2015. Zhang et al., Plug-and-play image restoration with
        deep denoiser prior, IEEE TPAMI 44(10), 2022, for the blocks. Mohan et al., Robust and
        interpretable blind image denoising via bias-free convolutional neural networks, ICLR 2020.
    """

    def __init__(
        self,
        features: Sequence[int] = (32, 64, 128),
        blocks: int = 2,
        noise_channels: int = 0,
        negative_slope: float = 0.0,
        mean_size: int = 0,
    ) -> None:
        super().__init__()
        if mean_size < 0 or (mean_size and mean_size % 2 == 0):
            raise ValueError(f"mean_size is {mean_size}; need an odd number, or 0 for no mean")
        self.mean_size = mean_size
        self.multiple = 2 ** len(features)
        steps = list(pairwise(features))
        self.first = _convolution(4 + noise_channels, features[0])
        level = partial(_level, blocks=blocks, negative_slope=negative_slope)
        self.encoders = nn.ModuleList(map(level, features[:-1]))
        self.down = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2, bias=False) for a, b in steps)
        self.bottom = level(features[-1])
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(b, a, 2, stride=2, bias=False) for a, b in reversed(steps)
        )
        self.decoders = nn.ModuleList(map(level, reversed(features[:-1])))
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
        if self.mean_size > 0:
            x = x - _local_mean(x, self.mean_size)
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
    def __init__(self, channels: int, negative_slope: float) -> None:
        super().__init__()
        self.negative_slope = negative_slope
        self.first = _convolution(channels, channels)
        self.second = _convolution(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        # Nested, so that TorchScript leaves out what follows.
        if not torch.jit.is_scripting():  # noqa: SIM102
            if can_fuse(x):
                hidden = convolve_and_activate(x, self.first.weight, self.negative_slope)
                return convolve_and_add(hidden, self.second.weight, x)
        # In place: an image's activations are tens of megabytes, and allocating memory takes as
        # long as filling it. No gradient needs the overwritten values.
        hidden = functional.leaky_relu_(self.first(x), self.negative_slope)
        added: Tensor = self.second(hidden).add_(x)
        return added


def _local_mean(cells: Tensor, size: int) -> Tensor:
    """Return the mean of the part of the image around each cell, (batch, 1, H, W)."""
    means, reach = cells.mean(dim=1, keepdim=True), size // 2
    for kernel, padding in (((1, size), (0, reach)), ((size, 1), (reach, 0))):
        means = functional.avg_pool2d(
            means, kernel, stride=1, padding=padding, count_include_pad=False
        )
    return means


def _level(channels: int, blocks: int, negative_slope: float) -> nn.Sequential:
    return nn.Sequential(*(_ResidualBlock(channels, negative_slope) for _ in range(blocks)))


def _convolution(channels_in: int, channels_out: int) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False)
