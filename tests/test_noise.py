import pytest
import torch

from monai_dental.noise import add_gaussian_noise


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def test_gaussian_noise_has_its_moments(generator):
    image = torch.full((1000, 1000), 0.5)

    noise = add_gaussian_noise(image, 0.07, generator) - image

    assert abs(noise.mean()) < 3 * 0.07 / 1000
    assert noise.std().item() == pytest.approx(0.07, rel=0.005)
    neighbours = torch.stack([noise[:, 1:].flatten(), noise[:, :-1].flatten()])
    assert abs(torch.corrcoef(neighbours)[0, 1]) < 0.005


def test_gaussian_noise_of_sigma_zero_is_identity(generator):
    image = torch.rand(3, 8, 8)

    assert torch.equal(add_gaussian_noise(image, 0.0, generator), image)


def test_gaussian_noise_is_not_clipped(generator):
    noisy = add_gaussian_noise(torch.zeros(100, 100), 0.07, generator)

    assert noisy.min() < 0


def test_negative_sigma_is_refused(generator):
    with pytest.raises(ValueError, match=r"sigma must not be negative, got -0\.1"):
        add_gaussian_noise(torch.zeros(2, 2), -0.1, generator)
