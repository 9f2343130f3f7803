import cv2
import nibabel as nib
import numpy as np
import pytest

from monai_dental.benchmark.noises import NOISES, WEAK_NOISES
from monai_dental.benchmark.references import (
    PHANTOMS,
    REFERENCES,
    noises_for,
    prepare_references,
)
from monai_dental.errors import DatasetError
from monai_dental.formats import read_radiograph


@pytest.fixture
def paths(tmp_path):
    generator = np.random.default_rng(0)
    made = [tmp_path / name for name in ("one/a.png", "two/a.png", "two/b.png")]
    for path in made:
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(path), generator.integers(0, 65535, (41, 60), np.uint16))
    return made


@pytest.mark.parametrize("references", ["images", "clean"])
def test_images_are_scored_as_they_are(references, paths, tmp_path):
    assert prepare_references(references, paths, tmp_path / "made") == paths
    assert not (tmp_path / "made").exists()


def test_halved_images_are_means_of_four_pixels(paths, tmp_path):
    made = prepare_references("half", paths, tmp_path / "made")

    assert [path.name for path in made] == ["0000 a.png", "0001 a.png", "b.png"]
    for path, source in zip(made, paths, strict=True):
        stored = cv2.imread(str(source), -1)
        half = read_radiograph(path).pixels
        assert half.shape == (20, 30)
        assert half[19, 29] == pytest.approx(stored[38:40, 58:60].mean() / 65535, abs=1e-5)


def test_what_was_made_is_not_made_again(paths, tmp_path):
    made = prepare_references("half", paths, tmp_path / "made")
    times = [path.stat().st_mtime_ns for path in made]

    assert prepare_references("half", paths, tmp_path / "made") == made
    assert [path.stat().st_mtime_ns for path in made] == times


def test_phantoms_are_made_without_noise_and_were_never_learned_from(tmp_path):
    made = prepare_references("phantoms", [], tmp_path / "made", phantoms=PHANTOMS[:2])

    assert [path.name for path in made] == ["phantom 11000.png", "phantom 11001.png"]
    pixels = read_radiograph(made[0]).pixels
    assert pixels.shape == (512, 512)
    # Differences of second order: of noise they would be large everywhere.
    rough = np.abs(cv2.filter2D(pixels, -1, np.float32([[1, -2, 1], [-2, 4, -2], [1, -2, 1]]) / 6))
    assert np.median(rough) < 0.001
    assert min(PHANTOMS) >= 10000


def test_image_of_several_frames_is_named(tmp_path):
    stored = np.zeros((4, 30, 30), np.uint16)
    nib.save(nib.Nifti1Image(stored.T, np.eye(4)), tmp_path / "frames.nii")

    with pytest.raises(DatasetError, match=r"frames\.nii: has shape \(4, 30, 30\); need one frame"):
        prepare_references("half", [tmp_path / "frames.nii"], tmp_path / "made")


def test_weak_noise_is_for_sets_without_noise_of_their_own():
    assert noises_for("images") == NOISES
    assert all(set(WEAK_NOISES) < set(noises_for(name)) for name in REFERENCES[1:])
