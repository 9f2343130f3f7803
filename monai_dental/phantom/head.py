"""The head around the jaws in a panoramic view, inside and outside the layer in focus."""

from __future__ import annotations

import cv2
import numpy as np

from monai_dental.phantom.canvas import Canvas, Field, Values, smooth_noise, smooth_step
from monai_dental.phantom.neck import draw_neck, find_air
from monai_dental.phantom.skull import Skull
from monai_dental.phantom.strokes import Points, bone_webs, paint_areas, paint_lines, smooth_line


def add_head(canvas: Canvas, generator: np.random.Generator, skull: Skull) -> None:
    """Draw everything but the jaws and the teeth on a canvas that has the jaws."""
    # Strengths are path lengths in mm of cortical bone, chosen to match the regions' histograms in
    # real panoramic radiographs.
    draws = generator.uniform(-1, 1, 60)
    air, ghosts, base, midface, neck, _ = np.split(draws, [12, 24, 32, 44, 56])
    soft, bone = canvas.layer("soft_tissue"), canvas.layer("cortical_bone")
    soft *= 1 - np.clip(find_air(canvas, skull, air), 0, 0.95)
    bone += _ghosts(canvas, skull, ghosts)
    bone += _cranial_base(canvas, generator, skull, base)
    bone += _midface(canvas, generator, skull, midface)
    bone += draw_neck(canvas, generator, skull, neck)
    bone += _smears(canvas, generator, skull)
    # Bone is uneven everywhere, even where it is drawn as a plain area.
    texture = smooth_noise(generator, canvas.shape, canvas.extent, 0.4)
    bone += np.float32(0.11) * np.sqrt(np.maximum(bone, 0)) * texture
    np.maximum(bone, 0, out=bone)


def _ghosts(canvas: Canvas, skull: Skull, draws: Values) -> Field:
    """Return ghosts of anatomy far from the layer: spine in front, each ramus on the other side."""
    dense, wide, foot, rise, inner, shading, curve, *_ = draws
    spine = 2.8 + 2.0 * dense
    band: Points = ((0, -90), (9 + 2 * wide, -90), (10 + 2 * wide, 0), (15 + 4 * foot, 90), (0, 90))
    ghost = paint_areas(canvas, skull.both(band), blur=3.0)
    downwards = smooth_step(canvas.y, -30.0, 60.0)
    result = np.float32(spine) * ghost * (np.float32(0.12) + np.float32(0.5) * downwards)
    gx, gy = skull.gonion
    rise = 6 + 3 * rise
    ramus: Points = (
        (gx - 10, gy - 6),
        (54, gy - 4 + 3 * inner),
        (48, gy - 16),
        (50, -18 - rise),
        (63, -30 - rise),
        (gx, -22),
    )
    shade = paint_areas(canvas, skull.both(ramus), blur=1.6)
    result += np.float32(4.6 + 1.2 * shading) * shade
    palate: Points = ((0, skull.palate - 5), (40, skull.palate - 4 + curve), (64, skull.palate + 4))
    line = paint_lines(canvas, skull.both(palate), width=4.0, blur=1.8)
    return np.asarray(result + np.float32(1.6) * line, dtype=np.float32)


def _cranial_base(
    canvas: Canvas, generator: np.random.Generator, skull: Skull, draws: Values
) -> Field:
    """Return the temporal bones in the upper corners: dense, with air cells and thin lines."""
    corner, roof, dip, fall, *_ = draws
    cx, cy = skull.condyle
    base: Points = (
        (38 + 5 * corner, -100),
        (54, cy - 9 + 2 * roof),
        (cx - 24, cy - 6),
        (cx - 13, cy + 2 + 2 * dip),
        (cx - 6, cy - 7),
        (cx + 1, cy - 9.5),
        (cx + 9, cy - 3),
        (cx + 13, cy + 8),
        (cx + 20, cy + 22),
        (cx + 28, cy + 34 + 6 * fall),
        (160, cy + 40),
        (160, -100),
    )
    area = paint_areas(canvas, skull.both(base), blur=1.0)
    shade = paint_areas(canvas, skull.both(base), blur=9.0)
    cells = smooth_noise(generator, canvas.shape, canvas.extent, 9.0)
    webs = bone_webs(generator, canvas, (0.8, 1.6, 3.0, 7.0))
    depth = np.float32(0.6) + np.float32(14.0) * np.square(shade) + 1.3 * cells + 1.8 * webs
    edge = paint_lines(canvas, skull.both(base[1:7]), width=0.9, blur=0.3)
    return np.asarray(area * np.maximum(depth, 0.3) + 1.8 * edge, dtype=np.float32)


