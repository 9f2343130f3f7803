"""From a scene to path lengths: everything that lies in the beam, drawn on a canvas."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from monai_dental.phantom.bone import add_bone, trabecular_pattern
from monai_dental.phantom.canvas import Canvas, Field, Mask, blank_canvas, smooth_noise
from monai_dental.phantom.collimation import draw_exposed_area
from monai_dental.phantom.dentition import Tooth
from monai_dental.phantom.landmarks import add_landmarks
from monai_dental.phantom.lesions import (
    Lesion,
    decay,
    draw_lesions,
    is_visible_cavity,
    periapical_cavity,
)
from monai_dental.phantom.projection import ToothProjection, project_tooth
from monai_dental.phantom.restorations import Restoration, draw_restorations, restore
from monai_dental.phantom.scene import Scene
from monai_dental.phantom.streams import random_stream

METALS = ("amalgam", "titanium", "zirconia", "gutta_percha")


@dataclass(frozen=True)
class Drawing:
    """A drawn scene.

    Attributes:
        canvas: Path lengths of all materials.
        teeth: Teeth that are in the image, at least in part.
        restorations: Their restorations.
        lesions: Their lesions.
        lesion_masks: Where lesions of a kind lie, (H, W) each; kinds without a lesion are left out.
        beam: Intensity of the beam before it meets the patient, 0 to 1, (H, W).
        is_unexposed: Where the beam was cut off, (H, W).
    """

    canvas: Canvas
    teeth: tuple[Tooth, ...]
    restorations: tuple[Restoration, ...]
    lesions: tuple[Lesion, ...]
    lesion_masks: dict[str, Mask]
    beam: Field
    is_unexposed: Mask


def draw(index: int, scene: Scene, size: tuple[int, int], *, with_lesions: bool = True) -> Drawing:
    """Return the drawing of a scene.

    Args:
        index: Number of the phantom.
        scene: What to draw.
        size: Rows and columns.
        with_lesions: False leaves the lesions out and changes nothing else.
    """
    canvas = blank_canvas(random_stream(index, "warp"), size, scene.field, scene.tilt)
    restorations = draw_restorations(random_stream(index, "restorations"), scene.teeth, scene.age)
    lesions = draw_lesions(
        random_stream(index, "lesions"),
        scene.teeth,
        restored={restoration.number for restoration in restorations},
        view=scene.view,
    )
    masks: dict[str, Mask] = {}
    visible: list[Tooth] = []
    for jaw in scene.jaws:
        name = "upper" if jaw.is_upper else "lower"
        projections: list[ToothProjection] = []
        cavity = np.zeros(canvas.shape, dtype=np.float32)
        for tooth in scene.arch(is_upper=jaw.is_upper):
            own = [lesion for lesion in lesions if lesion.number == tooth.number and with_lesions]
            projection = project_tooth(tooth, canvas)
            for lesion in own:
                if lesion.kind == "periapical_lesion":
                    np.maximum(cavity, periapical_cavity(canvas, tooth, lesion), out=cavity)
            if projection is None:
                continue
            visible.append(tooth)
            for restoration in restorations:
                if restoration.number == tooth.number:
                    projection = restore(projection, restoration)
            for lesion in own:
                if lesion.kind != "periapical_lesion":
                    projection, mask = decay(projection, lesion)
                    _mark(masks, lesion.kind, canvas)[projection.window] |= mask
            projections.append(projection)
            for material, layer in projection.layers.items():
                canvas.layer(material)[projection.window] += layer
        pattern = trabecular_pattern(
            random_stream(index, f"{name} trabeculae"), canvas, scene.field, is_upper=jaw.is_upper
        )
        add_bone(canvas, jaw, projections, pattern=pattern, cavity=cavity)
        add_landmarks(
            canvas,
            random_stream(index, f"{name} landmarks"),
            scene.arch(is_upper=jaw.is_upper),
            is_upper=jaw.is_upper,
        )
        mask = is_visible_cavity(cavity)
        for projection in projections:
            mask[projection.window] &= projection.root_distance > 0
        if mask.any():
            _mark(masks, "periapical_lesion", canvas)[...] |= mask
    cheek = 1 + 0.15 * smooth_noise(random_stream(index, "cheek"), size, scene.field, 12.0)
    canvas.layer("soft_tissue")[...] += np.float32(scene.cheek) * np.clip(cheek, 0.4, 1.6)
    beam, is_unexposed = draw_exposed_area(random_stream(index, "collimation"), size, scene.field)
    seen = {kind for kind, mask in masks.items() if mask.any()}
    return Drawing(
        canvas=canvas,
        teeth=tuple(visible),
        restorations=tuple(
            item for item in restorations if item.number in {tooth.number for tooth in visible}
        ),
        lesions=tuple(lesion for lesion in lesions if lesion.kind in seen),
        lesion_masks={kind: masks[kind] for kind in sorted(seen)},
        beam=beam,
        is_unexposed=is_unexposed,
    )


def _mark(masks: dict[str, Mask], kind: str, canvas: Canvas) -> Mask:
    return masks.setdefault(kind, np.zeros(canvas.shape, dtype=np.bool_))
