"""Areas of the sensor without exposure: cone cuts and the sensor's rounded corners."""

from __future__ import annotations

import numpy as np

from monai_dental.phantom.canvas import Field, Mask


def draw_exposed_area(
    generator: np.random.Generator, size: tuple[int, int], field: tuple[float, float]
) -> tuple[Field, Mask]:
    """Return the beam's intensity, 0 to 1, and the mask of the unexposed area.

    Most images are fully exposed. Some show a cone cut (the round beam misses a corner), some the
    rounded corners of the sensor.

    Args:
        generator: Source of the fault.
        size: Rows and columns.
        field: Height and width in mm.
    """
    kind, turn, shift, corner, _, _ = generator.random(6)
    rows, columns = size
    y = (np.arange(rows, dtype=np.float32)[:, None] + 0.5) * np.float32(field[0] / rows)
    x = (np.arange(columns, dtype=np.float32) + 0.5) * np.float32(field[1] / columns)
    x, y = x - np.float32(field[1] / 2), y - np.float32(field[0] / 2)
    if kind < 0.05:
        # A cylindrical beam of 60 mm (IEC 60601-2-65), missing a corner or a side by some
        # millimetres.
        angle = 2 * np.pi * turn
        reach = 0.5 * min(field) * (0.75 + 0.3 * shift)
        center = (reach - 30.0) * np.cos(angle), (reach - 30.0) * np.sin(angle)
        inside = 30.0 - np.hypot(x - np.float32(center[0]), y - np.float32(center[1]))
        penumbra = 0.5
    elif kind < 0.12:
        radius = 2.0 + 2.0 * corner
        margin = 0.3
        beyond_x = np.maximum(np.abs(x) - np.float32(field[1] / 2 - margin - radius), 0)
        beyond_y = np.maximum(np.abs(y) - np.float32(field[0] / 2 - margin - radius), 0)
        inside = np.float32(radius) - np.hypot(beyond_x, beyond_y)
        penumbra = 0.08
    else:
        return np.ones(size, dtype=np.float32), np.zeros(size, dtype=np.bool_)
    intensity = np.clip(inside / np.float32(penumbra) + 0.5, 0.0, 1.0)
    return np.asarray(intensity, dtype=np.float32), np.asarray(intensity < 0.99)
