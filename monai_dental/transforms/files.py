"""Images back to files."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, SaveImaged

from monai_dental.dicom.derive import Derivation
from monai_dental.files.outputs import prepare_output_folder
from monai_dental.filters import blend, checked_strength
from monai_dental.formats import read_radiograph, write_radiograph

Data = Mapping[Hashable, Any]


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
        strength: Share of the correction that is applied, 0 to 1.

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
        self.output_dir = Path(output_dir)
        self.derivation = derivation
        self.source_dir = None if source_dir is None else Path(source_dir).expanduser()
        self.reference_key = reference_key
        self.strength = checked_strength(strength)

    def __call__(self, data: Data) -> dict[Hashable, Any]:
        """Write the images of `keys`, and return `data` with what was written of them.

        Raises:
            OutputError: A file cannot be written.
        """
        result = dict(data)
        source = Path(result[self.reference_key].meta["filename_or_obj"])
        name = source.relative_to(self.source_dir or source.parent)
        for key in self.key_iterator(result):
            radiograph = read_radiograph(source)
            pixels = np.float32(torch.as_tensor(result[key]).cpu().numpy())
            pixels = pixels[0] if len(pixels) == 1 else pixels
            if self.strength < 1:  # else it may be of another size
                pixels = blend(radiograph.pixels, pixels, self.strength)
                result[key] = torch.from_numpy(pixels).reshape(result[key].shape)
            prepare_output_folder((self.output_dir / name).parent, overwrite=True)
            write_radiograph(
                radiograph.with_pixels(pixels.clip(0, 1)),
                self.output_dir / name,
                derivation=self.derivation,
            )
        return result
