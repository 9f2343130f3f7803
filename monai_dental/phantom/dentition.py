"""The teeth: which ones there are, their size and their position."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np


class ToothClass(Enum):
    """The four shapes of permanent teeth."""

    INCISOR = "incisor"
    CANINE = "canine"
    PREMOLAR = "premolar"
    MOLAR = "molar"


TOOTH_CLASSES = (
    ToothClass.INCISOR,
    ToothClass.INCISOR,
    ToothClass.CANINE,
    ToothClass.PREMOLAR,
    ToothClass.PREMOLAR,
    ToothClass.MOLAR,
    ToothClass.MOLAR,
    ToothClass.MOLAR,
)

# Crown length, root length, crown width and neck width (mesiodistal), and crown depth
# (buccolingual) in mm, for teeth 1 to 8 of a quadrant. Nelson, Wheeler's Dental Anatomy, Physiology
# and Occlusion.
UPPER_DIMENSIONS = (
    (10.5, 13.0, 8.5, 7.0, 7.0),
    (9.0, 13.0, 6.5, 5.0, 6.0),
    (10.0, 17.0, 7.5, 5.5, 8.0),
    (8.5, 14.0, 7.0, 5.0, 9.0),
    (8.5, 14.0, 7.0, 5.0, 9.0),
    (7.5, 12.5, 10.0, 8.0, 11.0),
    (7.0, 11.5, 9.0, 7.0, 11.0),
    (6.5, 11.0, 8.5, 6.5, 10.0),
)
LOWER_DIMENSIONS = (
    (9.0, 12.5, 5.0, 3.5, 6.0),
    (9.5, 14.0, 5.5, 4.0, 6.5),
    (11.0, 16.0, 7.0, 5.5, 7.5),
    (8.5, 14.0, 7.0, 5.0, 7.5),
    (8.0, 14.5, 7.0, 5.0, 8.0),
    (7.5, 14.0, 11.0, 9.0, 10.5),
    (7.0, 13.0, 10.5, 8.0, 10.0),
    (7.0, 11.0, 10.0, 7.5, 9.5),
)


def arch_numbers(*, is_upper: bool) -> list[int]:
    """Return the FDI numbers of an arch, the patient's right first."""
    right, left = (1, 2) if is_upper else (4, 3)
    return [10 * right + n for n in range(8, 0, -1)] + [10 * left + n for n in range(1, 9)]


@dataclass(frozen=True)
class Root:
    """One root of a tooth; positions are from the tooth's axis in mm, mesial positive."""

    start: float
    apex: float
    curve: float
    half_width: float
    depth: float
    length: float
    is_behind: bool = False
    """The palatal root of an upper molar, seen through the others."""


@dataclass(frozen=True)
class Tooth:
    """A tooth in its position; lengths in mm.

    Its own coordinates are `u` (mesiodistal, mesial positive, 0 on the axis) and `v` (from the
    cusps to the apex).

    Attributes:
        number: FDI number, such as 36.
        x: Position of the centre of the occlusal edge along the arch.
        y: Position of the occlusal edge across the arch.
        lean: Angle of the axis relative to the arch's, radians.
        mesial: Direction of mesial along x, 1 or -1.
        cusps: Relief heights of the buccal and the lingual outline, each as (u / half width, mm)
            knots.
        pulp: Width of the pulp, 1.0 = typical; it shrinks with age.
        wear: Enamel lost at the occlusal edge.
    """

    number: int
    x: float
    y: float
    lean: float
    mesial: int
    crown_length: float
    root_length: float
    width: float
    neck: float
    depth: float
    roots: tuple[Root, ...]
    cusps: tuple[tuple[tuple[float, float], ...], tuple[tuple[float, float], ...]]
    pulp: float
    wear: float
    root_bend: float

    @property
    def is_upper(self) -> bool:
        """Whether the tooth is in the maxilla."""
        return self.number // 10 in (1, 2)

    @property
    def tooth_class(self) -> ToothClass:
        """The shape of the tooth."""
        return TOOTH_CLASSES[self.number % 10 - 1]

    @property
    def rootward(self) -> int:
        """Direction of the apex along y, 1 (down, mandible) or -1 (up, maxilla)."""
        return -1 if self.is_upper else 1

    @property
    def length(self) -> float:
        """Distance from the cusps to the apex."""
        return self.crown_length + self.root_length

    def place(self, u: float, v: float) -> tuple[float, float]:
        """Return the position (x, y) of a point (u, v) of the tooth."""
        along = self.mesial * u
        cos, sin = np.cos(self.lean), np.sin(self.lean)
        return (
            float(self.x + along * cos - v * sin),
            float(self.y + self.rootward * (v * cos + along * sin)),
        )


