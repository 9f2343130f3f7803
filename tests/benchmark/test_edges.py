import math
from functools import partial

import cv2
import numpy as np
import pytest

from monai_dental.benchmark.edges import (
    CONTRASTS,
    EDGE_NOISES,
    LEVELS,
    edge_image,
    measure_edges,
    strength_for,
)
from monai_dental.benchmark.noises import NOISES, Noise


def test_noises_of_edges_are_among_those_of_images():
    assert set(EDGE_NOISES) <= set(NOISES)


@pytest.mark.parametrize("level", [0.25, 0.5, 0.9])
def test_blend_leaves_as_much_noise_as_asked_for(level):
    generator = np.random.default_rng(0)
    before = generator.normal(size=100_000)
    after = 0.1 * before + 0.1 * generator.normal(size=100_000)
    moments = [float(np.mean(a * b)) for a, b in ((before, before), (before, after), (after,) * 2)]

    strength = strength_for(level, *moments)

    assert 0 < strength < 1
    assert np.std(before + strength * (after - before)) == pytest.approx(level, rel=0.01)


def test_method_that_leaves_more_noise_has_no_strength():
    assert math.isnan(strength_for(0.25, 1.0, 0.5, 0.25))
    assert math.isnan(strength_for(0.5, 1.0, 1.0, 1.0))  # it does nothing
    assert strength_for(0.5, 1.0, 0.5, 0.25) == pytest.approx(1)


def test_edge_has_its_contrast_and_the_image_its_range():
    edge = edge_image(0.05)

    assert edge[100, 130] - edge[100, 30] == pytest.approx(0.05, abs=1e-4)
    assert (edge.min(), edge.max()) == (0, 1)


@pytest.fixture(scope="module")
def figures():
    """Figures of a method that blurs, and of one that removes only noise."""
    noise = Noise(0.02)

    def perfect(image):
        clean = min(map(edge_image, CONTRASTS), key=lambda edge: np.square(image - edge).mean())
        return clean + 0.1 * (image - clean)

    blur = partial(cv2.GaussianBlur, ksize=(0, 0), sigmaX=1.2)
    return {
        name: {(f.contrast, f.level): f for f in measure_edges(method, noise, 0, count=8)}
        for name, method in (("blur", blur), ("perfect", perfect))
    }


def test_method_that_takes_off_noise_alone_keeps_edges(figures):
    assert len(figures["perfect"]) == len(CONTRASTS) * len(LEVELS)
    for figure in figures["perfect"].values():
        assert figure.ratio == pytest.approx(1, abs=max(4 * figure.error, 0.03))


def test_blur_is_told_and_less_of_it_where_more_noise_is_left(figures):
    much, little = (figures["blur"][0.1, level].ratio for level in (0.25, 0.5))

    # MTF of the edge's blur of 0.78 with that of the method, 1.2.
    assert much == pytest.approx(0.78 / math.hypot(0.78, 1.2), abs=0.06)
    assert little > much + 0.03


def test_method_that_leaves_too_much_noise_has_no_figure():
    figures = measure_edges(lambda image: image, Noise(0.02), 0, count=2)

    assert all(math.isnan(figure.ratio) and math.isnan(figure.error) for figure in figures)
