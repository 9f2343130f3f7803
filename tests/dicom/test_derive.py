from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread, dcmwrite, uid

from monai_dental.dicom import Derivation, derive, encode_dataset, read_dataset, to_radiograph
from monai_dental.errors import CorruptImageError, UnsupportedImageError
from monai_dental.radiograph import Radiograph

DERIVATION = Derivation("Noise reduction", "dental_xray_denoising_dae", "0.1.0", "ab" * 32, 0.8)
STALE = {
    "IconImageSequence": [Dataset()],
    "SmallestImagePixelValue": 3,
    "LargestImagePixelValue": 9,
    "SOPInstanceStatus": "AO",
    "SOPAuthorizationComment": "seen",
    "DigitalSignaturesSequence": [Dataset()],
    "MACParametersSequence": [Dataset()],
    "ExtendedOffsetTable": bytes(8),
    "ExtendedOffsetTableLengths": bytes(8),
    "DataSetTrailingPadding": bytes(8),
    "ConcatenationUID": "1.2.3.99",
    "SOPInstanceUIDOfConcatenationSource": "1.2.3.98",
    "InConcatenationNumber": 1,
    "InConcatenationTotalNumber": 2,
    "ConcatenationFrameOffsetNumber": 0,
    "InstanceAvailability": "ONLINE",
    "RetrieveAETitle": "ARCHIVE",
    "RetrieveURL": "https://archive.example/1.2.3",
    "RetrieveURI": "https://archive.example/1.2.3",
    "RetrieveLocationUID": "1.2.3.97",
    "StorageMediaFileSetID": "DISC 1",
    "StorageMediaFileSetUID": "1.2.3.96",
}


