"""Compare versions of `blind` on real and simulated images.

    .venv/bin/python training/compare_weights.py PANORAMICS REAL_NOISE BUNDLE...

Prints three rows for each bundle's folder: with the estimated noise; with the noise given; and the
same at half size, where the radiographs' own noise is about half as strong. A row has the
mean PSNR in dB (data range 1) over parts of 384 × 512 pixels of panoramic radiographs (192 × 256 at
half size), with the noise of seed 0 and on, and the texture kept at 0.15 to 0.22 cycles a pixel at
white noise of 0.02. The first row also has the PSNR of four phantoms of 256 × 256 pixels, and the
noise left on real radiographs in the order of their names (iox_1 to 3, jpg_1 to 6, rvg_1 to 3), as
`scripts/benchmarks/real_noise.py` measures it. The images 81 to 100, which the benchmark scores,
have no part in it.
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from monai_dental.benchmark.measures import texture_kept
from monai_dental.benchmark.noises import Noise
from monai_dental.formats import read_radiograph
from monai_dental.formats.find import find_images
from monai_dental.inference.denoiser import Denoiser
from monai_dental.inference.inferers import NoiseAwareInferer
from monai_dental.metrics import psnr
from monai_dental.noise.octaves import halve
from monai_dental.phantom import simulate_exposure

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts" / "benchmarks"))

from real_noise import PARTS, figures_of

Image = NDArray[np.float32]

PANORAMICS = (5, 15, 25, 45, 55, 65)
PART = np.s_[150:534, 400:912]
PHANTOMS = (11000, 11003, 11006, 11009)
NOISES = (
    *(Noise(sigma) for sigma in (0.005, 0.01, 0.02, 0.05, 0.1)),
    Noise(0.02, 0.76), Noise(0.04, 1.1), Noise(0.025, 1.8), Noise(0.025, 2.4),
)  # fmt: skip
OF_PHANTOMS = (Noise(0.02), Noise(0.1), Noise(0.025, 2.4))
TEXTURE = (0.15, 0.22)


def main(panoramics: Path, real: Path, bundles: list[Path]) -> None:
    """Print the table."""
    images = [
        np.ascontiguousarray(read_radiograph(panoramics / f"{number}.png").pixels[PART])
        for number in PANORAMICS
    ]
    halves = [halve(torch.from_numpy(image)).numpy() for image in images]
    phantoms = [
        np.float32(simulate_exposure(index, size=(256, 256), bits_stored=16).clean) / 65535
        for index in PHANTOMS
    ]
    names = [noise.name for noise in NOISES]
    names += ["texture", *(f"phantoms, {noise.name}" for noise in OF_PHANTOMS), "noise left"]
    print(f"| | {' | '.join(names)} |\n|{'---|' * (len(names) + 1)}")
    for bundle in bundles:
        method = Method(bundle)
        row = [*method.scores(images, NOISES), method.texture(images)]
        row += [*method.scores(phantoms, OF_PHANTOMS), method.left(real)]
        print(f"| {bundle} | {' | '.join(row)} |", flush=True)
        for name, each in (("noise given", images), ("noise given, half size", halves)):
            row = [*method.scores(each, NOISES, is_told=True), method.texture(each, is_told=True)]
            print(f"| {bundle}, {name} | {' | '.join(row)} |{' |' * (1 + len(OF_PHANTOMS))}")


class Method:
    """A bundle at full strength, which estimates the noise or is told it."""

    def __init__(self, bundle: Path) -> None:
        self._denoiser = Denoiser(bundle)

    def scores(
        self, images: list[Image], noises: tuple[Noise, ...], *, is_told: bool = False
    ) -> list[str]:
        """Return the mean PSNR at each noise."""
        return [
            f"{statistics.fmean(psnr(result, image, 1.0) for result, image in results):.2f}"
            for results in (self._results(images, noise, is_told=is_told) for noise in noises)
        ]

    def texture(self, images: list[Image], *, is_told: bool = False) -> str:
        """Return the mean fraction of texture kept."""
        results = self._results(images, Noise(0.02), is_told=is_told)
        return f"{statistics.fmean(texture_kept(*pair, TEXTURE) for pair in results):.3f}"

    def left(self, folder: Path) -> str:
        """Return how much noise is left in the flat parts of real radiographs, in %."""
        paths = [path for path in find_images(folder) if path.stem in PARTS]
        if len(paths) != len(PARTS):
            raise SystemExit(f"{folder}: has {len(paths)} of the images {', '.join(PARTS)}")
        found = []
        for path in paths:
            image = read_radiograph(path).pixels
            row = figures_of(path.stem, image, self._denoise(image), PARTS[path.stem])
            found.append(f"{100 * row.left:.0f}")
        return " ".join(found)

    def _results(
        self, images: list[Image], noise: Noise, *, is_told: bool
    ) -> list[tuple[Image, Image]]:
        """Return each image denoised, and the image itself."""
        told = noise if is_told else None
        noisy = [noise.add(image, seed) for seed, image in enumerate(images)]
        return [
            (self._denoise(each, told), image) for each, image in zip(noisy, images, strict=True)
        ]

    def _denoise(self, image: Image, noise: Noise | None = None) -> Image:
        inferer = self._denoiser.inferer
        assert isinstance(inferer, NoiseAwareInferer)
        inferer.noise = noise and noise.model(float(image.min()), float(np.ptp(image)))
        return self._denoiser.denoise(image)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), [Path(each) for each in sys.argv[3:]])
