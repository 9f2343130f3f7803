"""Faulty files that other toolkits open: read with a note if unambiguous, else refused."""

from __future__ import annotations

import struct

import imagecodecs
import numpy as np
import pytest
from dicom_datasets import ENCODE
from pydicom import Dataset, uid
from pydicom.encaps import encapsulate, generate_fragments

from monai_dental.dicom import read_dataset, to_radiograph
from monai_dental.errors import CorruptImageError, UnsupportedImageError

PROGRESSIVE = ("1.2.840.10008.1.2.4.53", "1.2.840.10008.1.2.4.55")


def in_fragments(ds: Dataset, *fragments: bytes) -> Dataset:
    ds.add_new("PixelData", "OB", encapsulate(list(map(bytes, fragments))))
    ds["PixelData"].is_undefined_length = True
    return ds


def rle(*segments: bytes) -> bytes:
    at = np.cumsum([64, *map(len, segments)])[:-1].tolist()
    return struct.pack("<16I", len(segments), *at, *[0] * (15 - len(segments))) + b"".join(segments)


@pytest.fixture
def run_lengths(picture):
    """The segments of a 12-bit picture, both of odd length."""
    from dicom_datasets import ENCODE

    frame = ENCODE[uid.RLELossless](picture(12), 12)
    _, first, second = struct.unpack_from("<3I", frame)
    segments = [frame[first:second].rstrip(b"\0"), frame[second:].rstrip(b"\0")]
    return segments


@pytest.mark.parametrize("pad", [b"", b"\0", b"\x20", b"\x80"])
def test_padding_of_run_lengths_is_not_decoded(dicom_dataset, picture, run_lengths, pad) -> None:
    ds = dicom_dataset(picture(12), bits_stored=12, transfer_syntax=uid.RLELossless)
    in_fragments(ds, rle(*(each + pad for each in run_lengths)))
    assert np.array_equal(to_radiograph(ds).stored, picture(12))


def test_more_than_padding_behind_run_lengths_is_refused(
    dicom_dataset, picture, run_lengths
) -> None:
    ds = dicom_dataset(picture(12), bits_stored=12, transfer_syntax=uid.RLELossless)
    in_fragments(ds, rle(*(each + b"\x20\x20" for each in run_lengths)))
    with pytest.raises(CorruptImageError, match="frame 1 cannot be decoded"):
        to_radiograph(ds)


def test_no_frames_are_one_and_noted(dicom_dataset, picture, derived_of, dcmconv, tmp_path) -> None:
    derived = derived_of(dicom_dataset(picture(12), bits_stored=12, NumberOfFrames=0))
    assert derived.NumberOfFrames == 1
    assert "(0028,0008) Number of Frames is 0, taken as 1" in derived.DerivationDescription
    assert dcmconv(tmp_path / "derived.dcm")


def test_high_bit_of_whole_cells_is_the_uppermost(dicom_dataset, picture) -> None:
    radiograph = to_radiograph(dicom_dataset(picture(16), HighBit=0))
    assert np.array_equal(radiograph.stored, picture(16))
    assert radiograph.header.HighBit == 15
    assert radiograph.notes == ("(0028,0102) High Bit is 0, taken as 15",)


@pytest.mark.parametrize("syntax", PROGRESSIVE)
def test_progressive_jpeg_is_read_and_is_lossy(
    dicom_dataset, progressive_jpeg, derived_of, syntax
) -> None:
    smooth = (np.add.outer(np.arange(24), np.arange(40)) * 4).astype(np.uint8)
    ds = in_fragments(dicom_dataset(smooth), progressive_jpeg(smooth))
    ds.file_meta.TransferSyntaxUID = uid.UID(syntax)
    derived = derived_of(ds)
    assert np.abs(derived.pixel_array.astype(int) - smooth).max() <= 3
    assert derived.LossyImageCompression == "01"
    assert derived.LossyImageCompressionMethod == "ISO_10918_1"


@pytest.fixture
def progressive_jpeg():
    import cv2

    flags = [cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_QUALITY, 95]
    return lambda pixels: cv2.imencode(".jpg", pixels, flags)[1].tobytes()


