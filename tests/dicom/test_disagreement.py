"""Codestreams that contradict the header are refused, clipped or followed, never corrupted."""

from __future__ import annotations

import struct

import imagecodecs
import numpy as np
import pytest
from dicom_datasets import ENCODE
from pydicom import Dataset, uid
from pydicom.encaps import encapsulate

from monai_dental.dicom import to_radiograph
from monai_dental.dicom.codestream import CodestreamHeader
from monai_dental.dicom.elements import read_image_pixel
from monai_dental.dicom.fit import fit_cells
from monai_dental.errors import ColourImageError, CorruptImageError

SLOPE = np.add.outer(np.arange(24), np.arange(40))


def with_frame(ds: Dataset, frame: bytes, syntax: str | None = None) -> Dataset:
    ds.add_new("PixelData", "OB", encapsulate([bytes(frame)]))
    ds["PixelData"].is_undefined_length = True
    if syntax is not None:
        ds.file_meta.TransferSyntaxUID = uid.UID(syntax)
    return ds


def edges(bits: int) -> np.ndarray:
    """Adjacent black and white, at which lossy codecs overshoot."""
    values = np.zeros((24, 40), np.uint16)
    values[:, 20:] = (1 << bits) - 1
    values[::3, ::2] = (1 << bits) - 1
    return values


@pytest.mark.parametrize(
    "syntax",
    [uid.JPEGExtended12Bit, uid.JPEGLSNearLossless, uid.JPEG2000, uid.HTJ2K],
)
@pytest.mark.parametrize("bits", [9, 10, 11])
def test_lossy_overshoot_is_clipped(dicom_dataset, syntax, bits) -> None:
    encode = {
        uid.JPEGExtended12Bit: lambda a: imagecodecs.jpeg_encode(a, level=60, bitspersample=12),
        uid.JPEGLSNearLossless: lambda a: imagecodecs.jpegls_encode(a, level=5),
        uid.JPEG2000: lambda a: imagecodecs.jpeg2k_encode(
            a, level=45, codecformat="j2k", bitspersample=12
        ),
        uid.HTJ2K: lambda a: imagecodecs.htj2k_encode(a, reversible=False),
    }[syntax]
    source = edges(bits)
    ds = with_frame(dicom_dataset(source, bits_stored=bits), encode(source), syntax)
    stored = to_radiograph(ds).stored
    assert stored.max() < 1 << bits
    assert np.abs(stored.astype(int) - source).max() < 1 << (bits - 2)  # none went around


@pytest.mark.parametrize("low", [0, -5])
def test_sign_of_the_codestream_alone_is_refused_where_it_shows(dicom_dataset, low) -> None:
    signed = (SLOPE + low).astype(np.int16)
    frame = imagecodecs.jpeg2k_encode(
        signed, level=0, reversible=True, codecformat="j2k", bitspersample=12
    )
    ds = with_frame(dicom_dataset(SLOPE.astype("u2"), bits_stored=12), frame, uid.JPEG2000Lossless)
    if low == 0:
        assert np.array_equal(to_radiograph(ds).stored, signed)
        return
    message = (
        r"frame 1 has a signed codestream with values down to -5; "
        r"\(0028,0103\) Pixel Representation is 0 \(unsigned\)"
    )
    with pytest.raises(CorruptImageError, match=message):
        to_radiograph(ds)


@pytest.mark.parametrize(
    "syntax", [uid.JPEGLosslessSV1, uid.JPEGLSLossless, uid.JPEG2000Lossless, uid.HTJ2KLossless]
)
def test_more_bits_than_allocated_are_refused(dicom_dataset, picture, syntax) -> None:
    frame = ENCODE[syntax](picture(12), 12)
    ds = with_frame(dicom_dataset(picture(8)), frame, syntax)
    with pytest.raises(CorruptImageError, match=r"codestream of 1\d bits; .* Bits Allocated is 8"):
        to_radiograph(ds)


