"""A view of a fictitious patient: the teeth with their positions and conditions."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from monai_dental.phantom.bone import Jaw, draw_jaw
from monai_dental.phantom.dentition import (
    LOWER_DIMENSIONS,
    UPPER_DIMENSIONS,
    Tooth,
    ToothClass,
    arch_numbers,
    draw_tooth,
)
from monai_dental.phantom.streams import random_stream

INTRAORAL_VIEWS = ("periapical", "bitewing")

# Teeth at the centre of periapical views and their frequencies, typical of practice.
PERIAPICAL_FOCI = ((6, 0.36), (7, 0.12), (5, 0.14), (4, 0.12), (3, 0.1), (1, 0.16))
BITEWING_FOCI = ((5, 0.45), (6, 0.55))


@dataclass(frozen=True)
class Scene:
    """The anatomy in the beam, before it is drawn; lengths in mm.

    Attributes:
        view: `"periapical"`, `"bitewing"` or `"panoramic"`.
        focus: FDI number of the tooth at the centre; in a bitewing, of the lower one; 0 in a
            panoramic view.
        field: Height and width of the image at the anatomy.
        tilt: Angle of the anatomy relative to the image, radians.
        teeth: Teeth in or near the image.
        jaws: Bone of the arches in the image.
        age: From 0 (young) to 1 (old).
        cheek: Thickness of cheek, lip or tongue in the beam.
    """

    view: str
    focus: int
    field: tuple[float, float]
    tilt: float
    teeth: tuple[Tooth, ...]
    jaws: tuple[Jaw, ...]
    age: float
    cheek: float

    def arch(self, *, is_upper: bool) -> tuple[Tooth, ...]:
        """Return the teeth of one arch, by ascending x."""
        return tuple(tooth for tooth in self.teeth if tooth.is_upper == is_upper)


def draw_scene(index: int, size: tuple[int, int], view: str | None = None) -> Scene:
    """Return the scene of phantom `index`.

    Args:
        index: Number of the phantom in the set.
        size: Rows and columns of the image; only their ratio matters.
        view: One of `INTRAORAL_VIEWS`, or None for the one given by the index.

    Raises:
        ValueError: The view is not known.
    """
    generator = random_stream(index, "scene")
    is_periapical = generator.random() < 0.62
    view = view or ("periapical" if is_periapical else "bitewing")
    if view not in INTRAORAL_VIEWS:
        raise ValueError(f"view is {view!r}; need one of {INTRAORAL_VIEWS}")
    age = float(generator.beta(2.0, 2.0))
    bone_loss = float(max(0.0, generator.normal(-0.3 + 1.8 * age, 0.8)))
    tilt = float(np.radians(np.clip(generator.normal(0.0, 3.0), -8, 8)))
    cheek = float(generator.uniform(7.0, 13.0))
    scale = float(np.clip(generator.normal(1.0, 0.04), 0.9, 1.1))
    offset = generator.uniform(-1.0, 1.0, 2)
    side = int(generator.integers(2))
    is_upper = bool(generator.random() < 0.45)
    if view == "periapical":
        short_side = float(generator.uniform(28.5, 32.5))
        focus = _choose(generator, PERIAPICAL_FOCI)
    else:
        short_side = float(generator.uniform(26.0, 30.0))
        focus = _choose(generator, BITEWING_FOCI)
    pitch = short_side / min(size)
    field = (size[0] * pitch, size[1] * pitch)
    teeth: list[Tooth] = []
    jaws: list[Jaw] = []
    arches = (is_upper,) if view == "periapical" else (True, False)
    for is_upper_arch in arches:
        name = "upper" if is_upper_arch else "lower"
        arch_generator = random_stream(index, f"{name} teeth")
        crown, root = (UPPER_DIMENSIONS if is_upper_arch else LOWER_DIMENSIONS)[focus - 1][:2]
        if view == "periapical":
            beyond = 2.0 + 0.7 * offset[1]
            middle = 0.5 * (crown + root) * scale + beyond
            occlusal = middle if is_upper_arch else -middle
        else:
            gap = float(arch_generator.uniform(0.1, 0.9))
            occlusal = 1.2 * offset[1] + (-gap if is_upper_arch else gap)
        # Upper molars are half a cusp distal to the lower ones (Angle class I).
        shift = 1.8 * offset[0] + (
            (2.0 if side else -2.0) if view == "bitewing" and is_upper_arch else 0
        )
        arch = _draw_arch(
            arch_generator,
            focus=focus,
            side=side,
            is_upper=is_upper_arch,
            occlusal=occlusal,
            shift=shift,
            half_field=field[1] / 2,
            scale=scale,
            age=age,
        )
        teeth += arch
        jaws.append(
            draw_jaw(
                random_stream(index, f"{name} jaw"),
                arch,
                is_upper=is_upper_arch,
                bone_loss=bone_loss,
            )
        )
    quadrant = (2 if side else 1) if jaws[-1].is_upper else (3 if side else 4)
    return Scene(view, 10 * quadrant + focus, field, tilt, tuple(teeth), tuple(jaws), age, cheek)


def _choose(generator: np.random.Generator, weighted: tuple[tuple[int, float], ...]) -> int:
    values, weights = zip(*weighted, strict=True)
    return int(generator.choice(values, p=np.array(weights) / sum(weights)))


def _draw_arch(
    generator: np.random.Generator,
    *,
    focus: int,
    side: int,
    is_upper: bool,
    occlusal: float,
    shift: float,
    half_field: float,
    scale: float,
    age: float,
) -> list[Tooth]:
    """Return the teeth of an arch around the focus, by ascending x, the patient's right first."""
    right, left = (1, 2) if is_upper else (4, 3)
    numbers = arch_numbers(is_upper=is_upper)
    # Draw all teeth, even those outside the image, so that the teeth do not depend on the field.
    gaps = generator.uniform(-0.6, -0.05, 16)
    drift = generator.uniform(-0.6, 0.6)
    teeth = [
        draw_tooth(generator, number, x=0.0, y=occlusal, scale=scale, age=age) for number in numbers
    ]
    edges = np.cumsum([tooth.width + gap for tooth, gap in zip(teeth, gaps, strict=True)])
    centers = edges - np.array([tooth.width for tooth in teeth]) / 2
    chosen = numbers.index(10 * (left if side else right) + focus)
    middle = centers[chosen] if focus > 1 else (centers[7] + centers[8]) / 2
    centers += shift - middle
    return [
        _place(tooth, float(center), drift=float(drift))
        for tooth, center in zip(teeth, centers, strict=True)
        if abs(center) - tooth.width / 2 < half_field + 6.0
    ]


def _place(tooth: Tooth, x: float, drift: float) -> Tooth:
    """Return the tooth at x, on the curve of Spee, leaning as is typical of its class."""
    sag = tooth.rootward * 0.004 * x * x if tooth.is_upper else 0.003 * x * x
    tips = {
        ToothClass.MOLAR: 5.0,
        ToothClass.PREMOLAR: 3.0,
        ToothClass.CANINE: 4.0,
        ToothClass.INCISOR: 1.0,
    }
    # Crowns lean mesially, so roots point distally; v runs to -x with a positive lean.
    lean = tooth.lean + np.radians(tips[tooth.tooth_class]) * tooth.mesial
    return replace(tooth, x=x, y=tooth.y - sag + 0.05 * drift * x, lean=float(lean))
