"""Whatever the source's transfer syntax, the derived instance keeps the bytes of its text."""

from __future__ import annotations

import io
import struct
from typing import Any

import pytest
from pydicom import Dataset, dcmread, dcmwrite, uid
from pydicom.datadict import dictionary_VR
from pynetdicom.dsutils import encode

from monai_dental.dicom import Derivation, derive, encode_dataset, read_dataset, to_radiograph
from monai_dental.dicom.explicit import to_implicit
from monai_dental.dicom.record import is_own
from monai_dental.dicom.select import read_rules, reason_to_skip
from monai_dental.errors import CorruptImageError

DERIVATION = Derivation("Noise reduction", "some_model", "0.1.0", "ab" * 32, 0.8)
OTHERS = (uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian)
ALL = (*OTHERS, uid.ExplicitVRLittleEndian)
NAMES = [
    (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    (["ISO 2022 IR 13", "ISO 2022 IR 87"], "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう"),
    (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
    ("GB18030", "Wang^XiaoDong=王^小东"),
    ("ISO_IR 166", "นาม"),
    ("ISO_IR 192", "Müller^Hans"),
]


def content_of(ds: Dataset) -> bytes:
    stream = io.BytesIO()
    dcmwrite(stream, ds, enforce_file_format=True)
    return stream.getvalue()


def derived_from(content: bytes, tmp_path) -> bytes:
    (tmp_path / "source.dcm").write_bytes(content)
    return encode_dataset(derive(to_radiograph(read_dataset(tmp_path / "source.dcm")), DERIVATION))


def value_of(content: bytes, tag: bytes, vr: bytes) -> bytes:
    """The bytes of an element of an Explicit VR Little Endian file, not of those in items."""
    at = content.rindex(tag + vr) + 6
    return content[at + 2 : at + 2 + int.from_bytes(content[at : at + 2], "little")]


@pytest.fixture
def with_items(dicom_dataset):
    """Factory of datasets with the ID "0815X" at the top level, in items and privately."""

    def make(transfer_syntax: str, is_undefined_length: bool = False, **elements: Any) -> Dataset:
        item = Dataset()
        item.PatientID = "0815X"
        outer = Dataset()
        outer.OtherPatientIDsSequence = [item]
        ds = dicom_dataset(
            transfer_syntax=transfer_syntax,
            PatientID="0815X",
            ReferencedPatientSequence=[outer],
            **elements,
        )
        ds["ReferencedPatientSequence"].is_undefined_length = is_undefined_length
        ds.private_block(0x0009, "GEMS_GENIE_1", create=True).add_new(0x10, "LO", "0815X")
        return ds

    return make


@pytest.mark.parametrize("transfer_syntax", ALL)
@pytest.mark.parametrize("is_undefined_length", [False, True])
def test_text_that_cannot_be_decoded_keeps_its_bytes(
    with_items, tmp_path, transfer_syntax, is_undefined_length
) -> None:
    source = content_of(with_items(transfer_syntax, is_undefined_length))
    assert source.count(b"0815X ") == 3
    derived = [
        derived_from(source.replace(b"0815X", b"0815" + letter), tmp_path)
        for letter in (b"\xc4", b"\xd6")  # Latin-1, though the character set is UTF-8
    ]
    assert value_of(derived[0], b"\x10\0\x20\0", b"LO") == b"0815\xc4 "
    assert value_of(derived[1], b"\x10\0\x20\0", b"LO") == b"0815\xd6 "
    assert [content.count(b"LO\x06\x000815\xc4 ") for content in derived] == [3, 0]
    uids = [dcmread(io.BytesIO(content)).SOPInstanceUID for content in derived]
    assert uids[0] != uids[1]


def test_text_of_unknown_representation_keeps_its_bytes(with_items, tmp_path) -> None:
    source = content_of(with_items(uid.ExplicitVRLittleEndian))
    known, unknown = b"\x10\0\x20\0LO\x06\x000815X ", b"\x10\0\x20\0UN\0\0\x06\0\0\x000815\xc4 "
    derived = derived_from(unknown.join(source.rsplit(known, 1)), tmp_path)
    assert value_of(derived, b"\x10\0\x20\0", b"LO") == b"0815\xc4 "


@pytest.mark.parametrize("transfer_syntax", ALL)
def test_text_that_is_looked_at_keeps_its_bytes(dicom_dataset, tmp_path, transfer_syntax) -> None:
    anatomy, equipment, shared = Dataset(), Dataset(), Dataset()
    anatomy.CodeMeaning, equipment.Manufacturer = "0815X", "0815X"
    shared.private_block(0x0009, "GEMS_GENIE_1", create=True).add_new(0x10, "LO", "0815X")
    ds = dicom_dataset(
        modality="DX",
        transfer_syntax=transfer_syntax,
        BodyPartExamined="",
        StudyDescription="0815X",
        AnatomicRegionSequence=[anatomy],
        ContributingEquipmentSequence=[equipment],
        SharedFunctionalGroupsSequence=[shared],
    )
    for keyword in ("AnatomicRegionSequence", "ContributingEquipmentSequence"):
        ds[keyword].is_undefined_length = True
    path = tmp_path / "source.dcm"
    path.write_bytes(content_of(ds).replace(b"0815X ", b"0815\xc4 "))
    source = read_dataset(path)
    assert reason_to_skip(source, read_rules()) is not None
    assert not is_own(source)
    derived = encode_dataset(derive(to_radiograph(source), DERIVATION))
    assert derived.count(b"LO\x06\x000815\xc4 ") == 4


@pytest.mark.parametrize("transfer_syntax", ALL)
@pytest.mark.parametrize(("character_set", "name"), NAMES)
def test_text_of_any_language_survives(
    dicom_dataset, tmp_path, transfer_syntax, character_set, name
) -> None:
    item = Dataset()
    item.PatientName = name
    options = {"SpecificCharacterSet": character_set, "PatientName": name, "PatientComments": name}
    source = dicom_dataset(
        transfer_syntax=transfer_syntax, ReferencedPatientSequence=[item], **options
    )
    content = derived_from(content_of(source), tmp_path)
    derived = dcmread(io.BytesIO(content))
    assert derived.PatientName == name
    assert derived.PatientComments == name
    assert derived.ReferencedPatientSequence[0].PatientName == name
    explicit = content_of(dicom_dataset(ReferencedPatientSequence=[item], **options))
    written = value_of(explicit, b"\x10\0\x10\0", b"PN")
    assert content.count(b"PN" + len(written).to_bytes(2, "little") + written) == 2


@pytest.mark.parametrize(("character_set", "name"), NAMES)
@pytest.mark.parametrize("is_undefined_length", [False, True])
def test_implicit_vr_has_the_same_bytes_as_if_all_were_decoded(
    with_items, character_set, name, is_undefined_length
) -> None:
    source = with_items(
        uid.ExplicitVRLittleEndian,
        is_undefined_length,
        SpecificCharacterSet=character_set,
        PatientName=name,
    )
    source.add_new(0x00280106, "US", 7)  # Smallest Image Pixel Value
    content = content_of(source)

    written = encode(to_implicit(dcmread(io.BytesIO(content))), True, True)

    assert written == encode(dcmread(io.BytesIO(content)), True, True)


@pytest.mark.parametrize("transfer_syntax", OTHERS)
def test_item_of_another_character_set_keeps_it(dicom_dataset, tmp_path, transfer_syntax) -> None:
    item = Dataset()
    item.SpecificCharacterSet, item.PatientName = "ISO_IR 100", "Müller^Hans"
    source = dicom_dataset(transfer_syntax=transfer_syntax, ReferencedPatientSequence=[item])
    derived = dcmread(io.BytesIO(derived_from(content_of(source), tmp_path)))
    assert derived.ReferencedPatientSequence[0].SpecificCharacterSet == "ISO_IR 100"
    assert derived.ReferencedPatientSequence[0].PatientName == "Müller^Hans"


def broken(ds: Dataset, tag: int) -> bytes:
    """The file of a dataset with an LO element whose VR is set to FD, US or SS."""
    order = ">" if ds.file_meta.TransferSyntaxUID == uid.ExplicitVRBigEndian else "<"
    name = struct.pack(f"{order}HH", tag >> 16, tag & 0xFFFF)
    vr = dictionary_VR(tag)[:2].encode()
    return content_of(ds).replace(name + b"LO", name + vr)


@pytest.mark.parametrize("transfer_syntax", ALL)
def test_element_that_cannot_be_decoded_does_not_cost_the_instance(
    dicom_dataset, tmp_path, transfer_syntax
) -> None:
    tag = 0x00189073  # Acquisition Duration, FD: 8 bytes
    item = Dataset()
    item.add_new(tag, "LO", "broken")
    ds = dicom_dataset(transfer_syntax=transfer_syntax, ReferencedImageSequence=[item])
    ds.add_new(tag, "LO", "broken")
    derived = dcmread(io.BytesIO(derived_from(broken(ds, tag), tmp_path)))
    assert derived.get_item(tag).value == b"broken"
    assert derived.ReferencedImageSequence[0].get_item(tag).value == b"broken"


def test_dataset_with_an_element_that_cannot_be_decoded_is_not_changed(
    dicom_dataset, tmp_path
) -> None:
    ds = dicom_dataset(transfer_syntax=uid.ImplicitVRLittleEndian)
    ds.add_new("LUTData", "LO", "a LUT without descriptor")
    (tmp_path / "source.dcm").write_bytes(content_of(ds))
    source = read_dataset(tmp_path / "source.dcm")
    contents = [encode_dataset(derive(to_radiograph(source), DERIVATION)) for _ in range(2)]
    assert contents[0] == contents[1]


@pytest.mark.parametrize("transfer_syntax", OTHERS)
def test_element_that_is_needed_is_not_made_up(dicom_dataset, tmp_path, transfer_syntax) -> None:
    tag = 0x00280120  # Pixel Padding Value
    ds = dicom_dataset(transfer_syntax=transfer_syntax)
    ds.add_new(tag, "LO", "none")
    with pytest.raises(CorruptImageError, match=r"\(0028,0120\) Pixel Padding Value is not an int"):
        derived_from(broken(ds, tag), tmp_path)
