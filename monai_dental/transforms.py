"""MONAI dictionary transforms of this package: thin wrappers."""

from __future__ import annotations

import zlib
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, SaveImaged
from monai.utils import ensure_tuple

from monai_dental.dicom.derive import Derivation
from monai_dental.filters import low_pass
from monai_dental.formats import read_radiograph, write_radiograph
from monai_dental.noise import add_gaussian_noise
from monai_dental.outputs import prepare_output_folder

Data = Mapping[Hashable, Any]

_RANGE = "intensity_range"


class FixedGaussianNoised(MapTransform):
    """Add white Gaussian noise that is the same for an image at every call.

    The noise is drawn from `seed` and the image itself, so that every model and every epoch is
    scored on the same noisy image, in any order and on any number of workers.

    Args:
        keys: Keys of the clean images, (C, H, W), nominally in [0, 1].
        sigma: Standard deviation of the noise, in units of the [0, 1] image.
        seed: Chooses another set of noise.
    """

    def __init__(self, keys: KeysCollection, sigma: float, seed: int = 0) -> None:
        super().__init__(keys)
        self.sigma = sigma
        self.seed = seed

    def __call__(self, data: Data) -> dict[Hashable, Any]:
        """Return `data` with noise on the images of `keys`."""
        result = dict(data)
        for key in self.key_iterator(result):
            image = result[key]
            content = torch.as_tensor(image).cpu().numpy().tobytes()
            generator = torch.Generator(image.device)
            generator.manual_seed(zlib.crc32(content, self.seed))  # 32 bits are all that it takes
            result[key] = add_gaussian_noise(image, self.sigma, generator)
        return result


class ScaleToUnitd(MapTransform):
    """Scale each channel to [0, 1] by its own minimum and maximum, and remember them.

    The same numbers as MONAI's `ScaleIntensityd(channel_wise=True)`; a flat image becomes zero.
    The range is kept in the image's metadata for `RestoreRanged`.

    Args:
        keys: Keys of `MetaTensor` images, (C, H, W).
    """

    def __call__(self, data: Data) -> dict[Hashable, Any]:
        """Return `data` with the images of `keys` scaled."""
        result = dict(data)
        for key in self.key_iterator(result):
            image: MetaTensor = result[key]
            plain = image.as_tensor()
            low = plain.amin(dim=(-2, -1), keepdim=True)
            span = plain.amax(dim=(-2, -1), keepdim=True) - low
            scaled = (plain - low) / torch.where(span > 0, span, torch.ones_like(span))
            meta = {**image.meta, _RANGE: torch.stack([low, span])}
            result[key] = MetaTensor(scaled, meta=meta)
        return result


class RestoreRanged(MapTransform):
    """Undo `ScaleToUnitd`, with the range that it left in the metadata of another key.

    Args:
        keys: Keys of the images to bring back, (C, H, W), in the unit range.
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
    """Take the low frequencies of an image from another one: of a denoised from the noisy image.

    For networks that shift slow changes of intensity, where anatomy has most of its power. The
    price is the noise of those frequencies, which comes back: with a sigma of 1.5 pixels about a
    fifth of the standard deviation of white noise, and more of correlated noise.

    Args:
        keys: Keys of the images to correct, (C, H, W).
        reference_key: Key of the image whose low frequencies are right.
        sigma: Standard deviation in pixels of the Gaussian that divides low from high.
    """

    def __init__(self, keys: KeysCollection, reference_key: str, sigma: float) -> None:
        super().__init__(keys)
        self.reference_key = reference_key
        self.sigma = sigma

    def __call__(self, data: Data) -> dict[Hashable, Any]:
        """Return `data` with the images of `keys` corrected."""
        result = dict(data)
        for key in self.key_iterator(result):
            image = result[key]
            difference = torch.as_tensor(result[self.reference_key]).to(image.device) - image
            result[key] = image + low_pass(difference, self.sigma)
        return result


class Filterd(MapTransform):
    """Put what a network makes of one image under another key, for example a median filter's.

    Args:
        keys: Keys of the images to filter, (C, H, W).
        output_keys: Keys of the results, one for each of `keys`.
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


class SaveRadiographd(SaveImaged):
    """Write images in the format, and with the bit depth, of the files that they were read from.

    The tree below `source_dir` and the file names are kept. A subclass of `SaveImaged`, since
    MONAI Label takes those out of a bundle and hands the image to the client itself.

    Args:
        keys: Keys of the images to write, (1, H, W) or (frames, H, W), in [0, 1].
        output_dir: Folder to write to; made where it is missing.
        derivation: How the images were made, for DICOM.
        source_dir: Folder that the files were found in; default each file's own folder.
        reference_key: Key of the image whose metadata name the file.
    """

    def __init__(
        self,
        keys: KeysCollection,
        output_dir: str,
        derivation: Derivation,
        source_dir: str | None = None,
        reference_key: str = "image",
    ) -> None:
        MapTransform.__init__(self, keys)
        self.output_dir = Path(output_dir)
        self.derivation = derivation
        self.source_dir = None if source_dir is None else Path(source_dir).expanduser()
        self.reference_key = reference_key

    def __call__(self, data: Data) -> dict[Hashable, Any]:
        """Write the images of `keys`, and return `data` as it is.

        Raises:
            OutputError: A file cannot be written.
        """
        result = dict(data)
        source = Path(result[self.reference_key].meta["filename_or_obj"])
        name = source.relative_to(self.source_dir or source.parent)
        for key in self.key_iterator(result):
            pixels = np.clip(torch.as_tensor(result[key]).cpu().numpy(), 0, 1, dtype=np.float32)
            radiograph = read_radiograph(source).with_pixels(
                pixels[0] if len(pixels) == 1 else pixels
            )
            prepare_output_folder((self.output_dir / name).parent, overwrite=True)
            write_radiograph(radiograph, self.output_dir / name, derivation=self.derivation)
        return result
