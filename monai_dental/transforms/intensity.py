"""Intensity transforms: scaling to the unit range and back, frequencies, filters."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from monai.utils import ensure_tuple
from torch import Tensor

from monai_dental.errors import DatasetError
from monai_dental.filters import intensity_range, keep_low_frequencies, scale_to_unit

Data = Mapping[Hashable, Any]

_RANGE = "intensity_range"


class ScaleToUnitd(MapTransform):
    """Scale each channel to [0, 1] by its minimum and maximum, and record the range.

    The result equals that of MONAI's `ScaleIntensityd(channel_wise=True)`; a flat image becomes
    zero. The range is stored in the image's metadata for `RestoreRanged`.

    Args:
        keys: Keys of `MetaTensor` images, (C, H, W).
        reference_key: Key of the image whose range scales all of them, which keeps a clean image
            comparable with its noisy one; None to scale each by its own range.
    """

    def __init__(self, keys: KeysCollection, reference_key: str | None = None) -> None:
        super().__init__(keys)
        self.reference_key = reference_key

    def __call__(self, data: Data) -> dict[Hashable, Any]:
        """Return `data` with the images of `keys` scaled.

        Raises:
            DatasetError: An image differs in size from the reference.
        """
        result = dict(data)
        for key in self.key_iterator(result):
            image: MetaTensor = result[key]
            plain = image.as_tensor()
            reference = data[self.reference_key or key]
            if plain.shape != reference.shape:
                raise DatasetError(
                    f"{name_of(image)} has {tuple(plain.shape[-2:])} pixels, and "
                    f"{name_of(reference)}, "
                    f"which it belongs to, {tuple(reference.shape[-2:])}; need the same"
                )
            low, span = intensity_range(reference.as_subclass(Tensor))
            scaled = scale_to_unit(plain, low, span)
            meta = {**image.meta, _RANGE: torch.stack([low, span])}
            result[key] = MetaTensor(scaled, meta=meta)
        return result


def name_of(image: object) -> str:
    """Return the file of an image for messages; "an image" if it is not known."""
    name = image.meta.get("filename_or_obj") if isinstance(image, MetaTensor) else None
    return str(name or "an image")


class RestoreRanged(MapTransform):
    """Undo `ScaleToUnitd`, using the range that it recorded in the metadata of another key.

    Args:
        keys: Keys of the images to restore, (C, H, W), in the unit range.
        reference_key: Key of the image that `ScaleToUnitd` scaled.
    """

    def __init__(self, keys: KeysCollection, reference_key: str = "image") -> None:
        super().__init__(keys)
        self.reference_key = reference_key

    def __call__(self, data: Data) -> dict[Hashable, Any]:
        """Return `data` with the images of `keys` in the range of the reference's source."""
        result = dict(data)
        low, span = result[self.reference_key].meta[_RANGE]
        for key in self.key_iterator(result):
            image = result[key]
            result[key] = image * span.to(image.device) + low.to(image.device)
        return result


class KeepLowFrequenciesd(MapTransform):
    """Replace an image's low frequencies by another's: a denoised image's by the noisy image's.

    This is for networks that alter slow changes of intensity, where anatomy has most of its power.
    In return, the noise at those frequencies comes back: with a sigma of 1.5 pixels, about a fifth
    of the standard deviation of white noise, and more of correlated noise.

    Args:
        keys: Keys of the images to correct, (C, H, W).
        reference_key: Key of the image with the correct low frequencies.
        sigma: Standard deviation in pixels of the Gaussian that separates low from high
            frequencies.
    """

    def __init__(self, keys: KeysCollection, reference_key: str, sigma: float) -> None:
        super().__init__(keys)
        self.reference_key = reference_key
        self.sigma = sigma

    def __call__(self, data: Data) -> dict[Hashable, Any]:
        """Return `data` with the images of `keys` corrected."""
        result = dict(data)
        for key in self.key_iterator(result):
            reference = torch.as_tensor(result[self.reference_key])
            result[key] = keep_low_frequencies(result[key], reference, self.sigma)
        return result


class Filterd(MapTransform):
    """Store a network's output for an image, for example a median filter's, under another key.

    Args:
        keys: Keys of the images to filter, (C, H, W).
        output_keys: Keys for the results, one for each of `keys`.
        network: Takes (batch, C, H, W) and returns the same shape.
    """

    def __init__(
        self, keys: KeysCollection, output_keys: KeysCollection, network: torch.nn.Module
    ) -> None:
        super().__init__(keys)
        self.output_keys = ensure_tuple(output_keys)
        self.network = network

    def __call__(self, data: Data) -> dict[Hashable, Any]:
        """Return `data` with the results under `output_keys`."""
        result = dict(data)
        for key, output_key in self.key_iterator(result, self.output_keys):
            result[output_key] = self.network(result[key][None])[0]
        return result
