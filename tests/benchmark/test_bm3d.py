import numpy as np
import pytest

from monai_dental.benchmark.bm3d import bm3d_told, bm3d_white
from monai_dental.benchmark.noises import Noise
from monai_dental.metrics import psnr
from monai_dental.phantom import simulate_exposure

pytest.importorskip("bm3d", reason="bm3d is for non-commercial use only, not a dependency")


@pytest.fixture(scope="module")
def clean():
    exposure = simulate_exposure(1, size=(128, 128), bits_stored=16)
    return (exposure.clean / 65535).astype(np.float32)


def test_spectrum_helps_with_correlated_noise(clean):
    noise = Noise(0.04, 1.4)
    noisy = noise.add(clean, 0)

    told, white = bm3d_told(noisy, noise), bm3d_white(noisy, noise.sigma)

    assert psnr(told, clean, 1.0) > psnr(white, clean, 1.0) + 2
    assert told.dtype == np.float32
    assert told.shape == clean.shape


def test_flat_spectrum_is_that_of_white_noise(clean, monkeypatch):
    noisy = Noise(0.05).add(clean, 0)
    expected = bm3d_told(noisy, Noise(0.05))
    np.testing.assert_array_equal(expected, bm3d_white(noisy, 0.05))

    monkeypatch.setattr(Noise, "is_white", False)

    assert psnr(bm3d_told(noisy, Noise(0.05)), expected, 1.0) > 80


def test_numpy_is_left_as_it_was(clean):
    before = hasattr(np, "trapz")

    bm3d_told(Noise(0.02, sensor="sensor").add(clean, 0), Noise(0.02, sensor="sensor"))

    assert hasattr(np, "trapz") == before
