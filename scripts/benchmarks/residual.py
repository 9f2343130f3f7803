"""Measure what the U-Net removes from unmodified real radiographs: noise or anatomy.

No noise is added, so there is no clean image and no PSNR. The U-Net is trained on the first 80
images of a folder by the bundle's own command (Recorrupted-to-Recorrupted). Each method's residual
(image minus denoised) is computed on the central 512 x 512 pixels of the last 6 images, in [0, 1].
The filters cannot be tuned without ground truth: each gets the parameter with which it removes as
much as the U-Net, by standard deviation, from crops of three training images. The median has no
parameter.

    pip install -c constraints.txt -e '.[benchmark]'
    .venv/bin/python scripts/benchmarks/residual.py --dataset-dir DIR --output results/residual

These are measured for each residual:

- its standard deviation, and its autocorrelation at shifts of some pixels (down, across): noise is
  correlated only within the detector's blur, anatomy over larger distances;
- `edges`: Pearson correlation of the residual's local energy (its square, blurred by 2 pixels) with
  the edges (gradient magnitude of the image blurred by 2 pixels), both after subtracting their mean
  at each of 32 intensities, so that signal-dependent noise does not count as an edge;
- `detail`: Pearson correlation with the detail (the negative Laplacian of the image blurred by 2
  pixels); positive if sharpness is lost.

- `taken`: the fraction of additional noise, drawn from the estimate and added to the image, that
  the method removes again: almost 0 for an untrained method, or one that is set too low.

Both maps come from the noisy image, are the same for all methods, and contain a little of its
noise. A perfect denoiser would therefore show not 0 but the values of the row `estimated_noise`:
noise drawn from the estimate (`estimate_noise`) of each image, added to it and removed again.

Writes `scores.csv` (one row for each image and method) and `residual.png` (the last image and its
residuals on one grey scale; if it shows a patient's image, keep it private), and prints the table
of the bundle's README, mean ± standard deviation over the images. A finished training is not
repeated.
"""

from __future__ import annotations

import argparse
import csv
import math
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.optimize import brentq
from sizes import load

from monai_dental.benchmark.accuracy import center
from monai_dental.benchmark.peers import PEERS, Peer
from monai_dental.benchmark.sharpness import edge_correlation
from monai_dental.bundle.find import find_bundle
from monai_dental.filters import low_pass
from monai_dental.formats import read_radiograph
from monai_dental.formats.find import find_images
from monai_dental.noise import correlated_noise, estimate_noise

Image = NDArray[np.float32]
Row = dict[str, Any]

BUNDLE = find_bundle("unet")
SEED = 0
TRAIN_COUNT, TEST_COUNT, TEST_SIZE, MATCHING_COUNT, MATCHING_SIZE = 80, 6, 512, 3, 256
SHIFTS = ((0, 1), (1, 0), (1, 1), (0, 2), (0, 4), (0, 8))
BLUR = 2.0


def main() -> None:
    """Run everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset-dir", type=Path, required=True, help="folder of images")
    parser.add_argument("--output", type=Path, required=True, help="folder for everything")
    parser.add_argument("--epochs", type=int, default=40, help="of the training (default: 40)")
    parser.add_argument("--model", type=Path, help="weights to use instead of training")
    arguments = parser.parse_args()
    output = arguments.output.resolve()
    paths = find_images(arguments.dataset_dir.resolve())
    training = paths[:TRAIN_COUNT]
    model = arguments.model or train(training, output, arguments.epochs)
    unet = load(BUNDLE, model.resolve(), {})

    chosen = training[:: len(training) // MATCHING_COUNT][:MATCHING_COUNT]
    crops = [center(read_radiograph(path).pixels, MATCHING_SIZE) for path in chosen]
    amount = mean_deviation([crop - unet.denoise(crop) for crop in crops])
    parameters = {name: match(peer, crops, amount) for name, peer in PEERS.items()}
    rows = []
    for number, path in enumerate(paths[-TEST_COUNT:]):
        image = center(read_radiograph(path).pixels, TEST_SIZE)
        noise = draw_noise(image, SEED + number)
        methods: dict[str, Callable[[Image], Image]] = {"unet": unet.denoise}
        for name, peer in PEERS.items():
            methods[name] = partial(peer.denoise, parameter=parameters[name])
        residuals = {"estimated_noise": noise}
        own = [row_of(path, "estimated_noise", image + noise, noise, 1.0)]
        for name, denoise in methods.items():
            residuals[name] = image - denoise(image)
            more = image + noise - denoise(image + noise) - residuals[name]
            taken = float((more * noise).sum() / (noise * noise).sum())
            row = row_of(path, name, image, residuals[name], taken)
            own.append({**row, "parameter": f"{parameters[name]:.4g}" if name in PEERS else ""})
        rows += own
        print(f"{path.name} done", flush=True)
    output.mkdir(parents=True, exist_ok=True)
    with (output / "scores.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    draw(image, residuals, own, output / "residual.png")
    print_table(rows)


def train(paths: list[Path], output: Path, epochs: int) -> Path:
    """Return the weights of the bundle's training on some images; train unless they exist."""
    models, folder = output / f"model_{epochs}", output / "train"
    if not (models / ".done").exists():
        models.mkdir(parents=True, exist_ok=True)
        folder.mkdir(exist_ok=True)
        for number, path in enumerate(paths):
            link = folder / f"{number}_{path.name}"
            link.unlink(missing_ok=True)
            link.symlink_to(path)
        options = {
            "dataset_dir": folder, "ckpt_dir": models, "output_dir": models,
            "max_epochs": epochs, "patience": epochs, "seed": SEED,
        }  # fmt: skip
        command = [sys.executable, "-m", "monai.bundle", "run", "training"]
        command += ["--config_file", "configs/train.json"]
        for key, value in options.items():
            command += [f"--{key}", str(value)]
        environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
        with (models / "training.log").open("w") as log:
            subprocess.run(command, cwd=BUNDLE, env=environment, check=True, stdout=log, stderr=log)
        (models / ".done").touch()
    return models / "model.pt"


