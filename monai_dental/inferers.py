"""MONAI inferers of this package: precision and tiling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer, SlidingWindowInferer
from torch import Tensor

from monai_dental.precision import fastest_dtype

Network = Callable[..., Tensor]


class AutocastInferer(Inferer):
    """Run the network in the fastest precision of the device, and return float32.

    MONAI's engines switch mixed precision on for CUDA alone; this does it for CPUs with bfloat16
    units as well. It pays when the network's weights are in the channels-last layout.

    Args:
        precision: "auto", "float32" or "bfloat16"; see `fastest_dtype`.
    """

    def __init__(self, precision: str = "auto") -> None:
        self.precision = precision

    def __call__(self, inputs: Tensor, network: Network, *args: Any, **kwargs: Any) -> Tensor:
        """Return `network(inputs)` as float32, with the metadata of `inputs`.

        Args:
            inputs: Images, (batch, C, H, W).
            network: The network to run.
            args: Further arguments of `network`.
            kwargs: Further named arguments of `network`.
        """
        plain = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs
        dtype = fastest_dtype(plain.device, self.precision)
        with torch.autocast(plain.device.type, dtype, enabled=dtype != torch.float32):
            return network(plain, *args, **kwargs).float()


class TiledInferer(AutocastInferer):
    """Run the network over images of any size, each channel (frame) by itself.

    An image that fits into one tile is done whole. A larger one is done in overlapping tiles that
    fade into each other (`SlidingWindowInferer`), so that memory stays bounded by the tile.

    Args:
        tile_size: Height and width of a tile, in pixels.
        overlap: Fraction of a tile that it shares with its neighbour.
        precision: "auto", "float32" or "bfloat16"; see `fastest_dtype`.
    """

    def __init__(
        self, tile_size: int = 512, overlap: float = 0.125, precision: str = "auto"
    ) -> None:
        super().__init__(precision)
        self.tile_size = tile_size
        self.overlap = overlap

    def __call__(self, inputs: Tensor, network: Network, *args: Any, **kwargs: Any) -> Tensor:
        """Return the denoised images as float32.

        Args:
            inputs: Images, (batch, C, H, W); each channel goes through the network alone.
            network: Takes and returns (batch, 1, H, W).
            args: Further arguments of `network`.
            kwargs: Further named arguments of `network`.
        """
        plain = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs
        planes = plain.flatten(0, 1)[:, None, None]
        tile = tuple(min(self.tile_size, length) for length in plain.shape[-2:])
        sliding = SlidingWindowInferer(tile, overlap=self.overlap, mode="gaussian")
        run = super().__call__

        def denoise(tiles: Tensor) -> Tensor:
            return run(tiles, network, *args, **kwargs)

        if tile == tuple(plain.shape[-2:]):
            denoised = [denoise(plane) for plane in planes]
        else:
            denoised = [torch.as_tensor(sliding(plane, denoise)) for plane in planes]
        return torch.cat(denoised).reshape(plain.shape)
