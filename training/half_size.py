"""Add a copy of each image at half its size, from which `blind` learns finer texture.

.venv/bin/python training/half_size.py FOLDER

A copy is the mean of 2 x 2 pixels, as 16-bit PNG, named half-NAME. It has half of the camera's
noise, and its texture is at twice the frequency. Images below 256 pixels get none, as a training
takes patches of 128.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from monai_dental.formats.find import find_images
from monai_dental.formats.opencv import write_png
from monai_dental.formats.registry import read_radiograph
from monai_dental.noise.octaves import halve

PREFIX, SMALLEST = "half-", 256


def main(folder: str) -> None:
    """Write the copies beside the images."""
    for path in find_images(Path(folder)):
        pixels = read_radiograph(path).pixels
        if min(pixels.shape) >= SMALLEST and not path.name.startswith(PREFIX):
            half = halve(torch.from_numpy(pixels)[None])[0].numpy()
            write_png(path.with_name(f"{PREFIX}{path.stem}.png"), half)


if __name__ == "__main__":
    main(sys.argv[1])
