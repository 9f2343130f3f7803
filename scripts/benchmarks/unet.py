"""Train the U-Net with each objective on images with known noise; compare it with the filters.

Data: simulated radiographs (1 to 100 train, 113 to 120 test) and, with `--dataset-dir`, a folder of
at least 90 real ones (the first 80 train, the last 8 test). Noise on both: white Gaussian noise of
sigma 0.07, or Poisson noise blurred by 0.76 pixels, of sigma 0.02 and 0.04 at mid-grey (full and a
quarter of the dose), with electronic noise of 0.005 after the blur. Each image gets one exposure,
the same for every method. Test images are scored on their central 512 x 512 pixels, at data range
1. The filters use the parameter that is best on training images, for which they, unlike the U-Net,
are given the ground truth.

    pip install -c constraints.txt -e '.[benchmark]'
    .venv/bin/python scripts/benchmarks/unet.py --output results/benchmark_unet [--dataset-dir DIR]

Images are stored as 16-bit PNG with headroom, (y + 0.5) / 2, so that no noise is clipped. Writes
`scores.csv` (one row for each image and method) and prints the table of the bundle's README.
Finished steps are not repeated: the same command continues after an interruption.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from monai.metrics import SSIMMetric
from numpy.typing import NDArray

from monai_dental.benchmark.accuracy import center
from monai_dental.benchmark.noises import Noise
from monai_dental.benchmark.peers import PEERS, tune
from monai_dental.formats import read_radiograph
from monai_dental.formats.find import find_images
from monai_dental.metrics import psnr
from monai_dental.phantom import simulate_exposure

Image = NDArray[np.float32]

BUNDLE = Path(__file__).parents[2] / "bundles" / "dental_xray_denoising_unet"
OBJECTIVES = ("", "supervised", "neighbor2neighbor", "identity_target")
# 25 steps each, the same for all objectives; strong noise and real images need more epochs.
PHANTOM_EPOCHS = {"white": 400, "full_dose": 40, "quarter_dose": 40}
EPOCHS = {"white": 400, "full_dose": 120, "quarter_dose": 120}
IDENTITY_EPOCHS = 2  # the network is initialized at the optimum of this objective
NOISES = {"white": Noise(0.07), "full_dose": Noise(0.02, 0.76), "quarter_dose": Noise(0.04, 0.76)}
SEED = 0
TEST_SIZE, TUNING_SIZE, TUNING_STEP = 512, 256, 26  # every 26th training image


@dataclass(frozen=True)
class Case:
    """One data set with one noise."""

    dataset: str
    noise: str
    folder: Path

    def pairs(self, part: str) -> list[tuple[Path, Path]]:
        """Return the noisy and the clean file of each image of a part, "train" or "test"."""
        noisy = find_images(self.folder / part / "noisy")
        return [(path, self.folder / part / "clean" / path.name) for path in noisy]


def main() -> None:
    """Run everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="folder for everything")
    parser.add_argument("--dataset-dir", type=Path, help="folder of real images")
    parser.add_argument("--jobs", type=int, default=2, help="runs side by side (default: 2)")
    arguments = parser.parse_args()
    sources = {"phantom": None}
    if arguments.dataset_dir:
        sources[arguments.dataset_dir.name] = arguments.dataset_dir
    cases: list[Case] = []
    for noise in NOISES:
        for dataset, source in sources.items():
            folder = arguments.output.resolve() / dataset / noise
            cases.append(Case(dataset, noise, folder))
            if not (folder / ".written").exists():
                write_images(source, noise, folder)
                (folder / ".written").touch()
    jobs = [(case, method) for method in (*OBJECTIVES, *PEERS) for case in cases]
    with ThreadPoolExecutor(arguments.jobs) as pool:
        list(pool.map(lambda job: run(*job), jobs))
    rows = [row for case in cases for row in score(case)]
    with (arguments.output / "scores.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    print_table(rows)


def write_images(source: Path | None, noise: str, folder: Path) -> None:
    """Write clean and noisy images, training and test."""
    for number, (part, clean) in enumerate(clean_images(source)):
        noisy = NOISES[noise].add(clean, 1000 * SEED + number)
        for kind, pixels in (("clean", clean), ("noisy", noisy)):
            path = folder / part / kind / f"{number + 1}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            stored = np.rint((pixels + 0.5) / 2 * 65535).clip(0, 65535)
            cv2.imwrite(str(path), stored.astype(np.uint16))


def clean_images(source: Path | None) -> Iterator[tuple[str, Image]]:
    """Yield the part that each image belongs to, and the image, (H, W) in [0, 1]."""
    if source is None:
        for index in (*range(1, 101), *range(113, 121)):
            clean = simulate_exposure(index, bits_stored=16).clean
            yield "train" if index <= 100 else "test", np.float32(clean / np.float32(65535))
    else:
        paths = find_images(source)
        for path in paths[:80]:
            yield "train", read_radiograph(path).pixels
        for path in paths[-8:]:
            yield "test", center(read_radiograph(path).pixels, TEST_SIZE)


def run(case: Case, method: str) -> None:
    """Train and denoise with one objective, or run one filter, unless that is done."""
    name = method or "recorrupted"
    denoised = case.folder / "denoised" / name
    if (denoised / ".done").exists():
        return
    if method in PEERS:
        run_filter(case, method)
    else:
        train(case, method, name)
    denoised.mkdir(parents=True, exist_ok=True)
    (denoised / ".done").touch()
    print(f"{case.dataset}, {case.noise}: {name} done", flush=True)


def train(case: Case, overlay: str, name: str) -> None:
    """Train one network with the bundle's own commands, and denoise the test images."""
    files = str([f"configs/{file}.json" for file in ("train", *([overlay] if overlay else []))])
    models = case.folder / "models" / name
    epochs = (PHANTOM_EPOCHS if case.dataset == "phantom" else EPOCHS)[case.noise]
    if overlay == "identity_target":
        epochs = IDENTITY_EPOCHS
    options = {
        "dataset_dir": case.folder / "train" / "noisy", "ckpt_dir": models, "output_dir": models,
        "ckpt_name": "model.pt", "max_epochs": epochs, "patience": epochs, "seed": SEED,
    }  # fmt: skip
    if overlay == "supervised":
        options["label_dir"] = case.folder / "train" / "clean"
    monai_bundle("training", files, options, models / "training.log")
    options = {
        "dataset_dir": case.folder / "test" / "noisy", "ckpt_path": models / "model.pt",
        "output_dir": case.folder / "denoised" / name, "figure_dir": models / "figures",
        "overwrite": True,
    }  # fmt: skip
    monai_bundle("inference", "configs/inference.json", options, models / "inference.log")


def monai_bundle(run_id: str, files: str, options: dict[str, object], log: Path) -> None:
    """Run one command of the bundle on one thread: two parallel runs use two cores best."""
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "monai.bundle", "run", run_id, "--config_file", files]
    for key, value in options.items():
        command += [f"--{key}", str(value)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    with log.open("w") as stream:
        subprocess.run(
            command, cwd=BUNDLE, env=environment, check=True, stdout=stream, stderr=stream
        )


def run_filter(case: Case, name: str) -> None:
    """Tune a filter on training images, and filter the test images."""
    train = [tuple(map(read, pair)) for pair in case.pairs("train")[::TUNING_STEP]]
    noisy, clean = ([center(pair[i], TUNING_SIZE) for pair in train] for i in (0, 1))
    folder = case.folder / "denoised" / name
    folder.mkdir(parents=True, exist_ok=True)
    parameter = tune(PEERS[name], noisy, clean)
    (folder / "parameter.txt").write_text(f"{parameter:.4g}\n")
    for path, _ in case.pairs("test"):
        np.save(folder / path.stem, PEERS[name].denoise(read(path), parameter))


def score(case: Case) -> list[dict[str, Any]]:
    """Return the scores of all methods on all test images."""
    rows = []
    ssim = SSIMMetric(spatial_dims=2, data_range=1.0, win_size=11, kernel_sigma=1.5)
    for noisy_path, clean_path in case.pairs("test"):
        clean = read(clean_path)
        results = {"noisy": read(noisy_path)}
        for objective in OBJECTIVES:
            name = objective or "recorrupted"
            results[name] = read(case.folder / "denoised" / name / noisy_path.name)
        for name in PEERS:
            results[name] = np.load(case.folder / "denoised" / name / f"{noisy_path.stem}.npy")
        for method, result in results.items():
            parameter = case.folder / "denoised" / method / "parameter.txt"
            similarity = ssim(*(torch.from_numpy(x)[None, None] for x in (result, clean)))
            rows.append({
                "dataset": case.dataset, "noise": case.noise, "method": method,
                "image": noisy_path.name, "psnr": psnr(result, clean, 1.0), "psnr_data_range": 1,
                "ssim": torch.as_tensor(similarity).item(),
                "parameter": parameter.read_text().strip() if parameter.exists() else "",
            })  # fmt: skip
    return rows


def print_table(rows: list[dict[str, Any]]) -> None:
    """Print mean PSNR and SSIM of each method as Markdown, one column per case."""
    cases = list(dict.fromkeys((row["dataset"], row["noise"]) for row in rows))
    print("| PSNR dB (SSIM), data range 1 |", *(f"{' '.join(case)} |" for case in cases))
    print("|---" * (len(cases) + 1) + "|")
    for method in dict.fromkeys(row["method"] for row in rows):
        cells = []
        for case in cases:
            own = [r for r in rows if (r["dataset"], r["noise"]) == case and r["method"] == method]
            mean = {key: statistics.fmean(row[key] for row in own) for key in ("psnr", "ssim")}
            tuned = f" [{own[0]['parameter']}]" if own[0]["parameter"] else ""
            cells.append(f"{mean['psnr']:.2f} ({mean['ssim']:.3f}){tuned} |")
        print(f"| {method} |", *cells)


def read(path: Path) -> Image:
    """Return an image with the headroom removed."""
    pixels: Image = read_radiograph(path).pixels
    pixels = 2 * pixels - np.float32(0.5)
    return pixels


if __name__ == "__main__":
    main()