def _midface(canvas: Canvas, generator: np.random.Generator, skull: Skull, draws: Values) -> Field:
    """Return palate, nasal septum and conchae, walls of the sinuses, zygomatic bones."""
    hard, tip, low, top, bend, lead, side, roof, yoke, fold, foot, tilt = draws
    p = skull.palate
    palate: Points = ((0, p - 1), (25, p - 0.5 + hard), (48, p + 1), (57, p + 3 + tip))
    floor: Points = ((0, p - 4), (22, p - 4.5 + low), (45, p - 3), (57, p - 1))
    lines = skull.both(palate) + skull.both(floor, 0.6)
    result = np.float32(3.6) * paint_lines(canvas, lines, width=1.1, blur=0.35)
    walls: Points = ((58 + top, -100), (57, p - 22), (55 + bend, p - 8), (49, p + 2), (44, p + 8))
    front: Points = ((64 + 2 * lead, -100), (61, p - 20), (60, p - 6), (57, p + 4), (52, p + 10))
    inner: Points = ((20, -100), (23, p - 20), (24 + side, p - 8), (21, p - 3))
    orbit: Points = ((22, p - 21), (32, p - 25 + 2 * roof), (45, p - 22), (57, p - 28))
    arch: Points = ((58, p - 2), (68, p - 3 + yoke), (78, p - 11), (90, p - 19))
    lines = skull.both(walls) + skull.both(front, 0.7) + skull.both(inner, 0.7)
    lines += skull.both(orbit, 0.7) + skull.both(arch, 0.8)
    result += np.float32(3.0) * paint_lines(canvas, lines, width=0.9, blur=0.3)
    zygoma: Points = ((56, p - 8), (64, p - 12), (72, p - 4), (66, p + 5), (58, p + 8), (50, p + 4))
    pillar: Points = ((56, -100), (65, -100), (62, p - 6), (55, p - 4))
    areas = skull.both(zygoma) + skull.both(pillar)
    result += np.float32(2.4) * paint_areas(canvas, areas, blur=0.8)
    concha: Points = ((5, p - 7), (9, p - 15), (16, p - 15 + 2 * fold), (18, p - 8), (11, p - 5))
    result += np.float32(2.6) * paint_areas(canvas, skull.both(concha), blur=1.0)
    septum: Points = ((0.3 * foot, p - 3), (1.5 * tilt, p - 14), (0, -100))
    line = [(1.0, skull.place(1, smooth_line(septum)))]
    result += np.float32(1.8) * paint_lines(canvas, line, width=1.4, blur=0.4)
    over = canvas.y - np.float32(skull.middle + p)
    upper = smooth_step(-over, 2.0, 12.0)
    shadows = smooth_noise(generator, canvas.shape, canvas.extent, 13.0)
    result += upper * (2.3 + 1.3 * shadows + 1.7 * bone_webs(generator, canvas, (2.5, 6.0, 11.0)))
    return np.asarray(result, dtype=np.float32)


def _smears(canvas: Canvas, generator: np.random.Generator, skull: Skull) -> Field:
    """Return the streaks of smeared structures along the beam's movement, and its steps."""
    rows, columns = canvas.shape
    streaks = smooth_noise(generator, (rows, 24), (canvas.extent[0], 24.0), 1.6)
    wide = cv2.resize(streaks, (columns, rows), interpolation=cv2.INTER_CUBIC)
    fade = smooth_step(skull.middle - 12.0 - canvas.y, 0.0, 30.0)
    fade *= 1 - smooth_step(np.abs(canvas.x), 40.0, 65.0)
    columns_noise = smooth_noise(generator, (4, columns), (4.0, canvas.extent[1]), 1.2)[1]
    return np.asarray(0.6 * fade * wide + 0.025 * columns_noise + 0.5, dtype=np.float32)
