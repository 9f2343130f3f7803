"""Train and score the autoencoder on a folder of images from several initializations.

Runs both protocols, each with `--seeds` seeds, for 40 epochs, and the honest one also for ten times
as many, to show what the same network can reach. The noise on the validation images is the same
throughout.

    .venv/bin/python scripts/benchmarks/dae.py --dataset-dir DIR --output results/benchmark_dae

Writes `scores.csv` (one row for each image and run) to the output folder, and prints the tables of
the bundle's docs/README.md.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

BUNDLE = Path(__file__).parents[2] / "bundles" / "dental_xray_denoising_dae"
EPOCHS, LONG_EPOCHS = 40, 400


def main() -> None:
    """Run everything and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset-dir", type=Path, required=True, help="folder of images")
    parser.add_argument("--output", type=Path, required=True, help="folder for everything")
    parser.add_argument("--seeds", type=int, default=5, help="runs at 40 epochs (default: 5)")
    parser.add_argument("--long-seeds", type=int, default=3, help="at 400 epochs (default: 3)")
    arguments = parser.parse_args()
    runs = [
        (overlay, EPOCHS, seed)
        for overlay in ("", "noisy_target")
        for seed in range(arguments.seeds)
    ]
    runs += [("", LONG_EPOCHS, seed) for seed in range(arguments.long_seeds)]
    rows = []
    for overlay, epochs, seed in runs:
        folder = arguments.output.resolve() / f"{overlay or 'honest'}_{epochs}_{seed}"
        train_and_score(arguments.dataset_dir.resolve(), folder, overlay, epochs, seed)
        with (folder / "scores.csv").open(newline="") as file:
            rows += [{"epochs": epochs, "seed": seed, **row} for row in csv.DictReader(file)]
    with (arguments.output / "scores.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    print_table(rows)


def train_and_score(dataset_dir: Path, folder: Path, overlay: str, epochs: int, seed: int) -> None:
    """Train one network, and write its scores to `folder`."""
    configs = ["train", *([overlay] if overlay else [])]
    common = [
        "--dataset_dir", dataset_dir, "--ckpt_dir", folder, "--output_dir", folder,
        "--seed", seed, "--max_epochs", epochs, "--patience", epochs if epochs > EPOCHS else 10,
    ]  # fmt: skip
    for run_id, names in (("training", configs), ("evaluating", [*configs, "evaluate"])):
        files = str([f"configs/{name}.json" for name in names])
        command = [sys.executable, "-m", "monai.bundle", "run", run_id, "--config_file", files]
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"{run_id}.log").open("w") as log:
            subprocess.run(
                [*command, *map(str, common)], cwd=BUNDLE, check=True, stdout=log, stderr=log
            )


def print_table(rows: list[dict[str, Any]]) -> None:
    """Print each method's mean over the images, as mean and spread over the seeds."""
    groups: dict[tuple[str, str, int], dict[int, list[tuple[float, float]]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for row in rows:
        key = (row["protocol"], row["method"], row["epochs"])
        groups[key][row["seed"]].append((float(row["psnr"]), float(row["ssim"])))
    for (protocol, method, epochs), by_seed in sorted(groups.items(), key=str):
        psnr, ssim = (
            [statistics.fmean(pair[i] for pair in pairs) for pairs in by_seed.values()]
            for i in (0, 1)
        )
        peak = 255 if protocol == "published" else 1
        spread = statistics.stdev(psnr) if len(psnr) > 1 else 0.0
        print(
            f"{protocol:10} {method:18} {epochs:4} epochs, {len(psnr)} seeds: "
            f"PSNR {statistics.fmean(psnr):6.2f} ± {spread:.2f} ({min(psnr):.2f} to "
            f"{max(psnr):.2f}), data range {peak}; SSIM {statistics.fmean(ssim):.3f}, data range 1"
        )


if __name__ == "__main__":
    main()
