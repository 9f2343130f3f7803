"""Jaw bone around teeth: alveolar process, ligament space, lamina dura, trabeculae."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from monai_dental.phantom.canvas import Canvas, Field, smooth_noise, smooth_step
from monai_dental.phantom.dentition import Tooth, ToothClass
from monai_dental.phantom.projection import ToothProjection

LIGAMENT_MM = 0.22  # typical width of the periodontal ligament space (0.15 to 0.38)
LAMINA_DURA_MM = 0.25
GUM_MM = 2.6  # from the crest to the top of the papilla, typical
ROOT_RADIUS_MM = 2.4


@dataclass(frozen=True)
class Jaw:
    """The bone of one arch, lengths in mm.

    Attributes:
        is_upper: Maxilla or mandible.
        crest: Alveolar crest as knots (x, y), by ascending x.
        depth: Buccolingual extent of the alveolar process.
        plates: Thickness of the buccal and lingual cortical plates together.
        density: Maximum fraction of the trabecular space that the struts of the pattern fill.
    """

    is_upper: bool
    crest: tuple[tuple[float, float], ...]
    depth: float
    plates: float
    density: float

    def depth_below_crest(self, canvas: Canvas) -> Field:
        """Return the depth of each point in the bone, mm; negative above the crest."""
        knots = np.asarray(self.crest)
        # Use a fine table, as np.interp over the whole image is slow.
        fine = np.linspace(knots[0, 0], knots[-1, 0], 513)
        heights = np.interp(fine, knots[:, 0], knots[:, 1])
        kernel = np.hanning(21)
        heights = np.convolve(np.pad(heights, 10, mode="edge"), kernel / kernel.sum(), mode="valid")
        steps = np.float32(512 / (fine[-1] - fine[0]))
        position = np.clip((canvas.x - np.float32(fine[0])) * steps + np.float32(0.5), 0, 512)
        crest = heights.astype(np.float32)[position.astype(np.intp)]
        return np.asarray((canvas.y - crest) * (-1 if self.is_upper else 1), dtype=np.float32)


def draw_jaw(
    generator: np.random.Generator, teeth: Sequence[Tooth], *, is_upper: bool, bone_loss: float
) -> Jaw:
    """Return the bone that fits a row of teeth.

    Args:
        generator: Source of the individual shape.
        teeth: Teeth of the arch by ascending x, at least one.
        is_upper: Maxilla or mandible.
        bone_loss: Loss of height of the crest in mm, from its healthy height.
    """
    deep, thick, dense = generator.random(3)
    bumps = generator.standard_normal(20)
    crest: list[tuple[float, float]] = []
    for tooth in teeth:
        depth = tooth.crown_length + 1.4 + bone_loss
        ends = [tooth.place(side * tooth.width * 0.5, depth) for side in (-1, 1)]
        crest += sorted(ends)
    knots = [(2 * crest[0][0] - crest[1][0] - 4.0, crest[0][1])]
    for first, second in zip(crest[1:-1:2], crest[2::2], strict=False):
        middle = ((first[0] + second[0]) / 2, (first[1] + second[1]) / 2)
        knots.append((middle[0], middle[1] + (0.25 + 0.15 * bone_loss) * float(bumps[len(knots)])))
    knots.append((crest[-1][0] + 8.0, crest[-1][1]))
    is_posterior = any(tooth.tooth_class is ToothClass.MOLAR for tooth in teeth)
    return Jaw(
        is_upper=is_upper,
        crest=tuple(sorted(knots)),
        depth=float(9.0 + 3.0 * deep if is_posterior else 7.5 + 2.0 * deep),
        plates=float(1.0 + 0.7 * thick if is_upper else 1.5 + 1.1 * thick),
        density=float(0.26 + 0.16 * dense),
    )


def shell_chord(distance: Field, start: float, end: float) -> Field:
    """Return the path length through a shell around a root.

    Args:
        distance: Distance from the outline of the root in mm, negative inside.
        start: Inner radius of the shell, in mm beyond the root.
        end: Outer radius of the shell, in mm beyond the root.
    """
    reach = np.square(np.maximum(distance + np.float32(ROOT_RADIUS_MM), 0))
    outer = np.sqrt(np.maximum(np.float32((ROOT_RADIUS_MM + end) ** 2) - reach, 0))
    inner = np.sqrt(np.maximum(np.float32((ROOT_RADIUS_MM + start) ** 2) - reach, 0))
    return np.asarray(2 * (outer - inner), dtype=np.float32)


def trabecular_pattern(
    generator: np.random.Generator, canvas: Canvas, extent: tuple[float, float], *, is_upper: bool
) -> Field:
    """Return the pattern of trabeculae, about 0 in marrow spaces to 1 in struts, mean about 0.4.

    Many superimposed layers of struts give a band of spatial frequencies with 1/f falloff (Geraets
    & van der Stelt, Dentomaxillofac. Radiol. 29, 2000); a few single struts stand out as ridges.
    Marrow spaces are 0.5 to 1.5 mm; in the mandible they are larger and more horizontal (typical).
    """
    cell = 0.1  # mm
    rows, columns = (int(np.ceil(side / cell)) + 8 for side in extent)
    scale = generator.uniform(1.1, 1.5) if is_upper else generator.uniform(1.5, 2.1)
    stretch = generator.uniform(1.0, 1.15) if is_upper else generator.uniform(1.1, 1.4)
    pattern = np.full((rows, columns), 0.12, dtype=np.float32)
    for octave, (layers, ridges) in enumerate(
        ((0.06, 0.0), (0.10, 0.30), (0.10, 0.25), (0.06, 0.0))
    ):
        noise = generator.standard_normal((rows, columns), dtype=np.float32)
        sigma = scale * 1.6**octave
        band = cv2.GaussianBlur(noise, (0, 0), sigma * stretch, sigmaY=sigma / stretch)
        band = np.subtract(band, cv2.GaussianBlur(band, (0, 0), 2.0 * sigma))
        band *= 1 / band.std()
        pattern += np.float32(layers) * band
        if ridges:
            pattern += np.float32(ridges) * np.exp(-1.6 * np.square(np.roll(band, 31, axis=(0, 1))))
    patches = smooth_noise(generator, (rows, columns), extent, 4.0)
    pattern *= np.clip(1 + 0.22 * patches, 0.4, 1.6)
    size = canvas.shape
    return np.asarray(
        cv2.resize(pattern, (size[1], size[0]), interpolation=cv2.INTER_CUBIC), dtype=np.float32
    )


def add_bone(
    canvas: Canvas,
    jaw: Jaw,
    projections: Sequence[ToothProjection],
    *,
    pattern: Field,
    cavity: Field,
) -> None:
    """Draw the bone and the gum of one arch around its teeth.

    Args:
        canvas: Where to draw.
        jaw: What to draw.
        projections: The teeth of the arch.
        pattern: Trabeculae, (H, W).
        cavity: Bone lost to lesions, mm along the beam, (H, W).
    """
    tooth = np.zeros(canvas.shape, dtype=np.float32)
    ligament, lamina = np.zeros_like(tooth), np.zeros_like(tooth)
    for projection in projections:
        window, distance = projection.window, projection.root_distance
        np.maximum(tooth[window], projection.outer, out=tooth[window])
        shell = shell_chord(distance, 0.0, LIGAMENT_MM)
        np.maximum(ligament[window], shell, out=ligament[window])
        shell = shell_chord(distance, LIGAMENT_MM, LIGAMENT_MM + LAMINA_DURA_MM)
        np.maximum(lamina[window], shell, out=lamina[window])
    # The facial and lingual margins of the bone lie deeper than its crest between the teeth.
    deep = jaw.depth_below_crest(canvas) - np.float32(0.22) * np.minimum(tooth, np.float32(6.0))
    below = np.maximum(deep, 0)
    grown = 1 - np.exp(below * np.float32(-1 / 1.6))
    depth = np.float32(jaw.depth) * grown + np.float32(0.12) * below
    # A lesion that is visible in a radiograph has eroded the cortical plates from inside.
    erosion = 1 - 0.6 * smooth_step(cavity, 0.5, 5.0)
    plates = np.float32(jaw.plates) * (1 - np.exp(-below)) * erosion
    is_bone = smooth_step(deep, 0.0, 1.0)
    ligament *= is_bone
    # The lamina dura fades where the beam is not tangential to the wall of the socket.
    lamina *= is_bone * (1 - smooth_step(cavity, 0.0, 2.0)) * np.clip(0.4 + pattern, 0, 1)
    crest = 1.0 * np.exp(-np.square((deep - 0.3) / 0.25)) * (tooth < 0.5)
    free = np.maximum(depth - plates - tooth - ligament, 0)
    gone = np.minimum(cavity, 0.9 * free)
    free -= gone
    cortical = np.minimum(lamina + crest, free)
    struts = (free - cortical) * np.clip(np.float32(jaw.density) * pattern, 0, 0.6)
    canvas.layer("cortical_bone")[...] += plates + cortical + struts
    canvas.layer("trabecular_bone")[...] += free - cortical - struts
    gum = np.sqrt(np.clip((deep + GUM_MM) / 3.0, 0, 1)) * 6.0
    canvas.layer("soft_tissue")[...] += (
        ligament + gone + np.maximum(gum - 0.5 * tooth, np.float32(1.5) * (gum > 0))
    )
