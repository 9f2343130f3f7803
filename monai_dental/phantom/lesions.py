"""Caries and periapical lesions, with their masks."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from monai_dental.phantom.canvas import Canvas, Field, Mask, smooth_step
from monai_dental.phantom.dentition import Tooth, ToothClass
from monai_dental.phantom.projection import ENAMEL_TOP_MM, ToothProjection

LESION_KINDS = ("proximal_caries", "occlusal_caries", "periapical_lesion")

_VISIBLE_LOSS = 0.08  # fraction of mineral lost above which a point counts as carious
_VISIBLE_CAVITY_MM = 0.6  # bone lost along the beam above which a point counts as lesion


@dataclass(frozen=True)
class Lesion:
    """One lesion of one tooth, lengths in mm.

    Attributes:
        kind: One of `LESION_KINDS`.
        number: FDI number of the tooth.
        side: For proximal caries: 1 mesial, -1 distal. For a periapical lesion: index of the root.
        depth: For caries: depth from the surface (proximal) or the enamel (occlusal). Else: radius.
        height: For caries: half its extent along the surface.
        severity: Fraction of the mineral lost at its core, 0 to 1.
    """

    kind: str
    number: int
    side: int
    depth: float
    height: float
    severity: float


def draw_lesions(
    generator: np.random.Generator, teeth: Sequence[Tooth], *, restored: Collection[int], view: str
) -> tuple[Lesion, ...]:
    """Return lesions of unrestored teeth; some mouths have none.

    Args:
        generator: Source of the lesions.
        teeth: Teeth in the image.
        restored: FDI numbers of teeth without caries.
        view: The view; in `"bitewing"` views the apices are outside the image.
    """
    rate = (0.0, 0.15, 0.35)[int(generator.integers(3))]
    lesions: list[Lesion] = []
    draws = generator.random((49, 6))  # by FDI number, so that teeth are independent
    for tooth in teeth:
        chance, kind, a, b, c, d = (float(value) for value in draws[tooth.number])
        if chance > rate:
            continue
        side = 1 if a < 0.5 else -1
        severity = 0.25 + 0.35 * c
        is_back = tooth.tooth_class in (ToothClass.MOLAR, ToothClass.PREMOLAR)
        if kind < 0.3 and view != "bitewing":
            root = int(a * max(len(tooth.roots), 1))
            lesions.append(
                Lesion("periapical_lesion", tooth.number, root, 1.8 + 2.6 * b * b, 0.0, 1.0)
            )
        elif tooth.number in restored:
            continue
        elif kind < 0.5 and tooth.tooth_class is ToothClass.MOLAR:
            lesions.append(
                Lesion("occlusal_caries", tooth.number, 0, 1.2 + b, 1.5 + 1.5 * d, severity)
            )
        elif is_back or kind < 0.7:
            lesions.append(
                Lesion(
                    "proximal_caries", tooth.number, side, 0.8 + 2.2 * b, 0.8 + 0.7 * d, severity
                )
            )
    return tuple(lesions)


def decay(projection: ToothProjection, lesion: Lesion) -> tuple[ToothProjection, Mask]:
    """Return a tooth with caries, and the mask of the lost mineral over the projection's window."""
    loss = (
        _proximal_loss(projection, lesion)
        if lesion.kind == "proximal_caries"
        else _occlusal_loss(projection, lesion)
    )
    layers = dict(projection.layers)
    lost = np.zeros_like(loss)
    for material in ("enamel", "dentin"):
        gone = layers[material] * loss
        layers[material] = layers[material] - gone
        lost += gone
    layers["soft_tissue"] = layers["soft_tissue"] + lost
    return replace(projection, layers=layers), (loss > _VISIBLE_LOSS) & (projection.outer > 0.5)


def _proximal_loss(projection: ToothProjection, lesion: Lesion) -> Field:
    """Return a triangle in the enamel, base at the contact, and a second one in the dentin."""
    tooth = projection.tooth
    inward = np.maximum(projection.half_width - projection.u * np.float32(lesion.side), 0)
    enamel = 1.15
    # Half heights: narrowing towards the dentin, where the decay spreads again, then towards the
    # pulp.
    through = np.maximum(1 - inward / (1.6 * enamel), 0) * (inward < lesion.depth)
    spread = np.maximum(1 - (inward - enamel) / max(lesion.depth - enamel, 0.05), 0)
    spread *= smooth_step(inward, 0.8 * enamel, 1.1 * enamel) * (lesion.depth > enamel)
    half_height = np.float32(lesion.height) * np.maximum(through, 0.9 * np.sqrt(spread))
    level = 0.45 * tooth.crown_length + 0.1 * inward
    near = half_height - np.abs(projection.v - level)
    # The lesion is round along the beam too, so its mineral loss fades towards its margin.
    loss = np.float32(lesion.severity) * smooth_step(near, -0.15, 0.75)
    return np.asarray(loss, dtype=np.float32)


def _occlusal_loss(projection: ToothProjection, lesion: Lesion) -> Field:
    """Return a flat half-round under the central fissure, at the enamel's border to the dentin."""
    tooth = projection.tooth
    roof = 1.3 + ENAMEL_TOP_MM[tooth.tooth_class]
    across = projection.u / np.float32(lesion.height)
    below = (projection.v - np.float32(roof)) / np.float32(lesion.depth)
    below = np.where(below < 0, below * 2.5, below)
    ripple = 0.12 * np.sin(2.9 * projection.u) * np.cos(2.3 * projection.v)
    core = smooth_step(1 + ripple - across * across - below * below, 0.0, 0.9)
    return np.asarray(np.float32(0.6 * lesion.severity) * core, dtype=np.float32)


def periapical_cavity(canvas: Canvas, tooth: Tooth, lesion: Lesion) -> Field:
    """Return the path length in mm through the round cavity at a root's apex, (H, W)."""
    if tooth.roots:
        root = tooth.roots[min(lesion.side, len(tooth.roots) - 1)]
        offset, end = root.apex + root.curve, tooth.crown_length + root.length
    else:
        offset, end = tooth.root_bend, tooth.length
    x, y = tooth.place(offset, end + 0.35 * lesion.depth)
    cavity = np.zeros(canvas.shape, dtype=np.float32)
    window = canvas.window((x, y), (1.2 * lesion.depth, 1.2 * lesion.depth))
    dx, dy = canvas.x[window] - np.float32(x), canvas.y[window] - np.float32(y)
    angle = np.arctan2(dy, dx)
    radius = lesion.depth * (1 + 0.08 * np.cos(2 * angle + x) + 0.05 * np.cos(3 * angle + y))
    reach = np.maximum(radius * radius - dx * dx - dy * dy, 0)
    cavity[window] = 2 * np.sqrt(reach)
    return cavity


def is_visible_cavity(cavity: Field) -> Mask:
    """Return where enough bone is lost along the beam to be visible."""
    return cavity > _VISIBLE_CAVITY_MM
