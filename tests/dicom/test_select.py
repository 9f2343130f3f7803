from __future__ import annotations

import json

import pytest
from pydicom import Dataset, uid

from monai_dental.dicom import read_dataset
from monai_dental.dicom.select import SHIPPED_RULES, read_rules, reason_to_skip
from monai_dental.errors import CorruptImageError, RulesError

RULES = read_rules()
NOT_DENTAL = {"BodyPartExamined": "CHEST", "AnatomicRegionSequence": None}


def code(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "SCT", meaning
    return item


@pytest.mark.parametrize("modality", ["IO", "PX", "DX", "CR", "CT"])
def test_dental_radiographs_are_taken(dicom_dataset, modality) -> None:
    assert reason_to_skip(dicom_dataset(modality=modality), RULES) is None


@pytest.mark.parametrize(("modality", "taken"), [("IO", True), ("DX", False), ("CT", False)])
def test_anatomy_is_asked_for_where_the_modality_does_not_tell(
    dicom_dataset, modality, taken
) -> None:
    structure = {"PrimaryAnatomicStructureSequence": None}
    dataset = dicom_dataset(modality=modality, **NOT_DENTAL, **structure)

    reason = reason_to_skip(dataset, RULES)
    assert reason is None if taken else "without dental anatomy; --all-xray selects it" in reason
    assert reason_to_skip(dataset, read_rules(all_xray=True)) is None


@pytest.mark.parametrize(
    "elements",
    [
        {"BodyPartExamined": "Lower Jaw"},
        {"BodyPartExamined": "UPPER_MOLAR"},
        {"BodyPartExamined": None, "StudyDescription": "OPG_adult"},
        {"BodyPartExamined": "UNKNOWN", "SeriesDescription": "Bitewing left"},
        {"BodyPartExamined": "HEAD", "ManufacturerModelName": "CBCT 3000"},
        {
            "BodyPartExamined": "SKULL",
            "AnatomicRegionSequence": [code("69536005", "Head")],
            "ManufacturerModelName": "Dental CT",
        },
        {"AnatomicRegionSequence": [code("661005", "?")]},
        {"AnatomicRegionSequence": [code("1", "Lower jaw")]},
    ],
)
def test_dental_anatomy_is_found(dicom_dataset, elements) -> None:
    dataset = dicom_dataset(modality="CR", **{**NOT_DENTAL, **elements})
    assert reason_to_skip(dataset, RULES) is None


def test_words_count_whole_only(dicom_dataset) -> None:
    elements = {**NOT_DENTAL, "BodyPartExamined": None}
    dataset = dicom_dataset(modality="CR", **elements, StudyDescription="Accidental, optimal")
    assert reason_to_skip(dataset, RULES) is not None


@pytest.mark.parametrize(
    "elements",
    [
        {"BodyPartExamined": "CHEST", "StudyDescription": "CHEST BEFORE DENTAL SURGERY"},
        {"BodyPartExamined": "CHEST", "ManufacturerModelName": "CBCT 3000"},
        {"StudyDescription": "Dental", "AnatomicRegionSequence": [code("51185008", "Chest")]},
    ],
)
def test_words_do_not_count_beside_another_anatomy(dicom_dataset, elements) -> None:
    without = {"BodyPartExamined": None, "AnatomicRegionSequence": None}
    dataset = dicom_dataset(modality="DX", **{**without, **elements})
    assert "without dental anatomy" in (reason_to_skip(dataset, RULES) or "taken")


@pytest.mark.parametrize(
    "description",
    [
        "CT LOWER EXTREMITY VENOGRAM R/O DVT",
        "CTA CHEST PE + DVT",
        "WHOLE SPINE PANORAMIC",
        "CHEST PA OPT",
        "MOLAR PREGNANCY CHEST PA",
        "Canine thorax",
        "CBCT PELVIS",
    ],
)
@pytest.mark.parametrize("keyword", ["StudyDescription", "SeriesDescription", "ProtocolName"])
def test_words_with_other_meanings_do_not_count_in_descriptions(
    dicom_dataset, keyword, description
) -> None:
    elements = {**NOT_DENTAL, "BodyPartExamined": None, keyword: description}
    dataset = dicom_dataset(modality="CT", **elements)
    assert "without dental anatomy" in (reason_to_skip(dataset, RULES) or "taken")


def test_enhanced_multi_frame_ct_is_taken_by_its_frame_anatomy(dicom_dataset) -> None:
    anatomy, shared = Dataset(), Dataset()
    anatomy.AnatomicRegionSequence = [code("661005", "Jaw region")]
    shared.FrameAnatomySequence = [anatomy]
    dataset = dicom_dataset(
        modality="CT", frames=3, **NOT_DENTAL, SOPClassUID=uid.EnhancedCTImageStorage,
        SharedFunctionalGroupsSequence=[shared],
    )  # fmt: skip
    assert reason_to_skip(dataset, RULES) is None


@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        ({"Modality": "MR"}, "(0008,0060) Modality is MR; the rules select IO, PX, DX, CR, CT"),
        ({"Modality": "Doe^Jane"}, "Modality is unknown"),
        ({"Modality": None}, "(0008,0060) Modality is missing"),
        ({"PhotometricInterpretation": "RGB"}, "colour; need greyscale"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "colour; need greyscale"),
        ({"SamplesPerPixel": 3}, "colour; need greyscale"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "is one that the rules skip"),
        ({"PixelData": None, "FloatPixelData": bytes(4)}, "pixels are floats"),
        ({"SOPClassUID": uid.MediaStorageDirectoryStorage}, "a DICOMDIR, not an instance"),
        ({"DirectoryRecordSequence": []}, "a DICOMDIR, not an instance"),
        (
            {"SOPClassUID": uid.BasicTextSRStorage, "PixelData": None, "Modality": "SR"},
            "not an image: Basic Text SR Storage",
        ),
        (
            {"SOPClassUID": uid.EncapsulatedPDFStorage, "PixelData": None, "Modality": "PX"},
            "not an image: Encapsulated PDF Storage",
        ),
    ],
)
def test_others_are_skipped_with_a_reason(dicom_dataset, elements, reason) -> None:
    assert reason in (reason_to_skip(dicom_dataset(**elements), RULES) or "taken")


