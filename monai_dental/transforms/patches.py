"""Random patches of plain tensors.

MONAI's corresponding transforms record each operation in the patch's metadata, which takes longer
than a training step on the patches.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, RandomizableTransform
from torch import Tensor

Data = Mapping[Hashable, Any]


class RandPatchesd(RandomizableTransform, MapTransform):
    """Crop random patches from an image, at the same places for each key.

    This is like MONAI's `RandSpatialCropSamplesd` with a fixed size.

    Args:
        keys: Keys of images of the same size, (C, H, W), at least as large as a patch.
        size: Height and width of a patch, in pixels.
        count: Number of patches.
    """

    def __init__(self, keys: KeysCollection, size: int, count: int) -> None:
        MapTransform.__init__(self, keys)
        RandomizableTransform.__init__(self, prob=1.0)
        self.size = size
        self.count = count

    def __call__(self, data: Data) -> list[dict[Hashable, Any]]:
        """Return one dictionary per patch, with plain tensors at `keys`."""
        height, width = data[self.keys[0]].shape[-2:]
        patches = []
        for _ in range(self.count):
            top = int(self.R.randint(height - self.size + 1))
            left = int(self.R.randint(width - self.size + 1))
            patch = dict(data)
            for key in self.key_iterator(patch):
                image = _plain(patch[key])
                patch[key] = image[:, top : top + self.size, left : left + self.size]
            patches.append(patch)
        return patches


class RandOrientationd(RandomizableTransform, MapTransform):
    """Flip and rotate square images at random, to one of the eight orientations.

    This is like MONAI's `RandFlipd` along both axes and `RandRotate90d`, the same for all keys.

    Args:
        keys: Keys of square images, (C, H, H).
    """

    def __init__(self, keys: KeysCollection) -> None:
        MapTransform.__init__(self, keys)
        RandomizableTransform.__init__(self, prob=1.0)

    def __call__(self, data: Data) -> dict[Hashable, Any]:
        """Return `data` with plain tensors at `keys`."""
        result = dict(data)
        turns, is_flipped = int(self.R.randint(4)), bool(self.R.randint(2))
        for key in self.key_iterator(result):
            image = torch.rot90(_plain(result[key]), turns, (-2, -1))
            result[key] = (image.flip(-1) if is_flipped else image).contiguous()
        return result


def _plain(image: Tensor) -> Tensor:
    return image.as_tensor() if isinstance(image, MetaTensor) else image
