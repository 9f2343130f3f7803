"""Expose each clean image once, for the training of `unet` from noisy images alone.

.venv/bin/python training/noisy_images.py PHOTOGRAPHS OUTPUT

Photographs, in parts of 256 x 256 pixels, and the synthetic images that `blind` is also trained on
are written as 16-bit PNG, each with the noise of a different detector. The simulated radiographs 1
to 110 already have noise and are copied. The order is random, so that the last images include each
kind.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from monai_dental.formats.find import find_images
from monai_dental.formats.registry import read_radiograph
from monai_dental.training.datalists import phantom_folder, synthetic_folder
from monai_dental.transforms.exposure import RandExposured

PART, SYNTHETIC_COUNT, RADIOGRAPH_COUNT = 256, 1440, 110
SIGMA_RANGE = (0.004, 0.1)


def main(photographs: str, output: str) -> None:
    """Write the noisy images into a new folder."""
    folder = Path(output)
    folder.mkdir()
    clean = [part for path in find_images(Path(photographs)) for part in parts_of(path)]
    clean += [image_of(path) for path in find_images(synthetic_folder(SYNTHETIC_COUNT))]
    radiographs = find_images(phantom_folder() / "noisy")[:RADIOGRAPH_COUNT]
    names = [
        str(1 + place)
        for place in np.random.RandomState(0).permutation(len(clean) + len(radiographs))
    ]
    exposure = RandExposured("image", sigma_range=SIGMA_RANGE)
    for seed, image in enumerate(clean):
        noisy = exposure.expose({"image": image}, seed)["image"][0]
        noisy = (noisy - noisy.min()) / (noisy.max() - noisy.min())
        stored = np.round(65535 * noisy.numpy()).astype(np.uint16)
        cv2.imwrite(str(folder / f"{names.pop()}.png"), stored)
    for path in radiographs:
        shutil.copy(path, folder / f"{names.pop()}.png")


def parts_of(path: Path) -> list[Tensor]:
    """Return the complete adjacent parts of an image, each (1, PART, PART)."""
    image = image_of(path)
    rows, columns = (size // PART for size in image.shape[1:])
    return [
        image[:, PART * row : PART * (row + 1), PART * column : PART * (column + 1)]
        for row in range(rows)
        for column in range(columns)
    ]


def image_of(path: Path) -> Tensor:
    """Return an image, (1, H, W), in [0, 1]."""
    return torch.from_numpy(read_radiograph(path).pixels)[None]


if __name__ == "__main__":
    main(*sys.argv[1:])
