import pytest
import torch
from octaves import split_octaves

from monai_dental.noise.model import correlated_noise, gaussian_kernel
from monai_dental.noise.octaves import halve, measure_octaves, octave_shares


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def unit_kernel(blur):
    kernel = gaussian_kernel(blur)
    return kernel / kernel.square().sum().sqrt()


def test_octaves_add_up_to_the_image(generator):
    image = torch.rand(2, 16, 24, generator=generator)

    octaves = split_octaves(image)

    torch.testing.assert_close(sum(octaves), image)
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert float((octaves[one] * octaves[other]).mean()) == pytest.approx(0, abs=1e-7)


def test_half_size_leaves_an_odd_row_and_column_out():
    image = torch.arange(15.0).reshape(3, 5)

    assert halve(image).tolist() == [[3.0, 5.0]]


def test_white_noise_has_three_quarters_in_each_octave_of_what_is_left():
    assert octave_shares(torch.ones(1, 1)).tolist() == pytest.approx([0.75, 0.1875, 0.0625])


@pytest.mark.parametrize("blur", [0.5, 1.4, 2.5])
def test_shares_are_those_of_the_noise_that_a_kernel_makes(generator, blur):
    kernel = unit_kernel(blur)
    noise = correlated_noise(torch.full((800, 800), 0.5), torch.ones(1), kernel, generator)

    measured = torch.stack([octave.square().mean() for octave in split_octaves(noise)])

    shares = octave_shares(kernel)
    assert float(shares.sum()) == pytest.approx(1, abs=1e-5)
    assert measured.numpy() == pytest.approx(shares.numpy(), rel=0.05)


def test_known_noise_is_measured_by_intensity(generator):
    guide = torch.linspace(0.1, 0.9, 800).expand(800, 800)
    kernel = unit_kernel(1.0)
    variances = torch.linspace(0, 4e-4, 33)
    noise = correlated_noise(guide, variances, kernel, generator)

    measured = measure_octaves(noise, guide, bins=8, points=33)

    expected = octave_shares(kernel)[:, None] * variances
    inner = slice(6, 27)
    assert (measured / expected)[:, inner].numpy() == pytest.approx(1, abs=0.12)


def test_clipped_pixels_tell_nothing():
    assert not measure_octaves(torch.ones(8, 8), torch.ones(8, 8), bins=4, points=5).any()
