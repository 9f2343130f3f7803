"""Noise of many detectors on clean images, to train a denoiser for all of them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from torch import Tensor

from monai_dental.noise import NoiseModel, noise_map
from monai_dental.noise.detector import draw_detector, expose
from monai_dental.noise.model import CURVE_POINTS
from monai_dental.noise.octaves import OCTAVES, measure_octaves
from monai_dental.transforms.exposure import FixedExposured, RandExposured

Data = Mapping[Hashable, Any]

MARGIN = 16
"""Pixels at each border that only the processing of the image sees."""

_BALANCE_SIGMA, _BALANCE, _LEAST_SIGMA = 0.03, 0.6, 0.001
_ERROR, _OCTAVE_ERROR = 0.08, 0.06  # of a standard deviation, as its logarithm
_BINS = 4


class RandDetectord(RandExposured):
    """Add the noise of a random detector to a clean image, and say what the noise is.

    What detectors there are, and what programs do to the image afterwards, is
    `monai_dental.noise.detector`. The input becomes the noisy image with its `noise_map` in
    octaves, as if estimated, with the errors of an estimate; the target is the clean image after
    the same programs. Both are scaled by a power of the noise, so that with a squared error weak
    noise, as clinical noise is, counts as much as strong noise; a network without biases does the
    same at every scale.

    Args:
        keys: Key of the clean image, (1, H, W), in [0, 1]; becomes the input,
            (4, H - 2 * MARGIN, W - 2 * MARGIN).
        label_key: Key for the target, (1, H - 2 * MARGIN, W - 2 * MARGIN).
        sigma_range: Least and largest standard deviation at intensity 0.5 before any program,
            drawn log-uniformly.

    Raises:
        ValueError: The range is not of positive numbers in order.
    """

    def expose(self, data: Data, seed: int) -> dict[Hashable, Any]:
        """Return what a call does, with the detector and the noise of a seed."""
        random = np.random.RandomState(seed)
        generator = torch.Generator().manual_seed(seed)
        result = dict(data)
        for key in self.key_iterator(result):
            clean = torch.as_tensor(result[key])[0]
            sigma = float(np.exp(random.uniform(*np.log(self.sigma_range))))
            detector = draw_detector(random, sigma)
            noisy, shown, noise = expose(clean, detector, random, generator)
            truth = measure_octaves(noise, shown, bins=_BINS, points=CURVE_POINTS)
            errors = random.normal(0, _ERROR) + random.normal(0, _OCTAVE_ERROR, OCTAVES)
            told = noise_map(noisy, _model(truth, torch.from_numpy(np.exp(errors)).float()))
            left = max(float(truth.sum(dim=0).mean()) ** 0.5, _LEAST_SIGMA)
            scale = (_BALANCE_SIGMA / left) ** _BALANCE
            result[key] = _inner(torch.cat([noisy[None], told])) * scale
            result[self.label_key] = _inner(shown[None]) * scale
        return result


class FixedDetectord(FixedExposured):
    """`RandDetectord` that gives an image the same exposure at every call, for validation.

    Args:
        keys: See `RandDetectord`.
        label_key: See `RandDetectord`.
        sigma_range: See `RandDetectord`.
        seed: Chooses another set of exposures.
    """

    def __init__(
        self,
        keys: KeysCollection,
        label_key: str = "label",
        sigma_range: tuple[float, float] = (0.003, 0.12),
        *,
        seed: int = 0,
    ) -> None:
        super().__init__(keys, label_key, sigma_range, seed=seed)
        self._random = RandDetectord(keys, label_key, sigma_range)


def _model(octaves: Tensor, errors: Tensor) -> NoiseModel:
    told = errors.square()[:, None] * octaves
    return NoiseModel(0.0, 0.0, told.sum(dim=0), torch.ones(1, 1), told)


def _inner(image: Tensor) -> Tensor:
    return image[..., MARGIN:-MARGIN, MARGIN:-MARGIN].contiguous()
