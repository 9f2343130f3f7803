"""Writing images back to files."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, SaveImaged
from numpy.typing import NDArray

from monai_dental.dicom.derive import Derivation
from monai_dental.errors import OutputError
from monai_dental.files.outputs import prepare_output_folder
from monai_dental.filters import blend, checked_strength
from monai_dental.formats import read_radiograph, write_radiograph

Data = Mapping[Hashable, Any]

_MOST_BEYOND = 1.0  # a network may overshoot [0, 1], but not by this much


class SaveRadiographd(SaveImaged):
    """Write images in the format and bit depth of the files that they were read from.

    The folder structure below `source_dir` and the file names are kept. This subclasses
    `SaveImaged` because MONAI Label removes such transforms from a bundle and sends the image to
    the client itself.

    Args:
        keys: Keys of the images to write, (1, H, W) or (frames, H, W), in [0, 1].
        output_dir: Folder to write to; created if missing.
        derivation: How the images were made, for DICOM.
        source_dir: Folder in which the files were found; by default each file's own folder.
        reference_key: Key of the image whose metadata holds the file name.
        strength: Fraction of the correction to apply, 0 to 1.

    Raises:
        ValueError: `strength` is not in [0, 1].
    """

    def __init__(
        self,
        keys: KeysCollection,
        output_dir: str,
        derivation: Derivation,
        source_dir: str | None = None,
        reference_key: str = "image",
        *,
        strength: float = 1.0,
    ) -> None:
        MapTransform.__init__(self, keys)
        self.output_dir = Path(str(output_dir))  # the command line parses 2024 as a number
        self.derivation = derivation
        self.source_dir = None if source_dir is None else Path(str(source_dir)).expanduser()
        self.reference_key = reference_key
        self.strength = checked_strength(strength)

    def __call__(self, data: Data) -> dict[Hashable, Any]:
        """Write the images of `keys`, and return `data` with the images as written.

        Raises:
            OutputError: A file cannot be written, or the pixels are out of range.
        """
        result = dict(data)
        source = Path(result[self.reference_key].meta["filename_or_obj"])
        name = source.relative_to(self.source_dir or source.parent)
        for key in self.key_iterator(result):
            radiograph = read_radiograph(source)
            pixels = np.float32(torch.as_tensor(result[key]).cpu().numpy())
            pixels = pixels[0] if len(pixels) == 1 else pixels
            _check_range(pixels, source)
            if self.strength < 1:  # at strength 1 the result may differ in size
                pixels = blend(radiograph.pixels, pixels, self.strength)
                result[key] = torch.from_numpy(pixels).reshape(result[key].shape)
            prepare_output_folder((self.output_dir / name).parent, overwrite=True)
            write_radiograph(
                radiograph.with_pixels(pixels.clip(0, 1)),
                self.output_dir / name,
                derivation=self.derivation,
            )
        return result


def _check_range(pixels: NDArray[np.float32], source: Path) -> None:
    """Refuse pixels on another scale, such as another reader's; clipping would turn them white."""
    low, high = float(pixels.min()), float(pixels.max())
    if not (low >= -_MOST_BEYOND and high <= 1 + _MOST_BEYOND):  # nor NaN
        raise OutputError(
            f"{source}: the pixels to write range from {low:.4g} to {high:.4g}; need about "
            "0 to 1, as monai_dental.formats.reader.RadiographReader reads it"
        )
