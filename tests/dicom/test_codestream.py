"""Codestreams of another size than the dataset's: refused before they are decoded."""

from __future__ import annotations

import struct
import tracemalloc

import imagecodecs
import numpy as np
import pytest
from pydicom import Dataset, uid
from pydicom.encaps import encapsulate, generate_frames

from monai_dental.dicom import to_radiograph
from monai_dental.dicom.codestream import (
    CodestreamHeader,
    read_jpeg2000_header,
    read_jpeg_header,
)
from monai_dental.errors import CorruptImageError

JPEG_XL = "1.2.840.10008.1.2.4.110"
FRAME_HEADERS = {
    uid.JPEGBaseline8Bit: b"\xff\xc0",
    uid.JPEGLossless: b"\xff\xc3",
    uid.JPEGLosslessSV1: b"\xff\xc3",
    uid.JPEGLSLossless: b"\xff\xf7",
}


def codestream_of(ds: Dataset) -> bytes:
    return next(generate_frames(ds.PixelData, number_of_frames=1))


def resized(codestream: bytes, transfer_syntax: str, rows: int, columns: int) -> bytes:
    """The codestream with another size in its header."""
    changed = bytearray(codestream)
    if transfer_syntax in FRAME_HEADERS:
        at = codestream.index(FRAME_HEADERS[transfer_syntax])
        struct.pack_into(">HH", changed, at + 5, rows, columns)
    else:
        at = codestream.index(b"\xff\x4f\xff\x51")
        struct.pack_into(">II", changed, at + 8, columns, rows)
        struct.pack_into(">II", changed, at + 24, columns, rows)  # one tile
    return bytes(changed)


def refuse(ds: Dataset, message: str) -> int:
    """Check that reading is refused; return the peak memory in bytes."""
    tracemalloc.start()
    try:
        with pytest.raises(CorruptImageError, match=message):
            to_radiograph(ds)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "transfer_syntax", [*FRAME_HEADERS, uid.JPEG2000Lossless, uid.HTJ2KLossless]
)
@pytest.mark.parametrize("size", [(14000, 14000), (25, 40), (40, 24), (0, 40)])
def test_codestream_of_another_size_is_not_decoded(
    dicom_dataset, picture, monkeypatch, transfer_syntax, size
) -> None:
    ds = dicom_dataset(picture(8), transfer_syntax=transfer_syntax)
    ds.PixelData = encapsulate([resized(codestream_of(ds), transfer_syntax, *size)])
    monkeypatch.setattr(imagecodecs, "jpeg2k_decode", None)  # must not be called
    message = (
        rf"instance 1\.2\.3\.4\.5\.6\.7: frame 1 has a codestream of {size[0]} x {size[1]} pixels; "
        r"the header has \(0028,0010\) Rows x \(0028,0011\) Columns of 24 x 40"
    )
    assert refuse(ds, message) < 2**22


def test_real_large_codestream_takes_no_memory(dicom_dataset) -> None:
    ds = dicom_dataset(np.zeros((4000, 4000), np.uint8), transfer_syntax=uid.JPEGLSLossless)
    ds.Rows = ds.Columns = 16
    assert refuse(ds, "has a codestream of 4000 x 4000 pixels") < 2**22


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("kind", ["wider", "more frames"])
def test_jpeg_xl_of_another_size_is_not_decoded(dicom_dataset, bits, kind) -> None:
    shape = (2000, 2000) if kind == "wider" else (400, 64, 64)
    pixels = np.zeros(shape, f"u{bits // 8}")
    ds = dicom_dataset(pixels[-64:, -64:].reshape(-1, 64)[:64].copy(), transfer_syntax=JPEG_XL)
    ds.PixelData = encapsulate([imagecodecs.jpegxl_encode(pixels, lossless=True)])
    message = r"frame 1 has no JPEG XL codestream of one greyscale picture of .* 64 x 64"
    assert refuse(ds, message) < 2**19


def test_jpeg_xl_of_fewer_bits_is_read(dicom_dataset, picture) -> None:
    ds = dicom_dataset(picture(8).astype(np.uint16), bits_stored=12, transfer_syntax=JPEG_XL)
    ds.PixelData = encapsulate([imagecodecs.jpegxl_encode(picture(8), lossless=True)])
    assert np.array_equal(to_radiograph(ds).stored, picture(8))


