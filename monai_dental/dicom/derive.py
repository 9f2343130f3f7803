"""Derived DICOM instances of processed radiographs (PS3.3 C.7.6.1.1.2, C.12.4)."""

from __future__ import annotations

import copy
import hashlib
import io
import uuid

import numpy as np
from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from monai_dental.dicom.elements import element, integer, put
from monai_dental.dicom.identity import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from monai_dental.dicom.quiet import PYDICOM_ERRORS, instance_name, parsing, quiet_pydicom
from monai_dental.dicom.record import (
    Derivation,
    record_creation,
    record_derivation,
    record_equipment,
    record_image_type,
    record_series,
)
from monai_dental.dicom.resample import resample_header
from monai_dental.errors import CorruptImageError, UnsupportedImageError
from monai_dental.radiograph import Encoding, Radiograph, StoredArray

__all__ = ["Derivation", "derive", "encode_dataset"]

_DROPPED = (
    "IconImageSequence",
    "SmallestImagePixelValue",
    "LargestImagePixelValue",
    "SmallestPixelValueInSeries",
    "LargestPixelValueInSeries",
    "SmallestImagePixelValueInPlane",
    "LargestImagePixelValueInPlane",
    "HistogramSequence",
    "SOPInstanceStatus",
    "SOPAuthorizationDateTime",
    "SOPAuthorizationComment",
    "AuthorizationEquipmentCertificationNumber",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
    "EncapsulatedPixelDataValueTotalLength",
    "PixelDataProviderURL",
    "DataSetTrailingPadding",
    # The parts of a concatenation share all other attributes (PS3.3 C.7.6.16.2.2.4). Derived
    # instances are made one by one and refer to different sources.
    "ConcatenationUID",
    "SOPInstanceUIDOfConcatenationSource",
    "InConcatenationNumber",
    "InConcatenationTotalNumber",
    "ConcatenationFrameOffsetNumber",
    # Where the source can be retrieved.
    "InstanceAvailability",
    "RetrieveAETitle",
    "RetrieveURL",
    "RetrieveURI",
    "RetrieveLocationUID",
    "StorageMediaFileSetID",
    "StorageMediaFileSetUID",
)
"""Elements that describe the source's pixels or bytes and would be wrong for the derived ones."""

_SIGNATURES = ("DigitalSignaturesSequence", "MACParametersSequence")


def derive(radiograph: Radiograph, derivation: Derivation) -> Dataset:
    """Make the derived instance of a processed radiograph.

    It keeps the source's stored-value domain (bits, sign, rescale or Modality LUT, window),
    photometric interpretation, spacing, patient and study. Unchanged pixels and padding pixels keep
    the source's stored value. The SOP Instance and Series UIDs are new. The SOP Instance UID
    depends on the source's header and pixels, the derivation and the resulting pixels: a run that
    computes the same result makes the same instance, and different results never share a UID.

    Args:
        radiograph: The processed pixels, with the source's header and stored values from
            `to_radiograph`.
        derivation: How the pixels were made.

    Returns:
        The derived dataset with its file meta information, Explicit VR Little Endian.

    Raises:
        ValueError: The radiograph does not come from DICOM.
        UnsupportedImageError: The source has no SOP Instance UID or SOP Class UID to refer to, or
            it is resampled and has patient coordinates.
        CorruptImageError: A required element of the source is broken.
    """
    if not isinstance(radiograph.header, Dataset) or radiograph.stored is None:
        raise ValueError("the radiograph does not come from DICOM; need one that was read from it")
    stored = radiograph.to_stored()
    with parsing(radiograph.header, "cannot be derived", radiograph.source):
        return _derive(radiograph, radiograph.stored, stored, derivation)


def encode_dataset(dataset: Dataset) -> bytes:
    """Encode a dataset with file meta information as a DICOM file, including the preamble.

    Raises:
        CorruptImageError: An element from the source cannot be written.
    """
    stream = io.BytesIO()
    with quiet_pydicom():
        try:
            dcmwrite(stream, dataset, enforce_file_format=True)
        except PYDICOM_ERRORS as error:
            name = instance_name(dataset)
            raise CorruptImageError(f"{name}: cannot be written: {type(error).__name__}") from None
    return stream.getvalue()


