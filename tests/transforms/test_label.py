"""The values that MONAI Label's generic app writes."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
import torch
from monai.transforms import EnsureChannelFirstd, LoadImaged

from monai_dental.formats import read_radiograph
from monai_dental.formats.reader import RadiographReader
from monai_dental.transforms import ToStoredd


def load(path):
    data = LoadImaged("image", reader=RadiographReader)({"image": str(path)})
    return EnsureChannelFirstd("image")(data)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".nii.gz", ".dcm"])
def test_unchanged_pixels_become_the_stored_values_again(picture, radiograph_file, suffix):
    path = radiograph_file(picture(8, rows=24, columns=40), suffix)
    data = load(path)
    data["pred"] = data["image"].as_tensor()

    result = ToStoredd("pred")(data)["pred"]

    stored = read_radiograph(path).stored
    assert result.dtype == stored.dtype
    np.testing.assert_array_equal(result.squeeze(), stored.T)  # (columns, rows)


def test_bright_is_great_where_the_file_says_monochrome1(dicom_file):
    path = dicom_file(bits_stored=12, photometric="MONOCHROME1")
    data = load(path)
    data["pred"] = data["image"].as_tensor()

    result = ToStoredd("pred")(data)["pred"]

    np.testing.assert_array_equal(result.T, 4095 - read_radiograph(path).stored)


def test_frames_come_last(dicom_file):
    path = dicom_file(bits_stored=12, photometric="MONOCHROME2", frames=3)
    data = load(path)
    data["pred"] = data["image"].as_tensor()

    result = ToStoredd("pred")(data)["pred"]

    np.testing.assert_array_equal(result.T, read_radiograph(path).stored)


@pytest.mark.parametrize(("strength", "expected"), [(0, 100), (0.5, 150), ("1.0", 200)])
def test_strength_is_the_share_of_the_correction(radiograph_file, strength, expected):
    data = load(radiograph_file(np.full((24, 40), 100, np.uint8), ".png"))
    data["pred"] = torch.full((1, 24, 40), 200 / 255)

    result = ToStoredd("pred", strength=strength)(data)["pred"]

    assert np.unique(result) == expected


def test_shape_and_affine_are_told_to_the_app(picture, radiograph_file):
    path = radiograph_file(picture(8), ".nii.gz")
    data = load(path)
    data["pred"] = data["image"].as_tensor()

    result = ToStoredd("pred")(data)

    meta = result["image"].meta
    assert tuple(meta["spatial_shape"]) == result["pred"].shape == (40, 24, 1)
    np.testing.assert_array_equal(meta["original_affine"], nibabel.load(path).affine)


def test_strength_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r"strength is 2; need 0 to 1"):
        ToStoredd("pred", strength=2)