def darker(radiograph: Radiograph) -> Radiograph:
    return replace(radiograph, pixels=radiograph.pixels * np.float32(0.5))


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("shift", [0, 1])
def test_unchanged_pixels_give_the_source_pixels(
    dicom_dataset, picture, bits, signed, photometric, shift
) -> None:
    if shift and bits in (8, 16):
        pytest.skip("no unused bits")
    ds = dicom_dataset(
        picture(bits, signed=signed), bits_stored=bits, photometric=photometric, shift=shift
    )
    derived = derive(to_radiograph(ds), DERIVATION)
    assert derived.PixelData == ds.PixelData
    for keyword in ("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "Rows"):
        assert derived[keyword].value == ds[keyword].value
    assert derived.PhotometricInterpretation == photometric


def test_changed_pixels_are_stored_in_the_source_domain(dicom_dataset, picture) -> None:
    ds = dicom_dataset(picture(12), bits_stored=12, photometric="MONOCHROME1")
    derived = derive(darker(to_radiograph(ds)), DERIVATION)
    expected = np.rint(4095 - (4095 - picture(12).astype(float)) / 2)
    stored = np.frombuffer(derived.PixelData, "<u2").reshape(24, 40)
    assert np.abs(stored - expected).max() <= 1


def test_record_says_what_was_done_to_what(dicom_dataset) -> None:
    ds = dicom_dataset(DerivationDescription="Flat field", SeriesDescription="Periapical")
    derived = derive(to_radiograph(ds), DERIVATION)
    assert list(derived.ImageType) == ["DERIVED", "SECONDARY", ""]
    assert derived.DerivationDescription == "Flat field; Noise reduction, strength 0.8"
    assert derived.DerivationCodeSequence[-1].CodeValue == "113087"
    source = derived.SourceImageSequence[0]
    assert source.ReferencedSOPInstanceUID == ds.SOPInstanceUID
    assert source.ReferencedSOPClassUID == ds.SOPClassUID
    assert source.PurposeOfReferenceCodeSequence[0].CodeValue == "121322"
    assert source.SpatialLocationsPreserved == "YES"
    equipment = derived.ContributingEquipmentSequence[-1]
    assert equipment.PurposeOfReferenceCodeSequence[0].CodeValue == "109102"
    assert equipment.ManufacturerModelName == DERIVATION.model_name
    assert DERIVATION.weights_digest in equipment.ContributionDescription
    assert derived.SeriesDescription == "Periapical [Noise reduction]"
    assert derived.SeriesNumber == 1003
    assert derived.InstanceNumber == ds.InstanceNumber
    for keyword in ("PatientName", "PatientID", "StudyInstanceUID", "WindowCenter", "RescaleSlope"):
        assert derived[keyword].value == ds[keyword].value
    assert derived.file_meta.TransferSyntaxUID == uid.ExplicitVRLittleEndian
    assert derived.file_meta.MediaStorageSOPInstanceUID == derived.SOPInstanceUID


@pytest.mark.parametrize(
    ("number", "expected"),
    [("2147483647", 1000), ("2147482648", 1000), ("2147482647", 2147483647), ("-2000", -1000)],
)
def test_series_number_stays_an_integer_string(dicom_dataset, number, expected) -> None:
    ds = dicom_dataset(SeriesNumber=number)
    assert derive(to_radiograph(ds), DERIVATION).SeriesNumber == expected


def test_uids_depend_on_source_pixels_and_derivation_alone(dicom_dataset, picture) -> None:
    ds = dicom_dataset(picture(12), bits_stored=12)
    first = derive(to_radiograph(ds), DERIVATION)
    again = derive(to_radiograph(ds), DERIVATION)
    assert again.SOPInstanceUID == first.SOPInstanceUID
    assert again.SeriesInstanceUID == first.SeriesInstanceUID
    assert uid.UID(first.SOPInstanceUID).is_valid
    weaker = derive(to_radiograph(ds), replace(DERIVATION, strength=0.5))
    assert weaker.SOPInstanceUID != first.SOPInstanceUID
    assert weaker.SeriesInstanceUID != first.SeriesInstanceUID
    retrained = derive(to_radiograph(ds), replace(DERIVATION, weights_digest="cd" * 32))
    assert retrained.SOPInstanceUID != first.SOPInstanceUID
    ds.PixelData = bytes(len(ds.PixelData))
    other = derive(to_radiograph(ds), DERIVATION)
    assert other.SOPInstanceUID != first.SOPInstanceUID
    assert other.SeriesInstanceUID == first.SeriesInstanceUID
    ds.SeriesInstanceUID = "1.2.3.4.5.99"
    assert derive(to_radiograph(ds), DERIVATION).SeriesInstanceUID != first.SeriesInstanceUID


def test_sources_without_series_and_study_do_not_share_a_series(dicom_dataset) -> None:
    def series(sop_instance_uid: str) -> str:
        ds = dicom_dataset(
            SOPInstanceUID=sop_instance_uid, SeriesInstanceUID=None, StudyInstanceUID=None
        )
        return derive(to_radiograph(ds), DERIVATION).SeriesInstanceUID

    assert series("1.2.3") == series("1.2.3")
    assert series("1.2.3") != series("1.2.4")


def test_same_source_gives_the_same_bytes_but_for_the_time(dicom_file) -> None:
    radiograph = to_radiograph(read_dataset(dicom_file()))
    content = encode_dataset(derive(radiograph, DERIVATION))
    assert encode_dataset(derive(radiograph, DERIVATION)) == content
    moment = datetime(2026, 11, 22, 3, 4, 5, tzinfo=timezone.utc)
    timed = derive(radiograph, replace(DERIVATION, created=moment))
    assert timed.SOPInstanceUID == derive(radiograph, DERIVATION).SOPInstanceUID


@pytest.mark.parametrize(
    ("offset", "expected"),
    [
        ("+0900", "20261122 120405.000000"),
        ("-0330", "20261121 233405.000000"),
        ("+0000", "20261122 030405.000000"),
        (None, "20261122 084905.000000"),
        ("CET", "20261122 084905.000000"),
        ("+9900", "20261122 084905.000000"),
        (["+0900", "+0100"], "20261122 084905.000000"),
    ],
)
def test_creation_time_is_local_to_the_dataset_or_the_machine(
    dicom_dataset, monkeypatch, offset, expected
) -> None:
    monkeypatch.setenv("TZ", "NPT-5:45")
    time.tzset()
    moment = datetime(2026, 11, 22, 3, 4, 5, tzinfo=timezone.utc)
    radiograph = to_radiograph(dicom_dataset(TimezoneOffsetFromUTC=offset))
    try:
        derived = derive(radiograph, replace(DERIVATION, created=moment))
    finally:
        monkeypatch.undo()
        time.tzset()
    assert f"{derived.InstanceCreationDate} {derived.InstanceCreationTime}" == expected
    equipment = derived.ContributingEquipmentSequence[-1]
    assert equipment.ContributionDateTime == "20261122030405.000000+0000"


def test_elements_that_speak_of_the_source_alone_are_dropped(dicom_dataset) -> None:
    nested = Dataset()
    nested.DigitalSignaturesSequence = [Dataset()]
    ds = dicom_dataset(**STALE, RequestAttributesSequence=[nested])
    derived = derive(to_radiograph(ds), DERIVATION)
    assert not [keyword for keyword in STALE if keyword in derived]
    assert "DigitalSignaturesSequence" not in derived.RequestAttributesSequence[0]


@pytest.mark.parametrize("transfer_syntax", [uid.ExplicitVRBigEndian, uid.JPEG2000Lossless])
def test_output_is_explicit_little_endian_whatever_came_in(
    dicom_file, picture, tmp_path, transfer_syntax
) -> None:
    item = Dataset()
    item.LUTDescriptor, item.ModalityLUTType = [4096, 0, 16], "US"
    order = ">" if transfer_syntax == uid.ExplicitVRBigEndian else "<"
    item.add_new("LUTData", "OW", (np.arange(4096) * 2).astype(f"{order}u2").tobytes())
    path = dicom_file(bits_stored=12, transfer_syntax=transfer_syntax, ModalityLUTSequence=[item])
    source = to_radiograph(read_dataset(path))
    (tmp_path / "out.dcm").write_bytes(encode_dataset(derive(source, DERIVATION)))
    back = to_radiograph(read_dataset(tmp_path / "out.dcm"))
    assert np.array_equal(back.stored, picture(12))
    assert back.encoding == source.encoding
    assert back.encoding.table[-1] == 8190


def test_lossy_history_is_kept(dicom_dataset) -> None:
    ds = dicom_dataset(
        LossyImageCompression="01",
        LossyImageCompressionRatio="12",
        LossyImageCompressionMethod="ISO_15444_1",
    )
    derived = derive(to_radiograph(ds), DERIVATION)
    assert derived.LossyImageCompression == "01"
    assert derived.LossyImageCompressionRatio == 12


def test_frames_keep_their_count(dicom_dataset) -> None:
    ds = dicom_dataset(frames=3)
    derived = derive(to_radiograph(ds), DERIVATION)
    assert (derived.NumberOfFrames, derived.PixelData) == (3, ds.PixelData)


def test_enhanced_instance_keeps_its_record_in_functional_groups(dicom_dataset) -> None:
    shared, frame_type = Dataset(), Dataset()
    frame_type.FrameType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    shared.CTImageFrameTypeSequence = [frame_type]
    ds = dicom_dataset(
        frames=2,
        ImageType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"],
        SharedFunctionalGroupsSequence=[shared],
        PerFrameFunctionalGroupsSequence=[Dataset(), Dataset()],
    )
    derived = derive(to_radiograph(ds), DERIVATION)
    assert list(derived.ImageType) == ["DERIVED", "PRIMARY", "VOLUME", "NONE"]
    shared = derived.SharedFunctionalGroupsSequence[0]
    assert shared.CTImageFrameTypeSequence[0].FrameType[0] == "DERIVED"
    assert "SourceImageSequence" not in derived
    for number, group in enumerate(derived.PerFrameFunctionalGroupsSequence, start=1):
        source = group.DerivationImageSequence[0].SourceImageSequence[0]
        assert source.ReferencedFrameNumber == number
    study = derived.SourceImageEvidenceSequence[0]
    assert study.StudyInstanceUID == ds.StudyInstanceUID
    assert (
        ds.SharedFunctionalGroupsSequence[0].CTImageFrameTypeSequence[0].FrameType[0] == "ORIGINAL"
    )


@pytest.mark.parametrize("written", [b"A12 ", b"1\\2 "])
def test_broken_series_number_counts_as_absent(dicom_file, written) -> None:
    path = dicom_file(SeriesNumber="7777")
    path.write_bytes(path.read_bytes().replace(b"7777", written))
    assert derive(to_radiograph(read_dataset(path)), DERIVATION).SeriesNumber == 1000


def test_long_descriptions_are_cut_to_fit(dicom_dataset) -> None:
    ds = dicom_dataset(SeriesDescription="s" * 64, DerivationDescription="d" * 1024)
    derived = derive(to_radiograph(ds), DERIVATION)
    assert len(derived.SeriesDescription) == 64
    assert derived.SeriesDescription.endswith(" [Noise reduction]")
    assert len(derived.DerivationDescription) == 1024
    assert derived.DerivationDescription.endswith("; Noise reduction, strength 0.8")


def test_source_without_uid_is_refused(dicom_dataset) -> None:
    radiograph = to_radiograph(dicom_dataset(SOPInstanceUID=None), Path("some.dcm"))
    assert radiograph.sop_instance_uid is None
    message = r"file some\.dcm: \(0008,0018\) SOP Instance UID is missing; need it"
    with pytest.raises(UnsupportedImageError, match=message):
        derive(radiograph, DERIVATION)


def test_radiograph_of_another_format_is_refused(dicom_dataset) -> None:
    radiograph = replace(to_radiograph(dicom_dataset()), header=None)
    with pytest.raises(ValueError, match="does not come from DICOM"):
        derive(radiograph, DERIVATION)


def test_element_that_cannot_be_written_is_named_by_class_alone(dicom_dataset) -> None:
    derived = derive(to_radiograph(dicom_dataset()), DERIVATION)
    derived["PatientID"]._value = object()
    with pytest.raises(CorruptImageError, match=r"instance 2\.25\.\d+: cannot be written: \w+$"):
        encode_dataset(derived)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights_digest": "abc"}, "64 lower-case hexadecimal digits"),
        ({"strength": 1.1}, "strength is 1.1; need 0 to 1"),
        ({"model_name": "a\\b"}, "printable ASCII without a backslash"),
        ({"model_version": ""}, "printable ASCII"),
        ({"description": "d" * 41}, "need at most 40"),
    ],
)
def test_derivation_checks_what_goes_into_the_record(changes, message) -> None:
    with pytest.raises(ValueError, match=message):
        replace(DERIVATION, **changes)


