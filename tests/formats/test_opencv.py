from __future__ import annotations

import io
import struct
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from monai_dental.errors import CorruptImageError, UnsupportedImageError
from monai_dental.formats import read_radiograph, write_radiograph
from monai_dental.radiograph import Encoding, Radiograph


def read_quietly(path: Path) -> Radiograph:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return read_radiograph(path)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
def test_colour_with_equal_channels_is_exactly_grey(picture, tmp_path, suffix) -> None:
    path = tmp_path / f"a{suffix}"
    cv2.imwrite(str(path), np.dstack([picture(8)] * 3))
    assert np.array_equal(read_quietly(path).stored, picture(8))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp"])
def test_colour_is_folded_with_a_warning_that_names_the_file(tmp_path, suffix) -> None:
    path = tmp_path / f"a{suffix}"
    cv2.imwrite(str(path), np.full((8, 8, 3), (0, 0, 255), np.uint8))
    with pytest.warns(UserWarning, match=f"a\\{suffix}: colour is converted to grey"):
        radiograph = read_radiograph(path)
    assert radiograph.stored.shape == (8, 8)
    assert np.abs(radiograph.stored.astype(int) - 76).max() <= 2


def test_jpeg_of_which_nothing_is_changed_is_the_file_itself(picture, tmp_path) -> None:
    path = tmp_path / "a.jpg"
    cv2.imwrite(str(path), picture(8), [cv2.IMWRITE_JPEG_QUALITY, 60])
    radiograph = read_quietly(path)

    write_radiograph(radiograph.with_pixels(radiograph.pixels), tmp_path / "same.jpg")
    write_radiograph(radiograph.with_pixels(radiograph.pixels * 0.5), tmp_path / "half.jpg")

    assert (tmp_path / "same.jpg").read_bytes() == path.read_bytes()
    half = read_quietly(tmp_path / "half.jpg").pixels
    np.testing.assert_allclose(half, radiograph.pixels / 2, atol=3 / 255)


