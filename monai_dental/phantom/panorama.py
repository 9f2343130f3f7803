"""The panoramic view of a fictitious patient: both arches, missing teeth, and the head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from monai_dental.phantom.dentition import Tooth, ToothClass, arch_numbers, draw_tooth
from monai_dental.phantom.jawbones import OutlinedJaw, draw_mandible, draw_maxilla
from monai_dental.phantom.projection import ToothProjection
from monai_dental.phantom.restorations import Restoration
from monai_dental.phantom.scene import Scene
from monai_dental.phantom.skull import Skull, draw_skull
from monai_dental.phantom.streams import random_stream

PANORAMIC = "panoramic"
PANORAMIC_FIELD_MM = (118.0, 242.0)
"""Height and width, at the anatomy, of the common image of 15 x 30 cm, magnified 1.25 times."""

SMEAR_MM = (0.20, 0.13)
"""Standard deviations of the blur of a tooth, along and across the arch, because parts of it lie in
front of or behind the layer that the movement keeps in focus; typical."""
IN_FOCUS = (0.85, 0.72)
"""Fraction of the contrast of back and of front teeth that stays in place; the movement spreads the
rest. The layer is thin in front; typical."""

# Probability that a tooth of an old patient is missing, by position in the quadrant; typical.
_MISSING = (0.05, 0.06, 0.03, 0.10, 0.13, 0.24, 0.16, 0.0)
# Third molars that are absent, or impacted; the others are in the row. Typical of adults.
_NO_THIRD_MOLAR = 0.38
_IMPACTED = 0.26


@dataclass(frozen=True)
class Panorama(Scene):
    """A panoramic scene.

    Attributes:
        skull: Positions of the landmarks of the head.
        bridges: Restorations that span several teeth.
        has_brackets: Whether the patient wears a fixed orthodontic appliance.
        magnification: Size at the detector relative to that at the anatomy.
    """

    skull: Skull
    bridges: tuple[Restoration, ...]
    has_brackets: bool
    magnification: float


def draw_panorama(index: int, size: tuple[int, int]) -> Panorama:
    """Return the panoramic scene of phantom `index`.

    Args:
        index: Number of the phantom in the set.
        size: Rows and columns of the image; only their ratio matters.
    """
    generator = random_stream(index, "panorama")
    age = float(generator.beta(2.0, 2.0))
    bone_loss = float(max(0.0, generator.normal(-0.3 + 1.8 * age, 0.8)))
    scale = float(np.clip(generator.normal(1.0, 0.03), 0.93, 1.07))
    tilt = float(np.radians(np.clip(generator.normal(0.0, 0.8), -2, 2)))
    enlargement, spacing, layer, brackets = generator.random(4)
    zoom = 1 + 0.04 * (2 * enlargement - 1)
    pitch = max(zoom * side / pixels for side, pixels in zip(PANORAMIC_FIELD_MM, size, strict=True))
    skull = draw_skull(random_stream(index, "skull"))
    teeth: list[Tooth] = []
    pontics: list[Restoration] = []
    jaws: list[OutlinedJaw] = []
    gap = float(0.3 + 1.7 * spacing)
    for is_upper, name in ((True, "upper"), (False, "lower")):
        row = _draw_row(
            random_stream(index, f"panoramic {name} teeth"),
            skull,
            is_upper=is_upper,
            gap=gap,
            scale=scale,
            age=age,
        )
        missing = _draw_missing(random_stream(index, f"{name} missing teeth"), row, age)
        bridge = _draw_bridges(random_stream(index, f"{name} bridges"), row, missing, age)
        pontics += bridge
        standing = {restoration.number for restoration in bridge}
        row = [tooth for tooth in row if tooth.number not in missing or tooth.number in standing]
        stream = random_stream(index, f"panoramic {name} jaw")
        upright = [tooth for tooth in row if tooth.number % 10 < 8]
        draw_jaw = draw_maxilla if is_upper else draw_mandible
        jaws.append(draw_jaw(stream, upright, skull, bone_loss=bone_loss))
        teeth += row
    return Panorama(
        view=PANORAMIC,
        focus=0,
        field=(size[0] * pitch, size[1] * pitch),
        tilt=tilt,
        teeth=tuple(teeth),
        jaws=tuple(jaws),
        age=age,
        cheek=float(36.0 + 10.0 * layer),
        skull=skull,
        bridges=tuple(pontics),
        has_brackets=bool(brackets < 0.12 - 0.12 * age),
        magnification=1.25,
    )


def _draw_row(
    generator: np.random.Generator,
    skull: Skull,
    *,
    is_upper: bool,
    gap: float,
    scale: float,
    age: float,
) -> list[Tooth]:
    """Return the 16 teeth of an arch by ascending x, on the curved occlusal plane."""
    numbers = arch_numbers(is_upper=is_upper)
    overlaps = generator.uniform(-0.9, 0.0, 16)
    drift = float(generator.uniform(-1.5, 1.5))
    rows = [draw_tooth(generator, number, x=0.0, y=0.0, scale=scale, age=age) for number in numbers]
    edges = np.cumsum([tooth.width + lap for tooth, lap in zip(rows, overlaps, strict=True)])
    centers = edges - np.array([tooth.width for tooth in rows]) / 2
    centers += drift - (centers[7] + centers[8]) / 2
    fate = generator.random((16, 3))
    return [
        _place(tooth, float(x), skull, gap=gap, fate=tuple(float(value) for value in own))
        for tooth, x, own in zip(rows, centers, fate, strict=True)
    ]


def _place(tooth: Tooth, x: float, skull: Skull, *, gap: float, fate: tuple[float, ...]) -> Tooth:
    """Return a tooth at x, either upright on the occlusal plane or impacted."""
    # A bite block keeps the incisors edge to edge; the arches diverge towards the molars.
    apart = 0.4 + gap * min(abs(x) / 30.0, 1.0)
    y = skull.middle - skull.smile * x * x + apart * tooth.rootward
    tips = {
        ToothClass.MOLAR: 8.0,
        ToothClass.PREMOLAR: 4.0,
        ToothClass.CANINE: 4.0,
        ToothClass.INCISOR: 1.0,
    }
    slope = 2 * skull.smile * abs(x) * (-0.4 if tooth.is_upper else 0.7)
    lean = tooth.lean + (np.radians(tips[tooth.tooth_class]) + slope) * tooth.mesial
    if tooth.number % 10 == 8 and fate[0] < _IMPACTED:
        # Mesioangular impaction is the most common kind for lower third molars.
        deeper = 5.0 + 6.0 * fate[1]
        y += deeper * tooth.rootward
        turn = np.radians(20.0 + 60.0 * fate[2] if not tooth.is_upper else 30.0 * (fate[2] - 0.7))
        lean += turn * tooth.mesial
        x += (1.5 - 3.0 * fate[1]) * tooth.mesial
    return replace(tooth, x=x, y=float(tooth.y + y), lean=float(lean))


def _draw_missing(
    generator: np.random.Generator, row: Sequence[Tooth], age: float
) -> frozenset[int]:
    """Return the FDI numbers of extracted or congenitally missing teeth; some remain."""
    draws = generator.random((49, 1))[:, 0]  # by FDI number, so that teeth are independent
    missing = set()
    for tooth in row:
        position = tooth.number % 10
        chance = _NO_THIRD_MOLAR if position == 8 else 1.4 * age * _MISSING[position - 1]
        if draws[tooth.number] < chance:
            missing.add(tooth.number)
    return frozenset(missing)


def _draw_bridges(
    generator: np.random.Generator, row: Sequence[Tooth], missing: frozenset[int], age: float
) -> list[Restoration]:
    """Return pontics for some missing teeth, and the crowns of the abutment teeth beside them."""
    draws = generator.random(16)
    bridge: dict[int, str] = {}
    for position in range(2, 14):
        before, tooth, after = row[position - 1 : position + 2]
        if tooth.number not in missing or draws[position] > 0.5 * age:
            continue
        if missing & {before.number, after.number} or before.number in bridge:
            continue
        bridge |= {before.number: "crown", tooth.number: "pontic", after.number: "crown"}
    return [
        Restoration(kind, number, center=0.0, reach=0.0, floor=0.0, share=0.0)
        for number, kind in bridge.items()
    ]


def smear(projection: ToothProjection, pitch: float) -> ToothProjection:
    """Return a tooth blurred by the moving beam.

    Args:
        projection: The projection of the tooth.
        pitch: Size of a pixel in mm.
    """
    sigmas = [max(sigma / pitch, 0.05) for sigma in SMEAR_MM]
    part = IN_FOCUS[projection.tooth.number % 10 < 4]
    layers = {
        material: np.asarray(
            part * cv2.GaussianBlur(layer, (0, 0), sigmas[0], sigmaY=sigmas[1]), np.float32
        )
        for material, layer in projection.layers.items()
    }
    return replace(projection, layers=layers)
