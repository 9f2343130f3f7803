"""Final transform of a bundle in MONAI Label's generic app, which writes results with ITK."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from monai_dental.filters import blend, checked_strength
from monai_dental.formats import read_radiograph
from monai_dental.radiograph import Radiograph, shown_values

Data = Mapping[Hashable, Any]


class ToStoredd(MapTransform):
    """Convert denoised images to the stored values of the files that they come from.

    The results are integers if the file's values are, small = black, with axes in ITK's order:
    (columns, rows), or (columns, rows, frames) for several frames or a NIfTI file, whose affine is
    passed on. MONAI Label's generic app (`monaibundle`) writes these unchanged; values in [0, 1]
    would become black in an 8-bit file.

    Args:
        keys: Keys of denoised images, (1, H, W) or (frames, H, W), in [0, 1].
        reference_key: Key of the image whose metadata holds the file name.
        strength: Fraction of the correction to apply, 0 to 1.

    Raises:
        ValueError: `strength` is not in [0, 1].
    """

    def __init__(
        self, keys: KeysCollection, reference_key: str = "image", strength: float = 1.0
    ) -> None:
        super().__init__(keys)
        self.reference_key = reference_key
        self.strength = checked_strength(float(strength))  # the app passes strings on

    def __call__(self, data: Data) -> dict[Hashable, Any]:
        """Return `data` with the images of `keys` as NumPy arrays of stored values."""
        result = dict(data)
        reference: MetaTensor = result[self.reference_key]
        source = read_radiograph(Path(reference.meta["filename_or_obj"]))
        for key in self.key_iterator(result):
            pixels = torch.as_tensor(result[key]).cpu().numpy().reshape(source.pixels.shape)
            blended = source.with_pixels(blend(source.pixels, pixels, self.strength))
            result[key] = _for_itk(blended)
            # The app resizes results of another shape, and reads the affine from here.
            meta = {"spatial_shape": result[key].shape, "original_affine": _affine(source)}
            result[self.reference_key] = MetaTensor(
                reference.as_tensor(), meta={**reference.meta, **meta}
            )
        return result


def _for_itk(radiograph: Radiograph) -> np.ndarray:
    values = shown_values(radiograph).T
    if values.ndim == 2 and radiograph.image_format == "nifti":
        values = values[..., None]  # with two axes, the app omits the affine
    return np.ascontiguousarray(values)


def _affine(radiograph: Radiograph) -> np.ndarray:
    if radiograph.image_format == "nifti":
        affine: np.ndarray = radiograph.header.get_best_affine()
        return affine
    row, column = radiograph.pixel_spacing or (1.0, 1.0)
    return np.diag([-column, -row, 1.0, 1.0])  # left and posterior, as ITK reads plain images
