"""Fixed orthodontic appliances: brackets and arch wires."""

from __future__ import annotations

from collections.abc import Sequence

from monai_dental.phantom.canvas import Canvas
from monai_dental.phantom.dentition import Tooth
from monai_dental.phantom.strokes import Points, paint_areas, paint_lines, smooth_line

BRACKET_MM = (3.2, 2.8)
"""Mesiodistal and vertical size of a bracket, typical."""
WIRE_MM = 0.45
_STEEL_AS_TITANIUM = 3.0  # approximate path in titanium that attenuates like 1 mm of steel


def add_brackets(canvas: Canvas, teeth: Sequence[Tooth]) -> None:
    """Draw a bracket on each tooth from second premolar to second premolar, and the wire.

    Args:
        canvas: Canvas with the teeth.
        teeth: The teeth of one arch, by ascending x.
    """
    borne = [tooth for tooth in teeth if tooth.number % 10 < 6]
    if len(borne) < 2:
        return
    wide, high = BRACKET_MM[0] / 2, BRACKET_MM[1] / 2
    areas, slots = [], []
    for tooth in borne:
        middle = 0.48 * tooth.crown_length
        slots.append(tooth.place(0.0, middle))
        for level in (-0.62, 0.62):  # the wings, above and below the slot
            corners = ((-wide, -0.38), (wide, -0.38), (wide, 0.38), (-wide, 0.38))
            outline: Points = tuple(tooth.place(u, middle + (level + v) * high) for u, v in corners)
            areas.append((1.0, outline))
    metal = 0.7 * _STEEL_AS_TITANIUM * paint_areas(canvas, areas, blur=0.08)
    wire = [(1.0, smooth_line(tuple(slots)))]
    metal += _STEEL_AS_TITANIUM * WIRE_MM * paint_lines(canvas, wire, width=WIRE_MM, blur=0.08)
    canvas.layer("titanium")[...] += metal
