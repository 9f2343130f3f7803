import math

import numpy as np
import pytest
import torch
from monai.metrics import PSNRMetric

from monai_dental.metrics import psnr


def test_psnr_of_a_known_error():
    assert psnr(np.full((4, 4), 0.6), np.full((4, 4), 0.5), 1.0) == pytest.approx(20.0)


def test_psnr_of_equal_images_is_infinite():
    assert psnr(np.ones((2, 2)), np.ones((2, 2)), 1.0) == math.inf


def test_psnr_falls_as_the_noise_grows():
    noise = np.random.default_rng(0).normal(size=(64, 64))
    values = [psnr(sigma * noise, np.zeros((64, 64)), 1.0) for sigma in (0.01, 0.05, 0.1)]

    assert values == sorted(values, reverse=True)


def test_a_peak_of_255_adds_48_decibels():
    image = np.random.default_rng(0).random((8, 8))

    difference = psnr(image, 0 * image, 255.0) - psnr(image, 0 * image, 1.0)

    assert difference == pytest.approx(48.13, abs=0.005)


def test_psnr_equals_that_of_monai():
    denoised, reference = torch.rand(2, 1, 1, 16, 16, generator=torch.Generator().manual_seed(0))

    expected = PSNRMetric(max_val=1.0)(denoised, reference).item()

    assert psnr(denoised.numpy(), reference.numpy(), 1.0) == pytest.approx(expected, abs=1e-4)


def test_shapes_are_never_broadcast():
    with pytest.raises(ValueError, match=r"shapes \(64, 64, 1\) and \(64, 64\) differ"):
        psnr(np.zeros((64, 64, 1)), np.zeros((64, 64)), 1.0)


def test_data_range_must_be_positive():
    with pytest.raises(ValueError, match="data_range must be positive, got 0"):
        psnr(np.zeros((2, 2)), np.zeros((2, 2)), 0)
