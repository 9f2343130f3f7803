import pytest
import torch

from monai_dental.noise import add_gaussian_noise, add_poisson_gaussian_noise


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def neighbour_correlation(noise):
    return (noise[:, 1:] * noise[:, :-1]).mean() / noise.square().mean()


def test_gaussian_noise_has_its_moments(generator):
    image = torch.full((1000, 1000), 0.5)

    noise = add_gaussian_noise(image, 0.07, generator) - image

    assert abs(noise.mean()) < 3 * 0.07 / 1000
    assert noise.std().item() == pytest.approx(0.07, rel=0.005)
    assert abs(neighbour_correlation(noise)) < 0.005


def test_gaussian_noise_of_sigma_zero_is_identity(generator):
    image = torch.rand(3, 8, 8)

    assert torch.equal(add_gaussian_noise(image, 0.0, generator), image)


def test_gaussian_noise_is_not_clipped(generator):
    noisy = add_gaussian_noise(torch.zeros(100, 100), 0.07, generator)

    assert noisy.min() < 0


def test_negative_sigma_is_refused(generator):
    with pytest.raises(ValueError, match=r"sigma must not be negative, got -0\.1"):
        add_gaussian_noise(torch.zeros(2, 2), -0.1, generator)


@pytest.mark.parametrize("blur", [0.0, 0.76, 1.1])
@pytest.mark.parametrize("level", [0.1, 0.8])
def test_quantum_noise_has_the_variance_and_correlation_after_the_blur(blur, level, generator):
    image = torch.full((700, 700), level)

    noise = (
        add_poisson_gaussian_noise(
            image, gain=2e-3, electronic_sigma=0.0, blur=blur, generator=generator
        )
        - image
    )

    assert abs(noise.mean()) < 4e-4
    assert noise.var().item() == pytest.approx(2e-3 * level, rel=0.03)
    expected = torch.exp(torch.tensor(-1 / (4 * blur**2))).item() if blur else 0.0
    assert neighbour_correlation(noise) == pytest.approx(expected, abs=0.02)


def test_few_quanta_are_skewed_as_poisson_counts_are(generator):
    noise = (
        add_poisson_gaussian_noise(
            torch.ones(500, 500), gain=0.25, electronic_sigma=0.0, blur=0.0, generator=generator
        )
        - 1
    )

    assert (noise**3).mean() / noise.var() ** 1.5 == pytest.approx(0.5, abs=0.05)


def test_electronic_noise_is_white_and_added_after_the_blur(generator):
    image = torch.zeros(500, 500)

    noise = add_poisson_gaussian_noise(
        image, gain=0.01, electronic_sigma=0.02, blur=1.1, generator=generator
    )

    assert noise.std().item() == pytest.approx(0.02, rel=0.01)
    assert abs(neighbour_correlation(noise)) < 0.01


def test_quantum_noise_is_as_strong_at_the_borders(generator):
    image = torch.full((4000, 12, 15), 0.5)

    noise = (
        add_poisson_gaussian_noise(
            image, gain=0.02, electronic_sigma=0.0, blur=1.1, generator=generator
        )
        - image
    )

    assert noise.var(dim=0).div(0.01).sub(1).abs().max() < 0.12


def test_no_gain_and_no_electronic_noise_is_identity(generator):
    image = torch.rand(2, 1, 9, 11)

    noisy = add_poisson_gaussian_noise(
        image, gain=0.0, electronic_sigma=0.0, blur=1.0, generator=generator
    )

    assert torch.equal(noisy, image)


@pytest.mark.parametrize(
    ("name", "match"),
    [("gain", "gain must"), ("electronic_sigma", "sigma must"), ("blur", "blur must")],
)
def test_negative_parameters_are_refused(name, match, generator):
    parameters = {"gain": 0.1, "electronic_sigma": 0.1, "blur": 0.1, name: -0.1}

    with pytest.raises(ValueError, match=rf"{match} not be negative, got -0\.1"):
        add_poisson_gaussian_noise(torch.zeros(4, 4), **parameters, generator=generator)


def test_negative_image_is_refused(generator):
    with pytest.raises(ValueError, match=r"image must not be negative, its minimum is -0\.5"):
        add_poisson_gaussian_noise(
            torch.full((4, 4), -0.5), gain=0.1, electronic_sigma=0.0, blur=0.0, generator=generator
        )
