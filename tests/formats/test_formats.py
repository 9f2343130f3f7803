"""Every format: the same picture reads the same, and is written back unchanged."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from monai_dental.dicom.derive import Derivation
from monai_dental.errors import CorruptImageError, OutputError, UnsupportedImageError
from monai_dental.formats import (
    SUFFIXES,
    is_supported_name,
    read_radiograph,
    write_radiograph,
)
from monai_dental.formats.registry import suffix_of

DERIVATION = Derivation("Noise reduction", "dae", "0.1.0", "0" * 64, 1.0)
LOSSLESS_8 = (".png", ".tif", ".tiff", ".bmp", ".nii", ".nii.gz", ".dcm")
LOSSLESS_16 = (".png", ".tif", ".tiff", ".nii", ".nii.gz", ".dcm")
EVERY = [(bits, s) for bits, group in ((8, LOSSLESS_8), (16, LOSSLESS_16)) for s in group]

Picture = Callable[..., np.ndarray]
Maker = Callable[..., Path]


@pytest.mark.parametrize(("bits", "suffix"), EVERY)
def test_same_picture_reads_the_same_from_each_format(
    bits: int, suffix: str, picture: Picture, radiograph_file: Maker
) -> None:
    expected = picture(bits)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        radiograph = read_radiograph(radiograph_file(expected, suffix))
    assert radiograph.pixels.dtype == np.float32
    assert radiograph.pixels.flags.c_contiguous
    assert np.array_equal(radiograph.pixels, np.float32(expected) / np.float32(2**bits - 1))


def test_jpeg_reads_nearly_the_same(picture: Picture, radiograph_file: Maker) -> None:
    rows, columns = np.mgrid[:60, :90]
    expected = (rows + 2 * columns).astype(np.uint8)
    for suffix in (".jpg", ".jpeg"):
        pixels = read_radiograph(radiograph_file(expected, suffix)).pixels
        assert np.abs(pixels - expected / 255).max() <= 2 / 255


@pytest.mark.parametrize(("bits", "suffix"), [*EVERY, (8, ".jpg")])
def test_write_then_read_keeps_everything(
    bits: int, suffix: str, picture: Picture, radiograph_file: Maker, tmp_path: Path
) -> None:
    source = read_radiograph(radiograph_file(picture(bits), suffix))
    target = tmp_path / f"out{suffix}"
    write_radiograph(source, target, derivation=DERIVATION)
    back = read_radiograph(target)
    assert back.encoding == source.encoding
    assert back.pixel_spacing == source.pixel_spacing
    assert back.spacing_keyword == source.spacing_keyword
    assert back.photometric_interpretation == source.photometric_interpretation
    if suffix == ".jpg":
        assert np.abs(back.pixels - source.pixels).max() <= 3 / 255
    else:
        assert np.array_equal(back.stored, picture(bits))


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp", ".nii.gz", ".dcm"])
def test_changed_pixels_are_written_and_the_others_kept(
    suffix: str, picture: Picture, radiograph_file: Maker, tmp_path: Path
) -> None:
    source = read_radiograph(radiograph_file(picture(8), suffix))
    pixels = source.pixels.copy()
    pixels[5:9] = 0.25
    write_radiograph(replace(source, pixels=pixels), tmp_path / f"o{suffix}", derivation=DERIVATION)
    expected = picture(8)
    expected[5:9] = 64
    assert np.array_equal(read_radiograph(tmp_path / f"o{suffix}").stored, expected)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp", ".nii.gz", ".dcm"])
def test_names_beyond_ascii_work(
    suffix: str, picture: Picture, radiograph_file: Maker, tmp_path: Path
) -> None:
    path = radiograph_file(picture(8), suffix, stem="зуб 歯")
    write_radiograph(read_radiograph(path), tmp_path / f"kopie ä{suffix}", derivation=DERIVATION)
    assert read_radiograph(tmp_path / f"kopie ä{suffix}").pixels.shape == (24, 40)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp", ".nii", ".nii.gz", ".dcm"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.97])
def test_truncated_file_is_never_read(
    suffix: str, share: float, picture: Picture, radiograph_file: Maker
) -> None:
    path = radiograph_file(picture(8, 120, 200), suffix)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises((CorruptImageError, UnsupportedImageError), match=r"source|instance"):
        read_radiograph(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("content", [b"", b"no image at all", bytes(2000), b"BM", b"\x1f\x8b\x08"])
def test_file_that_is_no_image_is_named(suffix: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"junk{suffix}"
    path.write_bytes(content)
    with pytest.raises((CorruptImageError, UnsupportedImageError), match="junk"):
        read_radiograph(path)


def test_text_and_missing_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("text")
    with pytest.raises(UnsupportedImageError, match=r"notes\.txt: not an image; need one of \.png"):
        read_radiograph(tmp_path / "notes.txt")
    with pytest.raises(CorruptImageError, match=r"gone\.png: cannot be read: No such file"):
        read_radiograph(tmp_path / "gone.png")


def test_content_decides_where_the_name_is_wrong(
    picture: Picture, radiograph_file: Maker, tmp_path: Path
) -> None:
    path = radiograph_file(picture(8), ".tif").rename(tmp_path / "called.png")
    radiograph = read_radiograph(path)
    assert radiograph.image_format == "tiff"
    dicom = radiograph_file(picture(8), ".dcm").rename(tmp_path / "1.2.3.4")
    assert read_radiograph(dicom).image_format == "dicom"


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp", ".nii", ".dcm"])
def test_giant_image_is_refused_before_decoding(
    suffix: str, picture: Picture, radiograph_file: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = radiograph_file(picture(8), suffix)
    monkeypatch.setattr("monai_dental.radiograph.MAX_PIXELS", 24 * 40 - 1)
    with pytest.raises(UnsupportedImageError, match="need at most 959 in all"):
        read_radiograph(path)


@pytest.mark.parametrize(
    ("name", "supported"),
    [
        ("a.PNG", True),
        ("a.nii.GZ", True),
        ("a.dcm", True),
        ("IM0001", True),
        ("1.2.840.10008.7", True),
        ("DICOMDIR", False),
        ("notes.txt", False),
        (".hidden.png", False),
        ("a.gz", False),
    ],
)
def test_supported_names(name: str, supported: bool) -> None:
    assert is_supported_name(Path("folder.x") / name) is supported


@pytest.mark.parametrize(
    ("name", "suffix"),
    [("a.PNG", ".PNG"), ("a.nii.gz", ".nii.gz"), ("a.exe", ""), ("1.2.840.1", "")],
)  # fmt: skip
def test_suffix_of_a_name_is_the_longest_known_one(name: str, suffix: str) -> None:
    assert suffix_of(name) == suffix


@pytest.mark.parametrize("link", [None, os.link, os.symlink])
def test_source_is_never_overwritten(
    link: Callable[..., None] | None, picture: Picture, radiograph_file: Maker, tmp_path: Path
) -> None:
    source = radiograph_file(picture(8), ".png")
    before = source.read_bytes()
    target = source
    if link is not None:
        target = tmp_path / "link.png"
        link(source, target)
    with pytest.raises(OutputError, match="is the source itself"):
        write_radiograph(read_radiograph(source), target)
    assert source.read_bytes() == before


def test_name_of_another_format_is_refused(
    picture: Picture, radiograph_file: Maker, tmp_path: Path
) -> None:
    radiograph = read_radiograph(radiograph_file(picture(8), ".png"))
    with pytest.raises(ValueError, match="the name says jpeg, but the image is png"):
        write_radiograph(radiograph, tmp_path / "out.jpg")


def test_dicom_needs_a_derivation(picture: Picture, radiograph_file: Maker, tmp_path: Path) -> None:
    radiograph = read_radiograph(radiograph_file(picture(8), ".dcm"))
    with pytest.raises(ValueError, match="needs a derivation"):
        write_radiograph(radiograph, tmp_path / "out.dcm")


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_failed_write_leaves_nothing(
    error: BaseException,
    call: str,
    picture: Picture,
    radiograph_file: Maker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    radiograph = read_radiograph(radiograph_file(picture(8), ".png"))
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "x.png").write_bytes(b"before")

    def fail(*arguments: object) -> None:
        raise error

    monkeypatch.setattr(os, call, fail)
    expected = OutputError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected, match=r"x\.png: cannot be written: No space|^$"):
        write_radiograph(radiograph, folder / "x.png")
    assert [path.name for path in folder.iterdir()] == ["x.png"]
    assert (folder / "x.png").read_bytes() == b"before"


def test_missing_folder_is_an_output_error(
    picture: Picture, radiograph_file: Maker, tmp_path: Path
) -> None:
    radiograph = read_radiograph(radiograph_file(picture(8), ".png"))
    with pytest.raises(OutputError, match=r"x\.png: cannot be written: No such file"):
        write_radiograph(radiograph, tmp_path / "none" / "x.png")


def test_written_file_has_the_usual_permissions(
    picture: Picture, radiograph_file: Maker, tmp_path: Path
) -> None:
    source = radiograph_file(picture(8), ".png")
    write_radiograph(read_radiograph(source), tmp_path / "out.png")
    assert (tmp_path / "out.png").stat().st_mode == source.stat().st_mode
