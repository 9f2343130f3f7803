import math

import cv2
import numpy as np
import pytest

from monai_dental.benchmark.sharpness import (
    compare_edges,
    edge_correlation,
    edge_spread,
    half_frequency,
    slanted_edge,
    transfer_function,
)

ANGLE = math.radians(4.0)
SHAPE = (128, 96)


def blurred_edge(sigma, angle=ANGLE, shape=SHAPE):
    """Return point samples of an edge under a Gaussian."""
    rows, columns = shape
    down, across = np.mgrid[:rows, :columns]
    distance = (across - (columns - 1) / 2) * math.cos(angle) - (down - (rows - 1) / 2) * math.sin(
        angle
    )
    return 0.5 * (1 + np.vectorize(math.erf)(distance / (sigma * math.sqrt(2))))


def mtf50(image, angle=ANGLE):
    return half_frequency(*transfer_function(edge_spread(image, angle)))


@pytest.mark.parametrize("angle", [0.04, ANGLE, 0.12, -ANGLE])
@pytest.mark.parametrize("sigma", [0.6, 0.8, 1.2, 2.0])
def test_gaussian_blur_has_its_analytic_transfer_function(sigma, angle):
    image = blurred_edge(sigma, angle)
    frequencies, transfer = transfer_function(edge_spread(image, angle))
    expected = np.exp(-2 * np.square(np.pi * sigma * frequencies))

    assert transfer[0] == 1
    assert np.abs(transfer - expected)[frequencies <= 0.5].max() < 0.01
    analytic = math.sqrt(2 * math.log(2)) / (2 * math.pi * sigma)
    assert mtf50(image, angle) == pytest.approx(analytic, rel=0.005)


def test_level_and_contrast_do_not_matter():
    image = blurred_edge(0.8)
    assert mtf50(0.4 - 0.02 * image) == pytest.approx(mtf50(image))


def test_blur_lowers_the_frequency():
    edge = slanted_edge(SHAPE, ANGLE)
    found = [mtf50(cv2.GaussianBlur(edge, (0, 0), sigma)) for sigma in (0.5, 0.8, 1.3)]
    assert found == sorted(found, reverse=True)


def test_drawn_edge_is_as_sharp_as_its_pixels():
    frequencies, transfer = transfer_function(edge_spread(slanted_edge(SHAPE, ANGLE), ANGLE))
    half = frequencies <= 0.5
    assert np.abs(transfer - np.sinc(frequencies))[half].max() < 0.01


def test_mean_of_a_noisy_ensemble_is_measured():
    generator = np.random.default_rng(3)
    edge = 0.1 * blurred_edge(0.8)
    mean = edge + 0.02 / math.sqrt(400) * generator.standard_normal(SHAPE)
    assert mtf50(mean) == pytest.approx(mtf50(edge), rel=0.05)


def test_blur_of_an_ensemble_is_measured_against_it():
    generator = np.random.default_rng(3)
    edge = 0.2 * blurred_edge(0.8)
    noisy = [edge + 0.02 * generator.standard_normal(SHAPE) for _ in range(20)]
    blurred = [cv2.GaussianBlur(image, (0, 0), 0.6) for image in noisy]
    profiles = {
        name: np.array([edge_spread(image, ANGLE) for image in images])
        for name, images in (("noisy", noisy), ("blurred", blurred))
    }

    found = compare_edges(profiles, "noisy")
    assert found["noisy"]["MTF50 / noisy"] == (1.0, 0.0)
    ratio, error = found["blurred"]["MTF50 / noisy"]
    assert 0 < error < 0.02
    assert ratio == pytest.approx(0.8 / math.hypot(0.8, 0.6), abs=0.03)


def test_frequency_is_interpolated():
    frequencies, transfer = np.array([0.0, 0.1, 0.2]), np.array([1.0, 0.6, 0.4])
    assert half_frequency(frequencies, transfer) == pytest.approx(0.15)


def test_residual_of_noise_is_not_on_edges_and_that_of_a_blur_is():
    generator = np.random.default_rng(4)
    clean = cv2.GaussianBlur(generator.random((128, 128)), (0, 0), 3.0) * 10
    noise = 0.02 * generator.standard_normal(clean.shape)
    assert abs(edge_correlation(noise, clean)) < 0.1

    taken = clean - cv2.GaussianBlur(clean, (0, 0), 2.0)
    assert edge_correlation(taken, clean) > edge_correlation(taken + noise, clean) > 0.1


def test_noise_that_depends_on_the_signal_is_not_taken_for_edges():
    generator = np.random.default_rng(4)
    ramp = np.broadcast_to(np.linspace(0, 1, 128) ** 2, (128, 128))
    noise = 0.1 * np.sqrt(ramp) * generator.standard_normal(ramp.shape)
    assert abs(edge_correlation(noise, ramp)) < 0.1


def test_what_cannot_be_measured_is_refused():
    with pytest.raises(ValueError, match=r"need \(H, W\)"):
        edge_spread(np.zeros((2, 64, 64)), ANGLE)
    with pytest.raises(ValueError, match="hold no pixel"):
        edge_spread(np.zeros(SHAPE), 0.0)
    with pytest.raises(ValueError, match="need an edge"):
        transfer_function(np.ones(128))
    with pytest.raises(ValueError, match="does not fall"):
        half_frequency(np.arange(3.0), np.ones(3))
    with pytest.raises(ValueError, match=r"need \(H, W\)"):
        edge_correlation(np.zeros((8, 8)), np.zeros((9, 8)))
