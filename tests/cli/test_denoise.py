"""The command `denoise`, run in process, with inputs that cause errors in hospitals."""

from __future__ import annotations

import os
import signal
import sys

import cv2
import numpy as np
import pydicom
import pytest

from monai_dental.cli import main


def denoise(*arguments):
    return main(["denoise", *map(str, arguments)])


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp", ".nii", ".nii.gz", ".dcm"])
def test_each_format_comes_back_in_its_own_format_and_size(
    radiograph_file, picture, tmp_path, capsys, suffix
):
    path = radiograph_file(picture(8, rows=48, columns=40), suffix)

    assert denoise(path, "--output", tmp_path / "out") == 0

    from monai_dental.formats import read_radiograph

    source, denoised = read_radiograph(path), read_radiograph(tmp_path / "out" / path.name)
    assert denoised.image_format == source.image_format
    assert denoised.pixels.shape == source.pixels.shape
    assert denoised.encoding.dtype == source.encoding.dtype
    assert not np.array_equal(denoised.pixels, source.pixels)
    assert capsys.readouterr().out.splitlines()[-1] == f"1 denoised, 0 failed: {tmp_path}/out"


def test_strength_zero_gives_back_the_stored_values(dicom_file, tmp_path):
    path = dicom_file(bits_stored=12, photometric="MONOCHROME1")

    assert denoise(path, "--output", tmp_path / "out", "--strength", 0) == 0

    source, derived = pydicom.dcmread(path), pydicom.dcmread(tmp_path / "out" / path.name)
    assert np.array_equal(derived.pixel_array, source.pixel_array)
    assert derived.SOPInstanceUID != source.SOPInstanceUID


def test_signed_16_bit_multi_frame_dicom_keeps_its_form(dicom_file, tmp_path):
    path = dicom_file(bits_stored=16, signed=True, frames=3)

    assert denoise(path, "--output", tmp_path / "out") == 0

    source, derived = pydicom.dcmread(path), pydicom.dcmread(tmp_path / "out" / path.name)
    assert derived.PixelRepresentation == 1
    assert derived.pixel_array.shape == source.pixel_array.shape
    assert derived.pixel_array.dtype == source.pixel_array.dtype


def test_folder_keeps_its_tree(png, tmp_path):
    (tmp_path / "in" / "a").mkdir(parents=True)
    (tmp_path / "in" / "b").mkdir()
    for folder in "ab":
        (tmp_path / "in" / folder / "1.png").write_bytes(png.read_bytes())

    assert denoise(tmp_path / "in", "--output", tmp_path / "out") == 0

    names = sorted(str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.*"))
    assert names == ["a/1.png", "b/1.png"]


def test_bad_files_get_a_line_each_and_do_not_stop_the_run(
    png, dicom_file, dicom_dataset, tmp_path, capsys
):
    folder = tmp_path / "in"
    folder.mkdir()
    jpg = cv2.imencode(".jpg", cv2.imread(str(png), 0))[1].tobytes()
    whole = dicom_file().read_bytes()
    no_pixels, colour = dicom_dataset(), dicom_dataset()
    del no_pixels.PixelData
    colour.PhotometricInterpretation, colour.SamplesPerPixel = "RGB", 3
    colour.PixelData, colour.PlanarConfiguration = colour.PixelData * 3, 0
    no_pixels.save_as(folder / "no_pixels.dcm", enforce_file_format=True)
    colour.save_as(folder / "colour.dcm", enforce_file_format=True)
    (folder / "good.png").write_bytes(png.read_bytes())
    (folder / "truncated.jpg").write_bytes(jpg[: len(jpg) // 2])
    (folder / "truncated.dcm").write_bytes(whole[:-500])
    (folder / "text.png").write_text("not an image")
    (folder / "empty.png").touch()

    assert denoise(folder, "--output", tmp_path / "out") == 1

    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == f"1 denoised, 6 failed: {tmp_path}/out"
    reasons = {line.split(": ")[1].rpartition("/")[2]: line for line in lines[:-1]}
    expected = {
        "colour.dcm": "(0028,0004) Photometric Interpretation is 'RGB', and the channels differ",
        "empty.png": "the file is empty",
        "no_pixels.dcm": "(7FE0,0010) Pixel Data",
        "text.png": "not a PNG file",
        "truncated.dcm": "(7FE0,0010) Pixel Data",
        "truncated.jpg": "end marker",
    }
    assert reasons.keys() == expected.keys()
    for name, text in expected.items():
        assert text in reasons[name]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["good.png"]


def test_colour_image_is_folded_to_grey_with_a_warning(tmp_path, capsys):
    picture = np.random.default_rng(0).integers(0, 255, (20, 20, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "colour.png"), picture)

    assert denoise(tmp_path / "colour.png", "--output", tmp_path / "out") == 0

    assert "colour.png" in capsys.readouterr().err
    assert cv2.imread(str(tmp_path / "out" / "colour.png"), -1).ndim == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.png"], "nowhere.png: no such file or folder"),
        (["empty"], "empty: no images in this folder; looked for .png"),
        (
            ["source.png", "--bundle", "dea"],
            "dea: no such bundle; need the path of a bundle's folder",
        ),
        (["source.png", "--device", "cuda:99"], "cuda:99: no such device here"),
        (["source.png", "again/source.png"], "both would be written as source.png"),
    ],
)
def test_wrong_usage_is_one_line_and_writes_nothing(
    png, tmp_path, monkeypatch, capsys, arguments, message
):
    (tmp_path / "empty").mkdir()
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / "source.png").write_bytes(png.read_bytes())
    monkeypatch.chdir(tmp_path)

    assert denoise(*arguments, "--output", "out") == 2

    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert message in captured.err
    assert not (tmp_path / "out").exists()


