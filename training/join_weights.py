"""Join the weights of two networks of `blind` to those of one with twice the channels.

    .venv/bin/python training/join_weights.py FIRST SECOND OUTPUT

The halves of each layer do not see each other, and the result is the mean of both networks'
results; a training can then connect them.
"""

from __future__ import annotations

import sys

import torch

from monai_dental.networks import DenoisingUNet


def main(first: str, second: str, output: str) -> None:
    """Write the joined weights."""
    parts = [torch.load(path, weights_only=True) for path in (first, second)]
    channels = 2 * parts[0]["first.weight"].shape[0]
    network = DenoisingUNet((channels, 2 * channels, 4 * channels), noise_channels=3)
    joined = {}
    for name, weight in network.state_dict().items():
        one, other = (part[name] for part in parts)
        if name == "first.weight":
            joined[name] = torch.cat([one, other])
        elif name == "last.weight":
            joined[name] = torch.cat([one, other], dim=1) / 2
        else:
            joined[name] = torch.zeros_like(weight)
            rows, columns = one.shape[:2]
            joined[name][:rows, :columns] = one
            joined[name][rows:, columns:] = other
    torch.save(joined, output)


if __name__ == "__main__":
    main(*sys.argv[1:])
