"""Add the noise of the detectors of `monai_dental.noise.detector`: one denoiser for all of them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from monai_dental.noise import NoiseModel, noise_map
from monai_dental.noise.detector import draw_detector, expose
from monai_dental.noise.model import CURVE_POINTS
from monai_dental.noise.octaves import OCTAVES, measure_octaves
from monai_dental.transforms.exposure import FixedExposured, RandExposured

Data = Mapping[Hashable, Any]

MARGIN = 16
"""Pixels at each border that only the simulated processing uses; they are cropped from the
result."""

_REMAINING = (0.03, 0.12, 0.5)
"""Fraction of the variance that a good denoiser leaves, by octave; higher for coarse noise."""

_BALANCE_SIGMA, _BALANCE, _LEAST_SIGMA = 0.012, 0.5, 0.0004
_ERROR, _OCTAVE_ERROR = 0.08, 0.06  # of the logarithm of a standard deviation
_BINS = 4


class RandDetectord(RandExposured):
    """Add the noise of a random detector to a clean image, along with a map of the noise.

    `monai_dental.noise.detector` defines the detectors and the later processing by software. The
    input becomes the noisy image with its `noise_map` in octaves, including the errors that an
    estimate would have; the target is the clean image after the same processing. Both are scaled by
    a power of the error that a good denoiser would leave. With a squared error, weak noise then
    counts as much as strong noise, and white noise, of which little remains, as much as coarse
    noise. A network without biases behaves the same at every scale.

    Args:
        keys: Key of the clean image, (1, H, W), in [0, 1]; becomes the input,
            (4, H - 2 * MARGIN, W - 2 * MARGIN).
        label_key: Key for the target, (1, H - 2 * MARGIN, W - 2 * MARGIN).
        sigma_range: Minimum and maximum standard deviation at intensity 0.5 before any processing,
            drawn log-uniformly.

    Raises:
        ValueError: The range is not two positive numbers in order, or an image is not larger than
            two margins.
    """

    def expose(self, data: Data, seed: int) -> dict[Hashable, Any]:
        """Return the result of a call, with the detector and the noise given by a seed."""
        random = np.random.RandomState(seed)
        generator = torch.Generator().manual_seed(seed)
        result = dict(data)
        for key in self.key_iterator(result):
            clean = torch.as_tensor(result[key])[0]
            if min(clean.shape) <= 2 * MARGIN:
                size = " x ".join(map(str, clean.shape))
                raise ValueError(
                    f"the patch has {size} pixels; need more than {2 * MARGIN} in both directions, "
                    "as the borders are cropped"
                )
            sigma = float(np.exp(random.uniform(*np.log(self.sigma_range))))
            detector = draw_detector(random, sigma)
            noisy, shown, noise = expose(clean, detector, random, generator)
            truth = measure_octaves(noise, shown, bins=_BINS, points=CURVE_POINTS)
            errors = random.normal(0, _ERROR) + random.normal(0, _OCTAVE_ERROR, OCTAVES)
            told = noise_map(noisy, _model(truth, torch.from_numpy(np.exp(errors)).float()))
            remaining = truth.mean(dim=1) @ torch.tensor(_REMAINING)
            scale = (_BALANCE_SIGMA / max(float(remaining) ** 0.5, _LEAST_SIGMA)) ** _BALANCE
            result[key] = _inner(torch.cat([noisy[None], told])) * scale
            result[self.label_key] = _inner(shown[None]) * scale
        return result


class FixedDetectord(FixedExposured):
    """Like `RandDetectord`, but give an image the same exposure at every call, for validation.

    `seed` selects the set of exposures; the other arguments are those of `RandDetectord`.
    """

    drawn_by = RandDetectord


def _model(octaves: Tensor, errors: Tensor) -> NoiseModel:
    told = errors.square()[:, None] * octaves
    return NoiseModel(0.0, 0.0, told.sum(dim=0), torch.ones(1, 1), told)


def _inner(image: Tensor) -> Tensor:
    return image[..., MARGIN:-MARGIN, MARGIN:-MARGIN].contiguous()
