"""Markings burned into stored panoramic radiographs: letters, text, borders, edges of scans."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from monai_dental.phantom.canvas import Field, Mask, smooth_noise, smooth_step
from monai_dental.phantom.simulate import Exposure
from monai_dental.phantom.streams import random_stream

FONTS = (
    cv2.FONT_HERSHEY_SIMPLEX,
    cv2.FONT_HERSHEY_DUPLEX,
    cv2.FONT_HERSHEY_TRIPLEX,
    cv2.FONT_HERSHEY_PLAIN,
)
WORDS = ("PANORAMIC", "PAN", "70 kV", "66 kV 8 mA", "14.1 s", "ADULT", "P1", "STANDARD")
_COVERED = 0.999  # opacity above which neither image nor noise is left


@dataclass(frozen=True)
class Markings:
    """Markings over an image.

    Attributes:
        values: Display values of the markings times their opacity, (H, W), 0 to 1.
        opacity: 0 where only the image is visible, 1 where only the marking is, (H, W).
        kinds: Kinds that are present: `"border"`, `"frame"`, `"last_rows"`, `"letter"`, `"text"`.
    """

    values: Field
    opacity: Field
    kinds: tuple[str, ...]

    @property
    def mask(self) -> Mask:
        """Mask of where nothing of the image is visible, (H, W)."""
        return self.opacity >= _COVERED

    def _cover(self, shape: Field, value: float) -> None:
        keep = 1 - shape
        np.add(self.values * keep, np.float32(value) * shape, out=self.values)
        np.add(self.opacity * keep, shape, out=self.opacity)


def draw_markings(index: int, size: tuple[int, int]) -> Markings:
    """Return the markings of phantom `index`; few images have none, some have several.

    Args:
        index: Number of the phantom.
        size: Rows and columns.
    """
    generator = random_stream(index, "markings")
    chances = generator.random(5)
    kinds = tuple(
        kind
        for kind, chance, share in zip(
            ("border", "frame", "last_rows", "letter", "text"),
            chances,
            (0.7, 0.12, 0.15, 0.85, 0.2),
            strict=True,
        )
        if chance < share
    )
    blank = np.zeros(size, dtype=np.float32)
    markings = Markings(values=blank, opacity=blank.copy(), kinds=kinds)
    streams = {kind: random_stream(index, f"markings {kind}") for kind in kinds}
    if "border" in kinds:
        markings._cover(_soft_border(streams["border"], size), 1.0)
    if "frame" in kinds:
        markings._cover(_frame(streams["frame"], size), 0.0)
    if "last_rows" in kinds:
        rows = max(1, round(size[0] * streams["last_rows"].uniform(0.001, 0.01)))
        lowest = np.zeros(size, dtype=np.float32)
        lowest[-rows:] = 1
        markings._cover(lowest, float(streams["last_rows"].integers(2)))
    if "letter" in kinds:
        _add_letters(markings, streams["letter"])
    if "text" in kinds:
        _add_text(markings, streams["text"])
    return markings


def mark(exposure: Exposure, markings: Markings) -> Exposure:
    """Return an exposure with the same markings burned into the clean and the noisy image.

    Where a marking covers the image, there is no noise and no visible lesion; `Exposure.markings`
    is the mask of these pixels.

    Raises:
        ValueError: The markings were drawn for another size.
    """
    if markings.opacity.shape != exposure.clean.shape:
        raise ValueError(
            f"markings have {markings.opacity.shape} rows and columns; "
            f"the exposure has {exposure.clean.shape}"
        )
    top = np.float32(2**exposure.bits_stored - 1)
    dtype = exposure.clean.dtype
    over, under = markings.values * top, 1 - markings.opacity
    covered = markings.mask
    clean, noisy = (
        np.clip(np.rint(image * under + over), 0, top).astype(dtype)
        for image in (exposure.clean, exposure.noisy)
    )
    noisy[covered] = clean[covered]
    lesions = {kind: mask & ~covered for kind, mask in exposure.lesions.items()}
    return replace(
        exposure,
        clean=clean,
        noisy=noisy,
        lesions={kind: mask for kind, mask in lesions.items() if mask.any()},
        parameters={**exposure.parameters, "markings": list(markings.kinds)},
        markings=covered,
    )


def _from_edges(size: tuple[int, int]) -> tuple[Field, Field]:
    """Return the distances to the nearer side edge and to the nearer of top and bottom, pixels."""
    rows, columns = (np.arange(side, dtype=np.float32) for side in size)
    return (
        np.minimum(columns, columns[::-1])[None, :],
        np.minimum(rows, rows[::-1])[:, None],
    )


def _soft_border(generator: np.random.Generator, size: tuple[int, int]) -> Field:
    """Return a border with rounded corners and an uneven, soft inner edge, like a shutter's."""
    short = min(size)
    width, softness, radius = (
        short * float(share)
        for share in generator.uniform((0.008, 0.012, 0.01), (0.02, 0.035, 0.05))
    )
    across, down = _from_edges(size)
    corner = np.hypot(np.maximum(radius - across, 0), np.maximum(radius - down, 0))
    depth = (
        np.minimum(np.minimum(across, down), radius)
        - corner
        + np.maximum(np.minimum(across, down) - radius, 0)
    )
    depth = depth + np.float32(0.12 * width) * smooth_noise(generator, size, (10.0, 20.0), 0.6)
    return 1 - smooth_step(depth, 0.6 * width, width + softness)


