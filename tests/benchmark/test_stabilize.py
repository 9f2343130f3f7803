import numpy as np
import pytest

from monai_dental.benchmark.noises import Noise
from monai_dental.benchmark.stabilize import Stabilizer, denoise_stabilized

STABILIZER = Stabilizer(gain=0.01, constant=0.0009)  # strong noise, so that its bias shows


@pytest.fixture
def draw():
    generator = np.random.default_rng(0)

    def noisy(level):
        sigma = np.sqrt(STABILIZER.gain * level + STABILIZER.constant)
        return level + sigma * generator.standard_normal(200_000)

    return noisy


@pytest.mark.parametrize("level", [0.1, 0.3, 0.6, 1.0])
def test_noise_has_the_same_variance_at_every_intensity(draw, level):
    assert STABILIZER.forward(draw(level)).std() == pytest.approx(1, abs=0.04)


@pytest.mark.parametrize("level", [0.05, 0.1, 0.3, 0.6, 1.0])
def test_inverse_of_the_mean_is_not_biased(draw, level):
    mean = STABILIZER.forward(draw(level)).mean()

    assert STABILIZER.inverse(mean) == pytest.approx(level, abs=0.0008)
    plain = (STABILIZER.gain * mean / 2) ** 2 / STABILIZER.gain - STABILIZER.constant / 0.01
    assert plain < level - 0.0015  # what the plain inverse would be off by: gain / 4


def test_filter_is_given_the_range_and_the_sigma_that_it_expects():
    noise, asked = Noise(0.04, 0.76), []
    clean = np.tile(np.linspace(0, 1, 200, dtype=np.float32), (200, 1))

    def spy(image, sigma):
        asked.append((image, sigma))
        return image

    noisy = noise.add(clean, 0)
    result = denoise_stabilized(spy, noisy, noise)

    image, sigma = asked[0]
    assert -0.1 < image[:, 0].mean() < 0.1
    assert image[:, -1].mean() == pytest.approx(1, abs=0.02)
    for columns in (slice(20, 40), slice(160, 180)):
        part = image[:, columns] - image[:, columns].mean(axis=0)
        assert part.std() == pytest.approx(sigma, rel=0.06)
    # A filter that does nothing returns the image, but for the bias that the inverse expects.
    np.testing.assert_allclose(result[:, 20:], noisy[:, 20:], atol=noise.gain)


def test_noise_that_is_the_same_everywhere_is_left_as_it_is():
    image = np.random.default_rng(0).random((8, 8), np.float32)

    result = denoise_stabilized(lambda plane, sigma: plane - sigma, image, Noise(0.05))

    np.testing.assert_array_equal(result, image - 0.05)
