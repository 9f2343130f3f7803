"""Average the weights before and after a fine-tuning of `blind`.

.venv/bin/python training/finish_weights.py MODEL_0_3 FINE_TUNED OUTPUT
"""

from __future__ import annotations

import sys

import torch

from monai_dental.networks import DenoisingUNet
from monai_dental.training.initial import start_from_two_channels

FEATURES = (16, 32, 64)


def main(before: str, after: str, output: str) -> None:
    """Write the mean of both weights."""
    network = DenoisingUNet(FEATURES, noise_channels=3)
    start_from_two_channels(
        network, DenoisingUNet(FEATURES, noise_channels=2), before, torch.device("cpu")
    )
    first, last = network.state_dict(), torch.load(after, weights_only=True)
    torch.save({name: (first[name] + last[name]) / 2 for name in last}, output)


if __name__ == "__main__":
    main(*sys.argv[1:])
