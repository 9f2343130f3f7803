"""Score the autoencoder at native size: simulated radiographs 101 to 120, with their own noise.

    .venv/bin/python scripts/benchmarks/native.py

Prints mean and deviation of the PSNR at data range 1 of the noisy images, of the bundle as shipped
(`inference.json` with `native`), and of the median filter (`inference_median.json`).
"""

from __future__ import annotations

import statistics
from collections import defaultdict

import numpy as np

from monai_dental.bundle.find import find_bundle
from monai_dental.inference.denoiser import Denoiser
from monai_dental.metrics import psnr
from monai_dental.phantom import simulate_exposure


def main() -> None:
    """Run everything and print one line for each method."""
    bundle = find_bundle("dae")
    methods = {"DAE": Denoiser(bundle), "median 5 x 5": Denoiser(bundle, "inference_median")}
    scores: dict[str, list[float]] = defaultdict(list)
    for index in range(101, 121):
        exposure = simulate_exposure(index, bits_stored=12)
        clean, noisy = (np.float32(image) / 4095 for image in (exposure.clean, exposure.noisy))
        scores["noisy image"].append(psnr(noisy, clean, 1.0))
        for name, denoiser in methods.items():
            scores[name].append(psnr(denoiser.denoise(noisy), clean, 1.0))
    for name, values in scores.items():
        mean, deviation = statistics.fmean(values), statistics.stdev(values)
        print(f"{name:14} PSNR {mean:.2f} ± {deviation:.2f} dB, data range 1, {len(values)} images")


if __name__ == "__main__":
    main()