def _derive(
    radiograph: Radiograph, source: StoredArray, stored: StoredArray, derivation: Derivation
) -> Dataset:
    header: Dataset = radiograph.header
    encoding = radiograph.encoding
    sop_instance_uid = str(_referable(header, "SOPInstanceUID"))
    _referable(header, "SOPClassUID")
    derived = copy.deepcopy(header)
    for keyword in _DROPPED:
        derived.pop(keyword, None)
    _drop_signatures(derived)
    # Exports of one instance can differ, for example in a corrected name or a lost element. Their
    # derived instances then differ too.
    header_digest = _header_digest(derived)
    is_resampled = stored.shape != source.shape
    if is_resampled:
        resample_header(derived, source.shape[-2:], stored.shape[-2:])
    else:
        stored = _with_padding(header, encoding, source, stored)
    # The result's pixels count too: if another processor, precision or version of this package
    # computes other pixels from the same source, that is another instance.
    digests = header_digest, _pixel_digest(source), _pixel_digest(stored)
    identity = derivation.identity
    put(derived, "SOPInstanceUID", _uid("instance", sop_instance_uid, *digests, identity))
    # If the source has neither UID, unrelated images must not share a series.
    series = header.get("SeriesInstanceUID") or header.get("StudyInstanceUID") or sop_instance_uid
    if is_resampled:
        identity += f"\nresampled to {stored.shape[-2:]}"
    put(derived, "SeriesInstanceUID", _uid("series", str(series), identity))
    record_series(derived, derivation)
    record_creation(derived, derivation)
    record_image_type(derived)
    record_derivation(
        derived, header, derivation, is_resampled=is_resampled, notes=radiograph.notes
    )
    record_equipment(derived, derivation)
    _set_pixels(derived, encoding, stored)
    derived.file_meta = _file_meta(derived)
    return derived


def _referable(header: Dataset, keyword: str) -> UID:
    value = header.get(keyword)
    if not value:
        raise UnsupportedImageError(
            f"{element(keyword)} is missing; need it to refer to the source"
        )
    return UID(str(value))


def _uid(*parts: str) -> UID:
    """Make a UID that depends only on the parts: a name-based UUID under 2.25 (PS3.5 B.2)."""
    digest = hashlib.sha256("\0".join(("monai_dental", *parts)).encode()).digest()
    return UID(f"2.25.{uuid.UUID(bytes=digest[:16], version=5).int}")


def _pixel_digest(source: StoredArray) -> str:
    digest = hashlib.sha256(f"{source.dtype.str} {source.shape}".encode())
    digest.update(np.ascontiguousarray(source).data)
    return digest.hexdigest()


def _header_digest(header: Dataset) -> str:
    stream = io.BytesIO()
    header.file_meta = _file_meta(header)
    dcmwrite(stream, header, enforce_file_format=True)
    return hashlib.sha256(stream.getbuffer()).hexdigest()


def _drop_signatures(dataset: Dataset) -> None:
    """Drop signatures and group lengths at every depth: changed bytes invalidate both."""
    for keyword in _SIGNATURES:
        dataset.pop(keyword, None)
    for tag in list(dataset.keys()):
        if tag.element == 0:
            del dataset[tag]
        elif dataset.get_item(tag).VR == "SQ":
            for item in dataset[tag].value:
                _drop_signatures(item)


def _with_padding(
    header: Dataset, encoding: Encoding, source: StoredArray, stored: StoredArray
) -> StoredArray:
    """Put the source's padding pixels back into the stored values, and make no others.

    A result that would be padding (PS3.3 C.7.5.1.1.2) gets the nearest value that is not padding.
    """
    if header.get("PixelPaddingValue") is None:
        return stored
    limits = []
    for keyword in ("PixelPaddingValue", "PixelPaddingRangeLimit"):
        if header.get(keyword) is not None:
            # The value representation (US or SS) is often wrong: use only the bits.
            value = integer(header, keyword) & ((1 << encoding.bits_stored) - 1)
            limits.append(value - (1 << encoding.bits_stored) * (value > encoding.maximum))
    low, high = min(limits), max(limits)
    is_padding = (source >= low) & (source <= high)
    is_made_padding = ~is_padding & (stored >= low) & (stored <= high)
    stored = np.where(is_padding, source, stored)
    if is_made_padding.any():
        # Padding cannot cover the whole range then: the source has pixels outside it.
        allowed = range(encoding.minimum, encoding.maximum + 1)
        beside = [value for value in (low - 1, high + 1) if value in allowed]
        values = stored[is_made_padding]
        stored[is_made_padding] = np.where(values <= (low + high) // 2, beside[0], beside[-1])
    return stored


def _set_pixels(derived: Dataset, encoding: Encoding, stored: StoredArray) -> None:
    shift = derived.HighBit + 1 - encoding.bits_stored  # unused bits below the stored value
    cells = stored << shift if shift else stored
    data = cells.astype(encoding.dtype.newbyteorder("<"), copy=False).tobytes()
    vr = "OB" if encoding.dtype.itemsize == 1 else "OW"
    derived.add_new("PixelData", vr, data + b"\0" * (len(data) % 2))


def _file_meta(derived: Dataset) -> FileMetaDataset:
    file_meta = FileMetaDataset()
    file_meta.MediaStorageSOPClassUID = derived.SOPClassUID
    file_meta.MediaStorageSOPInstanceUID = derived.SOPInstanceUID
    file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file_meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
    file_meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    return file_meta
