"""Reading a pair: one scale, one frame, or a reason why not."""

from __future__ import annotations

from pathlib import Path

import cv2
import nibabel as nib
import numpy as np
import pytest
from pydicom import dcmwrite

from monai_dental.batch.source import Instance
from monai_dental.errors import CorruptImageError, DatasetError
from monai_dental.report.pairs import read_pair


@pytest.fixture
def folders(tmp_path):
    """Folders of originals, results and references."""
    made = [tmp_path / name for name in ("original", "denoised", "reference")]
    for folder in made:
        folder.mkdir()
    return made


def read(folders, name, reference=None):
    original, denoised, _ = folders
    return read_pair(Instance(original / name, Path(name)), denoised, reference)


def test_floats_are_shown_in_the_scale_of_the_original(folders):
    original = np.linspace(0, 100, 300, dtype=np.float32).reshape(15, 20)
    for folder, values in zip(folders, (original, original / 2, original / 4), strict=True):
        cv2.imwrite(str(folder / "a.tiff"), values)

    pair = read(folders, "a.tiff", folders[2])

    assert np.allclose(pair.denoised, pair.original / 2, atol=1e-6)
    assert np.allclose(pair.reference, pair.original / 4, atol=1e-6)


def test_middle_frame_is_compared_and_said(folders):
    volume = np.arange(20 * 30 * 5, dtype=np.float32).reshape(20, 30, 5)
    for folder in folders[:2]:
        nib.save(nib.Nifti1Image(volume, np.eye(4)), folder / "a.nii")

    pair = read(folders, "a.nii")

    assert pair.original.shape == (30, 20)
    assert pair.original.flags["OWNDATA"]
    assert pair.notes == ("frame 3 of 5: the middle one",)


def test_dicom_of_12_bits_and_monochrome1_is_a_pair(folders, dicom_dataset):
    dataset = dicom_dataset(bits_stored=12, photometric="MONOCHROME1")
    for folder in folders[:2]:
        dataset.save_as(folder / "a", enforce_file_format=True)

    pair = read(folders, "a")

    assert np.array_equal(pair.original, pair.denoised)
    assert pair.notes == ()


def test_missing_result_and_reference_are_told_apart(folders, picture):
    cv2.imwrite(str(folders[0] / "a.png"), picture())

    with pytest.raises(DatasetError, match=r"^there is no result of this name$"):
        read(folders, "a.png")
    cv2.imwrite(str(folders[1] / "a.png"), picture())
    pair = read(folders, "a.png", folders[2])
    assert pair.reference is None
    assert pair.notes == ("no PSNR and SSIM: there is no reference of this name",)


def test_sizes_that_differ_are_named(folders, picture):
    cv2.imwrite(str(folders[0] / "a.png"), picture(rows=24))
    cv2.imwrite(str(folders[1] / "a.png"), picture(rows=25))

    with pytest.raises(
        DatasetError, match="result: 25 x 40 pixels, where the original has 24 x 40"
    ):
        read(folders, "a.png")


def test_reasons_and_notes_hold_no_path(folders, picture):
    cv2.imwrite(str(folders[0] / "a.png"), np.dstack([picture(), picture(), 255 - picture()]))
    cv2.imwrite(str(folders[1] / "a.png"), picture())

    assert read(folders, "a.png").notes == ("original: colour is converted to grey",)
    content = (folders[1] / "a.png").read_bytes()
    (folders[1] / "a.png").write_bytes(content[:80])
    with pytest.raises(CorruptImageError, match="^result: ") as caught:
        read(folders, "a.png")
    assert str(folders[1]) not in str(caught.value)


def test_reason_names_the_file_only_once(tmp_path, dicom_dataset):
    dataset = dicom_dataset(SOPInstanceUID=None, PixelData=None)
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "scan.dcm"
    dataset.preamble = bytes(128)
    dcmwrite(path, dataset)

    with pytest.raises(CorruptImageError, match=r"^original: \(7FE0,0010\) Pixel Data is missing"):
        read_pair(Instance(path, Path("scan.dcm")), tmp_path)