@pytest.mark.parametrize(("alpha", "count"), [(255, 0), (100, 1)])
def test_transparency_is_left_out_with_a_warning(picture, tmp_path, alpha, count) -> None:
    path = tmp_path / "a.png"
    grey = Image.fromarray(picture(8))
    Image.merge("LA", [grey, Image.new("L", grey.size, alpha)]).save(path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        radiograph = read_radiograph(path)
    assert [str(each.message) for each in caught] == [f"{path}: transparency is ignored"] * count
    assert np.array_equal(radiograph.stored, picture(8))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_orientation_is_applied_as_viewers_do(picture, tmp_path, suffix, orientation) -> None:
    image = Image.fromarray(picture(8))
    path = tmp_path / f"a{suffix}"
    exif = Image.Exif()
    exif[0x112] = orientation
    image.save(path, exif=exif)
    p = picture(8)
    expected = [
        p,
        p[:, ::-1],
        p[::-1, ::-1],
        p[::-1],
        p.T,
        p.T[:, ::-1],
        p.T[::-1, ::-1],
        p.T[::-1],
    ]
    radiograph = read_quietly(path)
    assert np.array_equal(radiograph.stored, expected[orientation - 1])
    write_radiograph(radiograph, tmp_path / f"out{suffix}")
    assert np.array_equal(read_quietly(tmp_path / f"out{suffix}").stored, radiograph.stored)


@pytest.mark.parametrize("bits", [8, 16])
def test_tiff_that_shows_zero_white_is_turned_over(picture, tmp_path, bits) -> None:
    encoded = cv2.imencode(".tif", picture(bits), [cv2.IMWRITE_TIFF_COMPRESSION, 1])[1].tobytes()
    tag = struct.pack("<HHIH", 262, 3, 1, 1)
    assert tag in encoded
    path = tmp_path / "a.tif"
    path.write_bytes(encoded.replace(tag, struct.pack("<HHIH", 262, 3, 1, 0)))
    assert np.array_equal(read_quietly(path).stored, 2**bits - 1 - picture(bits))


def test_big_endian_tiff_reads_the_same(picture, tmp_path) -> None:
    path = tmp_path / "a.tif"
    image = picture(16)
    tags = [(256, 40), (257, 24), (258, 16), (259, 1), (262, 1), (273, 300), (278, 24)]
    tags += [(279, image.nbytes)]
    content = b"MM\0*" + struct.pack(">IH", 8, len(tags))
    for tag, value in tags:
        content += struct.pack(">HHII", tag, 4, 1, value)
    content = (content + bytes(4)).ljust(300, b"\0") + image.astype(">u2").tobytes()
    path.write_bytes(content)
    assert np.array_equal(read_quietly(path).stored, image)


def test_float_tiff_spans_its_own_range_and_comes_back(tmp_path) -> None:
    values = np.random.default_rng(0).normal(5, 2, (9, 13)).astype(np.float32)
    path = tmp_path / "a.tif"
    cv2.imwrite(str(path), values)
    radiograph = read_quietly(path)
    assert (radiograph.pixels.min(), radiograph.pixels.max()) == (0, 1)
    assert (radiograph.encoding.zero, radiograph.encoding.one) == (values.min(), values.max())
    write_radiograph(radiograph, tmp_path / "out.tif")
    assert np.array_equal(read_quietly(tmp_path / "out.tif").stored, values)


@pytest.mark.parametrize("dtype", [np.float64, np.int16, np.int32])
def test_other_tiff_types_are_refused(tmp_path, dtype) -> None:
    path = tmp_path / "a.tif"
    cv2.imwrite(str(path), np.zeros((4, 4), dtype))
    with pytest.raises(UnsupportedImageError, match=r"a\.tif: TIFF with \[\d+\] bits per sample"):
        read_radiograph(path)


def test_several_pages_are_refused(picture, tmp_path) -> None:
    path = tmp_path / "a.tif"
    page = Image.fromarray(picture(8))
    page.save(path, save_all=True, append_images=[page])
    with pytest.raises(UnsupportedImageError, match=r"a\.tif: several pages; need one"):
        read_radiograph(path)


def test_damaged_png_chunk_is_found(picture, tmp_path) -> None:
    path = tmp_path / "a.png"
    content = bytearray(cv2.imencode(".png", picture(8))[1].tobytes())
    content[content.index(b"IDAT") + 20] ^= 1
    path.write_bytes(content)
    with pytest.raises(CorruptImageError, match=r"a\.png: the IDAT chunk is damaged"):
        read_radiograph(path)


def test_thumbnail_does_not_hide_that_a_jpeg_is_cut_off(picture, tmp_path) -> None:
    inner = io.BytesIO()
    Image.fromarray(picture(8)).save(inner, "JPEG")
    outer = cv2.imencode(".jpg", picture(8, 200, 200))[1].tobytes()
    thumbnail = b"\xff\xe1" + struct.pack(">H", 2 + len(inner.getvalue())) + inner.getvalue()
    whole = outer[:2] + thumbnail + outer[2:]
    path = tmp_path / "a.jpg"
    path.write_bytes(whole)
    assert read_quietly(path).pixels.shape == (200, 200)
    path.write_bytes(whole[:-500])
    with pytest.raises(CorruptImageError, match="without its end marker"):
        read_radiograph(path)


@pytest.mark.parametrize(
    ("image_format", "dtype", "shape"),
    [
        ("jpeg", "u2", (4, 4)),
        ("bmp", "u2", (4, 4)),
        ("png", "f4", (4, 4)),
        ("png", "u1", (2, 4, 4)),
    ],
)
def test_format_that_cannot_hold_the_image_is_refused(tmp_path, image_format, dtype, shape) -> None:
    encoding = Encoding(np.dtype(dtype), 8 * np.dtype(dtype).itemsize, 0, 1)
    radiograph = Radiograph(np.zeros(shape, np.float32), encoding, image_format)
    with pytest.raises(ValueError, match=f"{image_format} cannot hold"):
        write_radiograph(radiograph, tmp_path / "out")
