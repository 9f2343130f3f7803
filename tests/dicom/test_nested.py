"""Elements that a native data set must not contain, at any depth, are not in derived instances."""

from __future__ import annotations

import pytest
from pydicom import Dataset, dcmwrite, uid
from pydicom.encaps import encapsulate

from monai_dental.dicom.compression import compress

ITEM = b"\xfe\xff\x00\xe0"


def icon(syntax_of, picture, *, encapsulated: bool) -> Dataset:
    item = Dataset()
    item.SamplesPerPixel, item.PhotometricInterpretation = 1, "MONOCHROME2"
    item.Rows, item.Columns = picture.shape
    item.BitsAllocated = item.BitsStored = 8
    item.HighBit, item.PixelRepresentation = 7, 0
    if encapsulated:
        item.add_new("PixelData", "OB", encapsulate([syntax_of(picture)]))
        item["PixelData"].is_undefined_length = True
    else:
        item.add_new("PixelData", "OB", picture.tobytes())
    return item


@pytest.fixture
def with_icon(dicom_dataset, picture, encode):
    """Factory of JPEG Lossless instances with an icon nested in sequences."""

    def make(depth: int, *, encapsulated: bool, is_private: bool = True) -> Dataset:
        ds = dicom_dataset(modality="PX", transfer_syntax=uid.JPEGLosslessSV1)
        inner = icon(encode, picture(8), encapsulated=encapsulated)
        for _ in range(depth - 1):
            outer = Dataset()
            outer.DerivationDescription = "kept"
            outer.ReferencedImageSequence = [inner]
            inner = outer
        if is_private:
            ds.private_block(0x0009, "MAKER", create=True).add_new(0x10, "SQ", [inner])
        else:
            ds.ReferencedPatientSequence = [inner]
        return ds

    return make


@pytest.fixture
def encode(encapsulated_syntaxes):
    from dicom_datasets import ENCODE

    return lambda pixels: ENCODE[uid.JPEGLosslessSV1](pixels, 8)


@pytest.mark.parametrize("is_private", [True, False])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_encapsulated_icon_is_left_out(
    with_icon, derived_of, dcmconv, tmp_path, depth, is_private
) -> None:
    derived = derived_of(with_icon(depth, encapsulated=True, is_private=is_private))
    assert (tmp_path / "derived.dcm").read_bytes().count(ITEM) == (
        # items of our own record, and of the anatomy: none of them begins fragments
        sum(len(each.value) for each in derived.iterall() if each.VR == "SQ")
    )
    assert not [each for each in derived.iterall() if each.tag == 0x7FE00010][:-1]
    holder = derived.get(0x00091010) if is_private else derived.get("ReferencedPatientSequence")
    assert (holder is None) is (depth == 1)
    assert dcmconv(tmp_path / "derived.dcm")


def test_native_icon_of_a_maker_is_kept(with_icon, derived_of, picture, dcmconv, tmp_path) -> None:
    derived = derived_of(with_icon(2, encapsulated=False))
    kept = derived[0x0009, 0x1010].value[0].ReferencedImageSequence[0]
    assert kept.PixelData == picture(8).tobytes()
    assert dcmconv(tmp_path / "derived.dcm")


@pytest.mark.parametrize("tag", [0x50003000, 0x5000200C, 0x00091011])
def test_other_values_in_fragments_are_left_out(
    dicom_dataset, derived_of, dcmconv, tmp_path, tag
) -> None:
    ds = dicom_dataset(transfer_syntax=uid.JPEGLosslessSV1)
    ds.private_block(0x0009, "MAKER", create=True)
    ds.add_new(tag, "OB", encapsulate([bytes(10)]))
    ds[tag].is_undefined_length = True
    derived = derived_of(ds)
    assert tag not in derived
    assert dcmconv(tmp_path / "derived.dcm")


def test_compressed_result_may_have_fragments_of_its_own_alone(
    with_icon, derived_of, dcmconv, tmp_path
) -> None:
    derived = derived_of(with_icon(1, encapsulated=True))
    compress(derived, uid.JPEGLSLossless)
    dcmwrite(tmp_path / "small.dcm", derived, enforce_file_format=True)
    assert dcmconv(tmp_path / "small.dcm")


@pytest.mark.parametrize("where", ["before Rows", "before Pixel Data"])
@pytest.mark.parametrize("stray", [ITEM, b"\xfe\xff\xdd\xe0"])
def test_stray_delimiter_is_left_out(
    dicom_dataset, derived_of, content_of, dcmconv, tmp_path, where, stray
) -> None:
    content = content_of(dicom_dataset())
    at = content.rindex({"before Rows": b"\x28\0\x10\0US", "before Pixel Data": b"\xe0\x7f"}[where])
    derived = derived_of(content[:at] + stray + bytes(4) + content[at:])
    assert not [each.tag for each in derived if each.tag.group == 0xFFFE]
    assert dcmconv(tmp_path / "derived.dcm")


def test_command_and_meta_elements_in_the_data_set_are_left_out(
    dicom_dataset, derived_of, content_of, dcmconv, tmp_path
) -> None:
    content = content_of(dicom_dataset())
    at = content.rindex(b"\x08\0\x05\0CS")
    stray = b"\0\0\x10\x01US\x02\0\x01\0" + b"\x02\0\x03\0UI\x04\x001.2\0"
    derived = derived_of(content[:at] + stray + content[at:])
    assert derived.SOPInstanceUID != "1.2"
    assert dcmconv(tmp_path / "derived.dcm")


@pytest.mark.parametrize("tag", [0x50003000, 0x5000200C])
@pytest.mark.parametrize(
    "transfer_syntax", [uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian]
)
def test_curves_and_sounds_keep_their_bytes(
    dicom_dataset, derived_of, dcmconv, tmp_path, tag, transfer_syntax
) -> None:
    ds = dicom_dataset(transfer_syntax=transfer_syntax)
    ds.add_new(tag, "OW", bytes(range(16)))
    derived = derived_of(ds)
    assert derived[tag].value == bytes(range(16))
    assert dcmconv(tmp_path / "derived.dcm")
