"""Train other networks in place of the blind bundle's, each for the same time, and score them.

Each is trained by the bundle's own `train.json`, seed 0, on one thread, for as many epochs as take
`--minutes`, computed from a measured step; the learning rate falls to 0 in that time. Each is then
scored as by `monai-dental benchmark`: it denoises the last 20 of a folder of clean images at full
size with added noise (seed 0, data range 1), and estimates the noise itself. Finally, all are timed
in turn on one simulated panoramic radiograph.

    .venv/bin/python scripts/benchmarks/networks.py --dataset-dir DIR --output results/networks

Finished steps are not repeated: the same command continues after an interruption.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from monai.bundle import ConfigParser
from monai.networks.nets.restormer import Restormer
from steps import PATCH_SIZE, PATCHES, take_step
from torch import Tensor, nn
from torch.nn import functional

from monai_dental.benchmark.accuracy import Row, measure_accuracy
from monai_dental.benchmark.noises import NOISES
from monai_dental.benchmark.speed import measure_speed
from monai_dental.files.outputs import prepare_output_folder
from monai_dental.formats.find import find_images

BUNDLE = Path(__file__).parents[2] / "bundles" / "dental_xray_denoising_blind"
SCORED = [
    noise for noise in NOISES if noise.name in {"white 0.02", "white 0.07", "blur 0.76, 0.04"}
]
STEPS, IMAGES, INTERVAL = 50, 200, 5  # of an epoch; epochs from one validation to the next
TOLD = {"noise_channels": 3}
TURNS = 9


class AtHalfResolution(nn.Module):
    """A network whose channels are the 2 x 2 pixels of image and noise map; its output is added.

    It is initialized as the identity, like the bundle's network.
    """

    def __init__(self, body: nn.Module, last: nn.Conv2d, multiple: int) -> None:
        super().__init__()
        nn.init.zeros_(last.weight)
        self.body = body
        self.multiple = multiple

    def forward(self, image: Tensor) -> Tensor:
        """Return denoised images, (batch, 1, H, W), from (batch, 1 + noise_channels, H, W)."""
        height, width = image.shape[-2:]
        padding = [0, -width % self.multiple, 0, -height % self.multiple]
        padded = functional.pad(image, padding, mode="replicate")
        correction = functional.pixel_shuffle(self.body(functional.pixel_unshuffle(padded, 2)), 2)
        return (padded[:, :1] + correction)[..., :height, :width]


def convolution_stack(channels: int, depth: int, noise_channels: int) -> nn.Module:
    """Return DnCNN's plain stack at FFDNet's half resolution, without norms and biases."""
    layers: list[nn.Module] = []
    for channels_in in [4 * (1 + noise_channels), *[channels] * (depth - 2)]:
        convolution = nn.Conv2d(channels_in, channels, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")  # as in DnCNN
        layers += [convolution, nn.ReLU()]
    last = nn.Conv2d(channels, 4, 3, padding=1, bias=False)
    return AtHalfResolution(nn.Sequential(*layers, last), last, 2)


def small_restormer(dim: int, noise_channels: int) -> nn.Module:
    """Return MONAI's Restormer with one block in each of three levels."""
    body = Restormer(
        2, 4 * (1 + noise_channels), 4, dim,
        num_blocks=(1, 1, 1), heads=(1, 2, 4), num_refinement_blocks=1,
    )  # fmt: skip
    last = body.output.conv
    assert isinstance(last, nn.Conv2d)
    return AtHalfResolution(body, last, 8)


@dataclass(frozen=True)
class Candidate:
    """A network to train.

    Attributes:
        name: Name in the table.
        definition: `network_def` of the configs.
        learning_rate: Maximum learning rate of Adam, from the network's publication.
        tile: `tile_size` and `halo` of the inference, if they differ from the bundle's. A network
            with normalization or attention over its whole input needs inputs as large as in
            training.
    """

    name: str
    definition: dict[str, object]
    learning_rate: float = 1e-3
    tile: tuple[int, int] | None = None

    def make(self) -> nn.Module:
        """Return the untrained network."""
        network: nn.Module = ConfigParser({"network": self.definition}).get_parsed_content(
            "network"
        )
        return network


def unet(*features: int) -> Candidate:
    """Return the bundle's type of network with other widths."""
    target = "monai_dental.networks.DenoisingUNet"
    definition = {"_target_": target, "features": features, "blocks": 2, **TOLD}
    return Candidate(f"U-Net {features}", definition)


CANDIDATES = (
    unet(16, 32, 64),
    unet(32, 64, 128),
    unet(32, 64, 128, 256),
    Candidate(
        "12 convolutions of 64 channels (DnCNN, FFDNet)",
        {"_target_": "networks.convolution_stack", "channels": 64, "depth": 12, **TOLD},
    ),
    Candidate(
        "MONAI's Restormer, 16 channels",
        {"_target_": "networks.small_restormer", "dim": 16, **TOLD},
        learning_rate=3e-4,
        tile=(PATCH_SIZE, 16),
    ),
)


