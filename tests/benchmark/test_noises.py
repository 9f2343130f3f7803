import numpy as np
import pytest
import torch

from monai_dental.benchmark.noises import (
    ELECTRONIC_SIGMA,
    NOISES,
    SENSORS,
    WEAK_NOISES,
    Noise,
    kernel_of,
)
from monai_dental.noise.octaves import halve

EVERY = pytest.mark.parametrize("noise", NOISES + WEAK_NOISES, ids=lambda noise: noise.name)
MID_GREY = np.full((400, 400), 0.5, np.float32)


@EVERY
def test_noise_is_what_it_says(noise):
    added = noise.add(MID_GREY, seed=1) - MID_GREY

    # A blur of 2.4 leaves few independent pixels.
    assert added.std() == pytest.approx(noise.sigma, rel=0.04 if noise.blur > 1.1 else 0.025)


@EVERY
def test_noise_that_is_given_is_that_which_is_added_in_each_octave(noise):
    model = noise.model(0.0, 1.0)

    for level in (0.1, 0.5, 0.9):
        added = torch.from_numpy(noise.add(np.full((600, 600), level, np.float32), seed=2)) - level
        half = halve(added)
        quarter = halve(half)
        variances = torch.stack([plane.square().mean() for plane in (added, half, quarter)])
        octaves = torch.cat([variances[:-1] - variances[1:], variances[-1:]])
        told = model.octaves[:, round(level * (model.octaves.shape[1] - 1))]
        assert torch.allclose(told, octaves, rtol=0.12, atol=0.02 * float(variances[0]))
    assert torch.allclose(model.octaves.sum(dim=0), model.variances, rtol=1e-4)


@pytest.mark.parametrize(("low", "span"), [(0.0, 1.0), (-0.1, 1.3), (0.2, 0.5)])
@pytest.mark.parametrize("noise", [Noise(0.04, 1.1), Noise(0.01, 1.1)])
def test_noise_that_is_given_is_told_in_units_of_the_scaled_image(noise, low, span):
    model = noise.model(low, span)

    clean = torch.tensor([0.0, 0.02, 0.5, 0.6])
    told = model.variance((clean - low) / span) * span**2
    true = noise.electronic_sigma**2 + noise.gain * clean
    within = clean >= low
    # Between points of the curve.
    assert torch.allclose(told[within], true[within], rtol=0.01, atol=0.025 * noise.sigma**2)
    assert torch.allclose(model.octaves.sum(dim=0), model.variances, rtol=1e-4)


def test_weak_noise_is_quantum_noise_for_the_most_part():
    assert Noise(0.005, 1.1).electronic_sigma == 0.00125
    assert Noise(0.02, 1.1).electronic_sigma == ELECTRONIC_SIGMA
    assert all(noise.gain > 0 for noise in WEAK_NOISES if noise.blur)


def test_noise_of_a_sensor_has_its_correlation():
    model = Noise(0.025, sensor="sensor").model(0.0, 1.0)

    middle = len(model.autocorrelation) // 2
    for lags in (model.autocorrelation[middle, middle:], model.autocorrelation[middle:, middle]):
        assert lags[:7].tolist() == pytest.approx(SENSORS["sensor"], abs=0.02)
        assert lags[7:].abs().max() < 0.02


def test_kernel_of_a_correlation_that_cannot_be_is_near_it():
    kernel = kernel_of((1.0, -0.9, 0.9, 0.0))

    assert kernel.square().sum() == pytest.approx(1)
    assert torch.allclose(kernel, kernel.flip(0, 1))


@EVERY
def test_spectrum_is_that_of_the_noise(noise):
    power = noise.spectrum((128, 128), 0.5)

    assert power.mean() == pytest.approx(1)
    planes = [noise.add(np.full((128, 128), 0.5, np.float32), seed) - 0.5 for seed in range(40)]
    window = np.outer(np.hanning(128), np.hanning(128))  # else low frequencies leak into high ones
    powers = [np.square(np.abs(np.fft.fft2(window * plane))) for plane in planes]
    measured = np.mean(powers, axis=0) / np.square(window).sum() / noise.sigma**2
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(128), np.fft.fftfreq(128)))
    for low in (0.05, 0.1, 0.2, 0.3, 0.4):  # the mean of each plane is hardly measured
        ring = (radius >= low) & (radius < low + 0.1)
        assert measured[ring].mean() == pytest.approx(power[ring].mean(), rel=0.12, abs=0.02)


def test_spectrum_of_an_intensity_without_quanta_is_white():
    power = Noise(0.02, 1.4).spectrum((32, 48), 0.0)

    np.testing.assert_allclose(power, np.ones((32, 48)), rtol=1e-6)