@pytest.mark.parametrize("is_multi_frame", [False, True])
@pytest.mark.parametrize("declared", [uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian])
@pytest.mark.parametrize(
    ("syntax", "name", "is_lossy"),
    [
        (uid.JPEGLosslessSV1, "JPEG Lossless", False),
        (uid.JPEGExtended12Bit, "JPEG Extended", True),
        (uid.JPEGLSNearLossless, "JPEG-LS Lossy", True),
        (uid.JPEG2000, "JPEG 2000 Image", True),
        (uid.RLELossless, "RLE Lossless", False),
    ],
)
def test_codestream_under_a_native_syntax_is_followed(
    dicom_dataset, derived_of, declared, syntax, name, is_lossy, is_multi_frame
) -> None:
    smooth = np.add.outer(np.arange(24), np.arange(40)).astype(np.uint16)
    frames = 2 if is_multi_frame else 1
    stored = np.stack([smooth, smooth + 1]) if is_multi_frame else smooth
    ds = dicom_dataset(stored, bits_stored=12, frames=frames, transfer_syntax=declared)
    in_fragments(ds, *(ENCODE[syntax](frame, 12) for frame in np.atleast_3d(stored.T).T))
    derived = derived_of(ds)
    assert np.abs(derived.pixel_array.astype(int) - stored).max() <= (16 if is_lossy else 0)
    assert (derived.LossyImageCompression == "01") is is_lossy
    assert f"Transfer Syntax UID is not that of the pixels, taken as {name}" in (
        derived.DerivationDescription
    )


def test_lossy_codestream_under_a_lossless_syntax_is_recorded(dicom_dataset, derived_of) -> None:
    smooth = np.add.outer(np.arange(24), np.arange(40)).astype(np.uint8)
    ds = in_fragments(dicom_dataset(smooth), imagecodecs.jpeg_encode(smooth))
    ds.file_meta.TransferSyntaxUID = uid.JPEGLosslessSV1
    assert derived_of(ds).LossyImageCompression == "01"


def test_codestream_under_a_private_syntax_is_followed(dicom_dataset, picture) -> None:
    ds = dicom_dataset(picture(8), transfer_syntax=uid.JPEGLSLossless)
    ds.file_meta.TransferSyntaxUID = uid.UID("1.2.3.4.99")
    radiograph = to_radiograph(ds)
    assert np.array_equal(radiograph.stored, picture(8))
    assert "taken as JPEG-LS Lossy" in radiograph.notes[0]


def test_native_pixels_in_fragments_are_taken(dicom_dataset, picture, derived_of) -> None:
    content = picture(12).tobytes()
    ds = in_fragments(dicom_dataset(picture(12), bits_stored=12), content[:600], content[600:])
    derived = derived_of(ds)
    assert np.array_equal(derived.pixel_array, picture(12))
    assert "is in fragments, taken as native" in derived.DerivationDescription


def test_fragments_of_an_unknown_kind_are_refused(dicom_dataset, picture) -> None:
    ds = in_fragments(dicom_dataset(picture(12), bits_stored=12), b"\1\2\3\4" * 10)
    with pytest.raises(CorruptImageError, match=r"Pixel Data is in fragments of an unknown kind"):
        to_radiograph(ds)


def test_native_pixels_under_a_compressed_syntax_are_taken(dicom_dataset, picture) -> None:
    ds = dicom_dataset(picture(12), bits_stored=12)
    ds.file_meta.TransferSyntaxUID = uid.JPEGLSLossless
    radiograph = to_radiograph(ds)
    assert np.array_equal(radiograph.stored, picture(12))
    assert radiograph.notes == ("(7FE0,0010) Pixel Data is not encapsulated, taken as native",)
    ds.PixelData = ds.PixelData[:-10]
    with pytest.raises(CorruptImageError, match="is not encapsulated, though the transfer syntax"):
        to_radiograph(ds)


def test_two_pixels_that_look_like_an_item_are_pixels(dicom_dataset) -> None:
    stored = np.zeros((24, 40), np.uint16)
    stored[0, :2] = 0xFFFE, 0xE000
    assert np.array_equal(to_radiograph(dicom_dataset(stored)).stored, stored)


@pytest.mark.parametrize(
    ("keyword", "tag"), [("SOPClassUID", "0008,0016"), ("SOPInstanceUID", "0008,0018")]
)
@pytest.mark.parametrize("is_empty", [True, False])
def test_uid_of_the_meta_information_stands_in(
    dicom_dataset, content_of, derived_of, keyword, tag, is_empty, dcmconv, tmp_path
) -> None:
    ds = dicom_dataset()
    content = content_of(ds)
    value = ds[keyword].value.encode() + b"\0" * (len(ds[keyword].value) % 2)
    at = content.rindex(value)  # behind the meta information
    header = content[at - 8 : at]
    replaced = header[:6] + b"\0\0" if is_empty else b""
    derived = derived_of(content[: at - 8] + replaced + content[at + len(value) :])
    source = derived.SourceImageSequence[0]
    assert source[f"Referenced{keyword}"].value == ds[keyword].value
    assert f"({tag.upper()})" in derived.DerivationDescription
    assert "missing, taken from the file meta information" in derived.DerivationDescription
    assert dcmconv(tmp_path / "derived.dcm")


