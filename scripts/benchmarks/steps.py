"""Time the steps of a training of the blind bundle, with and without freed memory kept.

A step is that of the bundle's `train.json`: its network and optimizer, 16 patches of 96 x 96 pixels
(random numbers), in the precision that the training chooses. Runs of 20 steps take turns, each in a
process of its own, on one thread. Prints the medians of the processor time of a step, their ratio,
and the page faults and memory of each kind.

    .venv/bin/python scripts/benchmarks/steps.py
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from monai.bundle import ConfigParser
from torch import Tensor, nn
from torch.nn import functional

from monai_dental.inference.precision import fastest_dtype
from monai_dental.process.memory import keep_freed_memory

CONFIG = Path(__file__).parents[2] / "bundles/dental_xray_denoising_blind/configs/train.json"
PATCHES, PATCH_SIZE = 16, 96  # of train.json, in each step
STEPS = 20  # of a run


def main() -> None:
    """Run both kinds by turns and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5, help="runs of each (default: 5)")
    parser.add_argument("--worker", choices=("freed", "kept"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        print(*measure(is_kept=arguments.worker == "kept"))
        return
    figures: dict[str, list[list[float]]] = {"freed": [], "kept": []}
    for _ in range(arguments.runs):
        for kind, rows in figures.items():
            command = [sys.executable, __file__, "--worker", kind]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            rows.append([float(word) for word in done.stdout.split()])
    medians = {}
    for kind, rows in figures.items():
        medians[kind], faults, memory = map(statistics.median, zip(*rows, strict=True))
        print(f"{kind}: {medians[kind]:.3f} s a step, {faults:.0f} page faults, {memory:.0f} MiB")
    print(f"ratio {medians['kept'] / medians['freed']:.2f}")


def measure(*, is_kept: bool) -> tuple[float, float, int]:
    """Return the processor seconds and page faults of a step, and the memory in MiB."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if is_kept:
        keep_freed_memory()
    parser = ConfigParser()
    parser.read_config(CONFIG)
    network = parser.get_parsed_content("network")
    optimizer = parser.get_parsed_content("optimizer")
    images = torch.rand(PATCHES, 4, PATCH_SIZE, PATCH_SIZE)
    for _ in range(3):
        take_step(network, optimizer, images)
    before, started = resource.getrusage(resource.RUSAGE_SELF), time.process_time()
    for _ in range(STEPS):
        take_step(network, optimizer, images)
    seconds, after = time.process_time() - started, resource.getrusage(resource.RUSAGE_SELF)
    faults = (after.ru_minflt - before.ru_minflt) / STEPS
    return seconds / STEPS, faults, after.ru_maxrss >> 10


def take_step(network: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor) -> None:
    """Take a step of a training; the target is the first channel of the images."""
    dtype = fastest_dtype(torch.device("cpu"))
    optimizer.zero_grad(set_to_none=True)
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        denoised = network(images)
    torch.autograd.backward(functional.mse_loss(denoised.float(), images[:, :1]))
    optimizer.step()


if __name__ == "__main__":
    main()