def test_more_bits_than_stored_are_refused_where_values_show_them(dicom_dataset, picture) -> None:
    ds = dicom_dataset(picture(12), bits_stored=12, transfer_syntax=uid.JPEGLosslessSV1)
    ds.BitsStored, ds.HighBit = 10, 9
    with pytest.raises(CorruptImageError, match=r"values from 0 to 4095; .* High Bit is 9, which"):
        to_radiograph(ds)
    small = with_frame(ds, ENCODE[uid.JPEGLosslessSV1](picture(10), 12))
    assert np.array_equal(to_radiograph(small).stored, picture(10))


@pytest.mark.parametrize(
    ("syntax", "message"),
    [
        (uid.JPEGLSLossless, "codestream of 3 components; need 1"),
        (uid.RLELossless, "has 3 RLE segments; the header asks for 1"),
    ],
)
def test_components_that_the_header_does_not_tell_are_refused(
    dicom_dataset, picture, syntax, message
) -> None:
    colour = np.dstack([picture(8)] * 3)
    ds = with_frame(dicom_dataset(picture(8)), frame_of(colour, syntax), syntax)
    with pytest.raises(CorruptImageError, match=message):
        to_radiograph(ds)


def frame_of(colour: np.ndarray, syntax: str) -> bytes:
    if syntax == uid.RLELossless:
        segments = [bytes(imagecodecs.packbits_encode(colour[..., i].tobytes())) for i in range(3)]
        segments = [each + b"\0" * (len(each) % 2) for each in segments]
        at = [64, 64 + len(segments[0]), 64 + len(segments[0]) + len(segments[1])]
        return struct.pack("<16I", 3, *at, *[0] * 12) + b"".join(segments)
    return {
        uid.JPEGBaseline8Bit: lambda a: imagecodecs.jpeg_encode(a, level=95),
        uid.JPEGLSLossless: imagecodecs.jpegls_encode,
        uid.JPEG2000Lossless: lambda a: imagecodecs.jpeg2k_encode(
            a, level=0, reversible=True, codecformat="j2k"
        ),
    }[syntax](colour)


CASES = [
    # codestream bits and sign, stored bits, header's sign, lossy; values -> stored values or None
    ((12, False), 12, False, False, [0, 4095], [0, 4095]),
    ((16, False), 12, False, False, [0, 0xF123], [0, 0x123]),  # junk of whole cells, as native
    ((13, False), 12, False, False, [0, 0x1123], None),
    ((12, False), 10, False, True, [0, 1026], [0, 1023]),
    ((12, False), 10, False, True, [0, 4000], None),  # no overshoot: other bits
    ((16, False), 10, False, True, [0, 1026], [0, 1023]),
    ((10, False), 12, False, False, [0, 1023], [0, 1023]),
    ((12, True), 12, True, False, [-2048, 2047], [-2048, 2047]),
    ((12, True), 10, True, True, [-514, 513], [-512, 511]),
    ((12, True), 10, True, False, [-514, 513], None),
    ((12, True), 12, False, False, [0, 2047], [0, 2047]),
    ((12, True), 12, False, True, [-1, 2047], None),
    ((12, False), 12, True, False, [0xFFF, 1], [-1, 1]),  # bit patterns: a codec without a sign
    ((16, False), 12, True, False, [0xFFFF, 1], [-1, 1]),
    ((16, False), 12, True, False, [0x0FFF, 1], [-1, 1]),
    ((16, False), 10, True, True, [0xFFFF, 513], [-1, 511]),
    ((16, False), 10, True, True, [0, 513], [0, 511]),
    ((16, False), 10, True, True, [0x3FF, 1], [-1, 1]),
    ((13, False), 12, True, False, [0x1FFF, 1], [-1, 1]),
    ((10, False), 12, True, False, [511, 1], [511, 1]),
    ((10, False), 12, True, False, [512, 1], None),  # 512 or -512
]


