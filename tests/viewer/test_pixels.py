"""The data of a radiograph that the browser gets."""

import json

import cv2
import numpy as np
import pytest

from monai_dental.formats import read_radiograph
from monai_dental.radiograph import Encoding, Radiograph
from monai_dental.viewer.pixels import THUMBNAIL_SIDE, describe, grey_values, thumbnail


@pytest.mark.parametrize(
    ("bits", "suffix", "dtype"), [(8, ".png", "u1"), (16, ".png", "u2"), (8, ".jpg", "u1")]
)
def test_grey_values_are_the_stored_ones(radiograph_file, picture, bits, suffix, dtype):
    radiograph = read_radiograph(radiograph_file(picture(bits), suffix))

    values = grey_values(radiograph)

    assert values.shape == (1, *radiograph.pixels.shape)
    assert np.array_equal(values[0], radiograph.stored)
    assert describe(radiograph)["dtype"] == dtype
    json.dumps(describe(radiograph))


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_window_of_the_file_is_told_in_stored_values(dicom_file, photometric):
    path = dicom_file(
        photometric=photometric, modality="DX", WindowCenter=[600, 100], WindowWidth=[401, 51],
        WindowCenterWidthExplanation=["BONE", "SOFT"], RescaleSlope="2", RescaleIntercept="-100",
    )  # fmt: skip

    windows = describe(read_radiograph(path))["windows"]

    # PS3.3 C.11.2.1.2.1: c - 0.5 plus and minus (w - 1) / 2, of the rescaled value.
    first = [(599.5 - 200 + 100) / 2, (599.5 + 200 + 100) / 2]
    ends = [windows[0]["black"], windows[0]["white"]]
    assert ends == (first if photometric == "MONOCHROME2" else first[::-1])
    assert [each["label"] for each in windows] == ["BONE", "SOFT"]


@pytest.mark.parametrize(
    "elements",
    [
        {"WindowCenter": None, "WindowWidth": None},
        {"WindowCenter": 100, "WindowWidth": 0},
        {"WindowCenter": 100, "WindowWidth": None},
        {"WindowCenter": 100, "WindowWidth": 50, "VOILUTFunction": "SIGMOID"},
    ],
)
def test_no_window_where_the_file_has_none_that_is_linear(dicom_file, elements):
    assert describe(read_radiograph(dicom_file(**elements)))["windows"] == []


def test_grey_values_behind_a_table_are_its_outputs():
    stored = np.arange(4, dtype=np.uint8).reshape(2, 2)
    encoding = Encoding(np.dtype(np.uint8), 2, 0.0, 900.0, (0, 100, 400, 900))
    radiograph = Radiograph(encoding.decode(stored), encoding, "dicom", stored=stored)

    assert grey_values(radiograph).tolist() == [[[0, 100], [400, 900]]]
    assert describe(radiograph)["white"] == 900


def test_thumbnail_is_small_and_uses_its_range(radiograph_file):
    wide = np.tile(np.linspace(10000, 12000, 900).astype(np.uint16), (300, 1))

    small = cv2.imdecode(
        np.frombuffer(thumbnail(read_radiograph(radiograph_file(wide, ".png"))), np.uint8),
        cv2.IMREAD_UNCHANGED,
    )

    assert small.shape == (53, THUMBNAIL_SIDE)
    assert small.min() == 0
    assert small.max() == 255
