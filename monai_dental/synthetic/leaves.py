"""Dead leaves: shapes of all sizes that occlude one another, and shadows of bodies."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from monai_dental.synthetic.texture import Field, draw_texture

Points = NDArray[np.float32]

_SMALLEST, _LARGEST = 2.0, 0.4  # radius in pixels, and as a fraction of the image's side
_COVER = 2.5  # mean number of shapes that cover a pixel
_TEXTURED_FROM = 10.0  # radius in pixels; smaller leaves have a uniform intensity
_SHIFT = 4  # fractional bits of OpenCV's coordinates


def draw_leaves(generator: np.random.Generator, size: tuple[int, int]) -> Field:
    """Return overlapping opaque ellipses and polygons, of which large ones are shaded and textured.

    The number of shapes falls with the cube of their radius, so the image looks alike at every
    scale.

    Returns:
        Intensities in [0, 1], (rows, columns).

    References:
        Lee, Mumford and Huang, Occlusion models for natural images, IJCV 41, 2001.
        Madhusudana et al., Revisiting dead leaves model for training image restoration, 2021.
    """
    largest = _LARGEST * min(size)
    texture = draw_texture(generator, size)
    levels = 0.5 + 2 ** generator.uniform(-3, 0) * (generator.beta(0.8, 0.8, 64) - 0.5)
    image = np.full(size, levels[0], dtype=np.float32)
    for radius in _radii(generator, size, largest):
        center = generator.uniform((0, 0), (size[1], size[0]))
        outline = _outline(generator, center, radius)
        level = float(np.clip(generator.choice(levels) + 0.03 * generator.standard_normal(), 0, 1))
        if radius < _TEXTURED_FROM:
            _fill(image, outline, level)
        else:
            _paint(generator, image, outline, level, texture)
    return np.clip(image, 0, 1)


def draw_shadows(generator: np.random.Generator, size: tuple[int, int]) -> Field:
    """Return the shadows of overlapping ellipsoids and rods, as projected by a beam.

    Path lengths through the bodies add up; the edge of each rises like a square root.

    Returns:
        Path lengths, scaled to [0, 1], (rows, columns).
    """
    image = 0.15 * draw_texture(generator, size, steepness=3.5)
    for _ in range(int(generator.integers(40, 160))):
        radius = float(min(size) * 0.45 * generator.uniform(0.12, 1.0) ** 2)
        center = generator.uniform((0, 0), (size[1], size[0]))
        sign = 1.0 if generator.random() < 0.75 else -0.6
        power = float(generator.choice((0.5, 0.5, 0.25, 1.0)))
        _add_ellipsoid(
            generator, image, center, radius=radius, density=sign * radius**0.4, power=power
        )
    low, high = np.percentile(image, (1, 99))
    return np.asarray(np.clip((image - low) / max(high - low, 1e-3), 0, 1), dtype=np.float32)


def _radii(
    generator: np.random.Generator, size: tuple[int, int], largest: float
) -> NDArray[np.float64]:
    """Return enough radii with the density r**-3 to cover the image."""
    smallest = _SMALLEST * float(generator.choice((1.0, 2.0, 4.0, 8.0)))
    mean_area = np.pi * 2 * smallest**2 * np.log(largest / smallest)
    count = int(_COVER * size[0] * size[1] / mean_area)
    shares = generator.random(count) * (1 - (smallest / largest) ** 2)
    return np.asarray(smallest / np.sqrt(1 - shares))


def _outline(generator: np.random.Generator, center: NDArray[np.float64], radius: float) -> Points:
    """Return the corners of a shape, (N, 2)."""
    kind = generator.random()
    angles = np.linspace(0, 2 * np.pi, 40 if radius > 6 else 16, endpoint=False)
    if kind < 0.3:
        angles = np.sort(generator.uniform(0, 2 * np.pi, int(generator.integers(3, 7))))
        reach = np.ones_like(angles)
    elif kind < 0.65:
        reach = np.ones_like(angles)
    else:
        waves = generator.normal(0, 0.22, 4) / np.arange(1, 5)
        phases = generator.uniform(0, 2 * np.pi, 4)
        orders = np.arange(2, 6)
        reach = 1 + (waves * np.cos(angles[:, None] * orders + phases)).sum(axis=1)
    flat = generator.uniform(0.15, 1.0)
    turn = generator.uniform(0, np.pi)
    x, y = radius * reach * np.cos(angles), radius * flat * reach * np.sin(angles)
    cos, sin = np.cos(turn), np.sin(turn)
    corners = np.stack([x * cos - y * sin, x * sin + y * cos], axis=1) + center
    return np.asarray(corners, dtype=np.float32)


def _fill(image: Field, outline: Points, level: float) -> None:
    corners = np.rint(outline * 2**_SHIFT).astype(np.int32)
    cv2.fillPoly(image, [corners], level, lineType=cv2.LINE_8, shift=_SHIFT)


def _paint(
    generator: np.random.Generator, image: Field, outline: Points, level: float, texture: Field
) -> None:
    """Fill a shape with a gradient and a piece of the texture."""
    rows, columns = image.shape
    left, top = np.floor(outline.min(axis=0)).astype(int).clip(0, (columns - 1, rows - 1))
    right, bottom = np.ceil(outline.max(axis=0)).astype(int).clip(1, (columns, rows))
    if right <= left or bottom <= top:
        return
    mask = np.zeros((bottom - top, right - left), dtype=np.uint8)
    corners = np.rint((outline - (left, top)) * 2**_SHIFT).astype(np.int32)
    cv2.fillPoly(mask, [corners], 255, lineType=cv2.LINE_AA, shift=_SHIFT)
    slope = generator.normal(0, 0.15, 2)
    y = np.linspace(-0.5, 0.5, bottom - top, dtype=np.float32)[:, None]
    x = np.linspace(-0.5, 0.5, right - left, dtype=np.float32)
    body = np.float32(level) + np.float32(slope[0]) * y + np.float32(slope[1]) * x
    strength = np.float32(generator.choice((0.0, 0.02, 0.05, 0.12)))
    down, across = generator.integers(0, (rows - (bottom - top) + 1, columns - (right - left) + 1))
    piece = texture[down : down + bottom - top, across : across + right - left]
    cover = mask.astype(np.float32) / np.float32(255)
    window = image[top:bottom, left:right]
    window += cover * (body + strength * piece - window)


def _add_ellipsoid(
    generator: np.random.Generator,
    image: Field,
    center: NDArray[np.float64],
    *,
    radius: float,
    density: float,
    power: float,
) -> None:
    rows, columns = image.shape
    reach = int(radius) + 1
    left, right = max(int(center[0]) - reach, 0), min(int(center[0]) + reach + 1, columns)
    top, bottom = max(int(center[1]) - reach, 0), min(int(center[1]) + reach + 1, rows)
    x = np.arange(left, right, dtype=np.float32) - np.float32(center[0])
    y = np.arange(top, bottom, dtype=np.float32)[:, None] - np.float32(center[1])
    turn, flat = generator.uniform(0, np.pi), generator.uniform(0.08, 1.0)
    cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    u = (x * cos + y * sin) / np.float32(radius)
    v = (y * cos - x * sin) / np.float32(radius * flat)
    inside = np.maximum(1 - u * u - v * v, 0)
    image[top:bottom, left:right] += np.float32(density) * inside ** np.float32(power)
