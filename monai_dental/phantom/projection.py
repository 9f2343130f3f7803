"""Projections of teeth: chords through round bodies, not flat outlines."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from monai_dental.phantom.canvas import Canvas, Field, Mask, Values, Window, smooth_step
from monai_dental.phantom.dentition import Tooth, ToothClass

Knots = tuple[tuple[float, float], ...]

_CURVE_STEPS = 512

# Half width of the crown relative to its maximum, by position from the cusps (0) to the neck (1);
# the value at the neck comes from the tooth. Typical outlines after Nelson, Wheeler's Dental
# Anatomy.
CROWN_WIDTH: dict[ToothClass, Knots] = {
    ToothClass.INCISOR: ((0.0, 0.88), (0.12, 0.97), (0.25, 1.0), (0.45, 0.98), (0.75, 0.88)),
    ToothClass.CANINE: ((0.0, 0.80), (0.2, 0.96), (0.36, 1.0), (0.55, 0.97), (0.8, 0.86)),
    ToothClass.PREMOLAR: ((0.0, 0.74), (0.18, 0.93), (0.36, 1.0), (0.55, 0.97), (0.8, 0.86)),
    ToothClass.MOLAR: ((0.0, 0.80), (0.18, 0.94), (0.38, 1.0), (0.6, 0.98), (0.85, 0.90)),
}
CROWN_DEPTH: dict[ToothClass, Knots] = {
    ToothClass.INCISOR: ((0.0, 0.18), (0.3, 0.42), (0.6, 0.75), (0.85, 1.0), (1.0, 0.92)),
    ToothClass.CANINE: ((0.0, 0.25), (0.3, 0.60), (0.6, 0.9), (0.8, 1.0), (1.0, 0.92)),
    ToothClass.PREMOLAR: ((0.0, 0.70), (0.3, 0.93), (0.6, 1.0), (1.0, 0.92)),
    ToothClass.MOLAR: ((0.0, 0.75), (0.3, 0.95), (0.6, 1.0), (1.0, 0.92)),
}
# Enamel thickness in mm on the sides, by position from the cusps to the neck, typical.
ENAMEL_SIDE: dict[ToothClass, Knots] = {
    ToothClass.INCISOR: ((0.0, 0.75), (0.3, 0.75), (0.7, 0.5), (0.9, 0.22), (1.0, 0.0)),
    ToothClass.CANINE: ((0.0, 0.9), (0.3, 0.9), (0.7, 0.6), (0.9, 0.25), (1.0, 0.0)),
    ToothClass.PREMOLAR: ((0.0, 1.1), (0.35, 1.15), (0.7, 0.75), (0.9, 0.3), (1.0, 0.0)),
    ToothClass.MOLAR: ((0.0, 1.2), (0.35, 1.3), (0.7, 0.9), (0.9, 0.35), (1.0, 0.0)),
}
ENAMEL_TOP_MM = {
    ToothClass.INCISOR: 1.4,
    ToothClass.CANINE: 1.5,
    ToothClass.PREMOLAR: 1.6,
    ToothClass.MOLAR: 1.8,
}
CUSP_SLOPE_MM = {
    ToothClass.INCISOR: 0.5,
    ToothClass.CANINE: 1.2,
    ToothClass.PREMOLAR: 1.8,
    ToothClass.MOLAR: 2.0,
}
"""Distance along the tooth over which a rounded cusp reaches its full depth."""


@dataclass(frozen=True)
class ToothProjection:
    """Path lengths in mm through one tooth, over a window of the canvas.

    Attributes:
        tooth: The tooth.
        window: The window of the canvas.
        u: Mesiodistal coordinate in the tooth, mm.
        v: Coordinate from the cusps to the apex, mm.
        outer: Chord of the whole tooth.
        half_width: Half width of the crown at each v, mm.
        layers: Chord by material; pulp is soft tissue.
        root_distance: Distance from the outline of the root, negative inside, mm.
    """

    tooth: Tooth
    window: Window
    u: Field
    v: Field
    outer: Field
    half_width: Field
    layers: dict[str, Field]
    root_distance: Field


def curve(knots: Knots, values: Field) -> Field:
    """Return a smooth curve through knots (position, value), constant beyond the ends."""
    start, end = knots[0][0], knots[-1][0]
    steps = (values - np.float32(start)) * np.float32(_CURVE_STEPS / (end - start))
    np.clip(steps, 0, _CURVE_STEPS, out=steps)
    return np.asarray(_smooth_table(knots)[steps.astype(np.intp)], dtype=np.float32)


@lru_cache(maxsize=64)
def _smooth_table(knots: Knots) -> Field:
    """Return the values of a smoothed polyline at equal steps from its first to its last knot."""
    points = np.asarray(knots, dtype=np.float64)
    fine = np.linspace(points[0, 0], points[-1, 0], _CURVE_STEPS + 1)
    heights = np.interp(fine, points[:, 0], points[:, 1])
    reach = _CURVE_STEPS // 20
    kernel = np.full(2 * reach + 1, 1 / (2 * reach + 1))
    for _ in range(2):
        padded = np.pad(heights, reach, mode="reflect", reflect_type="odd")
        heights = np.convolve(padded, kernel, mode="valid")
    return heights.astype(np.float32)


def chord(
    offset: Values, half_width: Values, depth: Values | float, squareness: Values | float = 0.0
) -> Field:
    """Return the path length through a body of elliptic or squarish cross-section.

    Args:
        offset: Distance from the axis, mm.
        half_width: Half width in mm; the result is 0 where it is not positive.
        depth: Extent along the beam in mm.
        squareness: 0.0 for an ellipse, 1.0 for the rounded square |q|^4 of a crown.
    """
    q = offset / np.maximum(half_width, np.float32(1e-3))
    q *= q
    q *= 1 - squareness + squareness * q
    profile = np.sqrt(np.maximum(1 - q, 0))
    return np.asarray(profile * depth * (half_width > 1e-3), dtype=np.float32)


def project_tooth(tooth: Tooth, canvas: Canvas) -> ToothProjection | None:
    """Return the path lengths through a tooth, or None if it lies outside the image."""
    middle = tooth.place(0.0, tooth.length / 2)
    # A tooth lying on its side, like an impacted one, extends horizontally by its length.
    lying = max(abs(float(np.sin(tooth.lean))) - 0.25, 0.0) * tooth.length / 2
    window = canvas.window(middle, (tooth.width / 2 + 3.5 + lying, tooth.length / 2 + 2.0))
    x, y = canvas.x[window], canvas.y[window]
    if x.size == 0 or min(x.shape) < 4:
        return None
    cos, sin = np.float32(np.cos(tooth.lean)), np.float32(np.sin(tooth.lean))
    dx, dy = x - np.float32(tooth.x), (y - np.float32(tooth.y)) * np.float32(tooth.rootward)
    u = (dx * cos + dy * sin) * np.float32(tooth.mesial)
    v = dy * cos - dx * sin
    half_width = crown_half_width(tooth, v)
    is_root = v > tooth.crown_length
    outer, inside, pulp = np.zeros_like(u), np.zeros_like(u), np.zeros_like(u)
    # Compute crown and root only in the rows that they reach.
    rows = _rows(~is_root)
    crown_outer, core = _crown(tooth, u[rows], v[rows], half_width[rows])
    outer[rows], inside[rows] = crown_outer, np.minimum(core, crown_outer)
    rows = _rows(is_root)
    root, canals = _root(tooth, u[rows], v[rows])
    outer[rows] = np.where(is_root[rows], root, outer[rows])
    inside[rows] = np.where(is_root[rows], root, inside[rows])
    pulp[rows] = canals
    rows = _rows((v > 0.25 * tooth.crown_length) & (v < tooth.crown_length + 4.0))
    pulp[rows] += _chamber(tooth, u[rows], v[rows])
    np.minimum(pulp, 0.8 * inside, out=pulp)
    return ToothProjection(
        tooth=tooth,
        window=window,
        u=u,
        v=v,
        outer=outer,
        half_width=half_width,
        layers={"enamel": outer - inside, "dentin": inside - pulp, "soft_tissue": pulp},
        root_distance=signed_distance((outer > 0) & (v > tooth.crown_length - 1.0), canvas.pitch),
    )


def _rows(mask: Mask) -> slice:
    """Return the rows from the first to the last where a mask is set."""
    hit = np.flatnonzero(mask.any(axis=1))
    return slice(int(hit[0]), int(hit[-1]) + 1) if hit.size else slice(0, 0)


def crown_half_width(tooth: Tooth, v: Field) -> Field:
    """Return half the mesiodistal width of the crown at each distance from the cusps, mm."""
    neck = ((1.0, tooth.neck / tooth.width), (1.15, 0.97 * tooth.neck / tooth.width))
    way = v * np.float32(1 / tooth.crown_length)
    share = curve(CROWN_WIDTH[tooth.tooth_class] + neck, way)
    return np.asarray(share * np.float32(tooth.width / 2), dtype=np.float32)


def _crown(tooth: Tooth, u: Field, v: Field, half_width: Field) -> tuple[Field, Field]:
    """Return the chords of the crown and of its dentin core, down to the neck."""
    kind = tooth.tooth_class
    way = v * np.float32(1 / tooth.crown_length)
    depth = curve(CROWN_DEPTH[kind], way) * np.float32(tooth.depth)
    enamel = curve(ENAMEL_SIDE[kind], way)
    squareness = 1 - (0.5 if tooth.roots else 1.0) * smooth_step(way, 0.5, 1.0)
    side_outer = chord(u, half_width, depth / 2, squareness)
    side_core = chord(u, half_width - enamel, np.maximum(depth / 2 - enamel, 0.05), squareness)
    outer, core = np.zeros_like(u), np.zeros_like(u)
    slope, top = CUSP_SLOPE_MM[kind], ENAMEL_TOP_MM[kind]
    for relief in tooth.cusps:
        below = v - np.maximum(
            curve(relief, u * np.float32(2 / tooth.width)), np.float32(tooth.wear)
        )
        outer += side_outer * np.sqrt(np.clip(below / np.float32(slope), 0, 1))
        under = below - np.float32(top - tooth.wear)
        core += side_core * np.sqrt(np.clip(under / np.float32(0.8 * slope), 0, 1))
    return outer, core


def _root(tooth: Tooth, u: Field, v: Field) -> tuple[Field, Field]:
    """Return the chords of the roots and of their canals, below the neck."""
    below = v - np.float32(tooth.crown_length)
    neck_depth = 0.92 * tooth.depth
    if not tooth.roots:
        s = np.clip(below * np.float32(1 / tooth.root_length), 0, 1)
        offset = u - np.float32(tooth.root_bend) * s * s
        taper = (1 - 0.5 * s) * np.sqrt(1 - s**5)
        root = chord(offset, np.float32(tooth.neck / 2) * taper, np.float32(neck_depth) * taper)
        width = (
            np.float32(tooth.pulp * tooth.neck) * (0.03 + 0.055 * np.exp(-2.5 * s)) * (1 - 0.5 * s)
        )
        canal = chord(offset, width, np.float32(tooth.depth) * (0.34 - 0.24 * s))
        return root * (below > 0), canal * ((below > 0) & (s < 0.985))
    furcation = 3.2
    fade = smooth_step(below, furcation - 2.6, furcation + 1.0)
    narrowing = np.float32(tooth.neck / 2) * (1 - 0.02 * np.maximum(below, 0))
    is_low = below > 0
    trunk = chord(u, narrowing, neck_depth, 0.5) * (1 - fade) * is_low
    roots, behind, canals = np.zeros_like(u), np.zeros_like(u), np.zeros_like(u)
    for shape in tooth.roots:
        s = np.clip(below * np.float32(1 / shape.length), 0, 1)
        axis = shape.start + np.float32(shape.apex - shape.start) * s * (1.6 - 0.6 * s)
        axis = axis + np.float32(shape.curve) * (s**3)
        taper = (1 - 0.48 * s**1.2) * np.sqrt(1 - s**6)
        body = chord(
            u - axis, np.float32(shape.half_width) * taper, np.float32(shape.depth) * taper
        )
        if shape.is_behind:
            behind = body
        else:
            roots = np.maximum(roots, body)
        width = np.float32(0.36 * tooth.pulp) * (1 - 0.6 * s)
        canal = chord(u - axis * smooth_step(below, -1.0, 1.5), width, 1.7 * (1 - 0.5 * s))
        canals = np.maximum(canals, canal * smooth_step(below, 0.3, 2.2) * (s < 0.985))
    return trunk + (roots + behind) * fade * is_low, canals


def _chamber(tooth: Tooth, u: Field, v: Field) -> Field:
    """Return the chord of the pulp chamber with its horns, typical proportions."""
    crown, pulp = tooth.crown_length, tooth.pulp
    if not tooth.roots:
        roof = crown * (0.62 - 0.12 * pulp)
        s = np.clip((v - np.float32(roof)) / np.float32(crown - roof), 0, 1)
        width = np.float32(0.085 * pulp * tooth.neck) * np.sqrt(s) * (1.2 - 0.2 * s)
        return chord(u, width, np.float32(0.34 * tooth.depth) * s) * (v <= crown)
    roof = crown * (0.78 - 0.1 * pulp)
    half = 0.27 * tooth.width * (0.7 + 0.3 * pulp)
    horns: Knots = ((-1.0, -0.3), (-0.8, -1.0 * pulp), (0.0, 0.4), (0.8, -1.2 * pulp), (1.0, -0.3))
    above = v - roof - curve(horns, u * np.float32(1 / half))
    floor = crown + 1.6 - v + 0.9 * np.abs(u) / np.float32(half)
    shape = np.clip(above / 0.8, 0, 1) * np.clip(floor / 1.2, 0, 1)
    return chord(u, np.full_like(u, half), np.float32(0.3 * pulp * tooth.depth) * shape)


def signed_distance(mask: Mask, pitch: float) -> Field:
    """Return the distance from the outline of a mask in mm, negative inside."""
    inside = mask.astype(np.uint8)
    outward = cv2.distanceTransform(1 - inside, cv2.DIST_L2, 5)
    inward = cv2.distanceTransform(inside, cv2.DIST_L2, 5)
    distance = cv2.GaussianBlur(np.subtract(outward, inward), (0, 0), 1.0)
    return np.asarray(distance * np.float32(pitch), dtype=np.float32)
