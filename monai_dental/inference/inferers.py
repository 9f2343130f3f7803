"""MONAI inferers of this package: precision and tiling.

They do not derive from MONAI's base class, whose import takes seconds: MONAI's engines accept any
callable as an inferer.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from monai_dental.errors import UnsupportedImageError
from monai_dental.inference.precision import fastest_dtype
from monai_dental.noise import NoiseModel, estimate_noise, noise_map
from monai_dental.process.threads import one_thread

Network = Callable[..., Tensor]

_GRID = 16  # tiles start and end on multiples of it, so up to four poolings align in all of them
_BORDER = 16  # pixels of mirrored border around an image; more makes no difference to the result
_MIRRORED = ((), (-1,), (-2,), (-2, -1))  # not, left to right, upside down, both


@contextlib.contextmanager
def _without_tf32() -> Iterator[None]:
    """Prevent GPUs from computing convolutions in TF32, which other devices never do."""
    cudnn: Any = torch.backends.cudnn
    convolutions = cudnn.conv
    before = convolutions.fp32_precision
    convolutions.fp32_precision = "ieee"
    try:
        yield
    finally:
        convolutions.fp32_precision = before


class AutocastInferer:
    """Runs the network in the fastest precision of the device, and returns float32.

    MONAI's engines enable mixed precision only for CUDA; this inferer enables it for CPUs with
    bfloat16 units too. It is effective if the network's weights are in the channels-last layout.

    Args:
        precision: "auto", "float32" or "bfloat16"; see `fastest_dtype`. "float32" prevents a GPU
            from computing convolutions in TF32, which many do with "auto".
    """

    def __init__(self, precision: str = "auto") -> None:
        self.precision = precision

    def __call__(self, inputs: Tensor, network: Network, *args: Any, **kwargs: Any) -> Tensor:
        """Return `network(inputs)` as a plain float32 tensor.

        Args:
            inputs: Images, (batch, C, H, W).
            network: The network to run.
            args: Further arguments of `network`.
            kwargs: Further named arguments of `network`.
        """
        plain = inputs.as_subclass(Tensor)  # of a `MetaTensor`
        dtype = fastest_dtype(plain.device, self.precision)
        context: contextlib.AbstractContextManager[Any] = contextlib.nullcontext()
        if dtype != torch.float32:
            context = torch.autocast(plain.device.type, dtype)
        elif self.precision == "float32":
            context = _without_tf32()
        with context:
            return network(plain, *args, **kwargs).float()


class ChannelwiseInferer(AutocastInferer):
    """`AutocastInferer` that passes each channel separately to a one-channel network."""

    def __call__(self, inputs: Tensor, network: Network, *args: Any, **kwargs: Any) -> Tensor:
        """Return the denoised images as a plain float32 tensor.

        Args:
            inputs: Images, (batch, C, H, W).
            network: Takes and returns (batch * C, 1, H, W).
            args: Further arguments of `network`.
            kwargs: Further named arguments of `network`.
        """
        planes = inputs.flatten(0, 1)[:, None]
        return super().__call__(planes, network, *args, **kwargs).reshape(inputs.shape)


class TiledInferer(AutocastInferer):
    """Runs the network on images of any size, each channel (frame) separately, without seams.

    An image is extended by 16 mirrored pixels on each side (to a multiple of 16), and cut into
    tiles that overlap by twice `halo`; only the middle of each result is kept. If `halo` is at
    least the network's reach (half its receptive field), the result does not depend on the tiles.
    The network gets one tile at a time, or several small images of at most that size in all, so the
    tile size limits its memory. MONAI's `SlidingWindowInferer`, in contrast, blends tiles whose
    borders the network has padded with zeros.

    Args:
        tile_size: Height and width of a tile with its halo in pixels, a multiple of 16.
        halo: Width of the discarded border in pixels, a multiple of 16; 0 runs the network on the
            whole image, with the network's own padding.
        precision: "auto", "float32" or "bfloat16"; see `fastest_dtype`.
        mirrored: Whether to return the mean of four results: of the image, and of its mirror images
            left to right, upside down, and both. Their errors partly differ, at four times the
            time. If a network computes 2 × 2 pixels at a time, each pixel takes each of the four
            places once, so patterns of alternate rows or columns cancel.

    Raises:
        ValueError: A size is not a multiple of 16, or the halo leaves nothing of a tile.
    """

    def __init__(
        self,
        tile_size: int = 512,
        halo: int = 32,
        precision: str = "auto",
        *,
        mirrored: bool = False,
    ) -> None:
        super().__init__(precision)
        if tile_size % _GRID or halo % _GRID or not 0 <= 2 * halo < tile_size:
            raise ValueError(
                f"tile_size {tile_size} and halo {halo} must be multiples of {_GRID}, "
                "and two halos smaller than a tile"
            )
        self.tile_size = tile_size
        self.halo = halo
        self.mirrored = mirrored

    def input_of(self, frame: Tensor) -> Tensor:
        """Return the network's input channels, (C, H, W), for an image, (H, W)."""
        return frame[None]

    def __call__(self, inputs: Tensor, network: Network, *args: Any, **kwargs: Any) -> Tensor:
        """Return the denoised images as a plain float32 tensor on the device of `inputs`.

        Args:
            inputs: Images, (batch, C, H, W); each channel goes through the network separately.
            network: Takes (batch, C, H, W) from `input_of`, and returns (batch, 1, H, W).
            args: Further arguments of `network`.
            kwargs: Further named arguments of `network`.
        """
        plain = inputs.as_subclass(Tensor)  # of a `MetaTensor`
        run = self._run_mirrored if self.mirrored else super().__call__
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
            padded = _mirrored(channels)
            for top, left in itertools.product(range(0, height, step), range(0, width, step)):
                rows, inner_rows = self._extent(top, step, height)
                columns, inner_columns = self._extent(left, step, width)
                tile = run(padded[..., rows, columns], network, *args, **kwargs)[:, 0]
                results[:, top : top + step, left : left + step] = tile[
                    :, inner_rows, inner_columns
                ]
        return denoised.reshape(plain.shape)

    def _run_mirrored(self, inputs: Tensor, network: Network, *args: Any, **kwargs: Any) -> Tensor:
        """Return the mean of the results for images and for their mirror images."""
        run = super().__call__
        one, two, three, four = (
            run(inputs.flip(axes), network, *args, **kwargs).flip(axes) for axes in _MIRRORED
        )
        return ((one + two) + (three + four)) / 4  # in pairs: exact where all four are equal

    def _extent(self, start: int, step: int, length: int) -> tuple[slice, slice]:
        """Return a tile's slice of the padded image along an axis, and the slice that is kept."""
        stop = min(start + step, length)
        first = max(start - self.halo, -_BORDER)
        last = min(_on_grid(stop + self.halo), _on_grid(length + _BORDER))
        return slice(first + _BORDER, last + _BORDER), slice(start - first, stop - first)


