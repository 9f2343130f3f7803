"""Write a folder of synthetic training images."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2

from monai_dental.files.outputs import prepare_output_folder
from monai_dental.formats.opencv import write_png
from monai_dental.process.machine import usable_cores
from monai_dental.process.pool import process_pool
from monai_dental.synthetic.images import NEIGHBORS, draw_image


def write_images(
    output_dir: Path,
    *,
    count: int,
    side: int = 320,
    progress: Callable[[int], None] | None = None,
) -> list[Path]:
    """Write images without noise as 16-bit PNG files: `1.png` and so on.

    Args:
        output_dir: Folder to write to, empty or new.
        count: Number of images.
        side: Rows and columns of each image.
        progress: Called from time to time with the number done.

    Returns:
        Paths of the images, by ascending index.

    Raises:
        ValueError: `count` is not positive.
        OutputError: The folder is not empty or cannot be written.
    """
    if count < 1:
        raise ValueError(f"count is {count}; need 1 or more")
    prepare_output_folder(output_dir)
    parts = [range(first, min(first + NEIGHBORS, count)) for first in range(0, count, NEIGHBORS)]
    paths: list[Path] = []
    with process_pool(min(usable_cores(), len(parts))) as pool:
        for part in pool.map(partial(_write_part, output_dir, side), parts).result():
            paths += part
            if progress is not None:
                progress(len(paths))
    return paths


def _write_part(output_dir: Path, side: int, indices: range) -> list[Path]:
    cv2.setNumThreads(1)
    return [_write_image(output_dir, side, index) for index in indices]


def _write_image(output_dir: Path, side: int, index: int) -> Path:
    path = output_dir / f"{index + 1}.png"
    write_png(path, draw_image(index, side))
    return path