def draw_cusps(
    generator: np.random.Generator, tooth_class: ToothClass
) -> tuple[tuple[tuple[float, float], ...], tuple[tuple[float, float], ...]]:
    """Return the relief in mm of the buccal and the lingual half of a crown, typical depths."""
    first, second, third, fourth, fifth, sixth, seventh, eighth = generator.uniform(-0.25, 0.25, 8)
    if tooth_class is ToothClass.INCISOR:
        edge = ((-1.0, 0.7 + first), (-0.75, 0.1), (0.0, 0.0), (0.75, 0.05), (1.0, 0.4 + second))
        return edge, edge
    if tooth_class is ToothClass.CANINE:
        edge = ((-1.0, 2.6 + first), (-0.5, 1.2), (0.05, 0.0), (0.5, 0.9), (1.0, 2.0 + second))
        return edge, edge
    if tooth_class is ToothClass.PREMOLAR:
        buccal = ((-1.0, 2.1 + first), (-0.5, 1.0), (0.0, 0.0), (0.5, 0.9), (1.0, 2.0 + second))
        low = 1.3 + 2 * third
        lingual = (
            (-1.0, 1.0 + low),
            (-0.5, 0.6 + low),
            (0.1, low),
            (0.6, 0.7 + low),
            (1.0, 1.1 + low),
        )
        return buccal, lingual
    buccal = (
        (-1.0, 1.5 + first),
        (-0.55, 0.15 + 0.5 * abs(second)),
        (0.0 + 0.3 * third, 1.25 + fourth),
        (0.52, 0.0),
        (1.0, 1.3 + fifth),
    )
    low = 0.5 + sixth
    lingual = (
        (-1.0, 1.3 + low),
        (-0.5 + 0.3 * seventh, low),
        (0.05, 1.0 + low + eighth),
        (0.55, 0.1 + low),
        (1.0, 1.2 + low),
    )
    return buccal, lingual


def draw_roots(
    generator: np.random.Generator,
    position: int,
    *,
    is_upper: bool,
    neck: float,
    depth: float,
    length: float,
) -> tuple[Root, ...]:
    """Return the roots of a molar, mesial first; a single root is part of the tooth itself."""
    (
        spreading, mesial_apex, mesial_curve, mesial_length,
        distal_apex, distal_curve, distal_length, palatal_apex,
    ) = generator.uniform(-1.0, 1.0, 8)  # fmt: skip
    if TOOTH_CLASSES[position - 1] is not ToothClass.MOLAR:
        return ()
    spread = (0.36, 0.27, 0.16)[position - 6] + 0.05 * spreading
    start = 0.25 * neck
    mesial = Root(
        start=start,
        apex=spread * neck + 0.3 * mesial_apex,
        curve=-0.9 + 0.6 * mesial_curve,
        half_width=0.27 * neck,
        depth=0.8 * depth,
        length=length + 0.5 * mesial_length,
    )
    distal = Root(
        start=-start,
        apex=-spread * neck + 0.3 * distal_apex,
        curve=-0.2 + 0.6 * distal_curve,
        half_width=0.255 * neck,
        depth=0.7 * depth,
        length=length - 0.5 + 0.6 * distal_length,
    )
    if not is_upper:
        return mesial, distal
    mesial_buccal, distal_buccal = (
        Root(root.start, root.apex, root.curve, 0.22 * neck, 0.5 * depth, root.length)
        for root in (mesial, distal)
    )
    palatal = Root(
        start=0.0,
        apex=0.5 * palatal_apex,
        curve=0.3 * spreading,
        half_width=0.26 * neck,
        depth=0.4 * depth,
        length=length + 1.0,
        is_behind=True,
    )
    return mesial_buccal, distal_buccal, palatal


def draw_tooth(
    generator: np.random.Generator, number: int, *, x: float, y: float, scale: float, age: float
) -> Tooth:
    """Return a tooth of individual shape.

    Args:
        generator: Source of the shape.
        number: FDI number.
        x: Position along the arch in mm.
        y: Position of the occlusal edge in mm.
        scale: Size of the patient's teeth, 1.0 = mean.
        age: From 0 (young: wide pulp) to 1 (old: narrow pulp, worn cusps).
    """
    quadrant, position = divmod(number, 10)
    is_upper = quadrant in (1, 2)
    dimensions = np.array((UPPER_DIMENSIONS if is_upper else LOWER_DIMENSIONS)[position - 1])
    # Standard deviations of about 5 % in the crown and 8 % in the root, typical.
    spread = np.array([0.05, 0.08, 0.03, 0.03, 0.05])
    crown, root, width, neck, depth = (
        dimensions * scale * (1 + np.clip(generator.standard_normal(5), -2, 2) * spread)
    )
    tooth_class = TOOTH_CLASSES[position - 1]
    height, tipping, hollow, worn, bend = generator.uniform(-1.0, 1.0, 5)
    return Tooth(
        number=number,
        x=x,
        y=y + 0.35 * height,
        lean=float(np.radians(3.5 * tipping)),
        mesial=1 if quadrant in (1, 4) else -1,
        crown_length=float(crown),
        root_length=float(root),
        width=float(width),
        neck=float(neck),
        depth=float(depth),
        roots=draw_roots(
            generator,
            position,
            is_upper=is_upper,
            neck=float(neck),
            depth=float(depth),
            length=float(root),
        ),
        cusps=draw_cusps(generator, tooth_class),
        pulp=float(1.35 - 0.7 * age + 0.1 * hollow),
        wear=float(max(0.0, 0.7 * age + 0.2 * worn - 0.2)),
        root_bend=float(-0.9 + 1.2 * bend),
    )
