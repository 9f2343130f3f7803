"""The U-Net for images of their own size."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.nets import SegResNet
from torch import Tensor, nn
from torch.nn import functional


class DenoisingUNet(nn.Module):
    """MONAI's `SegResNet` as a denoiser: at half resolution, without norm, learning the noise.

    The image goes in as its 2 × 2 pixels in four channels, which costs a quarter of the time and
    loses nothing. What comes out is added to the image. Two properties matter beyond accuracy: with
    no normalization layers a tile gives what the whole image gives, and with no biases the result
    scales with the image, so that the network also fits intensities and noise a little off those
    that it learned from.

    Any height and width will do: the image is padded by repeating the edge to a multiple of what
    the depth needs, and the padding is cut off the result.

    Args:
        features: Channels at half resolution; each level below has twice as many.
        blocks: Residual blocks of two convolutions in each level of the encoder; the decoder has
            one for each level but the lowest.

    References:
        Ronneberger et al., U-Net, MICCAI 2015. Myronenko, 3D MRI brain tumor segmentation using
        autoencoder regularization, 2018, for the blocks. Mohan et al., Robust and interpretable
        blind image denoising via bias-free convolutional neural networks, ICLR 2020.
    """

    def __init__(self, features: int = 32, blocks: Sequence[int] = (2, 2, 2)) -> None:
        super().__init__()
        self.multiple = 2 ** len(blocks)
        self.network = SegResNet(
            spatial_dims=2,
            init_filters=features,
            in_channels=4,
            out_channels=4,
            norm="",
            # In place it would write into the blocks' shortcuts; and where nothing is normalized, a
            # plain ReLU can die for good.
            act=("LeakyReLU", {"negative_slope": 0.1, "inplace": False}),
            blocks_down=tuple(blocks),
            blocks_up=tuple(blocks[:-1]),
            upsample_mode="deconv",
        )
        for module in self.network.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                module.bias = None  # three layers of SegResNet have one
        # The network begins as the identity: weak noise is then learned in a fraction of the steps.
        nn.init.zeros_(self.network.conv_final[-1].conv.weight)

    def forward(self, image: Tensor) -> Tensor:
        """Denoise a batch of images.

        Args:
            image: Noisy images, (batch, 1, H, W), nominally in [0, 1].

        Returns:
            Denoised images of the same shape.
        """
        height, width = image.shape[-2], image.shape[-1]
        bottom, right = -height % self.multiple, -width % self.multiple
        padded = functional.pad(image, [0, right, 0, bottom], mode="replicate")
        correction = self.network(functional.pixel_unshuffle(padded, 2))
        denoised: Tensor = torch.add(padded, functional.pixel_shuffle(correction, 2))
        return torch.narrow(torch.narrow(denoised, -2, 0, height), -1, 0, width)
