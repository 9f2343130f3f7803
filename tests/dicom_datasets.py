"""Valid dental datasets with known stored values, in many transfer syntaxes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import imagecodecs
import numpy as np
from pydicom import Dataset, uid
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders import RLELosslessEncoder

SOP_CLASSES = {
    "IO": uid.DigitalIntraOralXRayImageStorageForPresentation,
    "PX": uid.DigitalXRayImageStorageForPresentation,
    "DX": uid.DigitalXRayImageStorageForPresentation,
    "CR": uid.ComputedRadiographyImageStorage,
    "CT": uid.CTImageStorage,
    "enhanced CT": uid.EnhancedCTImageStorage,
}
ENCODE: dict[str, Callable[[np.ndarray, int], bytes]] = {
    uid.JPEGLosslessSV1: lambda a, bits: imagecodecs.ljpeg_encode(a, bitspersample=bits),
    uid.JPEGLossless: lambda a, bits: imagecodecs.ljpeg_encode(a, bitspersample=bits),
    uid.JPEGLSLossless: lambda a, bits: imagecodecs.jpegls_encode(a),
    uid.JPEG2000Lossless: lambda a, bits: imagecodecs.jpeg2k_encode(
        a, level=0, reversible=True, codecformat="j2k", bitspersample=bits
    ),
    uid.HTJ2KLossless: lambda a, bits: imagecodecs.htj2k_encode(a),
    uid.HTJ2KLosslessRPCL: lambda a, bits: imagecodecs.htj2k_encode(a),
    "1.2.840.10008.1.2.4.110": lambda a, bits: imagecodecs.jpegxl_encode(a, lossless=True),
    uid.JPEGBaseline8Bit: lambda a, bits: imagecodecs.jpeg_encode(a, level=95),
    uid.JPEGExtended12Bit: lambda a, bits: imagecodecs.jpeg_encode(a, level=95, bitspersample=bits),
    uid.JPEGLSNearLossless: lambda a, bits: imagecodecs.jpegls_encode(a, level=2),
    uid.JPEG2000: lambda a, bits: imagecodecs.jpeg2k_encode(
        a, level=60, codecformat="j2k", bitspersample=bits
    ),
    uid.HTJ2K: lambda a, bits: imagecodecs.htj2k_encode(a, reversible=False),
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


def make_dataset(
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
    """A dataset without errors by dciodvfy, provided that its IOD allows the options.

    Args:
        picture: The factory of pictures.
        stored: Stored values; None draws them.
        bits_stored: Bits of a stored value; None means those of `stored`, or 12.
        photometric: Photometric Interpretation.
        signed: Whether stored values have a sign.
        frames: Number of frames.
        modality: "IO", "PX", "DX", "CR", "CT", or "enhanced CT" of one frame or more.
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
    elif modality == "CT":
        _add_slice(ds)
    else:
        _add_enhanced(ds, frames, bits_stored)
    if modality not in ("CR", "enhanced CT"):
        ds.RescaleIntercept, ds.RescaleSlope = "0", "1"
        ds.RescaleType = "HU" if modality == "CT" else "US"
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, photometric
    ds.Rows, ds.Columns = stored.shape[-2:]
    if frames > 1 or modality == "enhanced CT":
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
    ds.Modality, ds.SeriesNumber, ds.InstanceNumber = modality.split()[-1], 3, 1
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


