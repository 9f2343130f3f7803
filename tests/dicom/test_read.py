from __future__ import annotations

import logging
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread, dcmwrite, uid

from monai_dental.dicom import read_dataset, to_radiograph
from monai_dental.errors import CorruptImageError, MonaiDentalError, UnsupportedImageError
from monai_dental.radiograph import integer_range

LOSSLESS = [
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian,
    uid.RLELossless,
    uid.JPEGLossless,
    uid.JPEGLosslessSV1,
    uid.JPEGLSLossless,
    uid.JPEG2000Lossless,
    uid.HTJ2KLossless,
]
JPEG_XL = "1.2.840.10008.1.2.4.110"  # pydicom 3.0 does not know it, and writes no file of it


def table(first: int, outputs: np.ndarray, bits: int = 16) -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [len(outputs), first, bits])
    item.ModalityLUTType = "US"
    item.add_new("LUTData", "OW", outputs.astype("<u2").tobytes())
    return item


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_stored_values_become_displayed_ones(
    dicom_dataset, picture, bits, signed, photometric
) -> None:
    stored = picture(bits, signed=signed)
    ds = dicom_dataset(stored, bits_stored=bits, photometric=photometric)
    radiograph = to_radiograph(ds)
    low, high = integer_range(stored.dtype, bits)
    expected = (stored.astype(float) - low) / (high - low)
    if photometric == "MONOCHROME1":
        expected = 1 - expected
    assert radiograph.pixels == pytest.approx(expected, abs=1e-6)
    assert np.array_equal(radiograph.to_stored(), stored)
    assert radiograph.photometric_interpretation == photometric
    assert (radiograph.pixel_spacing, radiograph.spacing_keyword) == (
        (0.2, 0.1),
        "ImagerPixelSpacing",
    )
    assert radiograph.sop_instance_uid == "1.2.3.4.5.6.7"


@pytest.mark.parametrize("transfer_syntax", LOSSLESS)
@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("signed", [False, True])
def test_each_lossless_transfer_syntax_gives_the_same_values(
    dicom_file, picture, transfer_syntax, bits, signed
) -> None:
    stored = picture(bits, signed=signed)
    path = dicom_file(stored=stored, bits_stored=bits, transfer_syntax=transfer_syntax)
    assert np.array_equal(to_radiograph(read_dataset(path)).stored, stored)


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_jpeg_xl_gives_the_same_values(dicom_dataset, picture, bits) -> None:
    ds = dicom_dataset(picture(bits), bits_stored=bits, transfer_syntax=JPEG_XL)
    assert np.array_equal(to_radiograph(ds).stored, picture(bits))


@pytest.mark.parametrize(
    ("transfer_syntax", "bits"), [(uid.JPEGBaseline8Bit, 8), (uid.JPEGExtended12Bit, 12)]
)
def test_lossy_transfer_syntax_leaves_its_trace(dicom_file, transfer_syntax, bits) -> None:
    smooth = np.add.outer(np.arange(64), np.arange(80)).astype(f"u{1 if bits == 8 else 2}")
    path = dicom_file(stored=smooth, bits_stored=bits, transfer_syntax=transfer_syntax)
    radiograph = to_radiograph(read_dataset(path))
    assert np.abs(radiograph.stored.astype(int) - smooth).max() <= 4
    assert radiograph.header.LossyImageCompression == "01"
    assert radiograph.header.LossyImageCompressionMethod == "ISO_10918_1"
    assert radiograph.header.LossyImageCompressionRatio > 1


@pytest.mark.parametrize("transfer_syntax", [uid.ExplicitVRLittleEndian, uid.RLELossless])
def test_frames_come_first(dicom_file, picture, transfer_syntax) -> None:
    path = dicom_file(frames=3, transfer_syntax=transfer_syntax)
    radiograph = to_radiograph(read_dataset(path))
    assert radiograph.pixels.shape == (3, 24, 40)
    assert np.array_equal(radiograph.stored[2], np.roll(picture(12), 2, 0))


def test_big_endian_words_of_bytes_are_swapped_back(dicom_dataset, picture) -> None:
    stored = picture(8)
    ds = dicom_dataset(stored, transfer_syntax=uid.ExplicitVRBigEndian)
    swapped = np.frombuffer(ds.PixelData, "<u2").astype(">u2").tobytes()
    ds["PixelData"].VR = "OW"
    ds.PixelData = swapped
    assert np.array_equal(to_radiograph(ds).stored, stored)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("shift", [0, 2])
