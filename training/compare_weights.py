"""Compare versions of `blind`, each with the estimated noise, on real and simulated images.

    .venv/bin/python training/compare_weights.py PANORAMICS REAL_NOISE BUNDLE...

Prints two rows for each bundle's folder, with and without mirror images: the mean PSNR in dB (data
range 1) over parts of 384 × 512 pixels of panoramic radiographs, and over four phantoms of 256 ×
256, with the noise of seed 0 and on; texture kept at 0.15 to 0.22 cycles a pixel, at white noise of
0.02; and the noise left on `iox_1` to `iox_3`, as `scripts/benchmarks/real_noise.py` measures it.
The scored images 81 to 100 have no part in it.
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from monai_dental.benchmark.measures import texture_kept
from monai_dental.benchmark.noises import Noise
from monai_dental.formats import read_radiograph
from monai_dental.inference.denoiser import Denoiser
from monai_dental.inference.inferers import NoiseAwareInferer
from monai_dental.metrics import psnr
from monai_dental.phantom import simulate_exposure

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts" / "benchmarks"))

from real_noise import PARTS, figures_of

Image = NDArray[np.float32]

PANORAMICS = (5, 15, 25, 45, 55, 65)
PART = np.s_[150:534, 400:912]
PHANTOMS = (11000, 11003, 11006, 11009)
NOISES = (
    *(Noise(sigma) for sigma in (0.01, 0.02, 0.05, 0.1)),
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
    phantoms = [
        np.float32(simulate_exposure(index, size=(256, 256), bits_stored=16).clean) / 65535
        for index in PHANTOMS
    ]
    names = [noise.name for noise in NOISES]
    names += ["texture", *(f"phantoms, {noise.name}" for noise in OF_PHANTOMS), "noise left"]
    print(f"| | {' | '.join(names)} |\n|{'---|' * (len(names) + 1)}")
    for bundle in bundles:
        for is_mirrored in (True, False):
            denoise = Method(bundle, is_mirrored=is_mirrored)
            cells = [f"{denoise.score(images, noise):.2f}" for noise in NOISES]
            cells.append(f"{denoise.texture(images):.3f}")
            cells += [f"{denoise.score(phantoms, noise):.2f}" for noise in OF_PHANTOMS]
            cells.append(denoise.left(real))
            print(
                f"| {bundle}{'' if is_mirrored else ', once'} | {' | '.join(cells)} |", flush=True
            )


class Method:
    """A bundle that runs once for each image, or on its mirror images as well."""

    def __init__(self, bundle: Path, *, is_mirrored: bool) -> None:
        self._denoiser = Denoiser(bundle)
        inferer = self._denoiser.inferer
        assert isinstance(inferer, NoiseAwareInferer)
        inferer.mirrored = is_mirrored

    def __call__(self, image: Image) -> Image:
        """Return an image in [0, 1], denoised at full strength."""
        return self._denoiser.denoise(image)

    def score(self, images: list[Image], noise: Noise) -> float:
        """Return the mean PSNR."""
        return statistics.fmean(
            psnr(self(noise.add(image, seed)), image, 1.0) for seed, image in enumerate(images)
        )

    def texture(self, images: list[Image]) -> float:
        """Return the mean fraction of texture kept."""
        return statistics.fmean(
            texture_kept(self(Noise(0.02).add(image, seed)), image, TEXTURE)
            for seed, image in enumerate(images)
        )

    def left(self, folder: Path) -> str:
        """Return how much noise is left on the images of one sensor, in %."""
        found = []
        for name in ("iox_1", "iox_2", "iox_3"):
            image = read_radiograph(folder / f"{name}.png").pixels
            found.append(figures_of(name, image, self(image), PARTS[name]).left)
        return " ".join(f"{100 * each:.0f}" for each in found)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), [Path(each) for each in sys.argv[3:]])