def test_output_that_is_not_empty_needs_overwrite(png, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "kept.txt").write_text("kept")

    assert denoise(png, "--output", tmp_path / "out") == 2
    assert "out: the output folder is not empty" in capsys.readouterr().err
    assert denoise(png, "--output", tmp_path / "out", "--overwrite") == 0
    assert (tmp_path / "out" / "kept.txt").read_text() == "kept"


def test_output_that_cannot_be_made_is_named(png, tmp_path, capsys):
    (tmp_path / "file").touch()

    assert denoise(png, "--output", tmp_path / "file" / "out") == 2
    assert "out: cannot make this output folder" in capsys.readouterr().err


def test_output_inside_the_input_is_not_denoised_again(png, tmp_path, capsys):
    for _ in range(2):
        assert denoise(tmp_path, "--output", tmp_path / "out", "--overwrite") == 0
        assert capsys.readouterr().out.startswith("1 denoised, 0 failed")


def test_source_is_never_written_over(png, tmp_path, capsys):
    content = png.read_bytes()

    assert denoise(png, "--output", png.parent, "--overwrite") == 2

    assert "source.png: lies in the output folder" in capsys.readouterr().err
    assert png.read_bytes() == content


def test_disk_full_leaves_no_half_file(png, tmp_path, monkeypatch, capsys):
    def no_space(file_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)

    assert denoise(png, "--output", tmp_path / "out") == 1
    assert "cannot be written: No space left on device" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_interrupt_leaves_no_half_file(png, tmp_path, monkeypatch, capsys):
    def interrupt(file_descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)

    assert denoise(png, "--output", tmp_path / "out") == 130
    assert "interrupted" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_same_file_named_twice_is_done_once(png, tmp_path, capsys):
    assert denoise(png, png.parent, png.parent / "." / png.name, "--output", tmp_path / "out") == 0
    assert capsys.readouterr().out.startswith("1 denoised, 0 failed")


def test_unreadable_folder_is_not_passed_over(png, tmp_path, monkeypatch, capsys):
    (tmp_path / "in" / "locked").mkdir(parents=True)
    (tmp_path / "in" / "a.png").write_bytes(png.read_bytes())
    scandir = os.scandir

    def deny(path):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", deny)

    assert denoise(tmp_path / "in", "--output", tmp_path / "out") == 2
    assert "locked: cannot read this folder: Permission denied" in capsys.readouterr().err


def test_pipe_is_not_waited_for(tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe")

    assert denoise(tmp_path / "pipe", "--output", tmp_path / "out") == 2
    assert "pipe: no such file or folder" in capsys.readouterr().err


def test_name_cannot_break_the_line_of_its_outcome(tmp_path, capsys):
    (tmp_path / "new\nline\x1b[31m.png").write_text("not an image")

    assert denoise(tmp_path / "new\nline\x1b[31m.png", "--output", tmp_path / "out") == 1
    (line, _) = capsys.readouterr().out.splitlines()
    assert "new\\nline\\x1b[31m.png" in line


def test_name_cannot_break_the_line_of_a_warning(tmp_path, capsys):
    name = "new\nline\x1b[31m.png"
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    (tmp_path / name).write_bytes(cv2.imencode(".png", picture)[1].tobytes())

    assert denoise(tmp_path / name, "--output", tmp_path / "out") == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: ")
    assert line.endswith("new\\nline\\x1b[31m.png: colour is converted to grey")


def test_termination_leaves_no_half_file(png, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(os, "fsync", lambda file: os.kill(os.getpid(), signal.SIGTERM))

    assert denoise(png, "--output", tmp_path / "out") == 130
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("option", ["--strength=2", "--strength=nan", "--nonsense", ""])
def test_wrong_option_ends_with_2(png, tmp_path, option):
    with pytest.raises(SystemExit) as ended:
        denoise(png, "--output", tmp_path / "out", option)

    assert ended.value.code == 2


def test_patient_data_stay_out_of_what_is_printed(dicom_file, dicom_dataset, tmp_path, capsys):
    marker = "MARKER"
    dataset = dicom_dataset(
        PatientName=marker, PatientID=marker, AccessionNumber=marker, StudyDescription=marker
    )
    good = tmp_path / "good.dcm"
    dataset.save_as(good, enforce_file_format=True)
    (tmp_path / "bad.dcm").write_bytes(good.read_bytes()[:-100])

    assert denoise(good, tmp_path / "bad.dcm", "--output", tmp_path / "out") == 1

    captured = capsys.readouterr()
    assert marker not in captured.out + captured.err


def test_backend_is_the_users_choice(png, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)

    assert denoise(png, "--output", tmp_path / "torch") == 0
    assert denoise(png, "--output", tmp_path / "out", "--backend", "openvino") == 2
