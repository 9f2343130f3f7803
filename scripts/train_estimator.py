"""Train the networks that estimate noise from energy curves: `monai_dental/noise/regression.pt`.

A maintainers' tool. First, the noise of random detectors is added to noise-free images, and their
curves are stored with the true noise of each octave. Then the networks are trained on them. Just
over half of the images are simulated radiographs, or parts of them, whose indices no evaluation
uses. The others are drawn shapes, and photographs from `scripts/fetch_photographs.py`, but only
those with hardly any noise of their own: it would teach that weak noise is anatomy.

    .venv/bin/python scripts/train_estimator.py --photographs DIR --work DIR [--images 3800]

The samples are kept in the work folder, in one file for each 50 images; the same command continues
after an interruption.
"""

from __future__ import annotations

import argparse
import sys
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from monai_dental.files.atomic import open_atomically
from monai_dental.formats import read_radiograph
from monai_dental.formats.find import find_images
from monai_dental.noise.curves import measure_curves
from monai_dental.noise.detector import Odds, draw_detector, expose
from monai_dental.noise.octaves import measure_octaves
from monai_dental.noise.regression import FLOOR, NoiseRegression, logs_of
from monai_dental.phantom import simulate_exposure
from monai_dental.process.machine import usable_cores
from monai_dental.process.pool import process_pool
from monai_dental.synthetic.images import show
from monai_dental.synthetic.leaves import draw_leaves, draw_shadows

Image = NDArray[np.float32]
Sample = dict[str, Tensor]

OUTPUT = Path(__file__).parents[1] / "monai_dental" / "noise" / "regression.pt"
FIRST_PHANTOM, PANORAMICS = 1_500_000, 8
IMAGES_PER_FILE, EXPOSURES = 50, 8
SIGMAS, NOISE_FREE = (0.0015, 0.12), 0.04
NOISE_FREE_SIGMA, LARGEST_ZOOM = 0.0009, 0.7  # of photographs
ODDS = Odds(plain=0.0, white=0.3, uneven=0.4, resampled=0.25, smoothed=0.06, compressed=0.22)
SIDES = (160, 800)
NETWORKS, STEPS, BATCH, LEARNING_RATE = 3, 16_000, 64, 2e-3
CONTRASTS = (-1.5, 0.7)  # natural logarithms
OVERESTIMATE = 1.1  # factor on the cost of an estimate that is too large