def match(peer: Peer, crops: list[Image], amount: float) -> float:
    """Return the parameter, to 1 %, with which a filter removes a given amount.

    Raises:
        ValueError: It removes more, or less, with all parameters from a sixteenth of the smallest
            to four times the largest of its grid.
    """
    if len(peer.grid) == 1:
        return peer.grid[0]

    def excess(parameter: float) -> float:
        denoised = [peer.denoise(crop, math.exp(parameter)) for crop in crops]
        return mean_deviation(list(map(np.subtract, crops, denoised))) - amount

    ends = math.log(peer.grid[0] / 16), math.log(peer.grid[-1] * 4)
    return math.exp(brentq(excess, *ends, xtol=0.005))


def mean_deviation(residuals: list[Image]) -> float:
    """Return the root mean square over images of the standard deviation."""
    return math.sqrt(statistics.fmean(float(residual.var()) for residual in residuals))


def draw_noise(image: Image, seed: int) -> Image:
    """Return noise drawn from the estimate of an image's noise."""
    noise = estimate_noise(image)
    guide = low_pass(torch.from_numpy(image), BLUR)
    generator = torch.Generator().manual_seed(seed)
    return correlated_noise(guide, noise.variances, noise.kernel, generator).numpy()


def row_of(path: Path, method: str, image: Image, residual: Image, taken: float) -> Row:
    """Return the row of one method and image."""
    row = {"image": path.name, "method": method, "parameter": ""}
    return {**row, **measure(image, residual), "taken": taken}


def measure(image: Image, residual: Image) -> dict[str, float]:
    """Return the measures of one residual; see the top of this file."""
    smooth = cv2.GaussianBlur(image, (0, 0), BLUR)
    centred = residual - residual.mean()
    deviation = float(residual.std())
    return {
        "std": deviation,
        "std_8bit": 255 * deviation,
        **{f"shift_{down}_{across}": shifted(centred, down, across) for down, across in SHIFTS},
        "edges": edge_correlation(residual, image),
        "detail": pearson(centred, -np.float32(cv2.Laplacian(smooth, cv2.CV_32F))),
    }


def shifted(centred: Image, down: int, across: int) -> float:
    """Return the correlation of an image of mean 0 with itself, shifted."""
    rows, columns = centred.shape
    product = centred[down:, across:] * centred[: rows - down, : columns - across]
    return float(product.mean(dtype=np.float64) / (centred**2).mean(dtype=np.float64))


def pearson(first: Image, second: Image) -> float:
    """Return the correlation of the values of two images."""
    return float(np.corrcoef(first.ravel(), second.ravel())[0, 1])


def draw(image: Image, residuals: dict[str, Image], rows: list[Row], path: Path) -> None:
    """Write the image and its residuals, the residuals on one grey scale."""
    reach = 3 * float(residuals["unet"].std())
    columns = -(-(len(residuals) + 1) // 2)
    figure = Figure(figsize=(5.2 * columns, 11), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, columns).ravel()
    axes[0].imshow(image, cmap="gray", vmin=0, vmax=1)
    axes[0].set_title("image")
    for axis, (method, residual), row in zip(axes[1:], residuals.items(), rows, strict=False):
        axis.imshow(residual, cmap="gray", vmin=-reach, vmax=reach, interpolation="none")
        axis.set_title(f"{method}: std {row['std_8bit']:.2f} / 255, edges {row['edges']:.2f}")
    for axis in axes:
        axis.set_axis_off()
    figure.savefig(path, dpi=110)


def print_table(rows: list[Row]) -> None:
    """Print mean and standard deviation over the images of each measure, as Markdown."""
    measures = list(rows[0])[3:]
    print("| method [parameter] |", *(f"{name} |" for name in measures))
    print("|---" * (len(measures) + 1) + "|")
    for method in dict.fromkeys(row["method"] for row in rows):
        own = [row for row in rows if row["method"] == method]
        parameter = f" [{own[0]['parameter']}]" if own[0]["parameter"] else ""
        cells = []
        for name in measures:
            values = [row[name] for row in own]
            digits = 4 if name == "std" else 2
            deviation = statistics.stdev(values) if len(values) > 1 else 0.0
            cells.append(f"{statistics.fmean(values):.{digits}f} ± {deviation:.{digits}f} |")
        print(f"| {method}{parameter} |", *cells)


if __name__ == "__main__":
    main()
