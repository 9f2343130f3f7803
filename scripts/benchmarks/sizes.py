"""Denoise images of many sizes with a bundle: time, memory, shape, and seams between tiles.

    .venv/bin/python scripts/benchmarks/sizes.py --output results/sizes [--model FILE]

Simulated noisy radiographs of 33 x 47 to 3000 x 6000 pixels are denoised by `Denoiser`, each in a
separate process that has loaded only the image. Time is the wall-clock and CPU time of the first
call. Memory is the process's peak (getrusage), and its increase over the peak before the call. One
image is also measured with several tile sizes.

Seams: with small tiles, and halos of the config's size and smaller, the result is compared with
that of the whole image as one tile. This reports the largest difference anywhere, and the mean and
largest change of the correction (image minus denoised) from one pixel to the next: across borders
of tiles, at the same places without tiles, and everywhere else. Without seams, the first two are
equal; the third may differ a little, since the network works on blocks of 8 pixels.

Writes `sizes.csv`, `tiles.csv` and `seams.csv` (one row for each measurement) to the output folder,
and prints them as the tables of the bundle's README. OMP_NUM_THREADS sets the number of cores.
"""

from __future__ import annotations

import argparse
import csv
import json
import multiprocessing
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monai_dental.bundle.find import find_bundle
from monai_dental.inference.denoiser import Denoiser
from monai_dental.phantom import simulate_exposure

SIZES = ((33, 47), (96, 80), (512, 512), (717, 1471), (1729, 1729), (3000, 6000))
TILED_SIZE = (1729, 1729)
TILE_SIZES = (512, 768, 1024, 1280, 1536, 1728, 2048)
SEAM_SIZE, SEAM_TILE, SMALL_HALOS, WHOLE = (717, 1471), 256, (64, 32), 4096
PHANTOM = 1

Row = dict[str, object]


def main() -> None:
    """Run everything and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="folder for everything")
    parser.add_argument("--bundle", default="unet", help="name or folder (default: unet)")
    parser.add_argument("--model", type=Path, help="weights (default: the bundle's own)")
    arguments = parser.parse_args()
    output = arguments.output
    output.mkdir(parents=True, exist_ok=True)
    bundle = find_bundle(arguments.bundle)
    weights = (arguments.model or bundle / "models" / "model.pt").resolve()
    halo = json.loads((bundle / "configs" / "inference.json").read_text(encoding="utf-8"))["halo"]
    images = {size: output / f"{size[0]}x{size[1]}.npy" for size in SIZES}
    for size, path in images.items():
        if not path.exists():
            alone(write_image, size, path)

    def run(function: Callable[..., Row], path: Path, **settings: int) -> Row:
        row: Row = alone(function, bundle, weights, path, settings)
        return row

    save(output / "sizes.csv", [run(measure, path) for path in images.values()])
    tiled = [run(measure, images[TILED_SIZE], tile_size=tile_size) for tile_size in TILE_SIZES]
    save(output / "tiles.csv", tiled)
    halos = (halo, *SMALL_HALOS)
    seams = [run(compare, images[SEAM_SIZE], tile_size=SEAM_TILE, halo=halo) for halo in halos]
    save(output / "seams.csv", seams)


def alone(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a fresh process, whose memory no other call has increased."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def write_image(size: tuple[int, int], path: Path) -> None:
    """Write a simulated noisy radiograph, float32 in [0, 1]."""
    noisy = simulate_exposure(PHANTOM, size=size, bits_stored=16).noisy
    np.save(path, np.float32(noisy) / np.float32(65535))


def load(bundle: Path, weights: Path, settings: dict[str, int]) -> Denoiser:
    """Return the bundle's denoiser with other weights and settings."""
    with tempfile.TemporaryDirectory() as folder:
        configs = Path(shutil.copytree(bundle / "configs", Path(folder) / "configs"))
        inference = json.loads((configs / "inference.json").read_text(encoding="utf-8"))
        inference |= {**settings, "ckpt_path": str(weights)}
        (configs / "inference.json").write_text(json.dumps(inference), encoding="utf-8")
        return Denoiser(Path(folder))


def measure(bundle: Path, weights: Path, path: Path, settings: dict[str, int]) -> Row:
    """Denoise one image, and return its time and memory."""
    denoiser, image = load(bundle, weights, settings), np.load(path)
    before, start, cpu_start = peak_memory_mb(), time.perf_counter(), time.process_time()
    denoised = denoiser.denoise(image)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    peak = peak_memory_mb()
    return {
        "size": path.stem,
        **settings,
        "seconds": round(seconds, 2),
        "cpu_seconds": round(cpu_seconds, 2),
        "mpixel_per_s": round(image.size / 1e6 / seconds, 3),
        "peak_mb": round(peak),
        "peak_above_start_mb": round(peak - before),
        "same_shape": denoised.shape == image.shape,
    }


def peak_memory_mb() -> float:
    """Return the peak memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def compare(bundle: Path, weights: Path, path: Path, settings: dict[str, int]) -> Row:
    """Denoise one image in tiles and as one tile, and return measures of the seams."""
    image = np.load(path)
    tiled = load(bundle, weights, settings).denoise(image)
    whole = load(bundle, weights, {"tile_size": WHOLE}).denoise(image)
    step = settings["tile_size"] - 2 * settings["halo"]
    borders, elsewhere = split_steps(image - tiled, step)
    untiled, _ = split_steps(image - whole, step)
    return {
        "size": path.stem,
        **settings,
        "largest_difference": f"{np.abs(tiled - whole).max():.1e}",
        "mean_step_at_borders": f"{borders.mean():.6f}",
        "mean_step_there_untiled": f"{untiled.mean():.6f}",
        "mean_step_elsewhere": f"{elsewhere.mean():.6f}",
        "largest_step_at_borders": f"{borders.max():.4f}",
        "largest_step_there_untiled": f"{untiled.max():.4f}",
        "largest_step_elsewhere": f"{elsewhere.max():.4f}",
    }


def split_steps(correction: NDArray[np.float32], step: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return absolute differences of neighbours, across the borders and elsewhere."""
    parts: tuple[list[NDArray[Any]], list[NDArray[Any]]] = ([], [])
    for plane in (correction, correction.T):
        steps = np.abs(np.diff(plane, axis=0))
        is_border = np.arange(1, len(plane)) % step == 0
        parts[0].append(steps[is_border].ravel())
        parts[1].append(steps[~is_border].ravel())
    return np.concatenate(parts[0]), np.concatenate(parts[1])


def save(path: Path, rows: list[Row]) -> None:
    """Write rows as CSV, and print them as Markdown."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    print(f"\n| {' | '.join(rows[0])} |\n{'|---' * len(rows[0])}|")
    for row in rows:
        print(f"| {' | '.join(map(str, row.values()))} |", flush=True)


if __name__ == "__main__":
    main()
