"""Fine-tune a network that outputs 2 x 2 pixels at a time to leave no grid in flat parts.

.venv/bin/python training/level_grid.py BUNDLE IMAGES OUTPUT

The target is the mean of the network's own results for an image in the four positions relative to
its cells of 2 x 2 pixels. In this mean, a grid cancels and all else remains. The target has no
noise, so a few hundred steps are enough. Only the last layers are trained. IMAGES are clean for
`blind`, which adds noise to them, and noisy for `unet`. BUNDLE is the bundle's folder, from which
the weights are read; OUTPUT is the file for the new ones.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch
from monai.bundle import ConfigParser
from torch import Tensor
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from monai_dental.bundle.find import load_weights
from monai_dental.files.atomic import open_atomically
from monai_dental.formats.find import find_images
from monai_dental.formats.registry import read_radiograph
from monai_dental.inference.precision import fastest_dtype
from monai_dental.networks import DenoisingUNet
from monai_dental.transforms import RandDetectord

STEPS, BATCH, PART, BORDER = 300, 8, 160, 16
RATE, GRID_WEIGHT = 1e-4, 100.0
SIGMA_RANGE = (0.002, 0.12)


def main(bundle: str, images: str, output: str) -> None:
    """Write the new weights."""
    folder = Path(bundle)
    network = network_of(folder)
    teacher = network_of(folder).eval()
    pixels = [torch.from_numpy(read_radiograph(path).pixels) for path in find_images(Path(images))]
    random = np.random.RandomState(0)
    mean = get_ema_multi_avg_fn(0.99)  # type: ignore[no-untyped-call]
    average = AveragedModel(network, multi_avg_fn=mean)
    last = (network.up[-1], network.decoders[-1], network.last)
    optimizer = torch.optim.Adam([weight for part in last for weight in part.parameters()], lr=RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, STEPS, cycle_momentum=False)
    dtype = fastest_dtype(torch.device("cpu"))
    for step in range(STEPS):
        batch = torch.stack(
            [draw(pixels, random, is_told=network.first.in_channels > 4) for _ in range(BATCH)]
        )
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            target = mean_of_places(teacher, batch)
            result = inner(network(batch), 0, 0).float()
        error = functional.pixel_unshuffle(result - target, 2)
        grid = error.mean(dim=(-2, -1)).var(dim=1, correction=0).mean()
        loss = error.square().mean() + GRID_WEIGHT * grid
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
        average.update_parameters(network)
        if step % 20 == 0:
            print(f"step {step}: error {error.square().mean():.3g}, grid {grid:.3g}", flush=True)
    with open_atomically(Path(output)) as file:
        torch.save(average.module.state_dict(), file)


def network_of(folder: Path) -> DenoisingUNet:
    """Return the network of a bundle with its weights."""
    definition = json.loads((folder / "configs" / "train.json").read_text("utf-8"))["network_def"]
    network = ConfigParser({"network": definition}).get_parsed_content("network")
    assert isinstance(network, DenoisingUNet)
    load_weights(network, str(folder / "models" / "model.pt"), torch.device("cpu"))
    return network


def draw(images: list[Tensor], random: np.random.RandomState, *, is_told: bool) -> Tensor:
    """Return a random input for the network, (C, PART - 2 * MARGIN, ...)."""
    while True:
        pixels = images[random.randint(len(images))]
        rows, columns = (size - PART for size in pixels.shape)
        if min(rows, columns) >= 0:
            break
    row, column = random.randint(rows + 1), random.randint(columns + 1)
    part = pixels[None, row : row + PART, column : column + PART]
    if not is_told:
        return part
    detector = RandDetectord("image", sigma_range=SIGMA_RANGE)
    told: Tensor = detector.expose({"image": part}, int(random.randint(2**31)))["image"]
    return told


@torch.inference_mode()
def mean_of_places(network: DenoisingUNet, batch: Tensor) -> Tensor:
    """Return the mean of the results for images shifted by 0 or 1 pixel down and right."""
    results = []
    for down in (0, 1):
        for right in (0, 1):
            moved = functional.pad(batch, [right, 0, down, 0], mode="replicate")
            results.append(
                inner(network(moved[..., : batch.shape[-2], : batch.shape[-1]]), down, right)
            )
    return torch.stack(results).float().mean(dim=0)


def inner(result: Tensor, down: int, right: int) -> Tensor:
    """Return the result for a shifted image without its border."""
    rows, columns = (size - 2 * BORDER for size in result.shape[-2:])
    part: Tensor = result[..., BORDER + down :, BORDER + right :][..., :rows, :columns]
    return part


if __name__ == "__main__":
    main(*sys.argv[1:])
