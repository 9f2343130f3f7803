"""Draw a scene on a canvas: the path lengths of everything in the beam."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from monai_dental.phantom.appliances import add_brackets
from monai_dental.phantom.bone import Jaw, add_bone, trabecular_pattern
from monai_dental.phantom.canvas import Canvas, Field, Mask, blank_canvas, smooth_noise
from monai_dental.phantom.collimation import draw_exposed_area
from monai_dental.phantom.dentition import Tooth
from monai_dental.phantom.head import add_head
from monai_dental.phantom.jawbones import OutlinedJaw, add_jaw_landmarks
from monai_dental.phantom.landmarks import add_landmarks
from monai_dental.phantom.lesions import (
    Lesion,
    decay,
    draw_lesions,
    is_visible_cavity,
    periapical_cavity,
)
from monai_dental.phantom.panorama import Panorama, smear
from monai_dental.phantom.projection import ToothProjection, project_tooth
from monai_dental.phantom.restorations import Restoration, draw_restorations, restore
from monai_dental.phantom.scene import Scene
from monai_dental.phantom.streams import random_stream

METALS = ("amalgam", "titanium", "zirconia", "gutta_percha")
_PANORAMIC_COARSENESS = 1.25
_PANORAMIC_CONTRAST = 1.7


@dataclass(frozen=True)
class Drawing:
    """A drawn scene.

    Attributes:
        canvas: Path lengths of all materials.
        teeth: Teeth that are at least partly in the image.
        restorations: Their restorations.
        lesions: Their lesions.
        lesion_masks: Mask of the lesions of each kind, (H, W); kinds without a lesion are left out.
        beam: Intensity of the beam before it reaches the patient, 0 to 1, (H, W).
        is_unexposed: Mask of the area outside the beam, (H, W).
    """

    canvas: Canvas
    teeth: tuple[Tooth, ...]
    restorations: tuple[Restoration, ...]
    lesions: tuple[Lesion, ...]
    lesion_masks: dict[str, Mask]
    beam: Field
    is_unexposed: Mask


def draw(
    index: int,
    scene: Scene,
    size: tuple[int, int],
    *,
    lesions: Sequence[Lesion] | None = None,
) -> Drawing:
    """Return the drawing of a scene.

    Args:
        index: Number of the phantom.
        scene: What to draw.
        size: Rows and columns.
        lesions: Lesions to draw; None for those given by the index. The severity of a periapical
            lesion is the fraction of its cavity that is empty.
    """
    canvas = blank_canvas(random_stream(index, "warp"), size, scene.field, scene.tilt)
    restorations = _all_restorations(index, scene)
    rootless = {item.number for item in restorations if item.kind == "pontic"}
    if lesions is None:
        lesions = draw_lesions(
            random_stream(index, "lesions"),
            [tooth for tooth in scene.teeth if tooth.number not in rootless],
            restored={restoration.number for restoration in restorations},
            view=scene.view,
        )
    masks: dict[str, Mask] = {}
    visible: list[Tooth] = []
    patterns = _trabeculae(index, scene, canvas)
    for jaw in scene.jaws:
        cavity = np.zeros(canvas.shape, dtype=np.float32)
        projections: list[ToothProjection] = []
        for tooth in scene.arch(is_upper=jaw.is_upper):
            own = [lesion for lesion in lesions if lesion.number == tooth.number]
            for lesion in own:
                if lesion.kind == "periapical_lesion":
                    emptied = np.float32(lesion.severity) * periapical_cavity(canvas, tooth, lesion)
                    np.maximum(cavity, emptied, out=cavity)
            projection = _draw_tooth(canvas, scene, tooth, restorations, own, masks)
            if projection is not None:
                visible.append(tooth)
                projections.append(projection)
        add_bone(canvas, jaw, projections, pattern=patterns[jaw.is_upper], cavity=cavity)
        _add_landmarks(index, scene, jaw, canvas)
        mask = is_visible_cavity(cavity)
        for projection in projections:
            mask[projection.window] &= projection.root_distance > 0
        if mask.any():
            _mark(masks, "periapical_lesion", canvas)[...] |= mask
    evenness = 0.05 if isinstance(scene, Panorama) else 0.15
    cheek = 1 + evenness * smooth_noise(random_stream(index, "cheek"), size, scene.field, 12.0)
    canvas.layer("soft_tissue")[...] += np.float32(scene.cheek) * np.clip(cheek, 0.4, 1.6)
    if isinstance(scene, Panorama):
        add_head(canvas, random_stream(index, "head"), scene.skull)
        beam = np.ones(size, dtype=np.float32)
        is_unexposed = np.zeros(size, dtype=np.bool_)
    else:
        stream = random_stream(index, "collimation")
        beam, is_unexposed = draw_exposed_area(stream, size, scene.field)
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


def _draw_tooth(
    canvas: Canvas,
    scene: Scene,
    tooth: Tooth,
    restorations: Sequence[Restoration],
    lesions: Sequence[Lesion],
    masks: dict[str, Mask],
) -> ToothProjection | None:
    """Draw a tooth with its restorations and caries, and mark the caries in the masks.

    Returns:
        Its projection; None if it lies outside the image.
    """
    projection = project_tooth(tooth, canvas)
    if projection is None:
        return None
    for restoration in restorations:
        if restoration.number == tooth.number:
            projection = restore(projection, restoration)
    for lesion in lesions:
        if lesion.kind != "periapical_lesion":
            projection, mask = decay(projection, lesion)
            _mark(masks, lesion.kind, canvas)[projection.window] |= mask
    if isinstance(scene, Panorama):
        projection = smear(projection, canvas.pitch)
    for material, layer in projection.layers.items():
        canvas.layer(material)[projection.window] += layer
    return projection


def _mark(masks: dict[str, Mask], kind: str, canvas: Canvas) -> Mask:
    return masks.setdefault(kind, np.zeros(canvas.shape, dtype=np.bool_))


def _all_restorations(index: int, scene: Scene) -> tuple[Restoration, ...]:
    """Return the restorations of single teeth, replaced by bridges where there are any."""
    single = draw_restorations(random_stream(index, "restorations"), scene.teeth, scene.age)
    if not isinstance(scene, Panorama):
        return single
    bridged = {item.number for item in scene.bridges}
    lying = {tooth.number for tooth in scene.teeth if tooth.number % 10 == 8}
    return scene.bridges + tuple(item for item in single if item.number not in bridged | lying)


def _trabeculae(index: int, scene: Scene, canvas: Canvas) -> dict[bool, Field]:
    """Return the trabecular pattern of each jaw, (H, W), keyed by whether it is the upper jaw."""
    if isinstance(scene, Panorama):
        lower = _panoramic_trabeculae(index, scene, canvas)
        return {True: lower[::-1], False: lower}
    patterns = {}
    for jaw in scene.jaws:
        stream = random_stream(index, f"{'upper' if jaw.is_upper else 'lower'} trabeculae")
        pattern = trabecular_pattern(stream, canvas, scene.field, is_upper=jaw.is_upper)
        patterns[jaw.is_upper] = pattern
    return patterns


def _panoramic_trabeculae(index: int, scene: Scene, canvas: Canvas) -> Field:
    """Return the trabecular pattern over the whole image, (H, W).

    The layer in focus is thick, so its pattern is coarser than single trabeculae. The left side is
    the right one rotated, to save drawing time.
    """
    columns = canvas.shape[1]
    side = replace(canvas, x=canvas.x[:, : -(-columns // 2) + columns // 64 + 1])
    width = scene.field[1] * side.shape[1] / columns
    extent = scene.field[0] / _PANORAMIC_COARSENESS, width / _PANORAMIC_COARSENESS
    stream = random_stream(index, "panoramic trabeculae")
    right = trabecular_pattern(stream, side, extent, is_upper=False)
    left = right[::-1, ::-1]
    overlap = 2 * side.shape[1] - columns
    ramp = np.linspace(0, 1, overlap, dtype=np.float32)
    middle = right[:, -overlap:] * (1 - ramp) + left[:, :overlap] * ramp
    pattern = np.hstack([right[:, :-overlap], middle, left[:, overlap:]])
    return np.asarray(_PANORAMIC_CONTRAST * (pattern - 0.4) + 0.55, dtype=np.float32)


def _add_landmarks(index: int, scene: Scene, jaw: Jaw, canvas: Canvas) -> None:
    name = "upper" if jaw.is_upper else "lower"
    stream = random_stream(index, f"{name} landmarks")
    teeth = scene.arch(is_upper=jaw.is_upper)
    if isinstance(scene, Panorama) and isinstance(jaw, OutlinedJaw):
        add_jaw_landmarks(canvas, stream, jaw, scene.skull)
        if scene.has_brackets:
            add_brackets(canvas, teeth)
    else:
        add_landmarks(canvas, stream, teeth, is_upper=jaw.is_upper)