def _add_enhanced(ds: Dataset, frames: int, bits: int) -> None:
    """The modules and functional groups of an Enhanced CT Image (PS3.3 A.38.1), of a CBCT."""
    del ds.PatientOrientation
    ds.PatientPosition = "HFS"
    ds.ManufacturerModelName, ds.DeviceSerialNumber, ds.SoftwareVersions = "Model", "1", "1"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    ds.PixelPresentation, ds.VolumetricProperties = "MONOCHROME", "VOLUME"
    ds.VolumeBasedCalculationTechnique = "NONE"
    ds.AcquisitionNumber, ds.AcquisitionDateTime, ds.AcquisitionDuration = 1, "20260101120000", 9.0
    ds.ContentQualification, ds.BurnedInAnnotation, ds.PresentationLUTShape = (
        "PRODUCT", "NO", "IDENTITY",
    )  # fmt: skip
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = "1.2.3.9", ""
    ds.AcquisitionContextSequence = []
    ds.DimensionOrganizationSequence = [_item(DimensionOrganizationUID="1.2.3.10")]
    ds.DimensionIndexSequence = [
        _item(
            DimensionOrganizationUID="1.2.3.10",
            DimensionIndexPointer=0x00200032,
            FunctionalGroupPointer=0x00209113,
            DimensionDescriptionLabel="Position",
        )
    ]
    kind = {"FrameType": ds.ImageType, "PixelPresentation": "MONOCHROME"}
    kind |= {"VolumetricProperties": "VOLUME", "VolumeBasedCalculationTechnique": "NONE"}
    anatomy = {"AnatomicRegionSequence": [_code("661005", "SCT", "Jaw region")]}
    macros: dict[str, dict[str, Any]] = {
        "PixelMeasuresSequence": {"PixelSpacing": [0.2, 0.1], "SliceThickness": "0.2"},
        "PlaneOrientationSequence": {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0]},
        "FrameAnatomySequence": {"FrameLaterality": "U", **anatomy},
        "CTImageFrameTypeSequence": kind,
        "PixelValueTransformationSequence": {
            "RescaleIntercept": "0", "RescaleSlope": "1", "RescaleType": "HU"
        },
        "FrameVOILUTSequence": {"WindowCenter": "40", "WindowWidth": "400"},
        "IrradiationEventIdentificationSequence": {"IrradiationEventUID": "1.2.3.11"},
        "CTAcquisitionTypeSequence": {
            "AcquisitionType": "STATIONARY", "ConstantVolumeFlag": "NO",
            "FluoroscopyFlag": "NO",
        },
        "CTAcquisitionDetailsSequence": {
            "RotationDirection": "CW", "RevolutionTime": 9.0, "SingleCollimationWidth": 0.2,
            "TotalCollimationWidth": 80.0, "TableHeight": 0.0, "GantryDetectorTilt": 0.0,
            "DataCollectionDiameter": 100.0,
        },
        "CTTableDynamicsSequence": {},
        "CTPositionSequence": {
            "TablePosition": 0.0, "ReconstructionTargetCenterPatient": [0.0, 0.0, 0.0],
            "DataCollectionCenterPatient": [0.0, 0.0, 0.0],
        },
        "CTGeometrySequence": {
            "DistanceSourceToDetector": 700.0, "DistanceSourceToDataCollectionCenter": 500.0
        },
        "CTReconstructionSequence": {
            "ReconstructionAlgorithm": "FILTER_BACK_PROJ", "ConvolutionKernel": "A",
            "ConvolutionKernelGroup": "BONE", "ReconstructionDiameter": 80.0,
            "ImageFilter": "NONE", "ReconstructionAngle": 360.0,
            "ReconstructionPixelSpacing": [0.2, 0.1],
        },
        "CTExposureSequence": {
            "ExposureTimeInms": 9000.0, "XRayTubeCurrentInmA": 5.0, "ExposureInmAs": 45.0,
            "ExposureModulationType": "NONE",
        },
        "CTXRayDetailsSequence": {
            "KVP": "90", "FocalSpots": [0.5], "FilterType": "NONE", "FilterMaterial": "COPPER",
        },
    }  # fmt: skip
    ds.SharedFunctionalGroupsSequence = [
        _item(**{keyword: [_item(**values)] for keyword, values in macros.items()})
    ]
    ds.PerFrameFunctionalGroupsSequence = [
        _item(
            FrameContentSequence=[
                _item(
                    FrameAcquisitionNumber=1,
                    FrameReferenceDateTime="20260101120000",
                    FrameAcquisitionDateTime="20260101120000",
                    FrameAcquisitionDuration=9.0,
                    DimensionIndexValues=[frame + 1],
                )
            ],
            PlanePositionSequence=[_item(ImagePositionPatient=[0, 0, 0.2 * frame])],
        )
        for frame in range(frames)
    ]


def _item(**elements: Any) -> Dataset:
    item = Dataset()
    for keyword, value in elements.items():
        setattr(item, keyword, value)
    return item


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
