"""The figures of a pair."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from monai_dental.report.compare import compare, edge_magnitude, lag1_autocorrelation, sigma_map


@pytest.fixture
def clean():
    """A bright disc on a slope, (128, 160)."""
    rows, columns = np.mgrid[:128, :160]
    disc = np.hypot(rows - 60, columns - 80) < 30
    return (0.25 + 0.2 * columns / 160 + 0.3 * disc).astype(np.float32)


def noise_like(image, sigma, blur=0.0):
    noise = np.random.default_rng(0).normal(size=image.shape)
    if blur:
        noise = cv2.GaussianBlur(noise, (0, 0), blur)
    return (sigma * noise / noise.std()).astype(np.float32)


def test_perfect_denoising_leaves_the_noise_as_residual(clean):
    noisy = clean + noise_like(clean, 0.03)

    comparison = compare(noisy, clean, clean)

    figures = comparison.figures
    assert figures.sigma_before == pytest.approx(0.03, rel=0.1)
    assert figures.sigma_after < 0.003
    assert figures.residual_std == pytest.approx(0.03, rel=0.01)
    assert abs(figures.residual_lag1) < 0.02
    assert abs(figures.residual_edges) < 0.03
    assert figures.psnr_before == pytest.approx(-20 * math.log10(0.03), abs=0.1)
    assert figures.psnr_after == math.inf
    assert figures.ssim_before < figures.ssim_after == pytest.approx(1)
    assert np.allclose(comparison.residual, noisy - clean)
    assert comparison.noise_map.shape == clean.shape


def test_correlated_residual_is_told_from_a_white_one(clean):
    assert lag1_autocorrelation(noise_like(clean, 0.03, blur=1.0)) == pytest.approx(0.78, abs=0.04)


def test_blur_that_takes_edges_away_correlates_with_edges(clean):
    noisy = clean + noise_like(clean, 0.01)

    figures = compare(noisy, cv2.GaussianBlur(noisy, (0, 0), 3)).figures

    assert figures.residual_edges > 0.5


def test_no_change_has_no_correlations(clean):
    figures = compare(clean, clean.copy()).figures

    assert figures.residual_std == 0
    assert figures.residual_lag1 is None
    assert figures.residual_edges is None
    assert figures.psnr_after is None


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 7), (10, 40)])
def test_image_too_small_for_a_figure_has_none(shape):
    image = np.random.default_rng(0).random(shape, dtype=np.float32)

    figures = compare(image, image / 2, image).figures

    assert (figures.sigma_before is None) == (min(shape) < 8)
    assert figures.ssim_after is None
    assert figures.psnr_before == math.inf


def test_sigma_map_follows_the_intensity():
    ramp = np.tile(np.linspace(0.1, 0.9, 256, dtype=np.float32), (256, 1))
    noisy = ramp + noise_like(ramp, 0.05) * np.sqrt(ramp)

    sigma = sigma_map(noisy)

    assert sigma[:, 20:60].mean() == pytest.approx(0.05 * math.sqrt(0.1 + 0.8 * 40 / 255), rel=0.2)
    assert sigma[:, 200:240].mean() == pytest.approx(
        0.05 * math.sqrt(0.1 + 0.8 * 220 / 255), rel=0.2
    )


def test_edges_of_a_slope_are_its_slope():
    slope = np.tile(np.arange(20, dtype=np.float32) * 0.01, (20, 1))

    assert np.allclose(edge_magnitude(slope)[5:15, 5:15], 0.01, atol=1e-6)


def test_shapes_are_never_broadcast(clean):
    with pytest.raises(ValueError, match="need \\(H, W\\) twice"):
        compare(clean, clean[:1])
