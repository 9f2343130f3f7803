from __future__ import annotations

import numpy as np
import pytest
from pydicom import uid

from monai_dental.dicom import Derivation, derive, encode_dataset, read_dataset, to_radiograph
from monai_dental.dicom.compression import compress, target_syntax

DERIVATION = Derivation("Noise reduction", "some_model", "0.1.0", "ab" * 32, 0.8)
SYNTAXES = [
    uid.JPEGLSLossless,
    uid.JPEGLosslessSV1,
    uid.JPEG2000Lossless,
    uid.HTJ2KLossless,
    uid.RLELossless,
]


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize(("bits", "signed"), [(8, False), (10, True), (12, False), (16, True)])
def test_pixels_and_uids_stay(dicom_dataset, picture, tmp_path, syntax, bits, signed) -> None:
    stored = picture(bits, signed=signed)
    derived = derive(to_radiograph(dicom_dataset(stored, bits_stored=bits)), DERIVATION)
    before = derived.SOPInstanceUID

    compress(derived, syntax)

    (tmp_path / "a.dcm").write_bytes(encode_dataset(derived))
    back = read_dataset(tmp_path / "a.dcm")
    assert back.file_meta.TransferSyntaxUID == syntax
    assert back.SOPInstanceUID == back.file_meta.MediaStorageSOPInstanceUID == before
    assert np.array_equal(to_radiograph(back).stored, stored)


def test_frames_stay_apart(dicom_dataset, tmp_path) -> None:
    radiograph = to_radiograph(dicom_dataset(frames=3))
    derived = derive(radiograph, DERIVATION)
    compress(derived, uid.JPEGLSLossless)
    (tmp_path / "a.dcm").write_bytes(encode_dataset(derived))
    back = to_radiograph(read_dataset(tmp_path / "a.dcm"))
    assert np.array_equal(back.stored, radiograph.stored)


def test_cells_with_unused_low_bits_stay_uncompressed(dicom_dataset) -> None:
    derived = derive(to_radiograph(dicom_dataset(shift=1)), DERIVATION)
    before = derived.PixelData
    compress(derived, uid.JPEGLSLossless)
    assert derived.file_meta.TransferSyntaxUID == uid.ExplicitVRLittleEndian
    assert derived.PixelData == before


@pytest.mark.parametrize(
    ("compression", "source", "expected"),
    [
        ("none", uid.RLELossless, uid.ExplicitVRLittleEndian),
        ("jpegls", uid.ExplicitVRBigEndian, uid.JPEGLSLossless),
        ("as-source", uid.RLELossless, uid.RLELossless),
        ("as-source", uid.JPEGBaseline8Bit, uid.ExplicitVRLittleEndian),
        ("as-source", uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian),
        ("as-source", "", uid.ExplicitVRLittleEndian),
    ],
)
def test_target_syntax_is_lossless(compression, source, expected) -> None:
    assert target_syntax(compression, source) == expected
