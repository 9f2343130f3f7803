"""MONAI inferers of this package: precision and tiling."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer
from torch import Tensor

from monai_dental.errors import UnsupportedImageError
from monai_dental.inference.precision import fastest_dtype
from monai_dental.noise import NoiseModel, estimate_noise, noise_map

Network = Callable[..., Tensor]

_GRID = 16  # tiles start on multiples of it, so that up to four poolings fall alike in all of them
_BORDER = 16  # pixels of mirror image around an image: more of it makes no difference to its rim


@contextlib.contextmanager
def _without_tf32() -> Iterator[None]:
    """Keep GPUs from computing convolutions in TF32; other devices never do."""
    cudnn: Any = torch.backends.cudnn
    convolutions = cudnn.conv
    before = convolutions.fp32_precision
    convolutions.fp32_precision = "ieee"
    try:
        yield
    finally:
        convolutions.fp32_precision = before


class AutocastInferer(Inferer):
    """Run the network in the fastest precision of the device, and return float32.

    MONAI's engines switch mixed precision on for CUDA alone; this does it for CPUs with bfloat16
    units as well. It pays when the network's weights are in the channels-last layout.

    Args:
        precision: "auto", "float32" or "bfloat16"; see `fastest_dtype`. "float32" keeps a GPU from
            computing convolutions in TF32, which is what "auto" is on many.
    """

    def __init__(self, precision: str = "auto") -> None:
        self.precision = precision

    def __call__(self, inputs: Tensor, network: Network, *args: Any, **kwargs: Any) -> Tensor:
        """Return `network(inputs)` as float32, a plain tensor.

        Args:
            inputs: Images, (batch, C, H, W).
            network: The network to run.
            args: Further arguments of `network`.
            kwargs: Further named arguments of `network`.
        """
        plain = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs
        dtype = fastest_dtype(plain.device, self.precision)
        context: contextlib.AbstractContextManager[Any] = contextlib.nullcontext()
        if dtype != torch.float32:
            context = torch.autocast(plain.device.type, dtype)
        elif self.precision == "float32":
            context = _without_tf32()
        with context:
            return network(plain, *args, **kwargs).float()


class ChannelwiseInferer(AutocastInferer):
    """`AutocastInferer` for a network of one channel, which takes each channel by itself."""

    def __call__(self, inputs: Tensor, network: Network, *args: Any, **kwargs: Any) -> Tensor:
        """Return the denoised images as float32, a plain tensor.

        Args:
            inputs: Images, (batch, C, H, W).
            network: Takes and returns (batch * C, 1, H, W).
            args: Further arguments of `network`.
            kwargs: Further named arguments of `network`.
        """
        planes = inputs.flatten(0, 1)[:, None]
        return super().__call__(planes, network, *args, **kwargs).reshape(inputs.shape)


class TiledInferer(AutocastInferer):
    """Run the network over images of any size, each channel (frame) by itself, without seams.

    An image is continued beyond its borders by 16 pixels of its mirror image, and cut into tiles
    that overlap by twice `halo`; of each result the middle is kept. Where `halo` is at least the
    network's reach (half its receptive field), the result does not depend on the tiles. The network
    sees one tile at a time, or small images together that make no more, so that its memory is
    bounded by the tile. MONAI's `SlidingWindowInferer` blends tiles whose borders the network has
    padded with zeros.

    Args:
        tile_size: Height and width of a tile with its halo, in pixels, a multiple of 16.
        halo: Width of the border that is thrown away, in pixels, a multiple of 16; 0 runs the
            network on the whole image, padded as the network pads.
        precision: "auto", "float32" or "bfloat16"; see `fastest_dtype`.

    Raises:
        ValueError: A size is not a multiple of 16, or the halo leaves nothing of a tile.
    """

    def __init__(self, tile_size: int = 512, halo: int = 32, precision: str = "auto") -> None:
        super().__init__(precision)
        if tile_size % _GRID or halo % _GRID or not 0 <= 2 * halo < tile_size:
            raise ValueError(
                f"tile_size {tile_size} and halo {halo} must be multiples of {_GRID}, "
                "and two halos smaller than a tile"
            )
        self.tile_size = tile_size
        self.halo = halo

    def input_of(self, frame: Tensor) -> Tensor:
        """Return what the network gets of an image, (H, W): its channels, (C, H, W)."""
        return frame[None]

    def __call__(self, inputs: Tensor, network: Network, *args: Any, **kwargs: Any) -> Tensor:
        """Return the denoised images as float32, a plain tensor on the device of `inputs`.

        Args:
            inputs: Images, (batch, C, H, W); each channel goes through the network alone.
            network: Takes (batch, C, H, W) of `input_of`, and returns (batch, 1, H, W).
            args: Further arguments of `network`.
            kwargs: Further named arguments of `network`.
        """
        plain = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs
        run = super().__call__
        frames = plain.flatten(0, 1)
        height, width = frames.shape[-2:]
        # Small images go through the network together, as many as fill a tile.
        together = max(1, self.tile_size**2 // ((height + 2 * _BORDER) * (width + 2 * _BORDER)))
        denoised = torch.empty_like(frames, dtype=torch.float32)
        step = self.tile_size - 2 * self.halo
        for first in range(0, len(frames), together):
            results = denoised[first : first + together]
            group = frames[first : first + together]
            channels = torch.stack([self.input_of(frame) for frame in group])
            if self.halo == 0:
                results[:] = run(channels, network, *args, **kwargs)[:, 0]
                continue
            padded = _mirrored(channels, _BORDER)
            for top, left in itertools.product(range(0, height, step), range(0, width, step)):
                rows, inner_rows = self._extent(top, step, height)
                columns, inner_columns = self._extent(left, step, width)
                tile = run(padded[..., rows, columns], network, *args, **kwargs)[:, 0]
                results[:, top : top + step, left : left + step] = tile[
                    :, inner_rows, inner_columns
                ]
        return denoised.reshape(plain.shape)

    def _extent(self, start: int, step: int, length: int) -> tuple[slice, slice]:
        """Return what a tile has of the padded image along an axis, and what is kept of it."""
        stop = min(start + step, length)
        first, last = max(start - self.halo, -_BORDER), min(stop + self.halo, length + _BORDER)
        return slice(first + _BORDER, last + _BORDER), slice(start - first, stop - first)


class NoiseAwareInferer(TiledInferer):
    """Tell the network of the noise of each image, which is estimated from the whole of it.

    Pixels stay as they are where there is no noise.

    Args:
        tile_size: See `TiledInferer`.
        halo: See `TiledInferer`.
        precision: See `TiledInferer`.
        noise: The noise of all images, where it is known, in units of the inputs; None estimates
            that of each.
        noise_channels: How many channels the network is told of it, see `noise_map`.

    Raises:
        TypeError: `noise` is something else.
    """

    def __init__(
        self,
        tile_size: int = 512,
        halo: int = 32,
        precision: str = "auto",
        *,
        noise: NoiseModel | None = None,
        noise_channels: int = 2,
    ) -> None:
        super().__init__(tile_size, halo, precision)
        if noise is not None and not isinstance(noise, NoiseModel):
            raise TypeError(
                f"noise is {noise!r}; need null, or a component of the config, for example "
                '{"_target_": "monai_dental.noise.NoiseModel.poisson_gaussian", "gain": 0, '
                '"electronic_variance": 0.0004}'
            )
        self.noise = noise
        self.noise_channels = noise_channels

    def __call__(self, inputs: Tensor, network: Network, *args: Any, **kwargs: Any) -> Tensor:
        """Return what `TiledInferer` does, but pixels without noise as they are."""

        def run(channels: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            image, told = channels[:, :1], channels[:, 1:]
            is_noisy = (told > 0).any(dim=1, keepdim=True)
            return torch.where(is_noisy, network(channels, *args, **kwargs), image)

        return super().__call__(inputs, run, *args, **kwargs)

    def input_of(self, frame: Tensor) -> Tensor:
        """Return an image, (H, W), with its `noise_map`, (1 + noise_channels, H, W).

        Raises:
            UnsupportedImageError: The image is too small to tell noise from anatomy, or has values
                that are not finite.
        """
        try:
            noise = self.noise or estimate_noise(frame)
        except ValueError as error:
            raise UnsupportedImageError(f"its noise cannot be estimated: {error}") from error
        return torch.cat([frame[None], noise_map(frame, noise, self.noise_channels)])


def _mirrored(image: Tensor, margin: int) -> Tensor:
    """Return images, (..., H, W), continued by their mirror, which may be wider than themselves."""
    height, width = image.shape[-2:]
    padded = image.new_empty(*image.shape[:-2], height + 2 * margin, width + 2 * margin)
    padded[..., margin : margin + height, margin : margin + width] = image
    for axis, length in ((-2, height), (-1, width)):
        inner, last = padded.narrow(axis, margin, length), length - 1
        for start in (0, margin + length):
            places = torch.arange(start - margin, start, device=image.device)
            folded = (places % max(2 * last, 1) - last).abs()  # distance from the last pixel
            padded.narrow(axis, start, margin).copy_(inner.index_select(axis, last - folded))
    return padded
