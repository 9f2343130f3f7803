"""Faint structures in patches, to train a denoiser that keeps them.

In photographs and phantoms, most edges are strong or short. A lesion's rim, a root canal and the
trabeculae around the marrow are long and faint, and training with a squared error easily sacrifices
them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, RandomizableTransform
from numpy.typing import NDArray

Data = Mapping[Hashable, Any]
Image = NDArray[np.float32]

_RADII = (15.0, 3000.0)  # of the arcs, in pixels; the largest look straight in a patch
_BLURS = (0.35, 1.5)  # sigma of an edge's blur in pixels, as in detectors
_WIDTHS = (0.5, 3.0)  # sigma of a line's profile in pixels
_SLOPES = (0.3, 1.8)  # of a texture's spectrum: amplitude ~ frequency to minus this power
_TO_LOGISTIC = 0.59  # scale of the logistic curve closest to a Gaussian's integral


class RandFaintd(RandomizableTransform, MapTransform):
    """Draw faint edges, lines or texture over a fraction of square patches.

    The contrast of the patch itself is reduced first, by a random factor from 0 to 1 that favours
    small values.

    Args:
        keys: Keys of square images, (1, H, H), in [0, 1].
        prob: Fraction of the patches.
        contrast_range: Minimum and maximum contrast, drawn log-uniformly.
    """

    def __init__(
        self, keys: KeysCollection, prob: float, contrast_range: tuple[float, float] = (0.01, 0.3)
    ) -> None:
        MapTransform.__init__(self, keys)
        RandomizableTransform.__init__(self, prob=prob)
        self.contrast_range = contrast_range

    def __call__(self, data: Data) -> dict[Hashable, Any]:
        """Return `data` with plain tensors at `keys`, in [0, 1]."""
        result = dict(data)
        for key in self.key_iterator(result):
            self.randomize(None)
            if not self._do_transform:
                continue
            image = torch.as_tensor(result[key])
            contrast = np.exp(self.R.uniform(*np.log(self.contrast_range)))
            kept = self.R.uniform() ** 2
            pattern = torch.from_numpy(draw_faint(self.R, image.shape[-1]))
            mean = image.mean()
            result[key] = (mean + kept * (image - mean) + contrast * pattern).clamp(0, 1)
        return result


def draw_faint(random: np.random.RandomState, side: int) -> Image:
    """Draw structures of one kind: edges, lines, or texture.

    Args:
        random: Random number generator.
        side: Height and width in pixels.

    Returns:
        Image, (side, side), of mean 0. Steps of edges and heights of lines are at most 1; the
        standard deviation of texture is 0.25.
    """
    kind = random.uniform()
    if kind < 0.5:
        pattern = _sum_of(random, side, _draw_edge, count=random.randint(1, 4))
    elif kind < 0.75:
        pattern = _sum_of(random, side, _draw_line, count=random.randint(1, 6))
    else:
        pattern = _draw_texture(random, side)
    return np.asarray(pattern - pattern.mean(), np.float32)


def _sum_of(
    random: np.random.RandomState,
    side: int,
    draw: Callable[[np.random.RandomState, Image], Image],
    count: int,
) -> Image:
    heights = random.uniform(0.2, 1, count) * random.choice((-1, 1), count)
    heights[0] = 1
    shapes = [draw(random, _distances(random, side)) for _ in range(count)]
    return np.asarray(np.tensordot(np.float32(heights), np.stack(shapes), axes=1))


def _distances(random: np.random.RandomState, side: int) -> Image:
    """Return the signed distance of each pixel from an arc that passes through the image."""
    radius = np.exp(random.uniform(*np.log(_RADII)))
    direction = random.uniform(0, 2 * np.pi)
    row, column = random.uniform(0, side, 2) + radius * np.array(
        (np.sin(direction), np.cos(direction))
    )
    steps = np.arange(side, dtype=np.float64)
    return np.asarray(np.hypot(steps[:, None] - row, steps - column) - radius, np.float32)


def _draw_edge(random: np.random.RandomState, distances: Image) -> Image:
    scale = _TO_LOGISTIC * random.uniform(*_BLURS)
    return np.asarray(0.5 + 0.5 * np.tanh(distances / np.float32(2 * scale)))


def _draw_line(random: np.random.RandomState, distances: Image) -> Image:
    width = np.float32(np.exp(random.uniform(*np.log(_WIDTHS))))
    return np.asarray(np.exp(-0.5 * np.square(distances / width)))


def _draw_texture(random: np.random.RandomState, side: int) -> Image:
    """Draw noise with a falling spectrum, stretched in one direction, over part of the image."""
    frequencies = np.fft.fftfreq(side), np.fft.rfftfreq(side)
    angle, stretch = random.uniform(0, np.pi), np.exp(random.uniform(0, 1.5))
    along = np.cos(angle) * frequencies[0][:, None] + np.sin(angle) * frequencies[1]
    across = np.cos(angle) * frequencies[1] - np.sin(angle) * frequencies[0][:, None]
    radius = np.hypot(stretch * along, across)
    finest = np.exp(random.uniform(*np.log((0.08, 0.35))))
    amplitude = np.exp(-np.square(radius / finest)) / (radius + 0.02) ** random.uniform(*_SLOPES)
    amplitude[0, 0] = 0
    spectrum = np.fft.rfft2(random.standard_normal((side, side))) * amplitude
    texture = np.fft.irfft2(spectrum, (side, side))
    here = _draw_edge(random, _distances(random, side) / np.float32(10))
    return np.asarray(0.25 / texture.std() * texture * here, np.float32)
