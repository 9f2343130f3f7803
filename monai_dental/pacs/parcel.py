"""Whether a PACS really holds what it was sent, and under which names."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom import Dataset

from monai_dental.batch.target import StoredObject
from monai_dental.dicom.derive import encode_dataset
from monai_dental.dicom.identity import is_uid
from monai_dental.dicom.quiet import PYDICOM_ERRORS, quiet_pydicom
from monai_dental.dicom.read import read_dataset, to_radiograph
from monai_dental.errors import CorruptImageError, MonaiDentalError, PacsError

_COPY = Path("copy")  # read_dataset wants a name for its messages, which are not shown


@dataclass(frozen=True)
class InstanceKey:
    """What names an instance in a PACS (PS3.4 C.6.2).

    Attributes:
        study_instance_uid: Its study.
        series_instance_uid: Its series.
        sop_instance_uid: The instance.
    """

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str

    @classmethod
    def parse(cls, location: str) -> InstanceKey:
        """Read what `str` made of a key.

        Raises:
            PacsError: It is none.
        """
        parts = location.split("/")
        if len(parts) != 3 or not all(map(is_uid, parts)):
            raise PacsError("does not tell study, series and instance by UIDs")
        return cls(*parts)

    @property
    def is_valid(self) -> bool:
        """Whether all three are UIDs."""
        return all(map(is_uid, str(self).split("/"))) and str(self).count("/") == 2

    def __str__(self) -> str:
        """STUDY/SERIES/INSTANCE."""
        return f"{self.study_instance_uid}/{self.series_instance_uid}/{self.sop_instance_uid}"


@dataclass(frozen=True)
class Parcel:
    """An instance as it is sent.

    Attributes:
        key: Its names.
        sop_class_uid: Its SOP class.
        transfer_syntax_uid: How its pixels are encoded.
        dataset: The instance, as read from `content`.
        content: The bytes of its file.
    """

    key: InstanceKey
    sop_class_uid: str
    transfer_syntax_uid: str
    dataset: Dataset
    content: bytes

    @property
    def name(self) -> str:
        """How messages name it."""
        return f"instance {self.key.sop_instance_uid}"

    @property
    def stored(self) -> StoredObject:
        """What a target says of it, once it is there."""
        digest = hashlib.sha256(self.content).hexdigest()
        return StoredObject(str(self.key), self.key.sop_instance_uid, digest, "")


def pack(derived: Dataset) -> Parcel:
    """Make a derived instance ready to be sent.

    Args:
        derived: The instance, with file meta information.

    Returns:
        The parcel. Its dataset is read back from the bytes: one that was put together from another
        can hold marks of that one's encoding.

    Raises:
        CorruptImageError: It cannot be written.
        PacsError: It has no UID that a PACS could find it by.
    """
    content = encode_dataset(derived)
    dataset = read_dataset(_COPY, content)
    try:
        with quiet_pydicom():
            key = InstanceKey(
                str(dataset.get("StudyInstanceUID") or ""),
                str(dataset.SeriesInstanceUID),
                str(dataset.SOPInstanceUID),
            )
            sop_class, syntax = str(dataset.SOPClassUID), str(dataset.file_meta.TransferSyntaxUID)
    except PYDICOM_ERRORS as error:
        raise CorruptImageError(f"cannot be sent: {type(error).__name__}") from None
    if not is_uid(key.study_instance_uid):
        raise PacsError("(0020,000D) Study Instance UID is missing or none; a PACS needs it")
    if not key.is_valid:
        raise PacsError("Series or SOP Instance UID is none; a PACS needs them")
    return Parcel(key, sop_class, syntax, dataset, content)


def check_copy(parcel: Parcel, content: bytes) -> None:
    """Check that what a PACS gave back is what it was sent.

    Elements may differ, as an archive may coerce them (PS3.4 B.4.1.3), and so may the transfer
    syntax; the UIDs and the pixels may not. The SOP Instance UIDs of `derive` depend on header and
    pixels: where these are the same, so was the rest.

    Args:
        parcel: What was sent.
        content: What came back.

    Raises:
        PacsError: It is something else, or broken.
    """
    broken = PacsError(f"{parcel.name}: the PACS gives back a broken one")
    try:
        copy = read_dataset(_COPY, content)
    except MonaiDentalError:
        raise broken from None
    try:
        with quiet_pydicom():
            uids = str(copy.SOPClassUID), str(copy.SOPInstanceUID)
            is_same_syntax = copy.file_meta.TransferSyntaxUID == parcel.transfer_syntax_uid
            is_same = is_same_syntax and copy.PixelData == parcel.dataset.PixelData
    except PYDICOM_ERRORS:
        raise broken from None
    if uids != (parcel.sop_class_uid, parcel.key.sop_instance_uid):
        raise PacsError(f"{parcel.name}: the PACS gives back another one")
    if not is_same and not _has_same_pixels(parcel.dataset, copy):
        raise PacsError(f"{parcel.name}: the PACS holds other pixels under this UID")


def _has_same_pixels(sent: Dataset, copy: Dataset) -> bool:
    try:
        first, second = to_radiograph(sent).stored, to_radiograph(copy).stored
    except MonaiDentalError:
        return False
    return first is not None and second is not None and np.array_equal(first, second)
