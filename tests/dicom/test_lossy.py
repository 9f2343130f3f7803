"""Once lossy, always lossy: how the derived instance records the source's compression."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pytest
from pydicom import Dataset, uid
from pydicom.dataelem import RawDataElement
from pydicom.encaps import encapsulate
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag

from monai_dental.dicom import Derivation, derive, encode_dataset, to_radiograph
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
def source(dicom_dataset):
    """Factory of instances from a codestream and elements."""

    def make(transfer_syntax: str, codestream: bytes, **elements: object) -> Dataset:
        ds = dicom_dataset(PICTURE, bits_stored=12, **elements)
        ds.file_meta.TransferSyntaxUID = uid.UID(transfer_syntax)
        ds.add_new("PixelData", "OB", encapsulate([codestream]))
        return ds

    return make


@pytest.fixture
def derived(source):
    """Factory of instances that are derived from those of `source`."""

    def make(transfer_syntax: str, codestream: bytes, **elements: object) -> Dataset:
        return derive(to_radiograph(source(transfer_syntax, codestream, **elements)), DERIVATION)

    return make


@pytest.mark.parametrize(
    ("transfer_syntax", "codestream", "method"),
    [
        (uid.JPEG2000, jpeg2000(reversible=False), "ISO_15444_1"),
        (uid.JPEG2000, jpeg2000(reversible=False, codecformat="jp2"), "ISO_15444_1"),
        (uid.HTJ2K, htj2k(reversible=False), "ISO_15444_15"),
        (JPEG_XL, bytes(imagecodecs.jpegxl_encode(PICTURE, level=80)), "ISO_18181_1"),
    ],
    ids=["JPEG 2000", "JP2", "HTJ2K", "JPEG XL"],
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
    ids=["JPEG 2000", "JP2", "HTJ2K"],
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


@pytest.mark.parametrize(
    ("methods", "ratios", "expected_methods", "expected_ratios"),
    [
        (["ISO_10918_1"], ["10"], ["ISO_10918_1", "ISO_15444_1"], ["10", "?"]),
        (
            ["ISO_15444_1", "ISO_10918_1"],
            ["5", "10"],
            ["ISO_15444_1", "ISO_10918_1", "ISO_15444_1"],
            ["5", "10", "?"],
        ),
        (["ISO_10918_1"], None, ["ISO_10918_1", "ISO_15444_1"], ["", "?"]),
        (None, None, ["ISO_15444_1"], ["?"]),
        # This very encoding, or what may be it:
        (["ISO_15444_1"], ["10"], ["ISO_15444_1"], ["10"]),
        (["ISO_10918_1", "ISO_15444_1"], ["5", "9"], ["ISO_10918_1", "ISO_15444_1"], ["5", "9"]),
        (None, ["10"], [], ["10"]),
    ],
)
def test_lossy_step_is_added_to_the_history(
    derived, methods, ratios, expected_methods, expected_ratios
) -> None:
    def values(keyword: str) -> list[str]:
        value = found.get(keyword) or MultiValue(str, [])
        return [str(each) for each in (value if isinstance(value, MultiValue) else [value])]

    found = derived(
        uid.JPEG2000,
        jpeg2000(reversible=False),
        LossyImageCompression="01",
        LossyImageCompressionMethod=methods,
        LossyImageCompressionRatio=ratios,
    )
    assert found.LossyImageCompression == "01"
    assert values("LossyImageCompressionMethod") == expected_methods
    found_ratios = values("LossyImageCompressionRatio")
    assert len(found_ratios) == len(expected_ratios)
    for ratio, expected in zip(found_ratios, expected_ratios, strict=True):
        assert float(ratio) > 1 if expected == "?" else ratio == expected
    encode_dataset(found)


def test_broken_ratio_does_not_cost_the_instance(source) -> None:
    ds = source(
        uid.JPEG2000,
        jpeg2000(reversible=False),
        LossyImageCompression="01",
        LossyImageCompressionMethod="ISO_10918_1",
    )
    tag = BaseTag(0x00282112)
    ds[tag] = RawDataElement(tag, "DS", 4, b"12:1", 0, False, True)
    found = derive(to_radiograph(ds), DERIVATION)
    assert list(found.LossyImageCompressionMethod) == ["ISO_10918_1", "ISO_15444_1"]
    encode_dataset(found)
