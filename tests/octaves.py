"""The octaves of an image, to compare measurements with."""

from __future__ import annotations

from torch import Tensor

from monai_dental.noise.octaves import halve


def split_octaves(image: Tensor) -> list[Tensor]:
    """Return the three octaves of an image, (..., H, W), each at full size.

    Args:
        image: Rows and columns are multiples of 4.
    """
    half = halve(image)
    quarter = _doubled(halve(half))
    return [image - _doubled(half), _doubled(half - quarter), _doubled(quarter)]


def _doubled(image: Tensor) -> Tensor:
    return image.repeat_interleave(2, dim=-2).repeat_interleave(2, dim=-1)
