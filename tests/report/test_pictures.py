"""Pictures for a page."""

from __future__ import annotations

import base64
import json
import re
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from monai_dental.batch.source import Instance
from monai_dental.report.compare import compare
from monai_dental.report.pairs import read_pair
from monai_dental.report.pictures import (
    Display,
    histogram_drawing,
    noise_levels,
    pair_pictures,
    printed_picture,
)


def decode(uri):
    kind, _, content = uri.partition(",")
    assert kind == "data:image/png;base64"
    return cv2.imdecode(np.frombuffer(base64.b64decode(content), np.uint8), cv2.IMREAD_UNCHANGED)


def unpack(text, dtype, shape):
    """What `Plane.unpack` does in the browser."""
    whole = np.dtype(f"<u{np.dtype(dtype).itemsize}")
    parts = np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8)
    steps = np.ascontiguousarray(parts.reshape(whole.itemsize, -1).T).view(whole).reshape(shape)
    return np.cumsum(steps, axis=1, dtype=whole).view(dtype)


@pytest.fixture
def image():
    return np.linspace(0, 1, 6000, dtype=np.float32).reshape(60, 100)


def pictures_of(path):
    """The pictures of a file that is its own result."""
    pair = read_pair(Instance(path, Path(path.name)), path.parent)
    return pair_pictures(pair, compare(pair.original, pair.denoised))


@pytest.mark.parametrize(("bits", "dtype"), [(8, "u1"), (16, "u2")])
def test_viewer_gets_the_very_stored_values(radiograph_file, picture, bits, dtype):
    stored = picture(bits)

    shown = pictures_of(radiograph_file(stored, ".png"))

    assert shown.info["dtype"] == dtype
    for name in ("before", "after"):
        assert np.array_equal(unpack(shown.planes[name], f"<{dtype}", stored.shape), stored)


def test_free_text_of_a_header_is_not_shown(dicom_file):
    path = dicom_file(WindowCenter=600, WindowWidth=400, WindowCenterWidthExplanation="DOE^JANE")

    shown = pictures_of(path)

    assert len(shown.info["windows"]) == 1
    assert "DOE" not in json.dumps(shown.info)


def test_spacing_is_that_of_the_pixels_that_are_shown(dicom_file):
    wide = np.random.default_rng(0).integers(0, 255, (16, 6400)).astype(np.uint8)

    shown = pictures_of(dicom_file(stored=wide, PixelSpacing=[0.1, 0.1]))

    assert (shown.info["rows"], shown.info["columns"]) == (8, 3200)
    assert shown.info["spacing"] == pytest.approx([0.2, 0.2])


def test_print_of_an_image_that_uses_little_of_the_range_is_stretched(image):
    display = Display.fit(image / 16)

    shown = decode(printed_picture(image / 16, display))

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
    assert decode(printed_picture(image, display)).shape == (max(1, shown[0] // 2), 1600)


def test_noise_is_told_in_steps_of_its_most():
    levels, scale = noise_levels(np.float32([[0, 0.005, 0.01]]))

    assert levels.tolist() == [[0, 127, 255]] or levels.tolist() == [[0, 128, 255]]
    assert scale == pytest.approx(0.01)
    assert noise_levels(np.zeros((1, 1), np.float32))[1] > 0


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