def test_real_panoramic_gains_no_error(shared_data, dciodvfy, tmp_path) -> None:
    path = shared_data / "dicom" / "CR-ModalitySequenceLUT.dcm"
    source = to_radiograph(read_dataset(path))
    (tmp_path / "derived.dcm").write_bytes(encode_dataset(derive(source, DERIVATION)))
    gained = dciodvfy(tmp_path / "derived.dcm") - dciodvfy(path)
    assert {line for line in gained if "ReferencedSOPInstanceUID" not in line} == set()
    assert np.array_equal(dcmread(tmp_path / "derived.dcm").pixel_array, source.stored)


def test_implicit_source_is_written_explicitly(dicom_dataset, tmp_path) -> None:
    make: Callable[..., Dataset] = dicom_dataset
    ds = make(transfer_syntax=uid.ImplicitVRLittleEndian, PixelPaddingValue=0)
    dcmwrite(tmp_path / "a.dcm", ds, enforce_file_format=True)
    derived = derive(to_radiograph(read_dataset(tmp_path / "a.dcm")), DERIVATION)
    (tmp_path / "b.dcm").write_bytes(encode_dataset(derived))
    assert dcmread(tmp_path / "b.dcm")["PixelPaddingValue"].VR == "US"


def test_resampled_instance_keeps_the_field_of_view(dicom_dataset) -> None:
    ds = dicom_dataset()
    ds.ImagerPixelSpacing = ["0.1", "0.2"]
    ds.add_new(0x60003000, "OW", b"\0" * 120)
    ds.ShutterShape, ds.ShutterLeftVerticalEdge = "RECTANGULAR", 3
    radiograph = to_radiograph(ds)

    small = radiograph.with_pixels(np.ascontiguousarray(radiograph.pixels[::2, ::4]))
    derived = derive(small, DERIVATION)

    assert (derived.Rows, derived.Columns, len(derived.PixelData)) == (12, 10, 240)
    assert derived.ImagerPixelSpacing == pytest.approx([0.2, 0.8])
    assert 0x60003000 not in derived
    assert "ShutterShape" not in derived
    assert derived.SourceImageSequence[0].SpatialLocationsPreserved == "NO"
    native = derive(radiograph, DERIVATION)
    assert derived.SOPInstanceUID != native.SOPInstanceUID
    assert derived.SeriesInstanceUID != native.SeriesInstanceUID


def test_resampling_in_patient_coordinates_is_refused(dicom_dataset) -> None:
    radiograph = to_radiograph(dicom_dataset(modality="CT"))
    small = radiograph.with_pixels(np.ascontiguousarray(radiograph.pixels[::2, ::2]))

    with pytest.raises(UnsupportedImageError, match=r"\(0020,0032\) Image Position \(Patient\) is"):
        derive(small, DERIVATION)


def test_other_pixels_under_the_same_derivation_are_another_instance(dicom_dataset) -> None:
    radiograph = to_radiograph(dicom_dataset())

    one, other = derive(radiograph, DERIVATION), derive(darker(radiograph), DERIVATION)

    assert one.SOPInstanceUID != other.SOPInstanceUID
    assert one.SeriesInstanceUID == other.SeriesInstanceUID


def test_other_header_is_another_instance(dicom_dataset) -> None:
    one = derive(to_radiograph(dicom_dataset()), DERIVATION)
    other = derive(to_radiograph(dicom_dataset(PatientName="Corrected^Case")), DERIVATION)

    assert one.SOPInstanceUID != other.SOPInstanceUID
    assert one.SeriesInstanceUID == other.SeriesInstanceUID