class NoiseAwareInferer(TiledInferer):
    """Passes the noise of each image, estimated from the whole image, to the network.

    Pixels without noise stay unchanged. Arguments not listed are those of `TiledInferer`.

    Args:
        noise: The noise of all images, if it is known, in units of the inputs; None estimates that
            of each image.
        noise_channels: Number of noise channels of the network; see `noise_map`.

    Raises:
        TypeError: `noise` is neither a `NoiseModel` nor None.
    """

    def __init__(
        self,
        tile_size: int = 512,
        halo: int = 32,
        precision: str = "auto",
        *,
        noise: NoiseModel | None = None,
        noise_channels: int = 2,
        mirrored: bool = False,
    ) -> None:
        super().__init__(tile_size, halo, precision, mirrored=mirrored)
        if noise is not None and not isinstance(noise, NoiseModel):
            raise TypeError(
                f"noise is {noise!r}; need null, or a component of the config, for example "
                '{"_target_": "monai_dental.noise.NoiseModel.poisson_gaussian", "gain": 0, '
                '"electronic_variance": 0.0004}'
            )
        self.noise = noise
        self.noise_channels = noise_channels

    def __call__(self, inputs: Tensor, network: Network, *args: Any, **kwargs: Any) -> Tensor:
        """Return the result of `TiledInferer`, with pixels without noise unchanged."""

        def run(channels: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            image, told = channels[:, :1], channels[:, 1:]
            is_noisy = (told > 0).any(dim=1, keepdim=True)
            return torch.where(is_noisy, network(channels, *args, **kwargs), image)

        return super().__call__(inputs, run, *args, **kwargs)

    def input_of(self, frame: Tensor) -> Tensor:
        """Return an image, (H, W), with its `noise_map`, (1 + noise_channels, H, W).

        Raises:
            UnsupportedImageError: The image is too small to distinguish noise from anatomy, or has
                values that are not finite.
        """
        try:
            with one_thread():
                noise = self.noise or estimate_noise(frame)
        except ValueError as error:
            raise UnsupportedImageError(f"its noise cannot be estimated: {error}") from error
        return torch.cat([frame[None], noise_map(frame, noise, self.noise_channels)])


def _on_grid(length: int) -> int:
    """Return the next multiple of the tiles' grid."""
    return -(-length // _GRID) * _GRID


def _mirrored(image: Tensor) -> Tensor:
    """Return images, (..., H, W), extended by mirroring, which may repeat in small images."""
    sides = [(length, _on_grid(length + _BORDER)) for length in image.shape[-2:]]
    padded = image.new_empty(*image.shape[:-2], *(_BORDER + stop for _, stop in sides))
    (height, _), (width, _) = sides
    padded[..., _BORDER : _BORDER + height, _BORDER : _BORDER + width] = image
    for axis, (length, stop) in zip((-2, -1), sides, strict=True):
        inner, last = padded.narrow(axis, _BORDER, length), length - 1
        for first, end in ((-_BORDER, 0), (length, stop)):
            places = torch.arange(first, end, device=image.device)
            # A triangle wave over the pixels, back and forth.
            folded = last - (places % max(2 * last, 1) - last).abs()
            padded.narrow(axis, _BORDER + first, end - first).copy_(
                inner.index_select(axis, folded)
            )
    return padded
