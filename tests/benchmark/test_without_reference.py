import math

import cv2
import numpy as np
import pytest

from monai_dental.benchmark.without_reference import (
    noise_left_blind,
    residual_correlation,
    score_without_reference,
)
from monai_dental.cli import main
from monai_dental.errors import DatasetError
from monai_dental.phantom import simulate_exposure


@pytest.fixture(scope="module")
def clean():
    rows, columns = np.mgrid[:256, :320] / 256
    image = 0.3 + 0.4 * rows * columns
    image[64:192, 200:] += 0.2 * (np.sin(20 * rows[64:192, 200:]) > 0)
    return image


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(0).normal(0, 0.03, (256, 320))


def test_white_residual_has_no_correlation(clean, noise):
    assert residual_correlation(clean + noise, clean) < 2 / math.sqrt(noise.size)


def test_correlation_is_that_of_the_noise(noise):
    """A moving mean of 3 pixels has 2/3 and 1/3 at shifts of 1 and 2 along the rows."""
    coarse = cv2.blur(noise, (3, 1))
    expected = math.sqrt(2 * (4 + 1) / 9 / (17 * 17 - 1))

    assert residual_correlation(coarse, 0 * coarse) == pytest.approx(expected, rel=0.03)


def test_anatomy_in_the_residual_is_correlation(clean, noise):
    noisy = clean + noise
    blurred = cv2.GaussianBlur(noisy, (0, 0), 3)

    assert residual_correlation(noisy, blurred) > 5 * residual_correlation(noisy, clean)


@pytest.mark.parametrize("left", [0.0, 0.3, 1.0])
def test_noise_left_is_told_without_the_clean_image(clean, noise, left):
    found = noise_left_blind(clean + noise, clean + left * noise)

    assert found == pytest.approx(left, abs=0.02)


def test_what_cannot_be_told_is_nan():
    small = np.full((8, 8), 0.5)

    assert math.isnan(residual_correlation(small, small))
    assert math.isnan(noise_left_blind(small, small))
    assert math.isnan(noise_left_blind(np.zeros((64, 64)), np.zeros((64, 64))))
    with pytest.raises(ValueError, match="need one"):
        noise_left_blind(small, small[:4])


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two noisy phantoms, and the results of a light and a heavy filter."""
    root = tmp_path_factory.mktemp("blind")
    for number in (1, 2):
        noisy = simulate_exposure(number, size=(160, 192)).noisy
        stored = noisy * np.uint16(16)
        for name, sigma in (("originals", 0), ("light", 0.6), ("heavy", 3)):
            (root / name).mkdir(exist_ok=True)
            made = cv2.GaussianBlur(stored, (0, 0), sigma) if sigma else stored
            cv2.imwrite(str(root / name / f"{number}.png"), made)
    return root


def test_folders_are_scored_beside_their_originals(folders, tmp_path, capsys):
    light, heavy = (str(folders / name) for name in ("light", "heavy"))
    table = tmp_path / "out" / "blind.csv"

    command = ["scores", light, heavy, "--originals", str(folders / "originals")]
    assert main([*command, "--output", str(table)]) == 0

    printed = capsys.readouterr().out
    assert "noise left" in printed
    assert "No figure here shows that anatomy is kept" in printed
    assert len(table.read_text().splitlines()) == 5
    results = [folders / "light", folders / "heavy"]
    scores = score_without_reference(folders / "originals", results)
    for one, other in zip(scores[:2], scores[2:], strict=True):
        assert 1 > one.noise_left > 2 * other.noise_left
        assert one.image == other.image


def test_result_of_another_size_is_named(folders, tmp_path):
    for number in (1, 2):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.zeros((40, 40), np.uint8))

    with pytest.raises(DatasetError, match=r"1\.png: images of \(160, 192\) and \(40, 40\)"):
        score_without_reference(folders / "originals", [tmp_path])


def test_options_of_evaluations_are_refused(folders, capsys):
    command = ["scores", str(folders / "light"), "--originals", str(folders / "originals")]

    assert main([*command, "--reference", "median"]) == 2
    assert "--originals: cannot be combined with --reference" in capsys.readouterr().err
