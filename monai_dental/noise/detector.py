"""Random detectors, and the effects of detectors and image processing on an image.

A radiograph's noise comes from quanta and electronics. The detector blurs it and adds lines and bad
pixels; programs then filter, resample, sharpen, round and compress the image. Networks that must
handle the noise of unknown machines learn from random combinations of all these.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from monai_dental.noise.model import (
    CURVE_POINTS,
    correlated_noise,
    gaussian_kernel,
    interpolate_variance,
)

Image = NDArray[np.float32]
Step = Callable[[Image], Image]

_LARGEST_BLUR = 3.0  # sigma in pixels
_PITCHES = (0.5, 2.3)
_DARK = 0.03  # intensity of black, as far as noise is concerned
_LARGEST_UNEVENNESS, _UNEVEN_PLACES = 0.3, 4
_KEPT = 0.25  # least standard deviation after processing, as a fraction of that before


@dataclass(frozen=True, eq=False)
class Detector:
    """The source of the noise, and the processing of the image after it.

    Attributes:
        quantum_variances: Variance of the quantum noise at equal steps of intensity from 0 to 1.
        kernel: The detector's blur, of unit energy.
        electronic_sigma: Standard deviation of the additional white noise.
        line_sigma: Standard deviation of the offsets of rows or columns.
        is_line_vertical: Whether the offsets are of columns.
        bad_share: Fraction of pixels with a meaningless value.
        bad_lines: Number of rows and columns with meaningless values.
        unevenness: How much the noise varies over the image: standard deviation of the logarithm of
            its amplitude.
        pitch: Width of its pixels relative to those of the image.
        steps: Processing steps, the same for noisy and clean images.
        levels: Largest stored value; None if values are not rounded.
        jpeg_quality: Quality of a JPEG file; None for another format.
        is_clipped: Whether values beyond black and white are clipped.
    """

    quantum_variances: Tensor
    kernel: Tensor
    electronic_sigma: float = 0.0
    line_sigma: float = 0.0
    is_line_vertical: bool = False
    bad_share: float = 0.0
    bad_lines: int = 0
    unevenness: float = 0.0
    pitch: float = 1.0
    steps: tuple[Step, ...] = ()
    levels: int | None = None
    jpeg_quality: int | None = None
    is_clipped: bool = True


@dataclass(frozen=True)
class Odds:
    """Probabilities of what happens to an image; the defaults are those of the denoisers' training.

    Attributes:
        plain: Nothing but quantum noise, blurred or not, and electronic noise.
        white: A detector that does not blur.
        uneven: Noise that varies over the image.
        resampled: Pixels of another width.
        smoothed: A filter that preserves edges.
        compressed: JPEG.
    """

    plain: float = 0.5
    white: float = 0.4
    uneven: float = 0.0
    resampled: float = 0.18
    smoothed: float = 0.0
    compressed: float = 0.12


def draw_detector(random: np.random.RandomState, sigma: float, odds: Odds = Odds()) -> Detector:
    """Draw a random detector.

    Args:
        random: Source of randomness.
        sigma: Standard deviation of its noise at mid-grey, before any processing.
        odds: Probabilities of what happens to the image.
    """

    def happens(probability: float) -> bool:
        return probability > 0 and random.uniform() < probability

    electronic_share = 0.4 * random.uniform() ** 2
    curve = _draw_curve(random)
    if happens(odds.plain):
        return Detector(
            quantum_variances=(1 - electronic_share) * sigma**2 * curve,
            kernel=_draw_kernel(random, odds.white),
            electronic_sigma=float(sigma * electronic_share**0.5),
            is_clipped=bool(random.uniform() < 0.6),
        )
    has_lines = random.uniform() < 0.08
    line_share = random.uniform(0.02, 0.3) if has_lines else 0.0
    return Detector(
        quantum_variances=(1 - electronic_share) * (1 - line_share) * sigma**2 * curve,
        kernel=_draw_kernel(random, odds.white),
        electronic_sigma=float(sigma * (electronic_share * (1 - line_share)) ** 0.5),
        line_sigma=float(sigma * line_share**0.5),
        is_line_vertical=bool(random.uniform() < 0.5),
        bad_share=float(10 ** random.uniform(-4.5, -2.5)) if random.uniform() < 0.1 else 0.0,
        bad_lines=int(random.randint(1, 3)) if random.uniform() < 0.02 else 0,
        unevenness=float(random.uniform(0, _LARGEST_UNEVENNESS)) if happens(odds.uneven) else 0.0,
        pitch=float(np.exp(random.uniform(*np.log(_PITCHES)))) if happens(odds.resampled) else 1,
        steps=_draw_steps(random, sigma, odds),
        levels=_draw_levels(random),
        jpeg_quality=int(random.randint(70, 99)) if happens(odds.compressed) else None,
        is_clipped=bool(random.uniform() < 0.6),
    )


def _draw_curve(random: np.random.RandomState) -> Tensor:
    """Draw the variance by intensity, 1 at mid-grey."""
    intensities = torch.linspace(0, 1, CURVE_POINTS)
    kind = random.uniform()
    if kind < 0.3:
        return torch.ones(CURVE_POINTS)
    if kind < 0.5:
        return 2 * intensities  # Poisson noise
    if kind < 0.75:
        return 1 + float(random.uniform(-0.9, 0.95)) * (2 * intensities - 1)
    # The effect of a display curve, such as a logarithm.
    steepness = float(random.uniform(-1.3, 1.3))
    return ((intensities + _DARK) / (0.5 + _DARK)) ** steepness


def _draw_kernel(random: np.random.RandomState, white: float) -> Tensor:
    kind = random.uniform()
    if kind < white:
        return torch.ones(1, 1)
    is_fine = kind < (1 + white) / 2
    blur = random.uniform(0.3, 1.3) if is_fine else random.uniform(0.8, _LARGEST_BLUR)
    kernel = gaussian_kernel(blur)
    if kind > 0.9:  # quanta that scatter far, as in phosphor plates
        wide = gaussian_kernel(random.uniform(1.5, 4.0) * blur)
        margin = (wide.shape[-1] - kernel.shape[-1]) // 2
        kernel = torch.nn.functional.pad(kernel, [margin] * 4)
        kernel = kernel + random.uniform(0.1, 1.0) * wide
    return kernel / kernel.square().sum().sqrt()


def _draw_steps(random: np.random.RandomState, sigma: float, odds: Odds) -> tuple[Step, ...]:
    """Draw processing steps in their order; often there are none."""
    steps: list[Step] = []
    if random.uniform() < 0.08:
        side = 3 if random.uniform() < 0.8 else 5
        steps.append(lambda image: np.asarray(cv2.medianBlur(image, side), np.float32))
    if odds.smoothed and random.uniform() < odds.smoothed:
        steps.append(_edge_preserving(random.uniform(1.0, 4.0) * sigma, random.uniform(0.7, 1.5)))
    if random.uniform() < 0.2:
        steps.append(_sharpening(random.uniform(0.7, 3.0), random.uniform(0.2, 1.5)))
    if random.uniform() < 0.12:
        steps.append(_sharpening(random.uniform(5, 25), random.uniform(0.3, 2.0)))
    return tuple(steps)


def _edge_preserving(contrast: float, radius: float) -> Step:
    """Return a bilateral filter, as many programs have it against noise."""

    def smooth(image: Image) -> Image:
        return np.asarray(cv2.bilateralFilter(image, 5, contrast, radius), dtype=np.float32)

    return smooth


def _sharpening(radius: float, amount: float) -> Step:
    """Return an unsharp mask; a wide one equalizes the contrast like CLAHE."""

    def sharpen(image: Image) -> Image:
        blurred = cv2.GaussianBlur(image, (0, 0), radius)
        return np.asarray(image + np.float32(amount) * (image - blurred), dtype=np.float32)

    return sharpen


def _draw_levels(random: np.random.RandomState) -> int | None:
    kind = random.uniform()
    return 255 if kind < 0.4 else int(random.choice((1023, 4095))) if kind < 0.6 else None


def expose(
    clean: Tensor, detector: Detector, random: np.random.RandomState, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Return an image with the noise of a detector, the image without it, and the noise.

    Args:
        clean: The image without noise, (H, W), in [0, 1].
        detector: The detector.
        random: Source of randomness for the bad pixels.
        generator: Source of randomness for the noise.

    Returns:
        The noisy image; the clean image, processed like the noisy one but not rounded; and the
        noise of the noisy image without bad pixels; each (H, W).
    """
    noise = _draw_noise(clean, detector, generator)
    images = [clean.numpy(), (clean + noise).numpy()]
    for step in detector.steps:
        images = [step(image) for image in images]
    shown, noisy = images
    if detector.is_clipped or detector.levels or detector.jpeg_quality:
        shown, noisy = shown.clip(0, 1), noisy.clip(0, 1)
    spoilt = _spoil(noisy, detector, random)
    if detector.jpeg_quality:
        noisy, spoilt = (compress(image, detector.jpeg_quality) for image in (noisy, spoilt))
    elif detector.levels:
        noisy, spoilt = (_round(image, detector.levels) for image in (noisy, spoilt))
    return torch.from_numpy(spoilt), torch.from_numpy(shown), torch.from_numpy(noisy - shown)


