"""A folder of phantoms: clean and noisy images, and the truth."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from monai_dental.files.atomic import write_atomically
from monai_dental.files.outputs import prepare_output_folder
from monai_dental.phantom.lesions import LESION_KINDS
from monai_dental.phantom.simulate import Exposure, simulate_exposure
from monai_dental.process.machine import usable_cores

BITS_STORED = {"png": 8, "dicom": 12}
SUFFIXES = {"png": ".png", "dicom": ".dcm"}
FOLDERS = ("clean", "noisy", "truth")


def write_phantoms(
    output_dir: Path,
    *,
    count: int,
    image_format: str = "png",
    size: tuple[int, int] = (512, 512),
    first_index: int = 1,
    progress: Callable[[int], None] | None = None,
) -> list[Path]:
    """Write phantoms in the folders `clean`, `noisy` and `truth`.

    Phantom 1 is `clean/1.png`, `noisy/1.png`, `truth/1.json` (its parameters) and
    `truth/1_lesions.png` (a label map; the JSON holds the legend). Each file is written atomically.
    Image i does not depend on `count`.

    Args:
        output_dir: Folder to write to; created if missing.
        count: Number of phantoms.
        image_format: `"png"` (8 bits) or `"dicom"` (12 bits, Digital Intra-Oral X-Ray Image).
        size: Rows and columns.
        first_index: Index, and name, of the first phantom.
        progress: Called after each phantom, in order, with the number done.

    Returns:
        Paths of the clean images, by ascending index.

    Raises:
        ValueError: An argument is out of its range.
        OutputError: The folder is not empty or cannot be written.
    """
    if count < 1:
        raise ValueError(f"count is {count}; need 1 or more")
    if image_format not in SUFFIXES:
        raise ValueError(f"image_format is {image_format!r}; need one of {sorted(SUFFIXES)}")
    output_dir = Path(output_dir)
    prepare_output_folder(output_dir)
    for folder in FOLDERS:
        prepare_output_folder(output_dir / folder)

    def write(index: int) -> Path:
        exposure = simulate_exposure(index, size=size, bits_stored=BITS_STORED[image_format])
        return _write_exposure(output_dir, index, exposure, image_format)

    indices = range(first_index, first_index + count)
    paths: list[Path] = []
    pool = ThreadPoolExecutor(max_workers=min(usable_cores(), count))
    try:
        for path in pool.map(write, indices):
            paths.append(path)
            if progress is not None:
                progress(len(paths))
    finally:
        pool.shutdown(cancel_futures=True)
    return paths


def label_map(exposure: Exposure) -> NDArray[np.uint8]:
    """Return the label map of lesions: 0 for none, else 1 + the kind's index in `LESION_KINDS`."""
    labels = np.zeros(exposure.clean.shape, dtype=np.uint8)
    for kind, mask in exposure.lesions.items():
        labels[mask] = 1 + LESION_KINDS.index(kind)
    return labels


def _write_exposure(output_dir: Path, index: int, exposure: Exposure, image_format: str) -> Path:
    suffix = SUFFIXES[image_format]
    clean_path = output_dir / "clean" / f"{index}{suffix}"
    images = {"clean": exposure.clean, "noisy": exposure.noisy}
    for folder, image in images.items():
        if image_format == "dicom":
            from monai_dental.phantom.dicom import encode_dicom  # pydicom is slow to import

            content = encode_dicom(exposure, index, folder)
        else:
            content = _encode_png(image)
        write_atomically(output_dir / folder / f"{index}{suffix}", content)
    truth = exposure.parameters | {
        "pixel_spacing": list(exposure.pixel_spacing),
        "bits_stored": exposure.bits_stored,
        "lesion_labels": {kind: 1 + place for place, kind in enumerate(LESION_KINDS)},
        "lesion_pixels": {kind: int(mask.sum()) for kind, mask in exposure.lesions.items()},
    }
    write_atomically(
        output_dir / "truth" / f"{index}_lesions.png", _encode_png(label_map(exposure))
    )
    write_atomically(
        output_dir / "truth" / f"{index}.json", (json.dumps(truth, indent=2) + "\n").encode("utf-8")
    )
    return clean_path


def _encode_png(image: NDArray[np.uint8] | NDArray[np.uint16]) -> bytes:
    is_encoded, content = cv2.imencode(".png", image)
    if not is_encoded:
        raise ValueError(f"OpenCV cannot encode an image of {image.shape} {image.dtype} as PNG")
    return content.tobytes()
