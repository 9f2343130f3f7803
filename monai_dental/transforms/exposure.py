"""Add the noise of the detectors of version 0.1: white, blurred or sharpened."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, RandomizableTransform
from torch import Tensor
from torch.nn import functional

from monai_dental.noise import NoiseModel, correlated_noise, noise_map
from monai_dental.noise.detector import compress
from monai_dental.noise.model import CURVE_POINTS, gaussian_kernel, interpolate_variance
from monai_dental.transforms.noise import seed_of

Data = Mapping[Hashable, Any]

_BALANCE_SIGMA, _BALANCE = 0.03, 0.6
_SIGMA_ERROR, _CORRELATION_ERROR = 0.08, 0.03
_RESAMPLED, _PITCHES = 0.125, (0.6, 1.6)


@dataclass(frozen=True, eq=False)
class _Detector:
    """Correlated quantum noise, additional white noise, and the effects of the file format.

    If `pitch` is given, the image was resampled from detector pixels that are `pitch` times as wide
    as its own.
    """

    quantum: NoiseModel
    electronic_sigma: float
    pitch: float | None
    is_clipped: bool
    levels: int | None
    jpeg_quality: int | None

    @property
    def variances(self) -> Tensor:
        return self.quantum.variances + self.electronic_sigma**2

    @property
    def correlation(self) -> float:
        middle = float(self.quantum.variances[CURVE_POINTS // 2])
        share = middle / max(middle + self.electronic_sigma**2, 1e-12)
        return share * self.quantum.lag_one


class RandExposured(RandomizableTransform, MapTransform):
    """Add the noise of a random detector to a clean image, along with a map of the noise.

    The variance may depend on the intensity. The noise is white, blurred or sharpened, with
    additional white noise. Some images are resampled from a detector with another pixel size,
    clipped to [0, 1], rounded to 8 bits, or compressed as JPEG. The input becomes the noisy image
    with its `noise_map`, including the errors that an estimate would have. Input and label are
    scaled by a power of the noise. With a squared error, weak noise, which is typical of clinical
    images, then counts as much as strong noise. A network without biases behaves the same at every
    scale.

    Args:
        keys: Key of the clean image, (1, H, W), in [0, 1]; becomes the input, (3, H, W).
        label_key: Key for the target, (1, H, W).
        sigma_range: Minimum and maximum standard deviation at intensity 0.5, drawn log-uniformly.

    Raises:
        ValueError: The range is not two positive numbers in order.
    """

    def __init__(
        self,
        keys: KeysCollection,
        label_key: str = "label",
        sigma_range: tuple[float, float] = (0.003, 0.12),
    ) -> None:
        low, high = sigma_range
        if not 0 < low <= high:
            raise ValueError(f"sigma_range is {sigma_range}; need two positive numbers in order")
        MapTransform.__init__(self, keys)
        RandomizableTransform.__init__(self, prob=1.0)
        self.label_key = label_key
        self.sigma_range = (low, high)

    def __call__(self, data: Data) -> dict[Hashable, Any]:
        """Return `data` with the input and the target."""
        return self.expose(data, seed=int(self.R.randint(2**31)))

    def expose(self, data: Data, seed: int) -> dict[Hashable, Any]:
        """Return the result of a call, with the detector and the noise given by a seed."""
        random = np.random.RandomState(seed)
        generator = torch.Generator().manual_seed(seed)
        result = dict(data)
        for key in self.key_iterator(result):
            clean = torch.as_tensor(result[key])
            sigma = float(np.exp(random.uniform(*np.log(self.sigma_range))))
            detector = _draw_detector(random, sigma)
            drawn, correlation = _draw_noise(clean, detector, generator)
            noisy = _store(clean + drawn, detector)
            error = float(np.exp(random.normal(0, _SIGMA_ERROR)))
            correlation += float(random.normal(0, _CORRELATION_ERROR))
            noise = NoiseModel(0.0, 0.0, error**2 * detector.variances, torch.ones(1, 1))
            sigma_map = noise_map(noisy[0], noise, 1)
            told = torch.cat([sigma_map, correlation * sigma_map])
            scale = (_BALANCE_SIGMA / sigma) ** _BALANCE
            result[key] = torch.cat([noisy, told]) * scale
            result[self.label_key] = clean * scale
        return result


class FixedExposured(MapTransform):
    """Like `RandExposured`, but give an image the same exposure at every call, for validation.

    `seed` selects the set of exposures; the other arguments are those of `RandExposured`.
    """

    drawn_by: ClassVar[type[RandExposured]] = RandExposured

    def __init__(
        self,
        keys: KeysCollection,
        label_key: str = "label",
        sigma_range: tuple[float, float] = (0.003, 0.12),
        *,
        seed: int = 0,
    ) -> None:
        super().__init__(keys)
        self._random = self.drawn_by(keys, label_key, sigma_range)
        self.seed = seed

    def __call__(self, data: Data) -> dict[Hashable, Any]:
        """Return `data` with the input and the target."""
        return self._random.expose(data, seed=seed_of(data[self.keys[0]], self.seed))


def _draw_detector(random: np.random.RandomState, sigma: float) -> _Detector:
    draw = random.uniform(size=6)
    electronic_share = 0.4 * draw[0] ** 2
    slope = 0.0 if draw[1] < 0.35 else random.uniform(-0.9, 0.95)  # of variance over intensity
    curve = 1 + slope * torch.linspace(-1, 1, CURVE_POINTS)
    quantum = NoiseModel(
        gain=0.0,
        electronic_variance=0.0,
        variances=(1 - electronic_share) * sigma**2 * curve,
        kernel=_draw_kernel(random),
    )
    return _Detector(
        quantum=quantum,
        electronic_sigma=float(sigma * electronic_share**0.5),
        pitch=float(np.exp(random.uniform(*np.log(_PITCHES)))) if draw[5] < _RESAMPLED else None,
        is_clipped=bool(draw[2] < 0.6),
        levels=255 if draw[3] < 0.35 else None,
        jpeg_quality=int(random.randint(80, 99)) if draw[4] < 0.08 else None,
    )


def _draw_kernel(random: np.random.RandomState) -> Tensor:
    kind = random.uniform()
    if kind < 0.35:
        return torch.ones(1, 1)
    kernel = gaussian_kernel(random.uniform(0.3, 1.25))
    if kind > 0.88:  # edge enhancement after the exposure
        wide = gaussian_kernel(random.uniform(1.3, 2.5))
        margin = (wide.shape[-1] - kernel.shape[-1]) // 2
        narrow = functional.pad(kernel, [margin] * 4)
        kernel = narrow + random.uniform(0.2, 1.0) * (narrow - wide)
    return kernel / kernel.square().sum().sqrt()


def _draw_noise(
    clean: Tensor, detector: _Detector, generator: torch.Generator
) -> tuple[Tensor, float]:
    """Return the noise, (1, H, W), and its correlation between neighbours."""
    if detector.pitch is None:
        return _noise(clean, detector, generator), detector.correlation
    rows, columns = (round(length / detector.pitch) for length in clean.shape[-2:])
    own = _noise(_resize(clean, rows, columns), detector, generator)
    resampled = _resize(own, *clean.shape[-2:])
    sigma = interpolate_variance(clean, detector.variances).sqrt()
    even = resampled / sigma
    power = float(even.square().mean())
    neighbours = (even[:, 1:] * even[:, :-1]).mean() + (even[..., 1:] * even[..., :-1]).mean()
    return resampled / power**0.5, float(neighbours) / 2 / power


def _noise(clean: Tensor, detector: _Detector, generator: torch.Generator) -> Tensor:
    noise = correlated_noise(clean, detector.quantum.variances, detector.quantum.kernel, generator)
    if detector.electronic_sigma > 0:
        noise += detector.electronic_sigma * torch.randn(clean.shape, generator=generator)
    return noise


def _resize(image: Tensor, rows: int, columns: int) -> Tensor:
    resized: Tensor = functional.interpolate(
        image[None], (rows, columns), mode="bicubic", antialias=True
    )
    return resized[0]


def _store(noisy: Tensor, detector: _Detector) -> Tensor:
    """Return a noisy image as stored in a file: clipped, rounded, compressed, (1, H, W)."""
    if detector.is_clipped or detector.levels or detector.jpeg_quality:
        noisy = noisy.clamp(0, 1)
    if detector.jpeg_quality:
        stored = compress(noisy[0].numpy(), detector.jpeg_quality)
        noisy = torch.from_numpy(stored)[None]
    elif detector.levels:
        noisy = (noisy * detector.levels).round() / detector.levels
    return noisy