def test_run_lengths_of_more_pixels_are_refused(dicom_dataset) -> None:
    ds = dicom_dataset(np.zeros((1000, 4000), np.uint8), transfer_syntax=uid.RLELossless)
    ds.Rows = 16
    assert refuse(ds, "frame 1 cannot be decoded: ImcdError") < 2**20


@pytest.mark.parametrize("transfer_syntax", [uid.JPEGBaseline8Bit, uid.JPEG2000Lossless])
def test_colour_is_not_decoded(dicom_dataset, picture, transfer_syntax) -> None:
    colour = np.dstack([picture(8)] * 3)
    ds = dicom_dataset(picture(8), transfer_syntax=transfer_syntax)
    encoded = (
        imagecodecs.jpeg_encode(colour)
        if transfer_syntax == uid.JPEGBaseline8Bit
        else imagecodecs.jpeg2k_encode(colour, codecformat="j2k")
    )
    ds.PixelData = encapsulate([encoded])
    refuse(ds, "frame 1 has a codestream of 3 components; need 1")


def test_jp2_file_is_read_and_its_size_compared(dicom_dataset, picture) -> None:
    ds = dicom_dataset(picture(8), transfer_syntax=uid.JPEG2000Lossless)
    jp2 = imagecodecs.jpeg2k_encode(picture(8), level=0, reversible=True, codecformat="jp2")
    ds.PixelData = encapsulate([jp2])
    assert np.array_equal(to_radiograph(ds).stored, picture(8))
    box = jp2.index(b"jp2c") - 4
    codestream = jp2[box + 8 :]
    long_box = struct.pack(">I4sQ", 1, b"jp2c", 16 + len(codestream))
    assert read_jpeg2000_header(jp2[:box] + long_box + codestream).rows == 24
    ds.PixelData = encapsulate([resized(jp2, uid.JPEG2000Lossless, 14000, 14000)])
    refuse(ds, "has a codestream of 14000 x 14000 pixels")


def test_second_frame_header_does_not_get_past(dicom_dataset, picture) -> None:
    ds = dicom_dataset(picture(8), transfer_syntax=uid.JPEGLosslessSV1)
    frame = codestream_of(ds)
    at = frame.index(b"\xff\xc3")
    large = resized(frame, uid.JPEGLosslessSV1, 3000, 3000)[at:]
    ds.PixelData = encapsulate([frame[: at + 13] + large])
    assert refuse(ds, "frame 1 cannot be decoded") < 2**22


def test_jpeg_header_is_found_behind_other_segments_and_stray_bytes() -> None:
    start = b"\xff\xd8" + b"\xff\xe0\0\x06\xff\xc0ab" + b"stray\xff\0" + b"\xff\x01" + b"\xff\xff"
    header = struct.pack(">BBHBHHB", 0xFF, 0xC1, 11, 12, 24, 40, 1)
    assert read_jpeg_header(start + header) == CodestreamHeader(24, 40, 1, 12, False, 0xC1)


@pytest.mark.parametrize(
    "codestream",
    [
        b"",
        b"\xff",
        b"\xff\xd8",
        b"\xff\xd8\xff",
        b"\xff\xd8\xff\xe0",
        b"\xff\xd8\xff\xe0\0\0",
        b"\xff\xd8\xff\xc0\0\x0b\x08",
        b"\xff\xd8\xff\xda\0\x02\xff\xc0\0\x0b\x08\0\x10\0\x10\x01",
        b"\xff\xd8\xff\xd9\xff\xc0\0\x0b\x08\0\x10\0\x10\x01",
        b"\0\0\xff\xd8\xff\xc0\0\x0b\x08\0\x10\0\x10\x01",
        b"\xff\x4f\xff\x51",
        b"\xff\x4f\xff\x64" + bytes(60),
        b"\0\0\0\x0cjP  \r\n\x87\n",
        b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(30),
        b"\0\0\0\x0cjP  \r\n\x87\n\0\0\0\x01ftyp",
        b"\0\0\0\x0cjP  \r\n\x87\n\0\0\0\0jp2c",
    ],
)
def test_codestream_without_header_is_refused(codestream) -> None:
    for read, name in ((read_jpeg_header, "JPEG frame"), (read_jpeg2000_header, "JPEG 2000 SIZ")):
        with pytest.raises(CorruptImageError, match=f"has no {name}"):
            read(codestream)
