"""Whole jaws in a panoramic view: with an outline, and a mandible with its rami."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from monai_dental.phantom.bone import Jaw, draw_jaw
from monai_dental.phantom.canvas import Canvas, Field, Values, smooth_step
from monai_dental.phantom.dentition import Tooth
from monai_dental.phantom.landmarks import take_bone
from monai_dental.phantom.projection import signed_distance
from monai_dental.phantom.skull import Skull
from monai_dental.phantom.strokes import Points, paint_areas, paint_lines, smooth_line

CORTEX_MM = 3.0
"""Thickness of the lower border of the mandible at the mental foramen; 3 to 5 mm in health,
Ledgerton et al., Dentomaxillofac. Radiol. 28, 1999."""
CANAL_MM = 3.0


@dataclass(frozen=True)
class OutlinedJaw(Jaw):
    """A jaw with an outline.

    Attributes:
        outline: Border of the bone (x, y) in mm; on the side of the teeth, it lies beyond the
            crest.
    """

    outline: Points

    def depth_below_crest(self, canvas: Canvas) -> Field:
        """Return the depth below the surface of the bone, mm; negative outside."""
        inside = paint_areas(canvas, [(1.0, self.outline)], blur=0.0) > 0.5
        inside &= super().depth_below_crest(canvas) > 0
        return -signed_distance(inside, canvas.pitch)


def draw_mandible(
    generator: np.random.Generator, teeth: Sequence[Tooth], skull: Skull, *, bone_loss: float
) -> OutlinedJaw:
    """Return the mandible for a row of teeth; its crest continues to the coronoids and condyles."""
    jaw = draw_jaw(generator, teeth, is_upper=False, bone_loss=bone_loss)
    coronoid, notch, chin_shift, body_bend, angle_bend, ramus_bend = generator.uniform(-1, 1, 6)
    cx, cy = skull.condyle
    gx, gy = skull.gonion
    molar = _crest_behind(jaw, skull)
    rising: Points = (
        (59.0, molar - 1.0),
        (62.0, -14.0),
        (64.5, -26.0 + 2 * coronoid),
        (67.0, -35.0 + 3 * coronoid),
        (70.0, -34.0 + 3 * coronoid),
        (cx - 11.0, -26.0 + 2 * notch),
        (cx - 6.0, cy - 1.0),
        (cx - 2.5, cy - 6.0),
        (cx + 1.0, cy - 7.0),
        (cx + 4.0, cy - 5.5),
        (cx + 7.0, cy + 2.0),
    )
    inner = [point for point in jaw.crest if abs(point[0]) < 56.0]
    crest = sorted([*inner, *skull.place(-1, rising), *skull.place(1, rising)])
    lower: Points = (
        (0.0, skull.chin - 1.0 + chin_shift),
        (14.0, skull.chin),
        (34.0, skull.chin - 3.5),
        (52.0, 0.55 * (skull.chin + gy) + 3.5 + 1.5 * body_bend),
        (68.0, gy + 12.0 + 1.5 * angle_bend),
        (gx - 4.0, gy + 5.0),
        (gx, gy - 2.0),
        (gx - 0.5 + ramus_bend, -8.0),
        (0.5 * (gx + cx) + 0.5, -24.0),
        (cx + 3.5, cy + 7.0),
        (cx + 5.2, cy - 1.0),
        (cx + 2.0, cy - 10.0),
        (cx - 6.0, cy - 12.0),
    )
    left, right = (skull.place(side, smooth_line(lower)) for side in (1, -1))
    return OutlinedJaw(
        is_upper=False,
        crest=tuple(crest),
        depth=0.56 * jaw.depth,
        plates=0.4 * jaw.plates,
        density=1.25 * jaw.density,
        outline=(*left, *right[::-1]),
    )


def _crest_behind(jaw: Jaw, skull: Skull) -> float:
    """Return the height of the crest behind the last molar, in the coordinates of `Skull.place`."""
    ends = [y for x, y in jaw.crest if 35.0 < abs(x) < 56.0] or [jaw.crest[0][1]]
    return float(np.mean(ends)) - skull.middle


def draw_maxilla(
    generator: np.random.Generator, teeth: Sequence[Tooth], skull: Skull, *, bone_loss: float
) -> OutlinedJaw:
    """Return the alveolar process of the maxilla up to the hard palate."""
    jaw = draw_jaw(generator, teeth, is_upper=True, bone_loss=bone_loss)
    tuber, alveolus = generator.uniform(-1, 1, 2)
    p = skull.palate
    half: Points = ((0.0, p), (30.0, p + 0.5), (50.0, p + 2.0), (61.0, p + 6.0))
    half += ((60.5 + 1.5 * tuber, p + 10.0), (58.0 + alveolus, -17.0), (54.0, -12.0), (52.0, 30.0))
    left, right = (skull.place(side, smooth_line(half)) for side in (1, -1))
    return OutlinedJaw(
        is_upper=True,
        crest=jaw.crest,
        depth=0.7 * jaw.depth,
        plates=jaw.plates,
        density=jaw.density,
        outline=(*left, *right[::-1]),
    )


def add_jaw_landmarks(
    canvas: Canvas, generator: np.random.Generator, jaw: OutlinedJaw, skull: Skull
) -> None:
    """Draw cortical borders, canal and mental foramen, or the floor of the sinuses, over a jaw.

    Sizes are typical.
    """
    draws = generator.uniform(-1, 1, 16)
    if jaw.is_upper:
        _add_sinus_floor(canvas, draws, skull)
    else:
        _add_cortex(canvas, draws[:2], jaw, skull)
        _add_canal(canvas, draws[2:10], skull)


def _add_cortex(canvas: Canvas, draws: Values, jaw: OutlinedJaw, skull: Skull) -> None:
    """Draw the thick lower border, and the thin one of the rami, just inside the outline."""
    thick, oblique_line = draws
    distance = jaw.depth_below_crest(canvas)
    low = smooth_step(canvas.y, skull.middle + skull.gonion[1] - 6, skull.middle + 26.0)
    thickness = np.float32(0.8) + np.float32(CORTEX_MM - 0.8 + 0.6 * thick) * low
    inside = distance * (1 / thickness)
    rim = np.exp(-np.square(inside - np.float32(0.55)) * np.float32(4.0)) * (distance > -0.5)
    canvas.layer("cortical_bone")[...] += rim * (np.float32(0.8) + np.float32(1.7) * low)
    gx, gy = skull.gonion
    cx, cy = skull.condyle
    oblique: Points = ((62, -10), (58, 4), (50, 13 + oblique_line), (40, 17))
    result = 1.0 * paint_lines(canvas, skull.both(oblique, 0.7), width=1.0, blur=0.5)
    # The cortex at the angle and at the neck of the condyle is thick.
    stout: Points = ((gx - 8, gy - 2), (gx - 10, -10), (cx - 5, cy + 10))
    result += 0.9 * paint_lines(canvas, skull.both(stout), width=7.0, blur=2.5)
    canvas.layer("cortical_bone")[...] += result * smooth_step(distance, 0.0, 2.0)


def _add_canal(canvas: Canvas, draws: Values, skull: Skull) -> None:
    """Draw the mandibular canal from its foramen in the ramus to the mental foramen."""
    height, lingula_x, lingula_y, rear, middle, strength, mental_x, mental_size = draws
    end = skull.chin - 15.0 + 1.5 * height
    course: Points = (
        (72 + lingula_x, -16 + 3 * lingula_y),
        (67, -3),
        (60, 10 + rear),
        (50, 18 + middle),
        (40, end + 1.5),
        (31, end + 2.5),
        (26, end),
    )
    lines = skull.both(course)
    inner = paint_lines(canvas, lines, width=CANAL_MM, blur=0.3)
    outer = paint_lines(canvas, lines, width=CANAL_MM + 1.4, blur=0.3)
    take_bone(canvas, np.float32(0.26 + 0.10 * strength) * inner)
    canvas.layer("cortical_bone")[...] += np.float32(0.45) * (outer - inner)
    x, y, r = 25.0 + 2 * mental_x, end - 1.0, 1.6 + 0.4 * mental_size
    oval: Points = tuple(
        (x + 1.3 * r * np.cos(angle), y + r * np.sin(angle))
        for angle in np.linspace(0, 2 * np.pi, 16, endpoint=False)
    )
    areas = [(1.0, skull.place(side, oval)) for side in (-1, 1)]
    take_bone(canvas, np.float32(0.3) * paint_areas(canvas, areas, blur=0.35))


def _add_sinus_floor(canvas: Canvas, draws: Values, skull: Skull) -> None:
    """Thin the bone under the maxillary sinuses, which reach down to the roots of the molars."""
    p = skull.palate
    floors = []
    for side, of_side in zip((-1, 1), np.split(draws, 2), strict=True):
        front, width, front_depth, first, second, third, back, _ = of_side
        floor: Points = (
            (22 + 2 * front, p - 2),
            (27 + width, p + 6 + 2 * front_depth),
            (35, p + 9.5 + 2.5 * first),
            (41, p + 9.0 + 2.5 * second),
            (47, p + 10.0 + 2.5 * third),
            (54 + back, p + 6.0),
            (57, p - 2),
        )
        floors.append((1.0, skull.place(side, smooth_line(floor))))
    take_bone(canvas, np.float32(0.42) * paint_areas(canvas, floors, blur=0.4))
    wall = paint_lines(canvas, floors, width=0.7, blur=0.25)
    canvas.layer("cortical_bone")[...] += np.float32(1.2) * wall
