"""Other anatomy in the beam: sinus, zygoma, canal, foramen, suture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from monai_dental.phantom.canvas import Canvas, Field, smooth_step
from monai_dental.phantom.dentition import Tooth, ToothClass
from monai_dental.phantom.projection import Knots, curve


def add_landmarks(
    canvas: Canvas, generator: np.random.Generator, teeth: Sequence[Tooth], *, is_upper: bool
) -> None:
    """Draw the landmarks of one arch over its bone; sizes are typical.

    Args:
        canvas: Canvas with the bone of the arch.
        generator: Source of the individual shape.
        teeth: Teeth of the arch, by ascending x.
        is_upper: Maxilla or mandible.
    """
    draws = generator.uniform(-1.0, 1.0, 16).astype(np.float32)
    floor, (has_zygoma, has_foramen), others, _ = np.split(draws, [8, 10, 14])
    molars = [tooth for tooth in teeth if tooth.tooth_class is ToothClass.MOLAR]
    premolars = [tooth for tooth in teeth if tooth.tooth_class is ToothClass.PREMOLAR]
    centrals = [tooth for tooth in teeth if tooth.number in (11, 21)]
    if is_upper:
        if molars:
            _add_sinus(canvas, molars, premolars, floor)
            if has_zygoma > -0.2:
                _add_zygoma(canvas, molars[0], others)
        if len(centrals) == 2:
            _add_suture(canvas, centrals, others)
        return
    if molars:
        _add_canal(canvas, molars, floor)
    if premolars and has_foramen > 0:
        _add_mental_foramen(canvas, premolars[-1], others)


def take_bone(canvas: Canvas, part: Field) -> None:
    """Remove a fraction, 0 to 1, of trabecular bone and half that fraction of cortical bone."""
    canvas.layer("trabecular_bone")[...] *= 1 - part
    canvas.layer("cortical_bone")[...] *= 1 - np.float32(0.5) * part


def _add_sinus(
    canvas: Canvas, molars: Sequence[Tooth], premolars: Sequence[Tooth], draws: Field
) -> None:
    """Thin the bone above the wavy floor of the maxillary sinus, and draw the floor's cortex."""
    begin, front, first, second, third, rear, height, thinning = draws
    distal = -molars[0].mesial
    apex = np.mean([tooth.y - tooth.length for tooth in molars])
    start = (premolars or molars)[0].x - distal * (1.0 + 2.0 * begin)
    along = (canvas.x - np.float32(start)) * np.float32(distal)
    floor: Knots = (
        (-3.0, -13.0),
        (0.0, -5.0 + front),
        (4.0, -0.5 + first),
        (9.0, 1.5 + second),
        (14.0, 0.8 + third),
        (20.0, 0.5 + 2 * rear),
        (30.0, -3.0),
    )
    above = np.float32(apex + 1.0 * height - 1.0) + curve(floor, along) - canvas.y
    take_bone(canvas, smooth_step(above, 0.0, 1.0) * np.float32(0.42 + 0.15 * thinning))
    canvas.layer("cortical_bone")[...] += 1.1 * np.exp(-np.square((above - 0.1) / 0.28))


def _add_zygoma(canvas: Canvas, molar: Tooth, draws: Field) -> None:
    """Draw the zygomatic process, a U-shaped shadow above the first molar."""
    x_shift, y_shift, wide, dense = draws
    x = np.float32(molar.x + 2.5 * x_shift)
    y = np.float32(molar.y - molar.length - 1.0 + 2.0 * y_shift)
    width = np.float32(7.0 + 1.5 * wide)
    bottom = np.square(np.abs(canvas.x - x + 0.35 * (canvas.y - y)) / width)
    inside = y - np.float32(3.0) * bottom - canvas.y
    body = smooth_step(inside, -0.4, 2.5)
    rim = np.exp(-np.square((inside - 0.9) / 0.8))
    canvas.layer("cortical_bone")[...] += np.float32(1.3 + 0.4 * dense) * body + 0.45 * rim


def _add_suture(canvas: Canvas, centrals: Sequence[Tooth], draws: Field) -> None:
    """Draw the intermaxillary suture and the incisive foramen between the central incisors."""
    size, height, thinning, _ = draws
    middle = np.float32((centrals[0].x + centrals[1].x) / 2)
    crest = np.float32(np.mean([tooth.y - tooth.crown_length for tooth in centrals]))
    above = crest - np.float32(2.0) - canvas.y
    across = np.abs(canvas.x - middle - np.float32(0.15) * np.sin(1.7 * canvas.y))
    line = np.exp(-np.square(across / 0.16)) * smooth_step(above, 0.0, 2.0)
    edges = np.exp(-np.square((across - 0.5) / 0.2)) * smooth_step(above, 0.0, 2.0)
    take_bone(canvas, 0.55 * line)
    canvas.layer("cortical_bone")[...] += 0.5 * edges
    radius = np.float32(1.8 + 0.6 * size)
    up = (above - np.float32(7.0 + height)) / (1.6 * radius)
    foramen = smooth_step(1 - np.square(across / radius) - np.square(up), 0.0, 0.7)
    take_bone(canvas, np.float32(0.35 + 0.15 * thinning) * foramen)


def _add_canal(canvas: Canvas, molars: Sequence[Tooth], draws: Field) -> None:
    """Draw the mandibular canal, 3 mm wide with thin walls, below the apices of the molars."""
    height, slope, *_ = draws
    distal = -molars[0].mesial
    apex = np.mean([tooth.y + tooth.length for tooth in molars])
    along = (canvas.x - np.float32(molars[0].x)) * np.float32(distal)
    middle = np.float32(apex + 3.4 + 1.2 * height) - np.float32(0.12 + 0.08 * slope) * along
    middle = middle + np.float32(0.006) * along * along
    across = np.abs(canvas.y - middle)
    reach = smooth_step(along, -9.0, -4.0)
    take_bone(canvas, np.float32(0.28) * smooth_step(1.5 - across, -0.1, 0.5) * reach)
    wall = np.exp(-np.square((across - 1.6) / 0.25)) * reach
    canvas.layer("cortical_bone")[...] += np.float32(0.55) * wall


def _add_mental_foramen(canvas: Canvas, premolar: Tooth, draws: Field) -> None:
    """Draw the mental foramen, a dark oval near the apex of a premolar."""
    across_shift, down_shift, *_ = draws
    x, y = premolar.place(2.5 * float(across_shift), premolar.length + 2.5 + float(down_shift))
    across = (canvas.x - np.float32(x)) / np.float32(1.9)
    down = (canvas.y - np.float32(y)) / np.float32(1.4)
    oval = smooth_step(1 - np.square(across) - np.square(down), 0.0, 0.8)
    take_bone(canvas, np.float32(0.45) * oval)
