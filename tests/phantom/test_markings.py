"""Burned-in markings: the same in both images, noise-free, masked."""

from __future__ import annotations

import numpy as np
import pytest

from monai_dental.phantom import Exposure, draw_markings, mark, simulate_exposure

SIZE = (180, 360)


@pytest.fixture(scope="module")
def exposure() -> Exposure:
    return simulate_exposure(1, size=SIZE, bits_stored=12, view="panoramic")


@pytest.mark.parametrize("index", range(1, 13))
def test_markings_are_noise_free_and_masked(index: int, exposure: Exposure) -> None:
    markings = draw_markings(index, SIZE)
    marked = mark(exposure, markings)
    assert marked.markings is not None
    np.testing.assert_array_equal(marked.clean[marked.markings], marked.noisy[marked.markings])
    untouched = markings.opacity == 0
    np.testing.assert_array_equal(marked.clean[untouched], exposure.clean[untouched])
    np.testing.assert_array_equal(marked.noisy[untouched], exposure.noisy[untouched])
    assert untouched.mean() > 0.6
    assert marked.markings.any() == bool(markings.kinds)
    assert marked.clean.dtype == exposure.clean.dtype
    assert marked.clean.max() <= 4095


def test_markings_are_the_same_again() -> None:
    first, again = draw_markings(3, SIZE), draw_markings(3, SIZE)
    np.testing.assert_array_equal(first.values, again.values)
    assert first.kinds == again.kinds


def test_every_kind_of_marking_occurs() -> None:
    drawn = [set(draw_markings(index, (32, 64)).kinds) for index in range(1, 60)]
    assert set.union(*drawn) == {"border", "frame", "last_rows", "letter", "text"}
    assert len({frozenset(kinds) for kinds in drawn}) > 5


@pytest.mark.parametrize("size", [(717, 1471), (64, 64), (33, 47), (16, 16)])
def test_markings_fit_every_size(size: tuple[int, int]) -> None:
    for index in range(1, 5):
        markings = draw_markings(index, size)
        assert markings.values.shape == markings.opacity.shape == size
        assert 0 <= markings.values.min() <= markings.values.max() <= 1
        assert 0 <= markings.opacity.min() <= markings.opacity.max() <= 1


def test_lesion_under_a_marking_is_not_seen(exposure: Exposure) -> None:
    markings = draw_markings(2, SIZE)
    covered = markings.mask
    lesion = np.zeros(SIZE, dtype=np.bool_)
    lesion[covered] = True
    exposure.lesions["occlusal_caries"] = lesion
    try:
        assert "occlusal_caries" not in mark(exposure, markings).lesions
    finally:
        del exposure.lesions["occlusal_caries"]


def test_markings_of_another_size_are_refused(exposure: Exposure) -> None:
    with pytest.raises(ValueError, match=r"markings have \(64, 64\) rows"):
        mark(exposure, draw_markings(1, (64, 64)))