def main() -> int:
    """Make the missing samples, train, and write the weights."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--photographs", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--images", type=int, default=3800)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    parts = range(arguments.images // IMAGES_PER_FILE)
    make = partial(make_samples, arguments.photographs, arguments.work)
    with process_pool(usable_cores()) as pool:
        for path in pool.map(make, parts).result():
            print(path, flush=True)
    samples = [torch.load(make_path(arguments.work, part)) for part in parts]
    networks = [train(samples, seed) for seed in range(NETWORKS)]
    with open_atomically(arguments.output) as file:
        torch.save([network.state_dict() for network in networks], file)
    return 0


def make_path(work: Path, part: int) -> Path:
    """Return the file of a part of the samples."""
    return work / f"samples-{part}.pt"


def make_samples(photographs: Path, work: Path, part: int) -> Path:
    """Write a part of the samples, unless it exists."""
    path = make_path(work, part)
    if path.is_file():
        return path
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    paths = [path for path in find_images(photographs) if is_clean(path)]
    random = np.random.default_rng([0, part])
    samples: list[Sample] = []
    for number in range(part * IMAGES_PER_FILE, (part + 1) * IMAGES_PER_FILE):
        clean = torch.from_numpy(draw_image(random, paths, number))
        for _ in range(EXPOSURES):
            sample = make_sample(clean, int(random.integers(2**31)))
            if sample is not None:
                samples.append(sample)
    with open_atomically(path) as file:
        torch.save(samples, file)
    return path


def is_clean(path: Path) -> bool:
    """Return whether a photograph has hardly any noise of its own, which would count as anatomy."""
    pixels = read_radiograph(path).pixels
    curves = measure_curves([torch.from_numpy(_zoomed(pixels, LARGEST_ZOOM))])
    if curves is None:
        return True
    own = curves.energies[:, :2, 0, 2].nanmedian(dim=0).values  # fine noise of the flattest patches
    return bool((own < NOISE_FREE_SIGMA**2).all())


def draw_image(random: np.random.Generator, photographs: list[Path], number: int) -> Image:
    """Return an image without noise, in [0, 1]."""
    side = int(np.exp(random.uniform(*np.log(SIDES))))
    kind = random.random()
    if kind < 0.2:
        path = photographs[random.integers(len(photographs))]
        image = _cut(random, read_radiograph(path).pixels, side, random.uniform(0.4, LARGEST_ZOOM))
    elif kind < 0.55:
        size = (max(side, 200), max(side, 200))
        exposure = simulate_exposure(FIRST_PHANTOM + number, size=size, bits_stored=16)
        image = np.asarray(exposure.clean / np.float32(65535), dtype=np.float32)
    elif kind < 0.75:
        image = _cut(random, _panoramic(number % PANORAMICS), side, random.uniform(0.7, 1.3))
    else:
        draw = draw_shadows if kind < 0.88 else draw_leaves
        blur = random.uniform(0.3, 1.8)
        blurred = cv2.GaussianBlur(draw(random, (side, side)), (0, 0), blur)
        image = np.asarray(blurred.clip(0, 1), dtype=np.float32)
    shown = show(random, image) if random.random() < 0.5 else image
    return np.ascontiguousarray(shown, dtype=np.float32)


@lru_cache(maxsize=PANORAMICS)
def _panoramic(number: int) -> Image:
    index = FIRST_PHANTOM + number
    exposure = simulate_exposure(index, size=(717, 1471), bits_stored=16, view="panoramic")
    return np.asarray(exposure.clean / np.float32(65535), dtype=np.float32)


def _cut(random: np.random.Generator, image: Image, side: int, zoom: float) -> Image:
    """Return a part of an image, resized."""
    resized = _zoomed(image, zoom)
    rows, columns = (min(length, side) for length in resized.shape)
    columns = min(resized.shape[1], int(columns * random.uniform(1, 2)))
    top = random.integers(resized.shape[0] - rows + 1)
    left = random.integers(resized.shape[1] - columns + 1)
    return np.asarray(resized[top : top + rows, left : left + columns], dtype=np.float32)


def _zoomed(image: Image, zoom: float) -> Image:
    kind = cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC
    resized = cv2.resize(image, None, fx=zoom, fy=zoom, interpolation=kind)
    return np.asarray(resized.clip(0, 1), dtype=np.float32)


def make_sample(clean: Tensor, seed: int) -> Sample | None:
    """Return the curves of an exposure and the true noise, or None if nothing can be measured."""
    random = np.random.RandomState(seed)
    generator = torch.Generator().manual_seed(seed)
    sigma = float(np.exp(random.uniform(*np.log(SIGMAS))))
    detector = draw_detector(random, 1e-6 if random.uniform() < NOISE_FREE else sigma, ODDS)
    noisy, shown, noise = expose(clean, detector, random, generator)
    curves = measure_curves([noisy.contiguous()])
    if curves is None:
        return None
    points = 256
    truth = measure_octaves(noise, shown, bins=16, points=points)
    places = (curves.intensities.clamp(0, 1) * (points - 1)).round().long()
    return {
        "logs": logs_of(curves.energies), "counts": curves.counts,
        "intensities": curves.intensities, "sigmas": truth[:, places].T.clamp_min(0).sqrt(),
    }  # fmt: skip


def train(parts: list[list[Sample]], seed: int) -> NoiseRegression:
    """Train a network; the last eighth of each part, from separate images, validates."""
    torch.manual_seed(seed)
    ends = [len(part) - len(part) // 8 for part in parts]
    training = _stack([s for part, end in zip(parts, ends, strict=True) for s in part[:end]])
    validation = _stack([s for part, end in zip(parts, ends, strict=True) for s in part[end:]])
    network = NoiseRegression()
    optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=STEPS)
    for step in range(STEPS):
        batch = _draw_batch(training)
        loss = _loss(network, batch)[0]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 1000 == 999:
            with torch.no_grad():
                loss, errors = _loss(network, validation)
            medians = [round(float(error.nanmedian()), 3) for error in errors.abs().unbind(-1)]
            print(f"step {step + 1}: validation {loss:.4f}, median errors {medians}", flush=True)
    return network.eval()


def _stack(samples: list[Sample]) -> Sample:
    """Return samples padded to the same number of groups."""
    most = max(len(sample["intensities"]) for sample in samples)

    def pad(name: str) -> Tensor:
        return torch.stack([
            torch.cat([s[name], s[name].new_zeros(most - len(s[name]), *s[name].shape[1:])])
            for s in samples
        ])  # fmt: skip

    stacked = {name: pad(name) for name in samples[0]}
    lengths = torch.tensor([len(sample["intensities"]) for sample in samples])
    stacked["is_group"] = (torch.arange(most) < lengths[:, None]).float()
    return stacked


def _draw_batch(samples: Sample) -> Sample:
    """Return random samples at random contrasts."""
    chosen = torch.randint(len(samples["logs"]), (BATCH,))
    batch = {name: values[chosen] for name, values in samples.items()}
    contrast = torch.empty(BATCH, 1, 1).uniform_(*CONTRASTS).exp()
    powers = (torch.exp(2 * batch["logs"]) - FLOOR**2).clamp_min(0) * contrast**2
    batch["logs"] = 0.5 * torch.log(powers + FLOOR**2)
    batch["sigmas"] = batch["sigmas"] * contrast
    return batch


def _loss(network: NoiseRegression, batch: Sample) -> tuple[Any, Tensor]:
    """Return the loss, and the errors of the logarithms, NaN where there is no group."""
    found = network(batch["logs"], batch["counts"], batch["intensities"], batch["is_group"])
    errors = found - torch.log(batch["sigmas"] + FLOOR)
    weighted = errors * torch.where(errors > 0, OVERESTIMATE, 1.0)
    losses = torch.nn.functional.huber_loss(
        weighted, torch.zeros_like(errors), delta=0.3, reduction="none"
    )
    is_group = batch["is_group"][..., None].expand_as(errors)
    return (losses * is_group).sum() / is_group.sum(), errors.masked_fill(is_group == 0, np.nan)


if __name__ == "__main__":
    sys.exit(main())
