"""The image plane in mm, with the path length of each material at every point."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from monai_dental.phantom.attenuation import MATERIALS

Field = NDArray[np.float32]
Values = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]
Window = tuple[slice, slice]


@dataclass(frozen=True)
class Canvas:
    """A plane on which anatomy is drawn as thickness.

    Attributes:
        pitch: Size of a pixel in mm.
        tilt: Angle of the anatomy relative to the image, radians.
        x: Position along the dental arch in mm, (H, W), 0 at the centre.
        y: Position across it in mm, downwards, (H, W).
        thickness: Path lengths in mm, (materials, H, W), in the order of `MATERIALS`.
    """

    pitch: float
    tilt: float
    x: Field
    y: Field
    thickness: NDArray[np.float32]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.x.shape[0], self.x.shape[1]

    @property
    def extent(self) -> tuple[float, float]:
        """Height and width in mm."""
        return self.shape[0] * self.pitch, self.shape[1] * self.pitch

    def layer(self, material: str) -> Field:
        """Return the thickness map of one material as a view, for changes in place."""
        layer: Field = self.thickness[MATERIALS.index(material)]
        return layer

    def window(self, center: tuple[float, float], reach: tuple[float, float]) -> Window:
        """Return the part of the image, if any, within `reach` (x, y) mm of a point (x, y)."""
        rows, columns = self.shape
        cos, sin = np.cos(self.tilt), np.sin(self.tilt)
        column = (center[0] * cos - center[1] * sin) / self.pitch + columns / 2
        row = (center[0] * sin + center[1] * cos) / self.pitch + rows / 2
        slope = abs(sin)
        across = (reach[0] * cos + reach[1] * slope + 1.0) / self.pitch  # 1 mm for the warp
        down = (reach[0] * slope + reach[1] * cos + 1.0) / self.pitch
        return (
            slice(max(int(row - down), 0), max(min(int(row + down) + 1, rows), 0)),
            slice(max(int(column - across), 0), max(min(int(column + across) + 1, columns), 0)),
        )


def smooth_noise(
    generator: np.random.Generator,
    shape: tuple[int, int],
    extent: tuple[float, float],
    scale: float,
) -> Field:
    """Return smooth noise of standard deviation about 1 and a correlation length of `scale` mm.

    The number of draws depends on `extent` (height, width in mm), never on `shape`, so the same
    anatomy can be drawn at any size.
    """
    cells = tuple(int(np.ceil(side / scale)) + 3 for side in extent)
    coarse = generator.standard_normal(cells).astype(np.float32)
    fine = cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
    return np.asarray(fine * 1.3, dtype=np.float32)


def blank_canvas(
    generator: np.random.Generator, size: tuple[int, int], extent: tuple[float, float], tilt: float
) -> Canvas:
    """Return an empty canvas whose coordinates are tilted and slightly warped.

    The warp (0.13 mm over 6 mm and 0.04 mm over 1.5 mm, typical irregularity) makes teeth look
    natural.

    Args:
        generator: Source of the warp.
        size: Rows and columns.
        extent: Height and width in mm.
        tilt: Angle in radians, clockwise.
    """
    rows, columns = size
    pitch = extent[0] / rows
    across = (np.arange(columns, dtype=np.float32) + 0.5 - columns / 2) * np.float32(pitch)
    down = (np.arange(rows, dtype=np.float32)[:, None] + 0.5 - rows / 2) * np.float32(pitch)
    cos, sin = np.float32(np.cos(tilt)), np.float32(np.sin(tilt))
    x = across * cos + down * sin
    y = down * cos - across * sin
    for amplitude, scale in ((0.13, 6.0), (0.04, 1.5)):
        x += np.float32(amplitude) * smooth_noise(generator, size, extent, scale)
        y += np.float32(amplitude) * smooth_noise(generator, size, extent, scale)
    return Canvas(
        pitch=pitch,
        tilt=tilt,
        x=x,
        y=y,
        thickness=np.zeros((len(MATERIALS), rows, columns), dtype=np.float32),
    )


def smooth_step(values: Values, start: float, end: float) -> Field:
    """Return 0 up to `start`, 1 from `end`, and a smooth rise between."""
    ramp = np.clip((values - np.float32(start)) / np.float32(end - start), 0, 1)
    return np.asarray(ramp * ramp * (3 - 2 * ramp), dtype=np.float32)
