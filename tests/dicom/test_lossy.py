"""Once lossy, always lossy: what the derived instance says of the source's compression."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pytest
from pydicom import Dataset, uid
from pydicom.encaps import encapsulate

from monai_dental.dicom import Derivation, derive, to_radiograph
from monai_dental.dicom.codestream import is_irreversible

DERIVATION = Derivation("Noise reduction", "some_model", "0.1.0", "ab" * 32, 0.8)
JPEG_XL = "1.2.840.10008.1.2.4.112"
PICTURE = np.add.outer(np.arange(64), np.arange(80)).astype("u2")


def jpeg2000(*, reversible: bool, codecformat: str = "j2k") -> bytes:
    level = 0 if reversible else 40
    return bytes(
        imagecodecs.jpeg2k_encode(
            PICTURE, level, reversible=reversible, codecformat=codecformat, bitspersample=12
        )
    )


def htj2k(*, reversible: bool) -> bytes:
    return bytes(imagecodecs.htj2k_encode(PICTURE, reversible=reversible))


@pytest.fixture
def derived(dicom_dataset):
    """Factory of derived instances from a codestream and elements of the source."""

    def make(transfer_syntax: str, codestream: bytes, **elements: object) -> Dataset:
        ds = dicom_dataset(PICTURE, bits_stored=12, **elements)
        ds.file_meta.TransferSyntaxUID = uid.UID(transfer_syntax)
        ds.add_new("PixelData", "OB", encapsulate([codestream]))
        return derive(to_radiograph(ds), DERIVATION)

    return make


@pytest.mark.parametrize(
    ("transfer_syntax", "codestream", "method"),
    [
        (uid.JPEG2000, jpeg2000(reversible=False), "ISO_15444_1"),
        (uid.JPEG2000, jpeg2000(reversible=False, codecformat="jp2"), "ISO_15444_1"),
        (uid.HTJ2K, htj2k(reversible=False), "ISO_15444_15"),
        (JPEG_XL, bytes(imagecodecs.jpegxl_encode(PICTURE, level=80)), "ISO_18181_1"),
    ],
)
@pytest.mark.parametrize("said", [None, "00"])
def test_irreversible_compression_leaves_its_trace(
    derived, transfer_syntax, codestream, method, said
) -> None:
    found = derived(transfer_syntax, codestream, LossyImageCompression=said)
    assert found.LossyImageCompression == "01"
    assert found.LossyImageCompressionMethod == method
    assert found.LossyImageCompressionRatio > 1


@pytest.mark.parametrize(
    ("transfer_syntax", "codestream"),
    [
        (uid.JPEG2000, jpeg2000(reversible=True)),
        (uid.JPEG2000, jpeg2000(reversible=True, codecformat="jp2")),
        (uid.HTJ2K, htj2k(reversible=True)),
    ],
)
def test_reversible_compression_leaves_none(derived, transfer_syntax, codestream) -> None:
    found = derived(transfer_syntax, codestream)
    assert found.LossyImageCompression == "00"
    assert "LossyImageCompressionMethod" not in found


def test_codestream_that_breaks_off_is_not_called_irreversible() -> None:
    codestream = jpeg2000(reversible=False)
    at = codestream.index(b"\xff\x52") + 13
    assert is_irreversible(codestream[: at + 1])
    assert not any(is_irreversible(codestream[:length]) for length in range(at + 1))