def test_file_without_class_and_preamble_is_read(dicom_dataset, content_of, tmp_path) -> None:
    ds = dicom_dataset(SOPClassUID=None)
    del ds.file_meta
    content = content_of_bare(ds)
    (tmp_path / "bare").write_bytes(content)
    radiograph = to_radiograph(read_dataset(tmp_path / "bare"))
    assert radiograph.stored is not None


def content_of_bare(ds: Dataset) -> bytes:
    import io

    from pydicom import dcmwrite

    stream = io.BytesIO()
    dcmwrite(stream, ds, implicit_vr=True, little_endian=True)
    return stream.getvalue()


@pytest.mark.parametrize(
    "transfer_syntax", [uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian]
)
@pytest.mark.parametrize("has_descriptor", [True, False])
def test_table_without_entries_is_absent(
    dicom_dataset, picture, derived_of, dcmconv, tmp_path, transfer_syntax, has_descriptor
) -> None:
    item = Dataset()
    item.ModalityLUTType = "US"
    if has_descriptor:
        item.add_new("LUTDescriptor", "US", [4096, 0, 16])
    ds = dicom_dataset(
        picture(12), bits_stored=12, photometric="MONOCHROME2", RescaleSlope="-1",
        transfer_syntax=transfer_syntax, ModalityLUTSequence=[item],
    )  # fmt: skip
    assert to_radiograph(ds).encoding.zero > to_radiograph(ds).encoding.one  # of the rescale
    derived = derived_of(ds)
    assert "ModalityLUTSequence" not in derived
    assert "(0028,3000) Modality LUT Sequence has no table" in derived.DerivationDescription
    assert dcmconv(tmp_path / "derived.dcm")


@pytest.mark.parametrize(
    ("declared", "said"),
    [("1.2.840.113619.5.99", r"1\.2\.840\.113619\.5\.99"), ("JANE DOE", "no UID")],
)
def test_unknown_transfer_syntax_is_told(dicom_dataset, declared, said) -> None:
    ds = in_fragments(dicom_dataset(), b"\1\2\3\4" * 10)
    assert len(list(generate_fragments(ds.PixelData))) == 2
    ds.file_meta["TransferSyntaxUID"]._value = declared
    with pytest.raises(UnsupportedImageError, match=rf"Transfer Syntax UID is {said}; need native"):
        to_radiograph(ds)


@pytest.mark.parametrize("syntax", [uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian])
@pytest.mark.parametrize("vr", [b"\xff\xff", b"ui", b"ZZ", b"\0\0"])
@pytest.mark.parametrize("number", [1, 2, 3, 0x10, 0x12, 0x13])
def test_meta_information_with_odd_value_representations_is_taken(
    dicom_dataset, content_of, derived_of, dcmconv, tmp_path, number, vr, syntax
) -> None:
    ds = dicom_dataset(transfer_syntax=syntax)
    content = content_of(ds)
    at = content.index(struct.pack("<HH", 2, number), 132) + 4
    derived = derived_of(content[:at] + vr + content[at + 2 :])
    assert derived.PixelData == derived_of(ds).PixelData
    note = "file meta information has value representations"
    assert (note in derived.DerivationDescription) or vr != b"ui"  # others pydicom may pass by
    assert dcmconv(tmp_path / "derived.dcm")


@pytest.mark.parametrize(
    ("end", "said"),
    [
        (b"\2\0\x10\0ZZ\xff\x00" + bytes(99), "it ends within its file meta information"),
        (b"\2\0\x10\0ZZ\x08\0NO UID!\0" + bytes(99), "leads to no data set"),
        (b"\2\0\x10\0ZZ\x12\x001.2.840.10008.1.2\0", "leads to no data set"),
    ],
)
def test_meta_information_that_leads_nowhere_is_told(tmp_path, end, said) -> None:
    path = tmp_path / "broken.dcm"
    path.write_bytes(bytes(128) + b"DICM" + end)
    with pytest.raises(CorruptImageError, match=rf"broken\.dcm: broken DICOM: .*{said}"):
        read_dataset(path)
