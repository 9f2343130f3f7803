"""Measure how much noise a bundle leaves in flat parts of real radiographs.

No noise is added, so there is no ground truth. But in air, or in visually flat dentin, the
remainder after subtracting a smooth surface (of degree 5) is noise, and whatever coarse structure
the part has. So the noise that is left is also measured without that structure: in what a Gaussian
of 3 pixels takes out, above a twentieth of a cycle per pixel. The images are denoised unchanged, at
full strength. The parts were chosen once, by hand, in images with these names:

    iox_1 to 3   8-bit exports of an intraoral sensor
    jpg_1 to 6   enhanced periapical views, stored as JPEG
    rvg_1 to 3   12-bit images of two detectors

    .venv/bin/python scripts/benchmarks/real_noise.py --dataset-dir DIR --output results/real_noise

For each image, prints and writes to `noise.csv`: sigma of the part before and after, their ratio,
that ratio for fine noise alone, the correlation of neighbours before, and the sigma that
`estimate_noise` finds for the part as a fraction of that before. Also writes a picture of
each image: before, after, and the residual on a separate grey scale, for checking visually for
bone. Keep these private: they show patients' images.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from monai_dental.bundle.find import DEFAULT_BUNDLE, find_bundle
from monai_dental.files.atomic import write_atomically
from monai_dental.formats import read_radiograph
from monai_dental.inference.denoiser import Denoiser
from monai_dental.noise import estimate_noise

Image = NDArray[np.float32]
Part = tuple[int, int, int, int]

PARTS: dict[str, Part] = {  # first and last row, first and last column
    "iox_1": (320, 380, 560, 650),
    "iox_2": (30, 250, 460, 590),
    "iox_3": (20, 200, 370, 530),
    "jpg_1": (65, 125, 36, 66),
    "jpg_2": (190, 330, 450, 535),
    "jpg_3": (600, 740, 260, 380),
    "jpg_4": (32, 110, 650, 750),
    "jpg_5": (20, 220, 60, 330),
    "jpg_6": (100, 150, 365, 415),
    "rvg_1": (0, 130, 0, 150),
    "rvg_2": (0, 120, 600, 740),
    "rvg_3": (150, 290, 470, 600),
}
DEGREE = 5
FINE = 3.0  # sigma of the Gaussian in pixels
REACH = 3.0  # range of the picture in standard deviations of the residual


class Figures(NamedTuple):
    """The measurements of one image: a row of the CSV, in units of the [0, 1] image."""

    image: str
    before: float
    after: float
    left: float
    fine_left: float
    neighbours: float
    estimated: float


def main() -> None:
    """Run everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset-dir", type=Path, required=True, help="folder of the images")
    parser.add_argument("--output", type=Path, required=True, help="folder for CSV and pictures")
    parser.add_argument("--bundle", default=DEFAULT_BUNDLE, help="name or ./folder")
    arguments = parser.parse_args()
    denoiser = Denoiser(find_bundle(arguments.bundle))
    measure(arguments.dataset_dir, arguments.output, denoiser.denoise)


def measure(
    folder: Path,
    output: Path,
    denoise: Callable[[Image], Image],
    parts: Mapping[str, Part] = PARTS,
) -> list[Figures]:
    """Denoise the images of a folder for which parts are defined; write and print the figures.

    Raises:
        SystemExit: None of the images is in the folder.
    """
    output.mkdir(parents=True, exist_ok=True)
    rows = []
    print(
        "| image | sigma before | after | left | fine noise left | correlation of neighbours "
        "| estimated |"
    )
    print("|---|---|---|---|---|---|---|")
    for path in sorted(folder.iterdir()):
        if path.stem not in parts:
            continue
        image = read_radiograph(path).pixels
        denoised = denoise(image)
        row = figures_of(path.stem, image, denoised, parts[path.stem])
        write_atomically(output / f"{path.stem}.png", picture(image, denoised, parts[path.stem]))
        print(
            f"| {row.image} | {row.before:.5f} | {row.after:.5f} | {row.left:.0%} | "
            f"{row.fine_left:.0%} | {row.neighbours:.2f} | "
            f"{row.estimated:.2f} |",
            flush=True,
        )
        rows.append(row)
    if not rows:
        raise SystemExit(f"{folder}: has none of {', '.join(parts)}; need these images")
    with (output / "noise.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(Figures._fields)
        writer.writerows(rows)
    return rows


def figures_of(name: str, image: Image, denoised: Image, part: Part) -> Figures:
    """Return the noise in a part of an image, before and after."""
    top, bottom, left, right = part
    noise, rest = (flattened(plane[top:bottom, left:right]) for plane in (image, denoised))
    pairs = (noise[1:] * noise[:-1]).mean() + (noise[:, 1:] * noise[:, :-1]).mean()
    before, after = float(noise.std()), float(rest.std())
    fine_before, fine_after = (
        float((plane - cv2.GaussianBlur(plane, (0, 0), FINE)).std()) for plane in (noise, rest)
    )
    return Figures(
        name, before, after, after / before, fine_after / fine_before,
        float(pairs / 2 / before**2), estimated_sigma(image, part) / before,
    )  # fmt: skip


def estimated_sigma(image: Image, part: Part) -> float:
    """Return the standard deviation that is estimated for a part, in units of the image."""
    low, span = float(image.min()), max(float(np.ptp(image)), 1e-6)
    unit = torch.from_numpy((image - low) / span)  # as the bundle's inference scales it
    top, bottom, left, right = part
    noise = estimate_noise(unit)
    return span * float(noise.variance(unit[top:bottom, left:right]).mean().sqrt())


def flattened(part: Image) -> NDArray[np.float64]:
    """Return a part minus its best-fitting polynomial of degree 5 in both directions."""
    rows, columns = (np.linspace(-1, 1, side) for side in part.shape)
    terms: list[Any] = [
        np.outer(rows**down, columns**across).ravel()
        for down in range(DEGREE + 1)
        for across in range(DEGREE + 1 - down)
    ]
    matrix = np.stack(terms, axis=1)
    values = np.float64(part).ravel()
    factors = np.linalg.lstsq(matrix, values, rcond=None)[0]
    return np.asarray((values - matrix @ factors).reshape(part.shape))


def picture(image: Image, denoised: Image, part: Part) -> bytes:
    """Return image, denoised image and residual side by side as PNG, with the part framed."""
    low, high = np.quantile(image, (0.005, 0.995))
    planes = [(plane - low) / max(high - low, 1e-6) for plane in (image, denoised)]
    residual = image - denoised
    planes.append(0.5 + residual / (2 * REACH * max(float(residual.std()), 1e-9)))
    top, bottom, left, right = part
    shown = [np.ascontiguousarray(np.uint8(plane.clip(0, 1) * 255)) for plane in planes]
    cv2.rectangle(shown[0], (left, top), (right - 1, bottom - 1), 255)
    return cv2.imencode(".png", np.hstack(shown))[1].tobytes()


if __name__ == "__main__":
    main()
