"""Noise that is left in flat parts of real radiographs."""

from __future__ import annotations

import csv
import importlib.util
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

_SCRIPT = Path(__file__).parents[2] / "scripts" / "benchmarks" / "real_noise.py"


@pytest.fixture(scope="module")
def script():
    """The script, as a module."""
    spec = importlib.util.spec_from_file_location("real_noise", _SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["real_noise"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["real_noise"]


@pytest.fixture
def surface():
    down, across = np.mgrid[-1:1:80j, -1:1:100j]
    return 0.5 + 0.1 * across - 0.1 * down**2 * across + 0.05 * down**5


def test_smooth_surface_is_no_noise_and_noise_stays(script, surface):
    noise = np.random.default_rng(0).normal(0, 0.02, surface.shape)

    assert np.abs(script.flattened(surface)).max() < 1e-10
    assert script.flattened(surface + noise).std() == pytest.approx(0.02, rel=0.02)


def test_share_that_is_left_is_measured_in_the_part_alone(script, surface, tmp_path, capsys):
    folder, output = tmp_path / "images", tmp_path / "out"
    folder.mkdir()
    noise = np.random.default_rng(0).normal(0, 0.02, surface.shape)
    noise[:, 50:] *= 5
    for name in ("known", "other"):
        stored = np.rint((surface + noise).clip(0, 1) * 65535).astype(np.uint16)
        cv2.imwrite(str(folder / f"{name}.png"), stored)

    def denoise(image):
        return np.float32(surface + 0.25 * (image - surface))

    rows = script.measure(folder, output, denoise, {"known": (0, 80, 0, 50)})

    assert [row.image for row in rows] == ["known"]
    assert rows[0].before == pytest.approx(0.02, rel=0.03)
    assert rows[0].left == pytest.approx(0.25, abs=0.002)
    assert rows[0].estimated == pytest.approx(1, abs=0.2)
    assert rows[0].fine_left == pytest.approx(0.25, abs=0.002)
    assert rows[0].neighbours == pytest.approx(0, abs=0.05)
    assert "| known | 0.0" in capsys.readouterr().out
    with (output / "noise.csv").open() as file:
        assert float(next(csv.DictReader(file))["left"]) == pytest.approx(0.25, abs=0.002)
    assert cv2.imread(str(output / "known.png"), -1).shape == (80, 300)


def test_coarse_structure_is_no_fine_noise(script, surface):
    noise = np.random.default_rng(0).normal(0, 0.02, surface.shape)
    structure = 0.05 * np.sin(np.arange(100) / 10)
    image, denoised = surface + structure + noise, surface + structure + 0.25 * noise

    figures = script.figures_of("one", np.float32(image), np.float32(denoised), (0, 80, 0, 100))

    assert figures.left > 0.4
    assert figures.fine_left == pytest.approx(0.25, abs=0.1)


def test_folder_without_the_images_is_refused(script, tmp_path):
    with pytest.raises(SystemExit, match="has none of iox_1, iox_2"):
        script.measure(tmp_path, tmp_path / "out", lambda image: image)


def test_parts_are_within_the_images_and_not_clipped(script, shared_data):
    found = {path.stem: path for path in (shared_data / "real_noise").glob("*.png")}

    assert set(found) == set(script.PARTS)
    for name, (top, bottom, left, right) in script.PARTS.items():
        stored = cv2.imread(str(found[name]), -1)
        assert 0 <= top < bottom <= stored.shape[0]
        assert 0 <= left < right <= stored.shape[1]
        part = stored[top:bottom, left:right]
        assert np.mean((part == stored.min()) | (part == stored.max())) < 0.02
        span = 4095 if stored.dtype == np.uint16 else 255
        # Weaker than the faintest anatomy, and no less than rounding makes.
        assert 0.001 < script.flattened(part / np.float32(span)).std() < 0.03
