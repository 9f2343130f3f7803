"""Initial weights of a training."""

from __future__ import annotations

import torch

from monai_dental.bundle.find import load_weights
from monai_dental.networks import DenoisingUNet

_IMAGE = 4  # channels of the image in the first convolution
_FROM_OCTAVES = ((0.704, 0.408, 0.681), (-0.708, 0.909, 0.845))
"""Weights that give the standard deviation, and its product with the neighbours' correlation, from
the octaves' standard deviations.

Fitted by least squares to white noise, noise blurred by 0.3 to 3 pixels, and sums of both; accurate
to 0.12 and 0.05 of the standard deviation.
"""


def start_from_two_channels(
    network: DenoisingUNet, before: DenoisingUNet, path: str, device: torch.device
) -> None:
    """Initialize a network whose noise input is octaves from one with two noise channels.

    The blind bundle used two channels up to version 0.3: the standard deviation, and its product
    with the correlation of neighbours.

    Args:
        network: The network, with 3 noise channels.
        before: The network with 2 noise channels, otherwise the same; the weights are loaded into
            it.
        path: The weights of `before`, a file with a plain state dictionary.
        device: Where `network` is.

    Raises:
        BundleError: There is no such file, or it does not fit `before`.
    """
    load_weights(before, path, device)
    weights = before.state_dict()
    first = weights["first.weight"]
    octaves = torch.einsum("octr,cn->ontr", first[:, _IMAGE:], first.new_tensor(_FROM_OCTAVES))
    weights["first.weight"] = torch.cat([first[:, :_IMAGE], octaves], dim=1)
    network.load_state_dict(weights)
