"""Training images: simulated radiographs and dead leaves, as displayed."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import cv2
import numpy as np

from monai_dental.phantom import draw_markings, mark, simulate_exposure
from monai_dental.phantom.streams import random_stream
from monai_dental.synthetic.leaves import draw_leaves, draw_shadows
from monai_dental.synthetic.texture import Field, draw_texture

SYNTHETIC_VERSION = 1
"""Version of the images, which never change; different images need a new version."""

FIRST_PHANTOM = 1_000_000
"""Phantoms with smaller indices are for evaluation and never used for training."""

PANORAMIC_SIZE = (717, 1471)
NEIGHBORS = 24
"""Number of successive images that share a panoramic radiograph, which is slow to simulate."""


def draw_image(index: int, side: int) -> Field:
    """Return image `index` of the training set, without noise.

    A third are parts of simulated panoramic radiographs with burned-in markings, a quarter dead
    leaves, a quarter shadows of bodies mixed with leaves, and the rest parts of simulated intraoral
    radiographs. They use many display curves, some of them clipped.

    Args:
        index: Number of the image; the same number gives the same image.
        side: Rows and columns, at most 717.

    Returns:
        Intensities in [0, 1], (side, side).
    """
    generator = random_stream(index, "training image")
    kind = index % 12
    draw = _panoramic if kind < 4 else _leaves if kind < 7 else _mix if kind < 10 else _intraoral
    draws: Callable[[np.random.Generator, int, int], Field] = draw
    return show(generator, draws(generator, index, side))


def show(generator: np.random.Generator, image: Field) -> Field:
    """Return an image with a random display curve, which may clip dark or bright parts."""
    if generator.random() < 0.15:
        image = 1 - image
    image = image ** np.float32(2 ** generator.uniform(-0.7, 0.7))
    low, high = generator.uniform(-0.1, 0.25), generator.uniform(0.6, 1.1)
    shown = np.clip(np.float32(low) + np.float32(high - low) * image, 0, 1)
    return np.asarray(shown, dtype=np.float32)


def _leaves(generator: np.random.Generator, index: int, side: int) -> Field:
    return _blur(draw_leaves(generator, (side, side)), generator.uniform(0.3, 1.8))


def _mix(generator: np.random.Generator, index: int, side: int) -> Field:
    """Return shadows with faint leaves and texture."""
    size = (side, side)
    image = draw_shadows(generator, size)
    leaves = _leaves(generator, index, side)
    image = image + np.float32(generator.uniform(0.0, 0.3)) * (leaves - np.float32(0.5))
    image += np.float32(10 ** generator.uniform(-2.5, -1.0)) * draw_texture(generator, size)
    return np.asarray(_blur(image, generator.uniform(0.2, 1.5)).clip(0, 1), dtype=np.float32)


def _intraoral(generator: np.random.Generator, index: int, side: int) -> Field:
    drawn = int(round(side * 2 ** generator.uniform(0, 1.5)))
    exposure = simulate_exposure(FIRST_PHANTOM + index, size=(drawn, drawn), bits_stored=16)
    return _cut(generator, exposure.clean / np.float32(65535), side)


def _panoramic(generator: np.random.Generator, index: int, side: int) -> Field:
    """Return a part of a panoramic radiograph; neighbours in the set may share one."""
    return _cut(generator, _whole_panoramic(FIRST_PHANTOM + index // NEIGHBORS), side)


@lru_cache(maxsize=1)
def _whole_panoramic(phantom: int) -> Field:
    exposure = simulate_exposure(phantom, size=PANORAMIC_SIZE, bits_stored=16, view="panoramic")
    marked = mark(exposure, draw_markings(phantom, PANORAMIC_SIZE))
    return np.asarray(marked.clean / np.float32(65535), dtype=np.float32)


def _cut(generator: np.random.Generator, image: Field, side: int) -> Field:
    top, left = (int(generator.integers(length - side + 1)) for length in image.shape)
    return np.asarray(image[top : top + side, left : left + side], dtype=np.float32)


def _blur(image: Field, sigma: float) -> Field:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), float(sigma)), dtype=np.float32)
