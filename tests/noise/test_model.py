import math

import pytest
import torch

from monai_dental.noise import NoiseModel, add_poisson_gaussian_noise, correlated_noise


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def neighbour_correlation(noise):
    return (noise[..., 1:] * noise[..., :-1]).mean() / noise.square().mean()


def test_poisson_gaussian_variance_is_a_line_held_at_its_ends():
    model = NoiseModel.poisson_gaussian(1e-3, 1e-4)

    variance = model.variance(torch.tensor([-1.0, 0.0, 0.3, 1.0, 2.0]))

    assert variance.tolist() == pytest.approx([1e-4, 1e-4, 4e-4, 1.1e-3, 1.1e-3])


def test_variance_is_interpolated_between_the_points_of_the_curve():
    model = NoiseModel(0.0, 0.0, torch.tensor([0.0, 4.0, 2.0]), torch.ones(1, 1))

    assert model.variance(torch.tensor([0.25, 0.5, 0.75])).tolist() == [2.0, 4.0, 3.0]


@pytest.mark.parametrize("blur", [0.0, 0.76, 1.1])
def test_kernel_has_unit_energy_and_the_correlation_of_the_blur(blur):
    model = NoiseModel.poisson_gaussian(1e-3, 0.0, blur)

    correlation = model.autocorrelation
    middle = len(correlation) // 2

    assert model.kernel.square().sum().item() == pytest.approx(1)
    assert correlation[middle, middle].item() == pytest.approx(1)
    if blur:
        expected = math.exp(-1 / (4 * blur**2))
        assert correlation[middle, middle + 1].item() == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("blur", [0.0, 1.1])
def test_noise_has_the_variance_and_correlation_of_its_model(blur, generator):
    model = NoiseModel.poisson_gaussian(1e-3, 1e-4, blur)
    guide = torch.linspace(0, 1, 4)[:, None, None].expand(4, 600, 500)

    noise = correlated_noise(guide, model.variances, model.kernel, generator)

    expected = 1e-4 + 1e-3 * guide[:, 0, 0]
    assert noise.square().mean(dim=(1, 2)).tolist() == pytest.approx(expected.tolist(), rel=0.03)
    middle = len(model.autocorrelation) // 2
    lag_1 = 0 if blur == 0 else model.autocorrelation[middle, middle + 1].item()
    assert neighbour_correlation(noise) == pytest.approx(lag_1, abs=0.01)


def test_correlation_is_that_of_quantum_and_electronic_noise_at_mid_grey(generator):
    clean = torch.full((400, 500), 0.5)
    noise = clean - add_poisson_gaussian_noise(
        clean, gain=1e-3, electronic_sigma=0.015, blur=0.76, generator=generator
    )

    model = NoiseModel.poisson_gaussian(1e-3, 0.015**2, 0.76)

    assert model.lag_one == pytest.approx(float(neighbour_correlation(noise)), abs=0.01)
    assert NoiseModel.poisson_gaussian(0.0, 0.015**2, 0.76).lag_one == pytest.approx(0, abs=1e-6)


def test_noise_is_as_strong_at_the_borders_and_does_not_wrap_around(generator):
    model = NoiseModel.poisson_gaussian(2.0, 0.0, 1.1)

    noise = correlated_noise(
        torch.full((4000, 16, 21), 0.5), model.variances, model.kernel, generator
    )

    assert noise.var(dim=0).sub(1).abs().max() < 0.12
    assert (noise[:, :, 0] * noise[:, :, -1]).mean().abs() < 0.02
    assert (noise[:, 0] * noise[:, -1]).mean().abs() < 0.02


def test_noise_repeats_with_its_generator():
    model = NoiseModel.poisson_gaussian(1e-3, 1e-4, 0.8)
    guide = torch.rand(2, 1, 20, 30)

    first, second = (
        correlated_noise(guide, model.variances, model.kernel, torch.Generator().manual_seed(3))
        for _ in range(2)
    )

    assert first.shape == guide.shape
    assert torch.equal(first, second)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [((-1.0, 0.0), "gain"), ((0.0, -1.0), "electronic_variance"), ((0.0, 0.0, -1.0), "blur")],
)
def test_negative_parameters_are_refused(arguments, name):
    with pytest.raises(ValueError, match=f"{name} must not be negative, got -1"):
        NoiseModel.poisson_gaussian(*arguments)


@pytest.mark.parametrize("blur", [0.0, 0.76, 1.1])
def test_lag_one_is_the_correlation_of_neighbours(generator, blur):
    model = NoiseModel.poisson_gaussian(0.0, 1e-4, blur)

    noise = correlated_noise(torch.zeros(512, 512), model.variances, model.kernel, generator)

    assert model.lag_one == pytest.approx(float(neighbour_correlation(noise)), abs=0.01)
    middle = model.kernel.shape[-1] - 1
    if middle:
        assert model.lag_one == pytest.approx(float(model.autocorrelation[middle, middle + 1]))
