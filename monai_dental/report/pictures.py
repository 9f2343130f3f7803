"""Pictures of a page: grey values for the viewer, small PNGs for print, and an SVG histogram."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from monai_dental.radiograph import PixelArray, StoredArray
from monai_dental.report.compare import Comparison
from monai_dental.report.pairs import Pair
from monai_dental.viewer.pixels import packed

LONGEST_SIDE = 3200
"""Pixels; larger images are reduced. Panoramic radiographs have up to about 3000."""

PRINTED_SIDE = 1600
"""Pixels; 200 to the inch on A4."""

HISTOGRAM_BINS = 128
_HISTOGRAM_SIZE = 512, 120
_NOISE_SIDE = 1000  # a noise map is smooth
_SMALLEST_RANGE = 0.4  # of [0, 1]; images with less are shown with more contrast


@dataclass(frozen=True)
class Pictures:
    """The pictures of one pair on a page.

    Attributes:
        display: How the pixels are shown.
        rows: Rows of the image itself.
        columns: Columns of the image itself.
        info: Properties of the image for the viewer; JSON.
        planes: "before", "after" and, if there is one, "noise", as returned by `packed`.
        before: The original as a data URI, for print.
        after: The denoised image as a data URI, for print.
        histogram: SVG of both histograms.
    """

    display: Display
    rows: int
    columns: int
    info: dict[str, Any]
    planes: dict[str, str] = field(repr=False)
    before: str = field(repr=False)
    after: str = field(repr=False)
    histogram: str = field(repr=False)


def pair_pictures(pair: Pair, comparison: Comparison) -> Pictures:
    """Return the pictures of one pair on a page."""
    display = Display.fit(pair.original)
    size = display.columns, display.rows
    before, after = (packed(_resize(each, size)) for each in pair.greys)
    info, planes = {**pair.info, "frames": 1}, {"before": before, "after": after}
    info |= {"rows": display.rows, "columns": display.columns}
    if info["spacing"] is not None:
        info["spacing"] = [each / display.share for each in info["spacing"]]
    # The labels of the file's windows are free text, which could contain anything.
    info["windows"] = [{**each, "label": ""} for each in info["windows"]]
    if comparison.noise_map is not None:
        levels, scale = noise_levels(comparison.noise_map)
        planes["noise"] = packed(levels)
        info["noise"] = {"rows": levels.shape[0], "columns": levels.shape[1], "scale": scale}
    return Pictures(
        display=display,
        rows=pair.original.shape[0],
        columns=pair.original.shape[1],
        info=info,
        planes=planes,
        before=printed_picture(pair.original, display),
        after=printed_picture(pair.denoised, display),
        histogram=histogram_drawing(pair.original, pair.denoised, display),
    )


@dataclass(frozen=True)
class Display:
    """How the pixels of one pair are shown.

    Attributes:
        black: Intensity printed black.
        white: Intensity printed white.
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
        """Return how to show an image, (H, W): from 0 to 1, unless it uses little of that range.

        Many files store 12 bits in 16, which would look black.
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
        """Whether less than the whole range from 0 to 1 is printed."""
        return (self.black, self.white) != (0.0, 1.0)

    @property
    def is_reduced(self) -> bool:
        """Whether the image is shown at reduced size."""
        return self.share < 1


def printed_picture(image: PixelArray, display: Display) -> str:
    """Return an image, (H, W), as the data URI of a grey 8-bit PNG for print."""
    shown = _resize(image, _within(PRINTED_SIDE, display.rows, display.columns))
    level = (shown - display.black) / (display.white - display.black)
    _, encoded = cv2.imencode(".png", np.rint(np.clip(level, 0, 1) * 255).astype(np.uint8))
    return f"data:image/png;base64,{base64.b64encode(encoded.tobytes()).decode()}"


def noise_levels(noise_map: PixelArray, side: int = _NOISE_SIDE) -> tuple[NDArray[np.uint8], float]:
    """Return a noise map, (H, W), in 255 steps, and the standard deviation that 255 represents."""
    small = _resize(noise_map, _within(side, *noise_map.shape))
    scale = float(small.max()) or 1.0
    return np.rint(small / scale * 255).astype(np.uint8), scale


def histogram_drawing(original: PixelArray, denoised: PixelArray, display: Display) -> str:
    """Return the histograms of two images, (H, W), as the outlines of an SVG.

    Heights are the square root of the share of pixels, so that a white border does not hide the
    rest.
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
        f'<svg class="histogram" viewBox="0 0 {width} {height}" preserveAspectRatio="none">'
        f"{''.join(paths)}</svg>"
    )


def _shares(image: PixelArray, display: Display) -> NDArray[np.float64]:
    level = (image - display.black) * (HISTOGRAM_BINS / (display.white - display.black))
    bins = np.clip(level, 0, HISTOGRAM_BINS - 1).astype(np.int64)
    return np.bincount(bins.ravel(), minlength=HISTOGRAM_BINS) / image.size


def _within(side: int, rows: int, columns: int) -> tuple[int, int]:
    """Return the size, (columns, rows), at which no side is longer than `side`."""
    share = min(1.0, side / max(rows, columns))
    return max(1, round(columns * share)), max(1, round(rows * share))


def _resize(image: StoredArray, size: tuple[int, int]) -> StoredArray:
    if image.shape == size[::-1]:
        return image
    small = cv2.resize(np.asarray(image, np.float32), size, interpolation=cv2.INTER_AREA)
    return small if image.dtype.kind == "f" else np.rint(small).astype(image.dtype)