def main() -> None:
    """Train, score and time all candidates, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset-dir", type=Path, required=True, help="folder of clean images")
    parser.add_argument("--output", type=Path, required=True, help="folder for everything")
    parser.add_argument("--minutes", type=float, default=15, help="training of each (default: 15)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    # Networks with another training time are stored separately.
    output = arguments.output.resolve() / f"{arguments.minutes:g}_minutes"
    prepare_output_folder(output / "scores", overwrite=True)
    folders = [output / f"network{n}" for n in range(len(CANDIDATES))]
    if not all((folder / "epochs.txt").exists() for folder in folders):
        for candidate, folder, step in zip(CANDIDATES, folders, step_times(), strict=True):
            epochs = round(60 * arguments.minutes / step / STEPS / INTERVAL) * INTERVAL
            write_bundle(candidate, folder, max(INTERVAL, epochs))
    for candidate, folder in zip(CANDIDATES, folders, strict=True):
        train(candidate, folder)
    bundles = [str(folder) for folder in folders]
    rows = measure_accuracy(
        find_images(arguments.dataset_dir), bundles, output / "scores",
        noises=SCORED, peers=(), variants=False,
    )  # fmt: skip
    speeds = measure_speed(bundles, peers=(), threads=1)
    rates = {speed.name: speed.megapixels_per_s for speed in speeds}
    print("| |", *(f"{noise.name} |" for noise in SCORED), "parameters | epochs | Mpixel/s |")
    print("|---" * (len(SCORED) + 4) + "|")
    for candidate, folder in zip(CANDIDATES, folders, strict=True):
        count = sum(weights.numel() for weights in candidate.make().parameters())
        cells = [f"{mean_psnr(rows, folder, noise.name):.2f}" for noise in SCORED]
        epochs, rate = (folder / "epochs.txt").read_text(), f"{rates[f'{folder}, torch']:.2f}"
        print("|", " | ".join([candidate.name, *cells, f"{count:,}", epochs, rate]), "|")


def step_times() -> list[float]:
    """Return the median CPU seconds of a training step of each candidate, measured in turn."""
    images = torch.rand(PATCHES, 1 + TOLD["noise_channels"], PATCH_SIZE, PATCH_SIZE)
    networks = [candidate.make() for candidate in CANDIDATES]
    for network in networks:  # missing from torch's type stubs
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizers = [torch.optim.Adam(network.parameters(), fused=True) for network in networks]
    times: list[list[float]] = [[] for _ in networks]
    for _ in range(TURNS):
        for network, optimizer, taken in zip(networks, optimizers, times, strict=True):
            start = time.process_time()
            take_step(network, optimizer, images)
            taken.append(time.process_time() - start)
    return [statistics.median(taken) for taken in times]


def write_bundle(candidate: Candidate, folder: Path, epochs: int) -> None:
    """Write a copy of the bundle with another network."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(BUNDLE, folder, ignore=shutil.ignore_patterns("models", "eval"))
    for name in ("train", "inference"):
        path = folder / "configs" / f"{name}.json"
        config = json.loads(path.read_text())
        config["network_def"] = candidate.definition
        if name == "inference" and candidate.tile is not None:
            config["tile_size"], config["halo"] = candidate.tile
        path.write_text(json.dumps(config, indent=4))
    (folder / "epochs.txt").write_text(f"{epochs}")


def train(candidate: Candidate, folder: Path) -> None:
    """Train the network of a folder by its `train.json`; do nothing if that is done."""
    if (folder / ".trained").exists():
        return
    epochs = (folder / "epochs.txt").read_text()
    print(f"{candidate.name}: {epochs} epochs", flush=True)
    command = [sys.executable, "-m", "monai.bundle", "run", "training"]
    command += ["--config_file", "configs/train.json", "--max_epochs", epochs]
    command += ["--learning_rate", str(candidate.learning_rate)]
    command += ["--images_per_epoch", str(IMAGES), "--val_interval", str(INTERVAL)]
    paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)}
    with (folder / "training.log").open("a") as log:
        subprocess.run(command, cwd=folder, env=environment, check=True, stdout=log, stderr=log)
    (folder / ".trained").touch()


def mean_psnr(rows: list[Row], bundle: Path, noise: str) -> float:
    """Return a bundle's mean PSNR over the images at a noise."""
    return statistics.fmean(
        float(row["psnr"]) for row in rows if (row["method"], row["noise"]) == (str(bundle), noise)
    )


if __name__ == "__main__":
    main()
