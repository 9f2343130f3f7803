"""Lines and areas painted on a canvas, for anatomy that is defined only by its outline."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from monai_dental.phantom.canvas import Canvas, Field, smooth_noise

Points = tuple[tuple[float, float], ...]

_FRACTION_BITS = 4  # of a pixel, in OpenCV's fixed-point coordinates
_STEPS = 8


def smooth_line(knots: Points) -> Points:
    """Return a Catmull-Rom spline through knots (x, y), from the first to the last."""
    points = np.asarray(knots, dtype=np.float64)
    padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    t = np.linspace(0, 1, _STEPS, endpoint=False)[:, None]
    parts = []
    for a, b, c, d in zip(padded, padded[1:], padded[2:], padded[3:], strict=False):
        cubic = 3 * (b - c) + d - a
        parts.append(0.5 * (2 * b + t * ((c - a) + t * ((2 * a - 5 * b + 4 * c - d) + t * cubic))))
    line = np.concatenate([*parts, points[-1:]])
    return tuple((float(x), float(y)) for x, y in line)


def paint_lines(
    canvas: Canvas, lines: Iterable[tuple[float, Points]], *, width: float, blur: float
) -> Field:
    """Return blurred lines of a width in mm, (H, W), 0 to 1.

    Args:
        canvas: The canvas to paint on; it is not modified.
        lines: Strength, 0 to 1, and path (x, y) in mm of each line; later ones cover earlier ones.
        width: Width in mm; lines thinner than a pixel are drawn fainter instead. OpenCV's
            antialiasing adds up to 2.4 pixels, so lines are wider in mm if pixels are larger.
        blur: Standard deviation in mm of the blur, which depends on the distance from the layer in
            focus.
    """
    step = _step(canvas, blur)
    thickness = width / (canvas.pitch * step)
    image = _blank(canvas, step)
    for strength, points in lines:
        shade = round(255 * strength * min(thickness, 1.0))
        pixels = _pixels(canvas, points, step)
        width_px = max(round(thickness), 1)
        cv2.polylines(image, [pixels], False, shade, width_px, cv2.LINE_AA, _FRACTION_BITS)
    return _finish(canvas, image, step, blur)


def paint_areas(canvas: Canvas, areas: Iterable[tuple[float, Points]], *, blur: float) -> Field:
    """Return filled outlines, blurred, (H, W), 0 to 1; arguments as in `paint_lines`."""
    step = _step(canvas, blur)
    image = _blank(canvas, step)
    for strength, points in areas:
        pixels = _pixels(canvas, points, step)
        cv2.fillPoly(image, [pixels], round(255 * strength), cv2.LINE_AA, _FRACTION_BITS)
    return _finish(canvas, image, step, blur)


def bone_webs(generator: np.random.Generator, canvas: Canvas, scales: tuple[float, ...]) -> Field:
    """Return bright lines as from walls of bone tangential to the beam, 0 to about 2."""
    webs = np.zeros(canvas.shape, dtype=np.float32)
    for scale in scales:
        # A wall is not tangential everywhere, so its line varies in strength and vanishes in
        # places.
        strength = smooth_noise(generator, canvas.shape, canvas.extent, 1.7 * scale)
        noise = smooth_noise(generator, canvas.shape, canvas.extent, scale)
        np.abs(noise, out=noise)
        np.multiply(noise, np.float32(-1.6 * scale**0.7), out=noise)
        webs += np.exp(noise) * np.clip(0.5 + 0.7 * strength, 0, 2)
    return webs


def _step(canvas: Canvas, blur: float) -> int:
    """Return how much coarser than the canvas a shape with such a blur can be painted."""
    return max(1, int(blur / (1.5 * canvas.pitch)))


def _blank(canvas: Canvas, step: int) -> NDArray[np.uint8]:
    rows, columns = (-(-side // step) for side in canvas.shape)
    return np.zeros((rows, columns), dtype=np.uint8)


def _pixels(canvas: Canvas, points: Points, step: int) -> NDArray[np.int32]:
    x, y = np.asarray(points, dtype=np.float64).T
    cos, sin = np.cos(canvas.tilt), np.sin(canvas.tilt)
    rows, columns = canvas.shape
    column = ((x * cos - y * sin) / canvas.pitch + columns / 2) / step - 0.5
    row = ((x * sin + y * cos) / canvas.pitch + rows / 2) / step - 0.5
    fixed = np.rint(np.stack([column, row], axis=1) * 2**_FRACTION_BITS)
    return np.asarray(fixed, dtype=np.int32)


def _finish(canvas: Canvas, image: NDArray[np.uint8], step: int, blur: float) -> Field:
    field = image.astype(np.float32) * np.float32(1 / 255)
    sigma = blur / (canvas.pitch * step)
    if sigma > 0.2:
        field = np.asarray(cv2.GaussianBlur(field, (0, 0), sigma), dtype=np.float32)
    rows, columns = canvas.shape
    if step > 1:
        size = image.shape[1] * step, image.shape[0] * step
        field = np.asarray(cv2.resize(field, size, interpolation=cv2.INTER_CUBIC), np.float32)
    return np.asarray(np.clip(field[:rows, :columns], 0, 1), dtype=np.float32)