def _draw_noise(clean: Tensor, detector: Detector, generator: torch.Generator) -> Tensor:
    if detector.pitch == 1:
        return _noise(clean, detector, generator)
    size = (clean.shape[-1], clean.shape[-2])
    own = tuple(max(8, round(length / detector.pitch)) for length in size)
    guide = torch.from_numpy(cv2.resize(clean.numpy(), own, interpolation=cv2.INTER_AREA))
    noise = _noise(guide, detector, generator)
    enlarging = cv2.INTER_LINEAR if detector.pitch > 1.3 else cv2.INTER_CUBIC
    kind = enlarging if detector.pitch > 1 else cv2.INTER_AREA
    resampled = torch.from_numpy(cv2.resize(noise.numpy(), size, interpolation=kind))
    sigma = interpolate_variance(guide, _total(detector)).mean().sqrt()
    return resampled * (sigma / resampled.std().clamp_min(_KEPT * sigma))


def _total(detector: Detector) -> Tensor:
    return detector.quantum_variances + detector.electronic_sigma**2 + detector.line_sigma**2


def _noise(clean: Tensor, detector: Detector, generator: torch.Generator) -> Tensor:
    noise = correlated_noise(clean, detector.quantum_variances, detector.kernel, generator)
    if detector.electronic_sigma:
        noise += detector.electronic_sigma * torch.randn(clean.shape, generator=generator)
    if detector.unevenness:
        noise *= _amplitudes(clean, detector.unevenness, generator)
    if detector.line_sigma:
        axis = 1 if detector.is_line_vertical else 0
        offsets = torch.randn(clean.shape[axis], generator=generator)
        noise += detector.line_sigma * (offsets if axis else offsets[:, None])
    return noise


