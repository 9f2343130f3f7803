"""Add a copy of each image at half its size, from which `blind` learns finer anatomy.

.venv/bin/python training/half_size.py FOLDER

A copy is the mean of 2 x 2 pixels, as 16-bit PNG, named half-NAME. It has half of the camera's
noise, and its texture is at twice the frequency. Images below 256 pixels are left out.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

from monai_dental.formats.find import find_images
from monai_dental.formats.registry import read_radiograph

PREFIX = "half-"
PATCH = 128  # of the training; an image has at least one


def main(folder: str) -> None:
    """Write the copies beside the images."""
    for path in find_images(Path(folder)):
        pixels = read_radiograph(path).pixels
        rows, columns = (size - size % 2 for size in pixels.shape)
        if path.name.startswith(PREFIX) or min(rows, columns) < 2 * PATCH:
            continue
        half = pixels[:rows, :columns].reshape(rows // 2, 2, columns // 2, 2).mean(axis=(1, 3))
        stored = np.round(65535 * half).astype(np.uint16)
        cv2.imwrite(str(path.with_name(f"{PREFIX}{path.stem}.png")), stored)


if __name__ == "__main__":
    main(sys.argv[1])