def _frame(generator: np.random.Generator, size: tuple[int, int]) -> Field:
    """Return the sharp black frame that a scan or an export leaves at some of the edges."""
    frame = np.zeros(size, dtype=np.float32)
    widths = np.rint(min(size) * generator.uniform(0.0, 0.03, 4)).astype(int)
    top, right, bottom, left = (int(width) for width in widths)
    frame[:top], frame[size[0] - bottom :] = 1, 1
    frame[:, :left], frame[:, size[1] - right :] = 1, 1
    return frame


def _add_letters(markings: Markings, generator: np.random.Generator) -> None:
    """Add the letter of the patient's left, right, or both sides, plain or with an outline."""
    face, size, place, edge, which, outline = generator.random(6)
    font = FONTS[int(len(FONTS) * face)]
    height = 0.03 + 0.06 * size
    row = 0.9 if place < 0.7 else 0.5 * place
    inset = 0.015 + 0.03 * edge
    sides = ("L",) if which < 0.6 else ("R",) if which < 0.75 else ("L", "R")
    for letter in sides:
        column = 1 - inset - 0.03 if letter == "L" else inset
        _add_words(markings, letter, (row, column), height, font=font, is_outlined=outline < 0.5)


def _add_text(markings: Markings, generator: np.random.Generator) -> None:
    """Add one to three lines of text in a corner, like the settings that devices print."""
    face, size, top, side = generator.random(4)
    font = FONTS[int(len(FONTS) * face)]
    height = 0.016 + 0.014 * size
    row = 0.09 if top < 0.5 else 0.85
    column = 0.02 if side < 0.5 else 0.8
    for line in range(int(generator.integers(1, 4))):
        words = WORDS[int(generator.integers(len(WORDS)))]
        place = row + 1.7 * height * line, column
        _add_words(markings, words, place, height, font=font, is_outlined=False)


def _add_words(
    markings: Markings,
    words: str,
    place: tuple[float, float],
    height: float,
    *,
    font: int,
    is_outlined: bool,
) -> None:
    """Add words at a place (down, across) in fractions of the image, with a given letter height."""
    rows, columns = markings.opacity.shape
    (_, unit), _ = cv2.getTextSize("L", font, 1.0, 1)
    scale = max(height * rows, 4.0) / unit
    stroke = max(1, round(height * rows / 8))
    origin = round(place[1] * columns), round(place[0] * rows)
    layers = [(3 * stroke, 1.0), (stroke, 0.0)] if is_outlined else [(stroke, 1.0)]
    for width, value in layers:
        shape = np.zeros((rows, columns), dtype=np.uint8)
        cv2.putText(shape, words, origin, font, scale, 255, width, cv2.LINE_AA)
        markings._cover(shape.astype(np.float32) / np.float32(255), value)
