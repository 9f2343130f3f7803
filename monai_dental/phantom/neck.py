"""The neck and the air in a panoramic view: airways, vertebrae, hyoid, styloid processes."""

from __future__ import annotations

import numpy as np

from monai_dental.phantom.canvas import Canvas, Field, Values
from monai_dental.phantom.skull import Skull
from monai_dental.phantom.strokes import Points, bone_webs, paint_areas, paint_lines


def find_air(canvas: Canvas, skull: Skull, draws: Values) -> Field:
    """Return the fraction of the soft tissue that is air, including the air beside the neck."""
    (
        behind, below_jaw, upper, depth, tongue_front, tongue_back, tongue_tip, tongue_depth,
        mouth_depth, *_,
    ) = draws  # fmt: skip
    gx, gy = skull.gonion
    palate = skull.palate
    pharynx: Points = (
        (gx - 4, palate - 2),
        (gx + 9, palate + 8),
        (gx + 12 + 2 * behind, gy + 8),
        (gx + 4, gy + 30),
        (gx - 2, gy + 60),
        (gx + 9 + 3 * below_jaw, gy + 60),
        (gx + 14, gy + 30),
        (gx + 19 + 2 * upper, gy - 5),
        (gx + 17, palate + 8),
        (gx + 6, palate - 12),
    )
    below: Points = (
        (0, skull.chin + 1),
        (28, skull.chin - 1),
        (55, 33),
        (gx, gy + 6),
        (gx + 14, gy + 2),
        (gx + 14, 90),
        (0, 90),
    )
    air = 0.30 * paint_areas(canvas, skull.both(below), blur=2.0)
    air += np.float32(0.27 + 0.12 * depth) * paint_areas(canvas, skull.both(pharynx), blur=1.6)
    tongue: Points = (
        (0, palate + 5 + 2 * tongue_front),
        (30, palate + 7),
        (54, palate + 14),
        (58, palate + 18),
        (52, palate + 19),
        (28, palate + 15 + 3 * tongue_back),
        (0, palate + 13 + 3 * tongue_tip),
    )
    # Only if the tongue does not touch the palate.
    air += np.float32(0.24 + 0.16 * tongue_depth) * paint_areas(
        canvas, skull.both(tongue), blur=1.5
    )
    nose: Points = ((4, palate - 4), (17, palate - 4), (21, palate - 16), (14, -90), (3, -90))
    air += np.float32(0.46) * paint_areas(canvas, skull.both(nose), blur=1.2)
    sinus: Points = ((24, palate - 2), (54, palate - 3), (56, palate - 22), (30, -80), (24, -80))
    air += np.float32(0.28) * paint_areas(canvas, skull.both(sinus), blur=1.5)
    mouth: Points = (
        (0, -1.5),
        (22, -2.2),
        (44, -6),
        (56, -9),
        (56, -4),
        (44, -1.5),
        (22, 2),
        (0, 2.5),
    )
    air += np.float32(0.36 + 0.1 * mouth_depth) * paint_areas(canvas, skull.both(mouth), blur=1.2)
    return air


def draw_neck(canvas: Canvas, generator: np.random.Generator, skull: Skull, draws: Values) -> Field:
    """Return the vertebrae at both sides, the hyoid bone and the styloid processes."""
    top_shift, edge_shift, hyoid_height, hyoid_end, styloid_end, hollow, tilt, *_ = draws
    gx, gy = skull.gonion
    blocks: list[tuple[float, Points]] = []
    rims: list[tuple[float, Points]] = []
    for side in (-1, 1):
        top, edge = -22.0 + 5 * top_shift, gx + 24 + 2.5 * edge_shift
        for level in range(5):
            height = float(generator.uniform(14.0, 17.0))
            x = edge + 1.5 * float(generator.uniform(-1, 1)) - 0.5 * level
            block: Points = (
                (x + 0.6, top + 0.5),
                (x + 2.5, top - 0.4),
                (x + 14, top + 1.2 + hollow),
                (x + 40, top - 2 + 3 * tilt),
                (x + 40, top + height - 3 + 3 * tilt),
                (x + 14, top + height - 1.5 + hollow),
                (x + 2, top + height + 0.6),
                (x, top + height - 1),
                (x + 1.6, top + height / 2),
            )
            outline = skull.place(side, block)
            blocks.append((1.0, outline))
            rims.append((1.0, (*outline, outline[0])))
            top += height + 4.0
    body = paint_areas(canvas, blocks, blur=0.7)
    result = body * (1.8 + 0.6 * bone_webs(generator, canvas, (1.5, 5.0)))
    result += np.float32(1.8) * paint_lines(canvas, rims, width=0.9, blur=0.4)
    y = skull.chin + 1 + 5 * hyoid_height
    hyoid: Points = ((gx - 6, y - 9), (gx - 18, y - 6), (gx - 32, y - 2 + 2 * hyoid_end))
    lines = skull.both(hyoid)
    result += np.float32(1.8) * paint_lines(canvas, lines, width=4.5, blur=0.8)
    result += np.float32(0.8) * paint_lines(canvas, lines, width=1.0, blur=0.4)
    cx, cy = skull.condyle
    styloid: Points = ((cx + 13, cy + 6), (cx + 9, cy + 24), (cx + 3, cy + 38 + 6 * styloid_end))
    result += np.float32(1.6) * paint_lines(canvas, skull.both(styloid), width=2.2, blur=0.7)
    return np.asarray(result, dtype=np.float32)
