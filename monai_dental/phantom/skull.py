"""Positions of the landmarks of a head in a panoramic view."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from monai_dental.phantom.strokes import Points, smooth_line


@dataclass(frozen=True)
class Skull:
    """Positions of the landmarks of a head; lengths in mm, positions for the patient's left side.

    Sizes are typical of panoramic views: ramus height 55 to 65 mm, ramus width 30 mm, symphysis
    height 30 mm, bicondylar distance along the unrolled layer 170 mm.

    Attributes:
        middle: Height of the incisal edges in the image, downwards from its centre.
        smile: Curvature of the occlusal plane: it rises by `smile` x^2.
        chin: Height of the lower border of the symphysis below the incisal edges.
        gonion: Angle of the mandible.
        condyle: Centre of the head of the mandible.
        palate: Height of the hard palate, negative.
        unevenness: Deviations of the two sides, as a fraction of x and of y, (right, left).
    """

    middle: float
    smile: float
    chin: float
    gonion: tuple[float, float]
    condyle: tuple[float, float]
    palate: float
    unevenness: tuple[tuple[float, float], tuple[float, float]]

    def place(self, side: int, points: Points) -> Points:
        """Return the canvas positions of points of one side, -1 right or 1 left."""
        wide, high = self.unevenness[side > 0]
        return tuple(
            (side * x * (1 + wide), y * (1 + high * min(abs(x) / 40, 1)) + self.middle)
            for x, y in points
        )

    def both(self, points: Points, strength: float = 1.0) -> list[tuple[float, Points]]:
        """Return a smooth line through points of one side, with its strength, for both sides."""
        return [(strength, self.place(side, smooth_line(points))) for side in (-1, 1)]


def draw_skull(generator: np.random.Generator) -> Skull:
    """Return the landmarks of a head."""
    (
        middle, chin, smile, gonion_x, gonion_y, condyle_x, condyle_y, palate, wide_right,
        high_right, wide_left, high_left,
    ) = generator.uniform(-1, 1, 12)  # fmt: skip
    chin = 42.0 + 3.0 * chin
    return Skull(
        middle=float(3.5 + 3.0 * middle),
        smile=float(0.0022 + 0.0014 * smile),
        chin=float(chin),
        gonion=(float(83.0 + 4.0 * gonion_x), float(11.0 + 4.0 * gonion_y)),
        condyle=(float(88.0 + 4.0 * condyle_x), float(-44.0 + 4.0 * condyle_y)),
        palate=float(-32.0 + 2.5 * palate),
        unevenness=(
            (float(0.03 * wide_right), float(0.03 * high_right)),
            (float(0.03 * wide_left), float(0.03 * high_left)),
        ),
    )