def test_junk_in_unused_bits_is_removed(dicom_dataset, picture, signed, shift) -> None:
    stored = picture(12, signed=signed)
    ds = dicom_dataset(stored, bits_stored=12, shift=shift)
    used = np.uint16(0xFFF << shift)
    junk = np.random.default_rng(0).integers(0, 1 << 16, stored.shape).astype(np.uint16) & ~used
    cells = np.frombuffer(ds.PixelData, np.uint16).reshape(stored.shape)
    ds.PixelData = ((cells & used) | junk).tobytes()
    assert np.array_equal(to_radiograph(ds).stored, stored)


@pytest.mark.parametrize("frames", [1, 3])
def test_overlay_in_unused_bits_is_moved_to_overlay_data(dicom_dataset, picture, frames) -> None:
    stored = picture(12) if frames == 1 else np.stack([picture(12)] * frames)
    overlay = np.random.default_rng(1).integers(0, 2, stored.shape).astype(np.uint16)
    ds = dicom_dataset(stored, bits_stored=12, frames=frames)
    ds.PixelData = (stored | overlay << 15).tobytes()
    ds.add_new(0x60000010, "US", 24)
    ds.add_new(0x60000011, "US", 40)
    ds.add_new(0x60000100, "US", 16)
    ds.add_new(0x60000102, "US", 15)
    header = to_radiograph(ds).header
    assert np.array_equal(header.overlay_array(0x6000), overlay)
    assert (header[0x60000100].value, header[0x60000102].value) == (1, 0)
    if frames == 1:
        assert (0x60000015 in header, 0x60000051 in header) == (False, False)
    else:
        assert (header[0x60000015].value, header[0x60000051].value) == (frames, 1)


@pytest.mark.parametrize(
    ("slopes", "is_bright_high"), [(["1"], True), (["-1"], False), (["-0.5"], False), ([""], True)]
)
def test_sign_of_the_rescale_slope_turns_the_picture(dicom_dataset, slopes, is_bright_high) -> None:
    ds = dicom_dataset(photometric="MONOCHROME2", RescaleSlope=slopes[0])
    encoding = to_radiograph(ds).encoding
    assert (encoding.one > encoding.zero) is is_bright_high


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("falls", [False, True])
def test_modality_table_wins_over_rescale(dicom_dataset, picture, signed, falls) -> None:
    stored = picture(10, signed=signed)
    low, high = integer_range(stored.dtype, 10)
    outputs = np.minimum((np.arange(900) / 30) ** 2, 700).astype(int)
    lut = table(low + 50, outputs[::-1] if falls else outputs)
    ds = dicom_dataset(
        stored,
        bits_stored=10,
        photometric="MONOCHROME2",
        ModalityLUTSequence=[lut],
        RescaleSlope="-1",
    )
    radiograph = to_radiograph(ds)
    index = np.clip(stored.astype(int) - low - 50, 0, 899)
    expected = (outputs[::-1] if falls else outputs)[index] / 700
    assert radiograph.pixels == pytest.approx(expected, abs=1e-6)
    assert np.array_equal(radiograph.to_stored(), stored)


@pytest.mark.parametrize(
    ("outputs", "error", "message"),
    [
        (
            [0, 5, 3, 9],
            UnsupportedImageError,
            r"\(0028,3000\) Modality LUT Sequence is not monotone",
        ),
        ([4, 4, 4, 4], UnsupportedImageError, "not monotone"),
    ],
)
def test_table_without_a_way_back_is_refused(dicom_dataset, outputs, error, message) -> None:
    ds = dicom_dataset(ModalityLUTSequence=[table(100, np.array(outputs))])
    with pytest.raises(error, match=message):
        to_radiograph(ds)


def test_short_table_is_corrupt(dicom_dataset) -> None:
    item = table(0, np.arange(10))
    item.LUTDescriptor = [300, 0, 16]
    with pytest.raises(CorruptImageError, match=r"LUT Data has 20 entries; need 300"):
        to_radiograph(dicom_dataset(ModalityLUTSequence=[item]))


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ({"PixelSpacing": [0.4, 0.3]}, ((0.4, 0.3), "PixelSpacing")),
        ({"PixelSpacing": [0, 0.3]}, ((0.2, 0.1), "ImagerPixelSpacing")),
        (
            {"ImagerPixelSpacing": None, "NominalScannedPixelSpacing": [1, 2]},
            ((1, 2), "NominalScannedPixelSpacing"),
        ),
        ({"ImagerPixelSpacing": None}, (None, None)),
        ({"ImagerPixelSpacing": ""}, (None, None)),
    ],
)
def test_spacing_says_what_it_is(dicom_dataset, elements, expected) -> None:
    radiograph = to_radiograph(dicom_dataset(**elements))
    assert (radiograph.pixel_spacing, radiograph.spacing_keyword) == expected


