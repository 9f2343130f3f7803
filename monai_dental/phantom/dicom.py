"""A phantom as a DICOM object: Digital Intra-Oral X-Ray Image, For Presentation (PS3.3 A.28)."""

from __future__ import annotations

import io
from hashlib import sha256

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    DigitalIntraOralXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
)

from monai_dental.dicom.identity import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from monai_dental.phantom.simulate import Exposure
from monai_dental.phantom.streams import PHANTOM_VERSION

MANUFACTURER = "monai_dental"
_DATE, _TIME = "20000101", "120000"  # fictitious

# PS3.16 CID 4016, Anatomic Region for Intra-oral Radiography.
_MAXILLA = ("70925003", "SCT", "Maxilla")
_MANDIBLE = ("91609006", "SCT", "Mandible")
_JAW_REGION = ("661005", "SCT", "Jaw region")

# PS3.16 CID 4018, permanent teeth 1 to 8 of each FDI quadrant.
_TOOTH_CODES = {
    1: "422653006 424877001 860767006 57826002 36492000 865995000 863902006 68085002",
    2: "424399000 423185002 860780009 61897005 23226009 865988009 863901004 87704003",
    3: "425106001 423331005 860782001 2400006 24573005 866006002 863898000 74344005",
    4: "424575004 423937004 860785004 80140008 8873007 866005003 863899008 38994002",
}
_TOOTH_NAMES = (
    "central incisor",
    "lateral incisor",
    "canine",
    "first premolar",
    "second premolar",
    "first molar",
    "second molar",
    "third molar",
)


def encode_dicom(exposure: Exposure, index: int, role: str) -> bytes:
    """Return a complete DICOM file, the same bytes for the same arguments.

    Args:
        exposure: The phantom.
        index: Its number, from which the UIDs come.
        role: `"clean"` or `"noisy"`: which of its images.
    """
    dataset = build_dataset(exposure, index, role)
    file_meta = FileMetaDataset()
    file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file_meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
    file_meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    dataset.file_meta = file_meta
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def build_dataset(exposure: Exposure, index: int, role: str) -> Dataset:
    """Return the dataset of one image of a phantom, of a fictitious patient; see `encode_dicom`.

    Raises:
        ValueError: The role is neither.
    """
    if role not in ("clean", "noisy"):
        raise ValueError(f"role is {role!r}; need 'clean' or 'noisy'")
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = DigitalIntraOralXRayImageStorageForPresentation
    dataset.SOPInstanceUID = _uid(index, role)
    _add_patient_and_study(dataset, index)
    _add_series(dataset, exposure, index, role)
    _add_acquisition(dataset, exposure)
    _add_anatomy(dataset, exposure)
    _add_pixels(dataset, exposure, role)
    return dataset


def _uid(index: int, *names: str) -> str:
    """Return a UID under 2.25 (PS3.5, B.2), the same for the same phantom."""
    text = "/".join(("monai_dental.phantom", str(PHANTOM_VERSION), str(index), *names))
    return f"2.25.{int.from_bytes(sha256(text.encode()).digest()[:16], 'big')}"


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def _add_patient_and_study(dataset: Dataset, index: int) -> None:
    dataset.PatientName = "Phantom^Dental"
    dataset.PatientID = f"phantom-{index}"
    dataset.PatientBirthDate = ""
    dataset.PatientSex = "O"
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = "Simulated: there is no patient"
    dataset.StudyInstanceUID = _uid(index, "study")
    dataset.StudyDate, dataset.StudyTime = _DATE, _TIME
    dataset.StudyID = str(index)
    dataset.StudyDescription = "Simulated dental radiograph"
    dataset.AccessionNumber = ""
    dataset.ReferringPhysicianName = ""


def _add_series(dataset: Dataset, exposure: Exposure, index: int, role: str) -> None:
    dataset.Modality = "IO"
    dataset.SeriesInstanceUID = _uid(index, role, "series")
    dataset.SeriesNumber = 1 if role == "clean" else 2
    dataset.SeriesDescription = f"{exposure.parameters['view']}, {role}"
    dataset.PresentationIntentType = "FOR PRESENTATION"
    dataset.InstanceNumber = 1
    dataset.Manufacturer = MANUFACTURER
    dataset.ManufacturerModelName = "phantom"
    dataset.DeviceSerialNumber = "0"
    dataset.SoftwareVersions = str(PHANTOM_VERSION)


def _add_acquisition(dataset: Dataset, exposure: Exposure) -> None:
    dataset.ImageType = ["ORIGINAL", "PRIMARY", ""]
    dataset.ContentDate, dataset.ContentTime = _DATE, _TIME
    dataset.AcquisitionDate, dataset.AcquisitionTime = _DATE, _TIME
    dataset.AcquisitionContextSequence = []
    dataset.KVP = str(exposure.parameters["kvp"])
    dataset.PositionerType = "NONE"
    dataset.DetectorType = "SCINTILLATOR"
    dataset.DetectorConfiguration = "AREA"
    row, column = exposure.pixel_spacing
    dataset.ImagerPixelSpacing = [f"{row:.8g}", f"{column:.8g}"]
    dataset.BurnedInAnnotation = "NO"
    dataset.ImageComments = "Simulated by monai_dental.phantom; not of a patient."


def _add_anatomy(dataset: Dataset, exposure: Exposure) -> None:
    focus = exposure.parameters["focus"]
    quadrant, position = divmod(focus, 10)
    is_upper, is_right = quadrant in (1, 2), quadrant in (1, 4)
    if exposure.parameters["view"] == "bitewing":
        region = _JAW_REGION
    else:
        region = _MAXILLA if is_upper else _MANDIBLE
    dataset.AnatomicRegionSequence = [_code(*region)]
    dataset.PrimaryAnatomicStructureSequence = [_tooth_code(focus)]
    dataset.ImageLaterality = "R" if is_right else "L"
    # Seen from the front, the patient's right is at the left; rows run to the patient's left, or
    # along the side.
    dataset.PatientOrientation = ["L" if position <= 2 else ("A" if is_right else "P"), "F"]


def _tooth_code(number: int) -> Dataset:
    """Return the code of a permanent tooth by its FDI number."""
    quadrant, position = divmod(number, 10)
    jaw = "Permanent maxillary" if quadrant in (1, 2) else "Mandibular"
    side = "right" if quadrant in (1, 4) else "left"
    # 32 is "Mandibular left lateral tooth" in the standard's table.
    name = "lateral" if number == 32 else _TOOTH_NAMES[position - 1]
    value = _TOOTH_CODES[quadrant].split()[position - 1]
    return _code(value, "SCT", f"{jaw} {side} {name} tooth")


def _add_pixels(dataset: Dataset, exposure: Exposure, role: str) -> None:
    pixels = exposure.clean if role == "clean" else exposure.noisy
    bits = exposure.bits_stored
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsAllocated = 8 if bits == 8 else 16
    dataset.BitsStored = bits
    dataset.HighBit = bits - 1
    dataset.PixelRepresentation = 0
    dataset.PixelIntensityRelationship = "LOG"
    dataset.PixelIntensityRelationshipSign = -1  # dense is bright
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = "0", "1", "US"
    dataset.PresentationLUTShape = "IDENTITY"
    dataset.LossyImageCompression = "00"
    dataset.WindowCenter, dataset.WindowWidth = str(2 ** (bits - 1)), str(2**bits)
    content = np.ascontiguousarray(pixels, dtype="<u1" if bits == 8 else "<u2").tobytes()
    dataset.add_new("PixelData", "OB" if bits == 8 else "OW", content + b"\0" * (len(content) % 2))
