"""Pictures and drawings for a page: PNG as data URIs, a histogram as SVG."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from monai_dental.radiograph import PixelArray
from monai_dental.report.compare import Comparison
from monai_dental.report.pairs import Pair

LONGEST_SIDE = 3200
"""Pixels; larger images are shown smaller. Panoramic radiographs have up to about 3000."""

HISTOGRAM_BINS = 128
_HISTOGRAM_SIZE = 512, 120
_NOISE_SIDE = 1000  # a noise map is smooth
_SMALLEST_RANGE = 0.4  # of [0, 1]; what has less is shown with more contrast
_PAPER, _INK = (251, 250, 247), (11, 79, 92)  # red, green, blue; as in page.css


@dataclass(frozen=True)
class Pictures:
    """What a page shows of one pair; pictures are data URIs.

    Attributes:
        display: How the pixels are shown.
        rows: Rows of the image itself.
        columns: Columns of the image itself.
        before: The original.
        after: The denoised image.
        residual: Original less denoised.
        residual_scale: Residual that is shown white; its negative is black.
        noise: The noise map; None where there is none.
        noise_scale: Standard deviation in the colour of ink.
        histogram: SVG of both histograms.
    """

    display: Display
    rows: int
    columns: int
    before: str
    after: str
    residual: str
    residual_scale: float
    noise: str | None
    noise_scale: float
    histogram: str


def pair_pictures(pair: Pair, comparison: Comparison) -> Pictures:
    """Return what a page shows of one pair."""
    display = Display.fit(pair.original)
    scale = residual_scale(comparison.residual)
    noise_map = comparison.noise_map
    noise_scale = 0.0 if noise_map is None else float(noise_map.max())
    return Pictures(
        display=display,
        rows=pair.original.shape[0],
        columns=pair.original.shape[1],
        before=grey_picture(pair.original, display),
        after=grey_picture(pair.denoised, display),
        residual=residual_picture(comparison.residual, scale, display),
        residual_scale=scale,
        noise=None if noise_map is None else noise_picture(noise_map, noise_scale, display),
        noise_scale=noise_scale,
        histogram=histogram_drawing(pair.original, pair.denoised, display),
    )


@dataclass(frozen=True)
class Display:
    """How the pixels of one pair are shown.

    Attributes:
        black: Intensity shown black.
        white: Intensity shown white.
        rows: Rows shown.
        columns: Columns shown.
        share: Size shown relative to the image's own, at most 1.
    """

    black: float
    white: float
    rows: int
    columns: int
    share: float

    @classmethod
    def fit(cls, image: PixelArray) -> Display:
        """Return how an image, (H, W), is shown: from 0 to 1, unless it uses little of that.

        Many formats store 12 bits in 16, which would all be black.
        """
        rows, columns = image.shape
        share = min(1.0, LONGEST_SIDE / max(rows, columns))
        low, high = (float(value) for value in np.quantile(image, (0.001, 0.999)))
        if high - low >= _SMALLEST_RANGE:
            low, high = 0.0, 1.0
        elif high == low:
            low, high = low - 0.5, high + 0.5
        return cls(low, high, max(1, round(rows * share)), max(1, round(columns * share)), share)

    @property
    def is_stretched(self) -> bool:
        """Whether not the whole range from 0 to 1 is shown."""
        return (self.black, self.white) != (0.0, 1.0)

    @property
    def is_reduced(self) -> bool:
        """Whether it is shown smaller than it is."""
        return self.share < 1


def grey_picture(image: PixelArray, display: Display) -> str:
    """Return an image, (H, W), as the data URI of a grey 8-bit PNG."""
    shown = _resize(image, (display.columns, display.rows))
    return _png(_to_8_bits((shown - display.black) / (display.white - display.black)))


def residual_scale(residual: PixelArray) -> float:
    """Return the intensity of a residual that is shown white; its negative is shown black."""
    return max(float(np.quantile(np.abs(residual), 0.998)), 1e-4)


def residual_picture(residual: PixelArray, scale: float, display: Display) -> str:
    """Return a residual, (H, W), as a data URI: -scale black, 0 grey, scale white."""
    shown = _resize(residual, (display.columns, display.rows))
    return _png(_to_8_bits(128 / 255 + shown * (127 / 255 / scale)))


def noise_picture(noise_map: PixelArray, scale: float, display: Display) -> str:
    """Return a noise map, (H, W), as a data URI: 0 the colour of paper, scale that of ink."""
    share = min(1.0, _NOISE_SIDE / max(display.rows, display.columns))
    size = max(1, round(display.columns * share)), max(1, round(display.rows * share))
    level = np.clip(_resize(noise_map, size) / (scale or 1), 0, 1)[..., None]
    colour = np.asarray(_PAPER[::-1]) * (1 - level) + np.asarray(_INK[::-1]) * level
    return _png(np.rint(colour).astype(np.uint8))


def histogram_drawing(original: PixelArray, denoised: PixelArray, display: Display) -> str:
    """Return the histograms of two images, (H, W), as the outlines of an SVG.

    The height is the square root of the share of pixels: a white border does not hide the rest.
    """
    width, height = _HISTOGRAM_SIZE
    shares = [np.sqrt(_shares(image, display)) for image in (original, denoised)]
    top = max(float(share.max()) for share in shares)
    paths = []
    for name, share in zip(("before", "after"), shares, strict=True):
        heights = (height - 1) * (1 - share / top) + 0.5
        step = width / HISTOGRAM_BINS
        points = [f"V{y:.1f}H{(i + 1) * step:.0f}" for i, y in enumerate(heights)]
        paths.append(f'<path class="{name}" d="M0 {height}{"".join(points)}V{height}"/>')
    return (
        f'<svg class="histogram" viewBox="0 0 {width} {height}" preserveAspectRatio="none" '
        f'role="img" aria-label="Histograms before and after">{"".join(paths)}</svg>'
    )


def _shares(image: PixelArray, display: Display) -> NDArray[np.float64]:
    level = (image - display.black) * (HISTOGRAM_BINS / (display.white - display.black))
    bins = np.clip(level, 0, HISTOGRAM_BINS - 1).astype(np.int64)
    return np.bincount(bins.ravel(), minlength=HISTOGRAM_BINS) / image.size


def _resize(image: PixelArray, size: tuple[int, int]) -> PixelArray:
    if image.shape == size[::-1]:
        return image
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.float32)


def _to_8_bits(values: PixelArray) -> NDArray[np.uint8]:
    return np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)


def _png(picture: NDArray[np.uint8]) -> str:
    _, encoded = cv2.imencode(".png", picture)
    return f"data:image/png;base64,{base64.b64encode(encoded.tobytes()).decode()}"