@pytest.mark.parametrize(("stream", "stored", "is_signed", "is_lossy", "values", "wanted"), CASES)
def test_every_case_of_bits_and_sign(
    dicom_dataset, stream, stored, is_signed, is_lossy, values, wanted
) -> None:
    from monai_dental.dicom.pixels import to_values

    bits, has_sign = stream
    dataset = dicom_dataset(bits_stored=stored, PixelRepresentation=int(is_signed))
    image_pixel = read_image_pixel(dataset)
    samples = np.array([values], np.int16 if has_sign else np.uint16)
    header = CodestreamHeader(1, 2, 1, bits, has_sign)
    if wanted is None:
        with pytest.raises(CorruptImageError, match="codestream"):
            fit_cells(samples, header, image_pixel, is_lossy=is_lossy)
        return
    cells = fit_cells(samples, header, image_pixel, is_lossy=is_lossy).astype(np.uint16)
    assert to_values(cells, image_pixel).tolist() == [wanted]


@pytest.fixture
def coloured(dicom_dataset, picture):
    """Factory of instances of three samples, from (rows, columns, 3)."""

    def make(colour: np.ndarray, photometric: str, syntax: str, planar: int = 0) -> Dataset:
        ds = dicom_dataset(
            picture(8), modality="DX", SamplesPerPixel=3, PhotometricInterpretation=photometric,
            PlanarConfiguration=planar, PresentationLUTShape=None,
        )  # fmt: skip
        if syntax == uid.ExplicitVRLittleEndian:
            cells = np.moveaxis(colour, -1, 0) if planar else colour
            ds.add_new("PixelData", "OB", cells.tobytes())
            return ds
        return with_frame(ds, frame_of(colour, syntax), syntax)

    return make


SMOOTH = (SLOPE * 4).astype(np.uint8)


@pytest.mark.parametrize(
    ("photometric", "syntax", "planar"),
    [
        ("RGB", uid.ExplicitVRLittleEndian, 0),
        ("RGB", uid.ExplicitVRLittleEndian, 1),
        ("YBR_FULL", uid.ExplicitVRLittleEndian, 0),
        ("RGB", uid.RLELossless, 0),
        ("YBR_FULL", uid.RLELossless, 1),
        ("RGB", uid.JPEGLSLossless, 0),
        ("YBR_RCT", uid.JPEG2000Lossless, 0),
        ("YBR_FULL_422", uid.JPEGBaseline8Bit, 0),
        ("RGB", uid.JPEGBaseline8Bit, 0),
    ],
)
def test_grey_in_three_channels_is_grey_and_noted(
    coloured, derived_of, dcmconv, tmp_path, photometric, syntax, planar
) -> None:
    neutral = np.full_like(SMOOTH, 128)
    is_ybr = photometric == "YBR_FULL"
    colour = np.dstack([SMOOTH, neutral, neutral] if is_ybr else [SMOOTH] * 3)
    derived = derived_of(coloured(colour, photometric, syntax, planar))
    assert np.abs(derived.pixel_array.astype(int) - SMOOTH).max() <= (
        3 if syntax == uid.JPEGBaseline8Bit else 0
    )
    assert (derived.SamplesPerPixel, derived.PhotometricInterpretation) == (1, "MONOCHROME2")
    assert "PlanarConfiguration" not in derived
    assert "without colour, taken as grey" in derived.DerivationDescription
    assert dcmconv(tmp_path / "derived.dcm")


@pytest.mark.parametrize(
    ("photometric", "syntax"),
    [
        ("RGB", uid.ExplicitVRLittleEndian),
        ("YBR_FULL", uid.ExplicitVRLittleEndian),
        ("RGB", uid.RLELossless),
        ("RGB", uid.JPEGLSLossless),
        ("YBR_RCT", uid.JPEG2000Lossless),
        ("YBR_FULL_422", uid.JPEGBaseline8Bit),
    ],
)
def test_one_coloured_marker_is_colour(coloured, photometric, syntax) -> None:
    colour = np.dstack([SMOOTH] * 3)
    colour[4:12, 8:16] = 255, 0, 0
    with pytest.raises(
        ColourImageError, match=r"\(0028,0004\) .* is '[A-Z_0-9]+', and the channels"
    ):
        to_radiograph(coloured(colour, photometric, syntax))
