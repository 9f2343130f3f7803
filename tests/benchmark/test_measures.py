import math

import cv2
import numpy as np
import pytest

from monai_dental.benchmark.measures import (
    TEXTURE_BANDS,
    grid_ratio,
    noise_left,
    texture_kept,
)


@pytest.fixture(scope="module")
def clean():
    """Texture to the left of a vertical edge, flat to the right, letters above."""
    generator = np.random.default_rng(0)
    image = np.full((192, 192), 0.6)
    image[:, :96] = 0.4 + 0.02 * cv2.GaussianBlur(generator.normal(size=(192, 96)), (0, 0), 1.2)
    letters = np.zeros(image.shape, np.uint8)
    cv2.putText(letters, "TEXT", (4, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.7, 1, 2)
    return np.where(letters > 0, 1.0, image)


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(1).normal(0, 0.03, (192, 192))


@pytest.mark.parametrize("left", [0.0, 0.3, 1.0])
def test_noise_that_is_left_is_told(clean, noise, left):
    assert noise_left(clean + noise, clean + left * noise, clean) == pytest.approx(left, abs=1e-6)


def test_what_is_lost_where_the_image_is_not_flat_is_no_noise(clean, noise):
    spoilt = clean + 0.3 * noise
    spoilt[:, :80] = 0.4

    assert noise_left(clean + noise, spoilt, clean) == pytest.approx(0.3, abs=0.02)


def test_noise_that_clipping_takes_off_does_not_count(noise):
    clean = np.zeros((192, 192))
    clean[:, 96:] = np.linspace(0.2, 0.8, 192)[:, None]
    noisy = clean + noise

    assert noise_left(noisy, noisy.clip(0, 1), clean) == pytest.approx(1, abs=1e-3)
    assert math.isnan(noise_left(noise, noise, np.zeros((192, 192))))


@pytest.mark.parametrize("band", TEXTURE_BANDS)
def test_texture_is_kept_by_what_keeps_it_whatever_noise_is_left(clean, noise, band):
    assert texture_kept(clean, clean, band) == pytest.approx(1)
    assert texture_kept(clean + 0.3 * noise, clean, band) == pytest.approx(1, abs=0.1)
    assert texture_kept(clean.mean() + 0.5 * (clean - clean.mean()), clean, band) == pytest.approx(
        0.5
    )
    assert texture_kept(0.3 * noise, clean, band) == pytest.approx(0, abs=0.1)


def test_blur_keeps_what_its_transfer_function_says(clean):
    blurred = cv2.GaussianBlur(clean, (0, 0), 1.0)

    for low, high in TEXTURE_BANDS:
        kept = texture_kept(blurred, clean, (low, high))
        least, most = (math.exp(-2 * (math.pi * f) ** 2) for f in (high, low))
        assert least < kept < most


def test_image_without_squares_or_texture_has_no_figure():
    noise = np.random.default_rng(0).normal(size=(64, 64))
    small, faint = noise[:31], 0.5 + 0.001 * noise  # less than 0.0003 in the band

    assert math.isnan(texture_kept(small, small, TEXTURE_BANDS[0]))
    assert math.isnan(texture_kept(faint, faint, TEXTURE_BANDS[0]))
    assert texture_kept(faint * 10, faint * 10, TEXTURE_BANDS[0]) == pytest.approx(1)


def test_images_of_other_shapes_are_refused(clean):
    with pytest.raises(ValueError, match=r"image \(191, 192\) and noise-free image \(192, 192\)"):
        noise_left(clean[1:], clean, clean)
    with pytest.raises(ValueError, match=r"need \(H, W\)"):
        texture_kept(clean[None], clean[None], TEXTURE_BANDS[0])


def test_a_grid_stands_out_and_noise_does_not():
    noise = np.random.default_rng(2).normal(0, 0.01, (20, 128, 97))
    grid = 0.001 * (-1.0) ** np.add.outer(np.arange(128), np.arange(97))

    assert grid_ratio(noise) < 2
    assert grid_ratio(noise + grid) > 20


def test_a_grid_in_too_small_an_image_is_refused():
    with pytest.raises(ValueError, match="need .* of 64 pixels or more"):
        grid_ratio([np.zeros((63, 200))])
