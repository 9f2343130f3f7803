"""Restorations: fillings, crowns, root-canal fillings and implants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from monai_dental.phantom.canvas import Field, smooth_step
from monai_dental.phantom.dentition import Tooth, ToothClass
from monai_dental.phantom.projection import ToothProjection, chord


@dataclass(frozen=True)
class Restoration:
    """The restoration of one tooth.

    Attributes:
        kind: `"amalgam"`, `"composite"`, `"crown"`, `"root_filling"`, `"implant"` or `"pontic"`,
            the part of a bridge that replaces a missing tooth.
        number: FDI number of the tooth.
        center: Centre of a filling in half widths of the crown, mesial positive.
        reach: Half width of a filling in half widths of the crown; beyond 1 - |center| it is
            proximal.
        floor: Depth of a filling below the cusps in mm; distance of a root filling's end from the
            apex in mm.
        share: Fraction of the crown's depth that a filling occupies.
    """

    kind: str
    number: int
    center: float
    reach: float
    floor: float
    share: float


def draw_restorations(
    generator: np.random.Generator, teeth: Sequence[Tooth], age: float
) -> tuple[Restoration, ...]:
    """Return the restorations of a mouth; older mouths have more."""
    restorations: list[Restoration] = []
    likely = 0.12 + 0.3 * age
    draws = generator.random((49, 6))  # by FDI number, so that teeth are independent
    for tooth in teeth:
        chance, choice, a, b, c, d = (float(value) for value in draws[tooth.number])
        is_back = tooth.tooth_class in (ToothClass.MOLAR, ToothClass.PREMOLAR)
        if chance > likely * (1.0 if is_back else 0.35):
            continue
        limits = (0.42, 0.68, 0.8, 0.93) if is_back else (0.0, 0.7, 0.75, 0.93)
        kinds = ("amalgam", "composite", "crown", "root_filling", "implant")
        kind = kinds[int(np.searchsorted(limits, choice, side="right"))]
        proximal = (0.0, 0.42, -0.42)[int(3 * a)]
        restorations.append(
            Restoration(
                kind=kind,
                number=tooth.number,
                center=proximal + 0.1 * (b - 0.5),
                reach=0.3 + 0.15 * c + (0.35 if proximal else 0.0),
                floor=0.4 + 1.2 * b if kind == "root_filling" else 2.6 + 1.2 * c,
                share=0.35 + 0.3 * d,
            )
        )
    return tuple(restorations)


def restore(projection: ToothProjection, restoration: Restoration) -> ToothProjection:
    """Return the projection of a tooth after its restoration."""
    if restoration.kind == "implant":
        return _implant(projection)
    if restoration.kind == "crown":
        return _crown(projection)
    if restoration.kind == "pontic":
        return _pontic(projection)
    if restoration.kind == "root_filling":
        return _filling(_root_filling(projection, restoration), restoration, "composite")
    return _filling(projection, restoration, restoration.kind)


def _filling(
    projection: ToothProjection, restoration: Restoration, material: str
) -> ToothProjection:
    """Fill a cavity with rounded corners in the crown, with a step at a reached contact surface."""
    tooth = projection.tooth
    across = projection.u / projection.half_width - np.float32(restoration.center)
    deep = restoration.floor if restoration.kind != "root_filling" else 0.5 * tooth.crown_length
    is_proximal = abs(restoration.center) > 0.2
    step = (
        1.6
        * smooth_step(np.abs(projection.u / projection.half_width), 0.62, 0.8)
        * (projection.u * np.float32(restoration.center) > 0)
        if is_proximal
        else 0.0
    )
    half_width = np.float32(tooth.width / 2)
    from_wall = (np.float32(restoration.reach) - np.abs(across)) * half_width
    from_floor = (
        deep + 0.25 * np.cos(1.3 * projection.u + 9 * restoration.share) + step - projection.v
    )
    # A smooth minimum rounds the corners of the cavity.
    blend = np.maximum(0.8 - np.abs(from_wall - from_floor), 0)
    inside = np.minimum(from_wall, from_floor) - np.square(blend) / 3.2
    share = np.float32(restoration.share) * np.sqrt(np.clip(inside / 0.6, 0, 1))
    layers = {name: layer * (1 - share) for name, layer in projection.layers.items()}
    filled = share * projection.outer
    layers[material] = layers.get(material, 0) + filled
    return replace(projection, layers=layers)


def _crown(projection: ToothProjection) -> ToothProjection:
    """Replace the enamel by a zirconia crown over the prepared tooth."""
    tooth = projection.tooth
    margin = tooth.crown_length - 0.6
    covered = 1 - smooth_step(projection.v, margin - 0.1, margin + 0.1)
    enamel = projection.layers["enamel"]
    shell = np.minimum(enamel + 0.25 * (enamel > 0), projection.outer) * covered
    layers = dict(projection.layers)
    layers["enamel"] = enamel * (1 - covered)
    layers["zirconia"] = 0.75 * shell
    return replace(projection, layers=layers)


def _pontic(projection: ToothProjection) -> ToothProjection:
    """Replace the tooth by a crown without a root, rounded where it rests on the gum."""
    tooth = projection.tooth
    end = np.float32(tooth.crown_length - 1.0)
    body = projection.outer * np.sqrt(np.clip((end - projection.v) / 1.5, 0, 1))
    return replace(
        projection,
        outer=body,
        layers={"zirconia": np.float32(0.35) * body, "composite": np.float32(0.3) * body},
        root_distance=np.full_like(body, 100.0),
    )


def _root_filling(projection: ToothProjection, restoration: Restoration) -> ToothProjection:
    """Replace the pulp by gutta-percha to just short of the apex."""
    pulp = projection.layers["soft_tissue"]
    end = projection.tooth.length - restoration.floor
    filled = 1.3 * pulp * (projection.v < end)
    layers = dict(projection.layers)
    layers["soft_tissue"] = pulp * (projection.v >= end)
    layers["gutta_percha"] = filled
    return replace(projection, layers=layers)


def _implant(projection: ToothProjection) -> ToothProjection:
    """Replace the root by a titanium screw and the crown by zirconia on an abutment."""
    tooth, u, v = projection.tooth, projection.u, projection.v
    shoulder = tooth.crown_length + 1.2
    length = min(0.85 * tooth.root_length, 11.5)
    s = np.clip((v - np.float32(shoulder)) / np.float32(length), 0, 1)
    radius = 0.42 * min(tooth.neck, 5.0)
    # Thread pitch 0.8 mm and depth 0.25 mm, typical; the helix rises half a pitch from side to
    # side.
    phase = (v + np.float32(0.2) * np.sign(u)) * np.float32(2 * np.pi / 0.8)
    thread = 0.13 * np.cos(phase) * smooth_step(s, 0.08, 0.14)
    taper = (1 - 0.18 * s) * np.sqrt(1 - s**14)
    width = np.float32(radius) * taper + thread * (s < 0.985)
    screw = chord(u, width, 2 * width) * ((v > shoulder) & (s < 1))
    neck = np.clip((v - np.float32(0.45 * tooth.crown_length)) / np.float32(3.0), 0, 1)
    post_width = np.float32(0.5 * radius) + np.float32(0.45 * radius) * neck
    post = chord(u, post_width, 2 * post_width)
    post *= (v > 0.45 * tooth.crown_length) & (v <= shoulder)
    # The crown narrows to the abutment: its emergence profile.
    narrowing = smooth_step(v, 0.5 * tooth.crown_length, tooth.crown_length)
    waist = projection.half_width * (1 - narrowing) + np.float32(1.1 * radius) * narrowing
    crown: Field = np.minimum(projection.outer, chord(u, waist, 2.5 * waist, 1.0))
    crown *= v < tooth.crown_length
    layers = {"titanium": screw + post, "zirconia": 0.45 * np.maximum(crown - post, 0)}
    return replace(
        projection,
        outer=np.maximum(screw + post, crown),
        layers=layers,
        root_distance=np.full_like(u, 100.0),
    )
