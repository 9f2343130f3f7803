"""Pixels that a mask keeps unchanged."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from monai_dental.dicom import read_dataset, to_radiograph


@pytest.fixture
def masked(add_file, tmp_path):
    """Two files, of which one has a mask; returns the mask."""
    add_file("sub/a.dcm")
    add_file("b.dcm", modality="CT", frames=3, photometric="MONOCHROME2")
    mask = np.zeros((24, 40), np.uint8)
    mask[3:9, 5:30] = 255
    write(tmp_path, "sub/a.dcm", mask)
    return mask > 0


def write(tmp_path, name, mask) -> None:
    path = tmp_path / "masks" / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), mask)


def stored(tmp_path, rows, name):
    pair = (tmp_path / "in" / name, tmp_path / "out" / rows()[name].output)
    return [to_radiograph(read_dataset(path)).stored for path in pair]


def test_masked_pixels_are_left_as_they_are(masked, batch, rows, tmp_path) -> None:
    assert batch("--masks", tmp_path / "masks") == 0

    before, after = stored(tmp_path, rows, "sub/a.dcm")
    assert np.array_equal(before[masked], after[masked])
    assert (before[~masked] != after[~masked]).mean() > 0.5
    before, after = stored(tmp_path, rows, "b.dcm")
    assert (before != after).mean() > 0.5


def test_mask_of_several_frames_holds_for_each(masked, batch, rows, tmp_path) -> None:
    write(tmp_path, "b.dcm", masked.astype(np.uint8))

    assert batch("--masks", tmp_path / "masks") == 0
    before, after = stored(tmp_path, rows, "b.dcm")
    assert np.array_equal(before[:, masked], after[:, masked])
    assert (before[:, ~masked] != after[:, ~masked]).mean() > 0.5


def test_other_mask_makes_another_instance(masked, batch, rows, tmp_path) -> None:
    options = ("--masks", tmp_path / "masks")
    assert batch(*options) == 0
    first = rows()
    assert batch(*options) == 0
    assert rows() == first
    write(tmp_path, "sub/a.dcm", (~masked).astype(np.uint8))

    assert batch(*options) == 0
    second = rows()
    assert second["sub/a.dcm"].output_uid != first["sub/a.dcm"].output_uid
    assert second["sub/a.dcm"].mask_digest != first["sub/a.dcm"].mask_digest
    assert second["b.dcm"] == first["b.dcm"]
    assert batch() == 0  # without masks, all is denoised
    assert rows()["sub/a.dcm"].mask_digest == ""
    before, after = stored(tmp_path, rows, "sub/a.dcm")
    assert (before != after).mean() > 0.5


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (np.zeros((24, 41), np.uint8), "its mask has 24 x 41 pixels; need 24 x 40"),
        (None, "its mask cannot be used: "),
    ],
)
def test_file_whose_mask_does_not_fit_fails(masked, batch, rows, tmp_path, content, reason) -> None:
    if content is None:
        (tmp_path / "masks" / "sub" / "a.dcm.png").write_bytes(b"no image")
    else:
        write(tmp_path, "sub/a.dcm", content)

    assert batch("--masks", tmp_path / "masks") == 1
    assert rows()["sub/a.dcm"].reason.startswith(reason)
    assert rows()["b.dcm"].outcome == "derived"


def test_mask_of_no_file_is_told_at_once(masked, batch, tmp_path, capsys) -> None:
    write(tmp_path, "typo.dcm", masked.astype(np.uint8))

    assert batch("--masks", tmp_path / "masks") == 2
    assert "typo.dcm.png: a mask, but there is no input file typo.dcm" in capsys.readouterr().err
    assert batch("--masks", tmp_path / "nowhere") == 2
    assert not (tmp_path / "out").exists()
