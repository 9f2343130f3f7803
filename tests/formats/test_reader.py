from __future__ import annotations

import warnings

import nibabel
import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset, list_data_collate
from monai.transforms import Compose, EnsureChannelFirstd, LoadImage, LoadImaged

from monai_dental.errors import CorruptImageError, UnsupportedImageError
from monai_dental.formats.reader import RadiographReader

NAME = "monai_dental.formats.reader.RadiographReader"
SUFFIXES = (".png", ".tif", ".bmp", ".nii", ".nii.gz", ".dcm")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_load_image_gives_rows_and_columns(picture, radiograph_file, suffix) -> None:
    path = radiograph_file(picture(8), suffix)
    image = LoadImage(reader=NAME)(path)
    assert image.dtype == torch.float32
    assert np.array_equal(image.numpy(), np.float32(picture(8)) / np.float32(255))
    assert image.meta["filename_or_obj"] == str(path)
    assert image.meta["spatial_shape"].tolist() == [24, 40]
    assert image.meta["original_channel_dim"] == "no_channel"


def test_config_forms_are_the_same(picture, radiograph_file) -> None:
    path = radiograph_file(picture(8), ".png")
    images = [
        LoadImage(reader=reader, **options)(path)
        for reader, options in (
            (NAME, {}),
            (NAME, {"max_frames": 1}),
            (RadiographReader, {"max_frames": 1}),
            (RadiographReader(max_frames=1), {}),
        )
    ]
    assert all(torch.equal(image, images[0]) for image in images)


def test_spacing_becomes_the_affine(picture, radiograph_file) -> None:
    known = LoadImage(reader=NAME)(radiograph_file(picture(8), ".dcm"))
    assert known.meta["pixel_spacing"].tolist() == [0.2, 0.1]
    assert known.meta["spacing_keyword"] == "ImagerPixelSpacing"
    assert known.pixdim.tolist() == pytest.approx([0.2, 0.1])
    unknown = LoadImage(reader=NAME)(radiograph_file(picture(8), ".png"))
    assert np.isnan(unknown.meta["pixel_spacing"]).all()
    assert torch.equal(unknown.affine, torch.eye(4, dtype=torch.float64))


def test_all_formats_collate_into_one_batch(picture, radiograph_file) -> None:
    files = [{"image": radiograph_file(picture(8), suffix)} for suffix in SUFFIXES]
    load = Compose([LoadImaged("image", reader=NAME), EnsureChannelFirstd("image")])
    batch = next(iter(DataLoader(Dataset(files, load), batch_size=6, num_workers=0)))
    assert batch["image"].shape == (6, 1, 24, 40)
    assert list_data_collate([load(file) for file in files])["image"].shape == (6, 1, 24, 40)


def test_frames_become_channels(dicom_file) -> None:
    image = LoadImage(reader=NAME, ensure_channel_first=True)(dicom_file(frames=3))
    assert image.shape == (3, 24, 40)
    assert image.meta["spatial_shape"].tolist() == [24, 40]


def test_too_many_frames_are_refused_in_words_that_fit_any_format(dicom_file, tmp_path) -> None:
    reader = RadiographReader(max_frames=1)
    volume = tmp_path / "volume.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5, 3), np.float32), np.eye(4)), volume)
    for path in (dicom_file(frames=3), volume):
        message = rf"{path.name}: has 3 frames; need a single frame"
        with pytest.raises(UnsupportedImageError, match=message):
            reader.get_data(reader.read(path))


def test_several_files_are_stacked(picture, radiograph_file) -> None:
    paths = [radiograph_file(picture(8), suffix) for suffix in (".png", ".bmp")]
    image = LoadImage(reader=NAME)(paths)
    assert image.shape == (2, 24, 40)
    assert image.meta["original_channel_dim"] == 0
    with pytest.raises(ValueError, match="need one shape"):
        LoadImage(reader=NAME)([paths[0], radiograph_file(picture(8, 30, 30), ".tif")])


def test_no_other_reader_takes_over_what_ours_refuses(dicom_file, tmp_path) -> None:
    """LoadImage would try MONAI's readers, of which one shows RGB DICOM transposed."""
    colour = dicom_file(PhotometricInterpretation="RGB")
    with pytest.raises(UnsupportedImageError, match="need MONOCHROME1 or MONOCHROME2"):
        LoadImage(reader=NAME)(colour)
    broken = tmp_path / "x.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(CorruptImageError, match=r"x\.png"):
        LoadImage(reader=NAME)(broken)


@pytest.mark.parametrize("workers", [0, 1])
def test_errors_reach_the_user_through_loaders(tmp_path, workers) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(b"text")
    loader = DataLoader(
        Dataset([{"image": path}], LoadImaged("image", reader=NAME)), num_workers=workers
    )
    with pytest.raises(RuntimeError) as caught:  # noqa: PT011  MONAI's wrapper says little
        next(iter(loader))
    assert "not a PNG file" in f"{caught.value} {caught.value.__cause__}"


def test_suffixes_are_verified() -> None:
    reader = RadiographReader()
    assert reader.verify_suffix(["a.png", "b.DCM", "IM001"])
    assert not reader.verify_suffix(["a.png", "b.txt"])


def test_wrong_options_are_refused() -> None:
    with pytest.raises(ValueError, match="max_frames is 0; need at least 1"):
        RadiographReader(max_frames=0)
    with pytest.raises(TypeError, match=r"unknown options \['swap'\]"):
        RadiographReader().read("a.png", swap=True)


def test_load_image_takes_max_frames_without_a_warning() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        LoadImage(reader=NAME, max_frames=1)
    assert not [each for each in caught if "RadiographReader" in str(each.message)]
