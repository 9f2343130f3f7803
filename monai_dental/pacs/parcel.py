"""An instance as it is sent to a PACS, and whether the PACS really holds it."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
import pydicom
from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset as read_elements
from pydicom.filewriter import write_dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from monai_dental.batch.target import StoredObject
from monai_dental.dicom.derive import encode_dataset
from monai_dental.dicom.explicit import to_implicit
from monai_dental.dicom.identity import is_uid
from monai_dental.dicom.quiet import PYDICOM_ERRORS, quiet_pydicom
from monai_dental.dicom.read import read_dataset, to_radiograph
from monai_dental.errors import CorruptImageError, MonaiDentalError, PacsError

NATIVE = (str(ExplicitVRLittleEndian), str(ImplicitVRLittleEndian))
"""Transfer syntaxes in which the pixels have the same bytes."""

COMMITMENT, COPY, LISTED, STATUS = "commitment", "copy", "listed", "status"
"""What a proof can be: the PACS commits itself; gives the same pixels back; shows the instance to a
search; answered the request with Success, no more."""

ASK_BACK = "ask-back"
"""The proof that is wanted where nothing else is said: `COMMITMENT`, else `COPY`, else `LISTED`."""

_COPY = Path("copy")  # read_dataset wants a name for its messages, which are not shown
_NAMES = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
_META = 132 + 12  # before what File Meta Information Group Length counts (PS3.10 7.1)
_PIXEL_DATA = b"\xe0\x7f\x10\x00"
_UNDEFINED = 0xFFFFFFFF
_CHUNK = 1 << 18


class UnsendableError(CorruptImageError, PacsError):
    """An instance is none that a PACS could take: no PACS is at fault."""


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
    """An instance as it is sent: a file, on the disk or in memory, of which no copy is made.

    Attributes:
        key: Its names.
        sop_class_uid: Its SOP class.
        transfer_syntax_uid: How its pixels are encoded.
        content: The file, or its bytes.
        size: Number of those.
        dataset_begin: Where in them the dataset begins.
        pixels_begin: Where in them the element Pixel Data begins.
    """

    key: InstanceKey
    sop_class_uid: str
    transfer_syntax_uid: str
    content: Path | bytes
    size: int
    dataset_begin: int
    pixels_begin: int

    @property
    def name(self) -> str:
        """How messages name it."""
        return f"instance {self.key.sop_instance_uid}"

    @property
    def stored(self) -> StoredObject:
        """What a target says of it, once it is there."""
        digest = hashlib.sha256()
        with self.open() as stream:
            for chunk in _chunks(stream):
                digest.update(chunk)
        return StoredObject(str(self.key), self.key.sop_instance_uid, digest.hexdigest(), "")

    def open(self) -> BinaryIO:
        """Its bytes, from the first."""
        if isinstance(self.content, bytes):
            return io.BytesIO(self.content)
        return self.content.open("rb")

    def dataset(self) -> Iterator[bytes]:
        """Its dataset, piece by piece."""
        with self.open() as stream:
            stream.seek(self.dataset_begin)
            yield from _chunks(stream)

    def implicit_dataset(self) -> Iterator[bytes]:
        """Its dataset in Implicit VR Little Endian, where it is in Explicit VR, piece by piece.

        Raises:
            UnsendableError: It cannot be encoded so.
        """
        with self.open() as stream:
            yield _encode_implicit(_read_head(stream))
            stream.seek(self.pixels_begin)
            element = stream.read(12)
            length = int.from_bytes(element[8:], "little")
            yield element[:4] + element[8:]
            yield from _chunks(stream, length)
            try:
                with quiet_pydicom():
                    tail = read_elements(stream, is_implicit_VR=False, is_little_endian=True)
            except PYDICOM_ERRORS:
                raise UnsendableError(f"{self.name}: what follows its pixels is broken") from None
            yield _encode_implicit(tail)


class ParcelTarget(Protocol):
    """Takes instances, and proves that it has them."""

    def send(self, parcel: Parcel) -> str:
        """Send an instance, and see that it has arrived; again changes nothing.

        Returns:
            The proof: `COMMITMENT`, `COPY`, `LISTED` or `STATUS`.

        Raises:
            PacsUnavailableError: The PACS cannot be reached, or takes nothing.
            UnsendableError: No PACS could take the instance.
            PacsError: The PACS refuses the instance, or does not keep it.
        """

    def find(self, stored: StoredObject) -> StoredObject | None:
        """Ask whether the PACS still has an instance; see `ObjectTarget.find`."""

    def close(self) -> None:
        """End what is open."""


def pack(derived: Dataset) -> Parcel:
    """Make a derived instance ready to be sent.

    Args:
        derived: The instance, with file meta information.

    Raises:
        CorruptImageError: It cannot be written, or is none that a PACS could take.
    """
    content = encode_dataset(derived)
    return _pack(content, io.BytesIO(content), len(content))


def pack_file(path: Path) -> Parcel:
    """Make an instance ready to be sent from its file, of which the header alone is read.

    Args:
        path: The file.

    Raises:
        CorruptImageError: It is broken, or is none that a PACS could take.
        OSError: It cannot be read.
    """
    with path.open("rb") as stream:
        return _pack(path, stream, path.stat().st_size)


def check_copy(parcel: Parcel, copy: BinaryIO) -> None:
    """Check that what a PACS gave back is what it was sent.

    Elements may differ, as an archive may coerce them (PS3.4 B.4.1.3), and so may the transfer
    syntax; the UIDs and the pixels may not. The SOP Instance UIDs of `derive` depend on header and
    pixels: where these are the same, so was the rest.

    Pixels that are native on both sides are compared piece by piece. Others are decoded, whole.

    Args:
        parcel: What was sent.
        copy: The file that came back, from its first byte.

    Raises:
        PacsError: It is something else, or broken.
    """
    broken = PacsError(f"{parcel.name}: the PACS gives back a broken one")
    copy.seek(0)
    try:
        with quiet_pydicom():
            head = _read_head(copy, specific_tags=list(_NAMES))
            begin = copy.tell()
            names = {each: str(head.get(each) or "") for each in _NAMES}
            syntax = str(head.file_meta.TransferSyntaxUID)
    except UnsendableError:
        raise broken from None
    except PYDICOM_ERRORS:
        raise broken from None
    uids = names["SOPClassUID"], names["SOPInstanceUID"]
    if uids != (parcel.sop_class_uid, parcel.key.sop_instance_uid):
        raise PacsError(f"{parcel.name}: the PACS gives back another one")
    if syntax in NATIVE and parcel.transfer_syntax_uid in NATIVE:
        copy.seek(begin)
        with parcel.open() as sent:
            sent.seek(parcel.pixels_begin)
            try:
                is_same = _has_same_bytes(
                    _value(sent, parcel.transfer_syntax_uid), _value(copy, syntax)
                )
            except CorruptImageError:
                raise broken from None
    else:
        is_same = _has_same_pixels(parcel, copy)
    if not is_same:
        raise PacsError(f"{parcel.name}: the PACS holds other pixels under this UID")


def _pack(content: Path | bytes, stream: BinaryIO, size: int) -> Parcel:
    head = _read_head(stream, specific_tags=list(_NAMES))
    pixels_begin = stream.tell()
    try:
        with quiet_pydicom():
            names = {each: str(head.get(each) or "") for each in _NAMES}
            syntax = str(head.file_meta.TransferSyntaxUID)
            begin = _META + int(head.file_meta.FileMetaInformationGroupLength)
    except PYDICOM_ERRORS as error:
        raise UnsendableError(f"cannot be sent: {type(error).__name__}") from None
    for keyword, name in (
        ("StudyInstanceUID", "(0020,000D) Study Instance UID"),
        ("SeriesInstanceUID", "(0020,000E) Series Instance UID"),
        ("SOPInstanceUID", "(0008,0018) SOP Instance UID"),
        ("SOPClassUID", "(0008,0016) SOP Class UID"),
    ):
        if not is_uid(names[keyword]):
            raise UnsendableError(f"{name} is missing or no UID; a PACS needs it")
    key = InstanceKey(*(names[each] for each in _NAMES[:3]))
    return Parcel(key, names["SOPClassUID"], syntax, content, size, begin, pixels_begin)


def _read_head(stream: BinaryIO, **options: object) -> Dataset:
    """The elements before Pixel Data, where the stream stands then."""
    try:
        with quiet_pydicom():
            return pydicom.dcmread(stream, stop_before_pixels=True, **options)  # type: ignore[arg-type]
    except PYDICOM_ERRORS as error:
        raise UnsendableError(f"broken DICOM: {type(error).__name__}") from None


def _encode_implicit(elements: Dataset) -> bytes:
    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = True, True
    try:
        with quiet_pydicom():
            write_dataset(stream, to_implicit(elements))
    except PYDICOM_ERRORS as error:
        raise UnsendableError(f"cannot be encoded anew: {type(error).__name__}") from None
    return stream.getvalue()


def _chunks(stream: BinaryIO, size: int | None = None) -> Iterator[bytes]:
    """So many bytes of a stream, piece by piece; by default all."""
    left = size
    while left is None or left > 0:
        chunk = stream.read(_CHUNK if left is None else min(_CHUNK, left))
        if not chunk:
            return
        left = None if left is None else left - len(chunk)
        yield chunk


def _value(stream: BinaryIO, syntax: str) -> Iterator[bytes]:
    """The value of the element Pixel Data at which a stream stands, piece by piece.

    Raises:
        CorruptImageError: It stands at another one, or the value ends too early.
    """
    header = stream.read(12 if syntax == ExplicitVRLittleEndian else 8)
    length = int.from_bytes(header[-4:], "little")
    if header[:4] != _PIXEL_DATA or length == _UNDEFINED:
        raise CorruptImageError("has no Pixel Data")
    for chunk in _chunks(stream, length):
        length -= len(chunk)
        yield chunk
    if length:
        raise CorruptImageError("ends in its Pixel Data")


def _has_same_bytes(first: Iterator[bytes], second: Iterator[bytes]) -> bool:
    digests = []
    for chunks in (first, second):
        digest = hashlib.sha256()
        for chunk in chunks:
            digest.update(chunk)
        digests.append(digest.digest())
    return digests[0] == digests[1]


def _has_same_pixels(parcel: Parcel, copy: BinaryIO) -> bool:
    copy.seek(0)
    try:
        with parcel.open() as stream:
            sent = read_dataset(_COPY, stream.read())
        held = read_dataset(_COPY, copy.read())
        with quiet_pydicom():
            if sent.file_meta.TransferSyntaxUID == held.file_meta.TransferSyntaxUID:
                try:
                    if sent.PixelData == held.PixelData:
                        return True
                except PYDICOM_ERRORS:
                    return False
        first, second = to_radiograph(sent).stored, to_radiograph(held).stored
    except MonaiDentalError:
        return False
    return first is not None and second is not None and np.array_equal(first, second)