def test_image_that_breaks_off_is_no_skip(dicom_dataset) -> None:
    dataset = dicom_dataset()
    del dataset.PixelData
    with pytest.raises(CorruptImageError, match=r"\(7FE0,0010\) Pixel Data is missing"):
        reason_to_skip(dataset, RULES)


def test_rules_can_be_changed_in_one_file(dicom_dataset, tmp_path) -> None:
    content = json.loads(SHIPPED_RULES.read_text())
    content["modalities"] = {"MR": "always"}
    (tmp_path / "rules.json").write_text(json.dumps(content))

    rules = read_rules(tmp_path / "rules.json")
    assert reason_to_skip(dicom_dataset(Modality="MR"), rules) is None
    assert reason_to_skip(dicom_dataset(), rules) is not None
    assert rules.digest != RULES.digest != read_rules(all_xray=True).digest


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"modalities": {"IO": "sometimes"}}, 'to "always" or "dental"'),
        ({"dental_words": "tooth"}, "dental_words must be a list of strings"),
        ({"dental_wrods": []}, "and no other"),
    ],
)
def test_wrong_rules_are_refused(tmp_path, change, message) -> None:
    content = json.loads(SHIPPED_RULES.read_text()) | change
    (tmp_path / "rules.json").write_text(json.dumps(content))
    with pytest.raises(RulesError, match=message):
        read_rules(tmp_path / "rules.json")


@pytest.mark.parametrize("content", ["", "[]", "{"])
def test_file_without_rules_is_refused(tmp_path, content) -> None:
    (tmp_path / "rules.json").write_text(content)
    with pytest.raises(RulesError):
        read_rules(tmp_path / "rules.json")


@pytest.mark.parametrize("element", [b"\x02\0\x10\0", b"\x02\0\x02\0", b"\x02\0\x03\0"])
@pytest.mark.parametrize("vr", [b"ZZ", b"OB", b"UN", b"SQ"])
def test_broken_file_meta_information_is_told(dicom_dataset, content_of, tmp_path, element, vr):
    """Other representations have other lengths, so the following bytes are misread."""
    content = content_of(dicom_dataset())
    at = content.index(element + b"UI", 132)
    path = tmp_path / "a.dcm"
    path.write_bytes(content[: at + 4] + vr + content[at + 6 :])
    try:
        reason_to_skip(read_dataset(path), RULES)
    except CorruptImageError as error:
        assert "file meta information" in str(error)  # noqa: PT017 - or it is read all the same