UID = r"instance 1\.2\.3\.4\.5\.6\.7: "


@pytest.mark.parametrize(
    ("elements", "error", "message"),
    [
        (
            {"PhotometricInterpretation": "RGB"},
            UnsupportedImageError,
            r"\(0028,0004\) Photometric Interpretation is 'RGB'; need MONOCHROME1 or MONOCHROME2",
        ),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, UnsupportedImageError, "'PALETTE COLOR'"),
        ({"PhotometricInterpretation": "YBR_FULL_422"}, UnsupportedImageError, "'YBR_FULL_422'"),
        ({"PhotometricInterpretation": "JANE DOE"}, UnsupportedImageError, "is not known; need"),
        ({"PhotometricInterpretation": None}, CorruptImageError, r"\(0028,0004\) .* is missing"),
        (
            {"SamplesPerPixel": 3},
            CorruptImageError,
            r"\(0028,0002\) Samples per Pixel is 3; need 1",
        ),
        ({"BitsAllocated": 32}, UnsupportedImageError, r"\(0028,0100\) .* is 32; need 8 or 16"),
        ({"BitsStored": 17}, CorruptImageError, r"\(0028,0101\) Bits Stored is 17; need 1 to 16"),
        ({"HighBit": 3}, CorruptImageError, r"\(0028,0102\) High Bit is 3; need 11 to 15"),
        ({"PixelRepresentation": 2}, CorruptImageError, r"\(0028,0103\) .* is 2; need 0 or 1"),
        ({"Rows": None}, CorruptImageError, r"\(0028,0010\) Rows is missing"),
        ({"Rows": 0}, CorruptImageError, r"the image is empty \(0 x 40 pixels\)"),
        ({"Rows": 25}, CorruptImageError, r"\(7FE0,0010\) Pixel Data has 1920 bytes; need 2000"),
        ({"NumberOfFrames": 2}, CorruptImageError, "Pixel Data has 1920 bytes; need 3840"),
        ({"Rows": 65535, "Columns": 65535}, UnsupportedImageError, "65535 x 65535 pixels; need at"),
        ({"PixelData": None}, CorruptImageError, r"\(7FE0,0010\) Pixel Data is missing, though"),
        ({"RescaleSlope": "0"}, CorruptImageError, r"\(0028,1053\) Rescale Slope is zero"),
    ],
)
def test_instance_that_is_not_read_says_why(dicom_dataset, elements, error, message) -> None:
    with pytest.raises(error, match=UID + ".*" + message):
        to_radiograph(dicom_dataset(**elements))


def test_float_pixels_are_refused(dicom_dataset) -> None:
    ds = dicom_dataset(PixelData=None)
    ds.FloatPixelData = bytes(16)
    with pytest.raises(UnsupportedImageError, match=r"\(7FE0,0008\) Float Pixel Data holds floats"):
        to_radiograph(ds)


def test_report_without_pixels_is_no_image(dicom_dataset) -> None:
    ds = dicom_dataset(PixelData=None, Rows=None, BitsAllocated=None)
    with pytest.raises(UnsupportedImageError, match="Pixel Data is missing: not an image"):
        to_radiograph(ds)


@pytest.mark.parametrize("missing", [5, 300])
def test_file_that_breaks_off_in_its_compressed_pixels_is_broken(dicom_file, missing) -> None:
    path = dicom_file(transfer_syntax=uid.JPEGLSLossless)
    path.write_bytes(path.read_bytes()[:-missing])
    with pytest.raises(CorruptImageError, match="broken DICOM: it breaks off in its data set"):
        to_radiograph(read_dataset(path))


def test_unknown_transfer_syntax_is_named(dicom_dataset) -> None:
    ds = dicom_dataset(transfer_syntax=uid.JPEGLSLossless)
    ds.file_meta.TransferSyntaxUID = uid.MPEG2MPML
    with pytest.raises(UnsupportedImageError, match=r"\(0002,0010\) Transfer Syntax UID is 'MPEG2"):
        to_radiograph(ds)


