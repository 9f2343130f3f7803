"""The sensor: moments and correlation of its noise, its display curve, its stored values."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from monai_dental.phantom.detector import Detector, DisplayCurve, to_stored_values

DETECTOR = Detector(photons=400.0, blur=0.0, electronic_noise=0.0, gain=10.0)


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(7)


def flat(signal: float) -> np.ndarray:
    return np.full((400, 400), signal, dtype=np.float32)


@pytest.mark.parametrize("signal", [0.02, 0.3, 1.0])
def test_quantum_noise_has_poisson_moments(signal: float, generator: np.random.Generator) -> None:
    noisy = DETECTOR.record_noisy(flat(signal), generator)
    assert noisy.mean() == pytest.approx(signal, rel=0.01)
    assert noisy.var() == pytest.approx(signal / DETECTOR.photons, rel=0.03)


def test_electronic_noise_is_added_after_the_blur(generator: np.random.Generator) -> None:
    detector = replace(DETECTOR, blur=1.5, electronic_noise=0.01)
    noise = detector.record_noisy(flat(0.0), generator)
    assert noise.std() == pytest.approx(0.01, rel=0.02)
    assert abs(np.corrcoef(noise[:, 1:].ravel(), noise[:, :-1].ravel())[0, 1]) < 0.02


@pytest.mark.parametrize("blur", [0.65, 0.8, 1.2])
def test_blur_correlates_the_noise_as_its_kernel_says(
    blur: float, generator: np.random.Generator
) -> None:
    noise = replace(DETECTOR, blur=blur).record_noisy(flat(1.0), generator) - 1.0
    offsets = np.arange(-8, 9)
    kernel = np.exp(-(offsets**2) / (2 * blur**2))
    kernel /= kernel.sum()
    power = (kernel**2).sum()
    for axis in (0, 1):
        ahead, behind = np.delete(noise, 0, axis), np.delete(noise, -1, axis)
        measured = np.corrcoef(ahead.ravel(), behind.ravel())[0, 1]
        expected = (kernel[1:] * kernel[:-1]).sum() / power
        assert measured == pytest.approx(expected, abs=0.02)
    assert noise.var() == pytest.approx(power**2 / DETECTOR.photons, rel=0.03)


def test_full_well_saturates(generator: np.random.Generator) -> None:
    detector = replace(DETECTOR, gain=0.5)
    assert detector.record(flat(0.8)).max() == 0.5
    assert detector.record_noisy(flat(0.8), generator).max() == 0.5


@pytest.mark.parametrize("kind", ["log", "root"])
@pytest.mark.parametrize("gamma", [0.8, 1.0, 1.2])
def test_more_attenuation_is_brighter(kind: str, gamma: float) -> None:
    curve = DisplayCurve(kind, black=0.9, white=0.02, gamma=gamma)
    shown = curve.show(np.geomspace(0.9, 0.02, 50, dtype=np.float32))
    assert shown[0] == pytest.approx(0.0, abs=1e-5)
    assert shown[-1] == pytest.approx(1.0, abs=1e-5)
    assert (np.diff(shown) > 0).all()


@pytest.mark.parametrize("kind", ["log", "root"])
def test_no_light_and_too_much_light_are_clipped(kind: str) -> None:
    curve = DisplayCurve(kind, black=0.9, white=0.02, gamma=1.0)
    np.testing.assert_array_equal(curve.show(np.array([-0.1, 0.0, 5.0], np.float32)), [1, 1, 0])


@pytest.mark.parametrize(
    ("bits_stored", "dtype"), [(8, np.uint8), (10, np.uint16), (12, np.uint16), (16, np.uint16)]
)
def test_stored_values_use_all_bits(bits_stored: int, dtype: type) -> None:
    stored = to_stored_values(np.array([0.0, 0.5, 1.0], np.float32), bits_stored)
    assert stored.dtype == dtype
    assert stored[0] == 0
    assert stored[1] == pytest.approx(2 ** (bits_stored - 1), abs=1)
    assert stored[2] == 2**bits_stored - 1


def test_odd_bit_depth_is_refused() -> None:
    with pytest.raises(ValueError, match="bits_stored is 9"):
        to_stored_values(np.zeros(1, np.float32), 9)
