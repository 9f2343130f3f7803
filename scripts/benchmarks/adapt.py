"""Measure the gain of `monai-dental adapt` on the images of one machine.

Noise is added to the first images of a folder of clean ones, which are stored as 16-bit PNG, like a
clinic's images. The blind bundle is adapted to them. The original and the adapted bundle are scored
as by `monai-dental benchmark` on the last 20 images with noise of the same kind (data range 1), for
each of three kinds.

    .venv/bin/python scripts/benchmarks/adapt.py --dataset-dir DIR --output results/adapt

Finished steps are not repeated: the same command continues after an interruption.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from monai_dental.benchmark.accuracy import TEST_COUNT, measure_accuracy
from monai_dental.benchmark.accuracy_table import format_accuracy
from monai_dental.benchmark.noises import NOISES, Noise
from monai_dental.bundle.find import DEFAULT_BUNDLE, find_bundle
from monai_dental.files.outputs import prepare_output_folder
from monai_dental.formats import read_radiograph
from monai_dental.formats.find import find_images
from monai_dental.formats.opencv import write_png
from monai_dental.training.adapt import adapt

KINDS = [
    noise for noise in NOISES if noise.name in {"white 0.02", "blur 0.76, 0.04", "blur 1.1, 0.02"}
]
SEED = 500_000  # of the first image's noise; the scored images use other seeds


def main() -> None:
    """Adapt, score, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset-dir", type=Path, required=True, help="folder of clean images")
    parser.add_argument("--output", type=Path, required=True, help="folder for everything")
    parser.add_argument("--count", type=int, default=40, help="images to adapt to (default: 40)")
    arguments = parser.parse_args()
    images = find_images(arguments.dataset_dir)
    own = images[:-TEST_COUNT][: arguments.count]
    rows = []
    for noise in KINDS:
        folder = arguments.output.resolve() / noise.name.replace(", ", "_").replace(" ", "_")
        prepare_output_folder(folder / "scores", overwrite=True)
        adapted = folder / "adapted"
        if not (adapted / "models" / "model.pt").exists():
            adapt(find_bundle(DEFAULT_BUNDLE), write_noisy(own, noise, folder / "noisy"), adapted)
        scores = measure_accuracy(
            images, [DEFAULT_BUNDLE, str(adapted)], folder / "scores",
            noises=[noise], peers=(), variants=False,
        )  # fmt: skip
        rows += [{**row, "method": Path(str(row["method"])).name} for row in scores]
    print(f"adapted to {len(own)} images")
    print(format_accuracy(rows))


def write_noisy(clean: list[Path], noise: Noise, folder: Path) -> list[Path]:
    """Write images with added noise, clipped, and return their paths."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    paths = []
    for number, path in enumerate(clean):
        noisy = noise.add(read_radiograph(path).pixels, SEED + number)
        paths.append(folder / f"{number}.png")
        write_png(paths[-1], noisy)
    return paths


if __name__ == "__main__":
    main()