@pytest.mark.parametrize("transfer_syntax", LOSSLESS[4:])
def test_cut_off_codestream_is_found(dicom_dataset, picture, transfer_syntax) -> None:
    from pydicom.encaps import encapsulate, generate_frames

    ds = dicom_dataset(picture(12, 100, 100), bits_stored=12, transfer_syntax=transfer_syntax)
    frame = next(generate_frames(ds.PixelData, number_of_frames=1))
    ds.PixelData = encapsulate([frame[: len(frame) // 2]])
    with pytest.raises(CorruptImageError, match=UID + "frame 1 (is cut off|cannot be|decodes)"):
        to_radiograph(ds)


def test_missing_frame_is_found(dicom_dataset) -> None:
    ds = dicom_dataset(frames=2, transfer_syntax=uid.JPEGLSLossless)
    ds.NumberOfFrames = 3
    with pytest.raises(
        CorruptImageError, match=r"Pixel Data has 2 frames; need 3|broken fragments"
    ):
        to_radiograph(ds)


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("transfer_syntax", [uid.ExplicitVRLittleEndian, uid.JPEG2000Lossless])
def test_truncated_file_is_an_error(dicom_file, share, transfer_syntax) -> None:
    path = dicom_file(transfer_syntax=transfer_syntax)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(MonaiDentalError, match=r"source\.dcm|instance"):
        to_radiograph(read_dataset(path), path)


def test_file_without_preamble_is_read(dicom_dataset, picture, tmp_path) -> None:
    path = tmp_path / "bare"
    ds = dicom_dataset(picture(12), bits_stored=12)
    del ds.file_meta
    dcmwrite(path, ds, implicit_vr=True, little_endian=True)
    assert np.array_equal(to_radiograph(read_dataset(path)).stored, picture(12))


def test_functional_groups_tell_spacing_and_slopes(dicom_dataset) -> None:
    shared, measures, values = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, values.RescaleSlope = [0.5, 0.6], "-2"
    shared.PixelMeasuresSequence = [measures]
    shared.PixelValueTransformationSequence = [values]
    enhanced = dicom_dataset(
        photometric="MONOCHROME2",
        ImagerPixelSpacing=None,
        RescaleSlope=None,
        SharedFunctionalGroupsSequence=[shared],
    )
    radiograph = to_radiograph(enhanced)
    assert radiograph.pixel_spacing == (0.5, 0.6)
    assert radiograph.encoding.zero > radiograph.encoding.one
    enhanced.RescaleSlope = "1"
    with pytest.raises(UnsupportedImageError, match="changes its sign between frames"):
        to_radiograph(enhanced)


def test_dataset_is_not_changed(dicom_dataset) -> None:
    ds = dicom_dataset()
    before = ds.to_json()
    radiograph = to_radiograph(ds)
    radiograph.header.PatientID = "other"
    assert ds.to_json() == before


def test_radiograph_survives_pickling(dicom_file) -> None:
    radiograph = to_radiograph(read_dataset(dicom_file()))
    back = pickle.loads(pickle.dumps(radiograph))
    assert back.header == radiograph.header
    assert np.array_equal(back.stored, radiograph.stored)


def test_no_word_of_the_patient_gets_out(dicom_file, caplog, capfd, picture) -> None:
    """Marker strings are in every text element, and make half of the numbers invalid."""
    marker = "ZZMARKERZZ"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = dicom_file(PatientName=f"{marker}^A", PatientID=marker, StudyDescription=marker)
    content = path.read_bytes()
    said: list[str] = []
    caplog.set_level(logging.DEBUG)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for value in (b"1.2.3.4.5.6.7", b"MONOCHROME1 ", b"20260101", b"ORIGINAL", b"ISO_IR 192"):
            path.write_bytes(
                content.replace(value, marker.encode().ljust(len(value), b"Z")[: len(value)])
            )
            try:
                to_radiograph(read_dataset(path), path)
            except MonaiDentalError as error:
                said.append(f"{error!r} {error.__cause__!r}")
    captured = capfd.readouterr()
    said += [str(each.message) for each in caught]
    text = f"{said} {caplog.text} {captured.out} {captured.err}".replace(str(path), "")
    assert "ZZMARK" not in text


def test_real_panoramic_with_table_and_rescale(shared_data: Path) -> None:
    path = shared_data / "dicom" / "CR-ModalitySequenceLUT.dcm"
    radiograph = to_radiograph(read_dataset(path), path)
    assert radiograph.pixels.shape == (1576, 1976)
    assert (radiograph.pixels.min(), radiograph.pixels.max()) == (0, 1)
    assert (radiograph.encoding.bits_stored, len(radiograph.encoding.table)) == (10, 1024)
    assert radiograph.encoding.zero > radiograph.encoding.one
    assert np.array_equal(radiograph.to_stored(), radiograph.stored)
    assert radiograph.pixel_spacing == (0.15, 0.15)
    assert dcmread(path).SOPInstanceUID == radiograph.sop_instance_uid
