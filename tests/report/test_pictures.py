"""Pictures for a page."""

from __future__ import annotations

import base64
import re

import cv2
import numpy as np
import pytest

from monai_dental.report.pictures import (
    Display,
    grey_picture,
    histogram_drawing,
    noise_picture,
    residual_picture,
    residual_scale,
)


def decode(uri):
    kind, _, content = uri.partition(",")
    assert kind == "data:image/png;base64"
    return cv2.imdecode(np.frombuffer(base64.b64decode(content), np.uint8), cv2.IMREAD_UNCHANGED)


@pytest.fixture
def image():
    return np.linspace(0, 1, 6000, dtype=np.float32).reshape(60, 100)


def test_8_bit_image_is_shown_as_it_is(picture):
    stored = picture(8)

    shown = decode(grey_picture(stored / np.float32(255), Display(0, 1, *stored.shape, 1)))

    assert np.array_equal(shown, stored)


def test_image_that_uses_little_of_the_range_is_stretched(image):
    display = Display.fit(image / 16)

    shown = decode(grey_picture(image / 16, display))

    assert display.is_stretched
    assert shown.min() == 0
    assert shown.max() == 255
    assert not Display.fit(image).is_stretched
    assert Display.fit(np.full((3, 3), 0.2, np.float32)).white == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("shape", "shown"), [((10, 6400), (5, 3200)), ((1, 9000), (1, 3200)), ((20, 3200), (20, 3200))]
)
def test_only_what_is_longer_than_3200_pixels_is_reduced(shape, shown):
    image = np.zeros(shape, np.float32)
    display = Display.fit(image)

    assert (display.rows, display.columns) == shown
    assert display.is_reduced == (shape != shown)
    assert decode(grey_picture(image, display)).shape == shown


def test_residual_is_symmetric_about_grey():
    residual = np.float32([[-0.02, -0.01, 0, 0.01, 0.02]])

    shown = decode(residual_picture(residual, 0.02, Display(0, 1, 1, 5, 1)))

    assert shown.tolist() == [[1, 65, 128, 192, 255]]
    assert residual_scale(residual) == pytest.approx(0.02, rel=0.01)
    assert residual_scale(0 * residual) > 0


def test_noise_is_paper_to_ink():
    shown = decode(noise_picture(np.float32([[0, 0.01]]), 0.01, Display(0, 1, 1, 2, 1)))

    assert shown.tolist() == [[[247, 250, 251], [92, 79, 11]]]


def test_histogram_counts_every_pixel(image):
    half = np.where(image < 0.5, np.float32(0), np.float32(1))

    drawing = histogram_drawing(image, half, Display.fit(image))

    heights = [
        [float(y) for y in re.findall(r"V([\d.]+)H", path)]
        for path in re.findall(r' d="([^"]*)"', drawing)
    ]
    assert [len(each) for each in heights] == [128, 128]
    assert heights[1][0] == heights[1][-1] == 0.5  # the two highest bins
    assert set(heights[1][1:-1]) == {119.5}
