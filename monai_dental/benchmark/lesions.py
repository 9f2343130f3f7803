"""Pairs of phantoms that differ only by known lesions, and their exposures.

The lesions are proximal caries in bitewings and periapical lesions in periapical views. All have
the same size, but the teeth differ. Lesions are faint for an observer that knows the anatomy, so
that only noise hides them. They are distinct for one that does not, where anatomy hides them more
than noise does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from monai_dental.benchmark.observer import contrast_to_noise
from monai_dental.phantom.canvas import Canvas
from monai_dental.phantom.dentition import Tooth
from monai_dental.phantom.detector import Detector, DisplayCurve, to_stored_values
from monai_dental.phantom.drawing import Drawing, draw
from monai_dental.phantom.lesions import Lesion, periapical_cavity
from monai_dental.phantom.projection import crown_half_width
from monai_dental.phantom.scene import draw_scene
from monai_dental.phantom.simulate import draw_technique, primary_signal, simulate_exposure
from monai_dental.phantom.streams import random_stream

Image = NDArray[np.float32]
Place = tuple[int, int]

VIEWS = {"proximal_caries": "bitewing", "periapical_lesion": "periapical"}
"""View for each kind of lesion."""

REGIONS = {"proximal_caries": 64, "periapical_lesion": 96}
"""Side of the square around a lesion that an observer sees, in pixels of about 0.06 mm."""

FULL_DOSE = 400.0
"""Photons per pixel in the unattenuated beam; the phantoms themselves use 120 to 1200."""

_SIZE = (512, 512)
_SEVERITIES = {  # fraction of the mineral lost
    "proximal_caries": {"faint": 0.06, "distinct": 0.5},
    "periapical_lesion": {"faint": 0.3, "distinct": 1.0},
}
_APART_MM = 5.0
_LEAST_CONTRAST = 0.02  # below this, the distinct lesion is hidden or outside the window


@dataclass(frozen=True, eq=False)
class Case:
    """A phantom without and with lesions.

    Attributes:
        signals: Noise-free signals at the scintillator, without lesions (`"absent"`) and with them
            by severity, (H, W) each, 1.0 = unattenuated beam.
        detector: The detector that records the signals.
        curve: The display curve.
        places: Row and column of the centre of each lesion.
    """

    signals: dict[str, Image]
    detector: Detector
    curve: DisplayCurve
    places: tuple[Place, ...] = ()

    def halved(self) -> Case:
        """Return the case at half the dose."""
        detector = replace(self.detector, photons=self.detector.photons / 2)
        return replace(self, detector=detector)

    def expose(self, name: str, seed: tuple[int, ...] | None = None) -> Image:
        """Return an exposure quantized to 12 bits, float32 (H, W) in [0, 1], dense = bright.

        Args:
            name: Key of the signal.
            seed: Seed of the noise, which differs between signals; None for no noise.
        """
        signal = self.signals[name]
        if seed is None:
            recorded = self.detector.record(signal)
        else:
            generator = np.random.default_rng((0, *seed, list(self.signals).index(name)))
            recorded = self.detector.record_noisy(signal, generator)
        stored = to_stored_values(self.curve.show(recorded), 12)
        return np.asarray(stored / np.float32(4095), dtype=np.float32)


def draw_case(index: int, kind: str) -> Case:
    """Return a phantom at full dose, with a lesion on each tooth that has room for one.

    Places where the lesion would not be visible are left out.

    Args:
        index: Number of the phantom.
        kind: Kind of the lesions, a key of `VIEWS`.
    """
    view, technique = VIEWS[kind], draw_technique(index)
    scene = draw_scene(index, _SIZE, view)
    sound = draw(index, scene, _SIZE, lesions=())
    coarse = simulate_exposure(index, size=(400, 400), view=view)  # same display window
    curve = DisplayCurve(**coarse.parameters["display"])
    detector = replace(technique.detector, photons=FULL_DOSE)
    found = _lesions(sound, kind, random_stream(index, "task lesions"))
    signals = {"absent": primary_signal(sound, technique)}
    for name, severity in _SEVERITIES[kind].items():
        own = [replace(lesion, severity=severity) for lesion in found.values()]
        signals[name] = primary_signal(draw(index, scene, _SIZE, lesions=own), technique)
    absent, distinct = (curve.show(detector.record(signals[n])) for n in ("absent", "distinct"))
    lost = absent - distinct
    side = REGIONS[kind]
    seen = (at for at in found if lost[_window(at, side)].max() >= _LEAST_CONTRAST)
    return Case(signals, detector, curve, tuple(seen))


def cut(image: Image, places: tuple[Place, ...], side: int) -> Image:
    """Return the squares around the given places, (places, side, side).

    Args:
        image: (H, W).
        places: Row and column of each; `side // 2` or more from all borders.
        side: Height and width of a square in pixels, even.
    """
    return np.stack([image[_window(at, side)] for at in places])


def lesion_ratios(images: Image, clean: Image, clean_with_lesions: Image) -> list[float]:
    """Return the contrast-to-noise ratio of each lesion, positive for lesions, which are dark.

    The lesion is where the noise-free images differ by more than half of their maximum difference;
    its surround is where they differ by less than a twentieth of it.

    Args:
        images: Images with lesions, (places, H, W).
        clean: Noise-free images without lesions, of the same shape.
        clean_with_lesions: Noise-free images with lesions, of the same shape.

    Raises:
        ValueError: The noise-free images do not differ.
    """
    ratios = []
    for image, without, lost in zip(images, clean, clean - clean_with_lesions, strict=True):
        lesion, surround = lost > 0.5 * lost.max(), lost < 0.05 * lost.max()
        ratios.append(-float(contrast_to_noise(image - without, lesion, surround)))
    return ratios


def _lesions(sound: Drawing, kind: str, generator: np.random.Generator) -> dict[Place, Lesion]:
    """Return lesions by place: on unrestored teeth, well apart, in the exposed image area."""
    restored = {restoration.number for restoration in sound.restorations}
    found: dict[Place, Lesion] = {}
    for tooth in sound.teeth:
        lesion = _lesion_of(tooth, kind, float(generator.random()))
        at = _place(sound.canvas, tooth, lesion)
        half = REGIONS[kind] // 2
        if (
            tooth.number not in restored
            and (tooth.number % 10 > 3 or kind == "periapical_lesion")
            and all(half <= i <= length - half for i, length in zip(at, _SIZE, strict=True))
            and not sound.is_unexposed[_window(at, REGIONS[kind])].any()
            and all(math.dist(at, other) * sound.canvas.pitch >= _APART_MM for other in found)
        ):
            found[at] = lesion
    return found


def _lesion_of(tooth: Tooth, kind: str, chance: float) -> Lesion:
    """Return a lesion at one of the sides or roots of a tooth, always of the same size."""
    if kind == "periapical_lesion":
        return Lesion(kind, tooth.number, int(chance * max(len(tooth.roots), 1)), 0.8, 0.0, 1.0)
    return Lesion(kind, tooth.number, 1 if chance < 0.5 else -1, 0.9, 0.7, 1.0)


def _place(canvas: Canvas, tooth: Tooth, lesion: Lesion) -> Place:
    """Return row and column of a lesion's centre; for caries, before the canvas's warp."""
    if lesion.kind == "periapical_lesion":
        deepest = periapical_cavity(canvas, tooth, lesion).argmax()
        row, column = np.unravel_index(deepest, canvas.shape)
        return int(row), int(column)
    v = 0.45 * tooth.crown_length
    half_width = float(crown_half_width(tooth, np.array([v], dtype=np.float32))[0])
    around = canvas.window(tooth.place(lesion.side * (half_width - lesion.depth / 2), v), (0, 0))
    row, column = ((part.start + part.stop) // 2 for part in around)
    return row, column


def _window(at: Place, side: int) -> tuple[slice, slice]:
    """Return the square around a place."""
    row, column = (slice(middle - side // 2, middle + side // 2) for middle in at)
    return row, column