def _amplitudes(clean: Tensor, unevenness: float, generator: torch.Generator) -> Tensor:
    """Return smooth factors for the noise, like those of a flat-field correction, (H, W)."""
    places = torch.randn(1, 1, _UNEVEN_PLACES, _UNEVEN_PLACES, generator=generator)
    size = (int(clean.shape[0]), int(clean.shape[1]))
    logs = torch.nn.functional.interpolate(places, size, mode="bicubic", align_corners=True)[0, 0]
    return torch.exp(unevenness * logs - unevenness**2)


def _spoil(noisy: Image, detector: Detector, random: np.random.RandomState) -> Image:
    """Return an image with bad pixels and lines."""
    if not detector.bad_share and not detector.bad_lines:
        return noisy
    spoilt: Image = noisy.copy()
    places = random.uniform(size=noisy.shape) < detector.bad_share
    kind = random.uniform(size=int(places.sum()))
    spoilt[places] = np.where(kind < 0.4, 0.0, np.where(kind < 0.8, 1.0, kind * 5 - 4))
    for _ in range(detector.bad_lines):
        turned = spoilt if random.uniform() < 0.5 else spoilt.T
        turned[random.randint(len(turned))] = random.uniform(0, 1)
    return spoilt


def _round(image: Image, levels: int) -> Image:
    return np.asarray(np.rint(image * levels) / levels, dtype=np.float32)


def compress(image: Image, quality: int) -> Image:
    """Return an image in [0, 1] after compression as 8-bit JPEG."""
    stored = np.rint(image * 255).astype(np.uint8)
    _, content = cv2.imencode(".jpg", stored, [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(content, cv2.IMREAD_GRAYSCALE)
    return np.asarray(decoded / np.float32(255), dtype=np.float32)
