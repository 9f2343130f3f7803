"""One simulated radiograph: scene, beam, detector, stored values."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from monai_dental.phantom.attenuation import TUBE_VOLTAGES_KV, transmit
from monai_dental.phantom.canvas import Field, Mask
from monai_dental.phantom.detector import Detector, DisplayCurve, to_stored_values
from monai_dental.phantom.drawing import METALS, Drawing, draw
from monai_dental.phantom.panorama import PANORAMIC, Panorama, draw_panorama
from monai_dental.phantom.scene import INTRAORAL_VIEWS, Scene, draw_scene
from monai_dental.phantom.streams import PHANTOM_VERSION, random_stream

VIEWS = (*INTRAORAL_VIEWS, PANORAMIC)
SMALLEST_SIDE = 16
_DRAWN_SIDE = 400  # below this many pixels, anatomy is drawn finer and its signal averaged


@dataclass(frozen=True)
class Exposure:
    """A simulated radiograph with its ground truth.

    Attributes:
        clean: Noise-free stored values, (rows, columns), MONOCHROME2: dense is bright.
        noisy: The same with noise, on the same display curve.
        lesions: Mask of the lesions of each kind, (rows, columns) each; only kinds that are in the
            image.
        parameters: What was drawn, JSON-serializable.
        pixel_spacing: Row and column pitch at the detector in mm.
        bits_stored: Bits of the stored values.
        markings: Mask of what `markings.mark` burned in, (rows, columns); None if it was not
            called.
    """

    clean: NDArray[np.uint8] | NDArray[np.uint16]
    noisy: NDArray[np.uint8] | NDArray[np.uint16]
    lesions: dict[str, Mask]
    parameters: dict[str, Any]
    pixel_spacing: tuple[float, float]
    bits_stored: int
    markings: Mask | None = None


@dataclass(frozen=True)
class Technique:
    """The technique of an exposure: beam, sensor and display.

    Attributes:
        tube_voltage_kv: Peak voltage of the tube.
        scatter: Scattered fraction of the signal.
        falloff: Change of the beam from one side of the image to the other, (down, across).
        detector: The sensor.
        curve_kind: See `DisplayCurve`.
        gamma: See `DisplayCurve`.
        margin: Width of the display window beyond the darkest and brightest tissue, (black, white),
            as a fraction of the range.
    """

    tube_voltage_kv: int
    scatter: float
    falloff: tuple[float, float]
    detector: Detector
    curve_kind: str
    gamma: float
    margin: tuple[float, float]


def draw_technique(index: int) -> Technique:
    """Return the technique of phantom `index`."""
    generator = random_stream(index, "technique")
    voltage, scatter, down, across, photons, blur, electronic_noise, curve, gamma, margin = (
        generator.random(10)
    )
    return Technique(
        tube_voltage_kv=TUBE_VOLTAGES_KV[int(len(TUBE_VOLTAGES_KV) * voltage)],
        scatter=float(0.03 + 0.07 * scatter),
        falloff=(float(0.12 * (down - 0.5)), float(0.12 * (across - 0.5))),
        detector=Detector(
            photons=float(120 * 10**photons),
            blur=float(0.65 + 0.25 * blur),
            electronic_noise=float(0.0005 + 0.0015 * electronic_noise),
            gain=1.0,
        ),
        curve_kind="log" if curve < 0.7 else "root",
        gamma=float(0.8 + 0.35 * gamma),
        margin=(float(0.02 + 0.1 * margin), 0.04),
    )


def draw_panoramic_technique(index: int) -> Technique:
    """Return the technique of phantom `index` as a panoramic radiograph.

    A head attenuates the beam more than a jaw alone, and the exposure compensates for it.
    """
    generator = random_stream(index, "panoramic technique")
    voltage, scatter, down, across, photons, blur, electronic_noise, gamma = generator.random(8)
    return Technique(
        tube_voltage_kv=TUBE_VOLTAGES_KV[1 + int(2 * voltage)],
        scatter=float(0.03 + 0.03 * scatter),
        falloff=(float(0.12 * (down - 0.5)), float(0.12 * (across - 0.5))),
        detector=Detector(
            photons=float(500 * 10 ** (0.9 * photons)),
            blur=float(0.35 + 0.2 * blur),
            electronic_noise=float(0.0001 + 0.0004 * electronic_noise),
            gain=1.0,
        ),
        curve_kind="log",
        gamma=float(0.85 + 0.3 * gamma),
        margin=(0.02, -0.06),
    )


def simulate_exposure(
    index: int,
    *,
    size: tuple[int, int] = (512, 512),
    bits_stored: int = 12,
    view: str | None = None,
) -> Exposure:
    """Return phantom `index`, always the same for the same arguments and `PHANTOM_VERSION`.

    Args:
        index: Number of the phantom, 0 or more; the phantom does not depend on how many there are.
        size: Rows and columns.
        bits_stored: 8, 10, 12 or 16.
        view: `"periapical"`, `"bitewing"` or `"panoramic"`; None for the intraoral view given by
            the index.

    Raises:
        ValueError: An argument is out of its range.
    """
    if index < 0:
        raise ValueError(f"index is {index}; need 0 or more")
    if min(size) < SMALLEST_SIDE:
        raise ValueError(f"size is {size}; need at least {SMALLEST_SIDE} rows and columns")
    if view is not None and view not in VIEWS:
        raise ValueError(f"view is {view!r}; need one of {VIEWS}")
    scene: Scene
    if view == PANORAMIC:
        scene, technique = draw_panorama(index, size), draw_panoramic_technique(index)
        magnification = scene.magnification
    else:
        scene, technique, magnification = draw_scene(index, size, view), draw_technique(index), 1.0
    factor = max(1, -(-_DRAWN_SIDE // min(size)))
    drawing = draw(index, scene, (size[0] * factor, size[1] * factor))
    signal = primary_signal(drawing, technique)
    curve = _display_curve(signal, drawing, technique)
    signal = _shrink(signal, size)
    detector = technique.detector
    clean = curve.show(detector.record(signal))
    noisy = curve.show(detector.record_noisy(signal, random_stream(index, "noise")))
    pitch = scene.field[0] * magnification / size[0]
    return Exposure(
        clean=to_stored_values(clean, bits_stored),
        noisy=to_stored_values(noisy, bits_stored),
        lesions={
            kind: shrunk
            for kind, mask in drawing.lesion_masks.items()
            if (shrunk := _shrink(mask.astype(np.float32), size) >= 0.5).any()
        },
        parameters=_parameters(index, scene, drawing, technique, curve, pitch),
        pixel_spacing=(pitch, pitch),
        bits_stored=bits_stored,
    )


def primary_signal(drawing: Drawing, technique: Technique) -> Field:
    """Return the noise-free signal at the scintillator with scatter, 1.0 = unattenuated beam."""
    signal = transmit(drawing.canvas.thickness, technique.tube_voltage_kv)
    rows, columns = signal.shape
    down = np.linspace(-0.5, 0.5, rows, dtype=np.float32)[:, None] * np.float32(
        technique.falloff[0]
    )
    across = np.linspace(-0.5, 0.5, columns, dtype=np.float32) * np.float32(technique.falloff[1])
    signal *= (1 + down + across) * drawing.beam
    # Scatter spreads over some millimetres; as it is smooth, it is blurred on a coarse grid.
    coarse = cv2.resize(signal, (32, 32), interpolation=cv2.INTER_AREA)
    glow = cv2.resize(cv2.GaussianBlur(coarse, (0, 0), 5.0), (columns, rows))
    scatter = np.float32(technique.scatter)
    return np.asarray((1 - scatter) * signal + scatter * glow, dtype=np.float32)


def _display_curve(signal: Field, drawing: Drawing, technique: Technique) -> DisplayCurve:
    """Return the window that shows the tissues, regardless of metal and unexposed parts."""
    tissue = ~drawing.is_unexposed
    for metal in METALS:
        tissue &= drawing.canvas.layer(metal) < 0.05
    values = signal[tissue] if tissue.sum() > 100 else signal.ravel()
    black, white = (float(value) for value in np.percentile(values[::7], (99.5, 0.3)))
    reach = np.log(black / white)
    return DisplayCurve(
        kind=technique.curve_kind,
        black=float(black * np.exp(technique.margin[0] * reach)),
        white=float(white * np.exp(-technique.margin[1] * reach)),
        gamma=technique.gamma,
    )


def _shrink(image: Field, size: tuple[int, int]) -> Field:
    """Return an image averaged over blocks of pixels to `size` rows and columns."""
    if image.shape == size:
        return image
    factor = image.shape[0] // size[0]
    blocks = image.reshape(size[0], factor, size[1], factor)
    return np.asarray(blocks.mean(axis=(1, 3)), dtype=np.float32)


def _parameters(
    index: int,
    scene: Scene,
    drawing: Drawing,
    technique: Technique,
    curve: DisplayCurve,
    pitch: float,
) -> dict[str, Any]:
    detector = technique.detector
    own = {}
    magnification = 1.0
    if isinstance(scene, Panorama):
        magnification = scene.magnification
        own = {"magnification": magnification, "brackets": scene.has_brackets}
    return {
        "phantom_version": PHANTOM_VERSION,
        "index": index,
        "view": scene.view,
        "focus": scene.focus,
        "field_mm": [side * magnification for side in scene.field],
        "tilt_rad": scene.tilt,
        "age": scene.age,
        "teeth": [tooth.number for tooth in drawing.teeth],
        "restorations": [asdict(restoration) for restoration in drawing.restorations],
        "lesions": [asdict(lesion) for lesion in drawing.lesions],
        "kvp": technique.tube_voltage_kv,
        "scatter": technique.scatter,
        "photons": detector.photons,
        "blur": detector.blur,
        "electronic_noise": detector.electronic_noise,
        "pitch": pitch,
        "display": asdict(curve),
        **own,
    }
