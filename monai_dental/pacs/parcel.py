"""Instances to send to a PACS, and proofs that the PACS has them."""

from __future__ import annotations

import hashlib
import io
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass
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
from monai_dental.dicom.head import META
from monai_dental.dicom.identity import is_uid
from monai_dental.dicom.quiet import PYDICOM_ERRORS, quiet_pydicom
from monai_dental.dicom.read import read_dataset, to_radiograph
from monai_dental.errors import CorruptImageError, MonaiDentalError, PacsError

NATIVE = (str(ExplicitVRLittleEndian), str(ImplicitVRLittleEndian))
"""Transfer syntaxes in which the pixels have the same bytes."""

COMMITMENT, COPY, LISTED, STATUS = "commitment", "copy", "listed", "status"
"""Proofs: storage commitment; the PACS returns the same pixels; a query finds the instance; only
the status Success of the request."""

ASK_BACK = "ask-back"
"""The proof that is required by default: `COMMITMENT`, or else `COPY`, or else `LISTED`."""

_COPY = Path("copy")  # read_dataset needs a name for its messages, which are not shown
NAMES = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
"""Keywords of the UIDs that identify an instance."""

_PIXEL_DATA = b"\xe0\x7f\x10\x00"
_UNDEFINED = 0xFFFFFFFF
_CHUNK = 1 << 18
_GROWTH, _MARGIN = 8, 1 << 20


class UnsendableError(CorruptImageError, PacsError):
    """No PACS could store an instance: the instance is at fault, not the PACS."""


@dataclass(frozen=True)
class InstanceKey:
    """The UIDs that identify an instance in a PACS (PS3.4 C.6.2)."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str

    @classmethod
    def parse(cls, location: str) -> InstanceKey:
        """Parse the `str` of a key.

        Raises:
            PacsError: It is not a key.
        """
        parts = location.split("/")
        if len(parts) != 3 or not all(map(is_uid, parts)):
            raise PacsError("does not identify study, series and instance by UIDs")
        return cls(*parts)

    @property
    def is_valid(self) -> bool:
        """Whether all three are UIDs."""
        return all(map(is_uid, astuple(self)))

    def __str__(self) -> str:
        """Return STUDY/SERIES/INSTANCE."""
        return f"{self.study_instance_uid}/{self.series_instance_uid}/{self.sop_instance_uid}"


@dataclass(frozen=True)
class Parcel:
    """An instance to send: a DICOM file on the disk or in memory, which is not copied.

    Attributes:
        key: The UIDs that identify it.
        sop_class_uid: Its SOP Class UID.
        transfer_syntax_uid: Its Transfer Syntax UID.
        content: The file, or its bytes.
        size: Its size in bytes.
        dataset_begin: Offset of the dataset in the file.
        pixels_begin: Offset of the element Pixel Data in the file.
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
        """Its name in messages."""
        return f"instance {self.key.sop_instance_uid}"

    @property
    def syntaxes(self) -> tuple[str, ...]:
        """The transfer syntaxes that it may be sent in."""
        return NATIVE if self.transfer_syntax_uid in NATIVE else (self.transfer_syntax_uid,)

    @property
    def longest_copy(self) -> int:
        """Maximum size in bytes of a copy from a PACS, which may have decompressed it."""
        return _GROWTH * self.size + _MARGIN

    @property
    def stored(self) -> StoredObject:
        """Its record for the manifest once a target has stored it."""
        with self.open() as stream:
            digest = sha256(read_chunks(stream))
        return StoredObject(str(self.key), self.key.sop_instance_uid, digest, "")

    def open(self) -> BinaryIO:
        """Open the file for reading."""
        if isinstance(self.content, bytes):
            return io.BytesIO(self.content)
        return self.content.open("rb")

    def dataset(self) -> Iterator[bytes]:
        """Yield its dataset, piece by piece."""
        with self.open() as stream:
            stream.seek(self.dataset_begin)
            yield from read_chunks(stream)

    def prove(self, copy: BinaryIO) -> str:
        """Return what a copy that a PACS returned proves.

        Raises:
            PacsError: It is another instance, or is broken.
        """
        check_copy(self, copy)
        return COPY

    def implicit_dataset(self) -> Iterator[bytes]:
        """Yield its Explicit VR dataset as Implicit VR Little Endian, piece by piece.

        Raises:
            UnsendableError: It cannot be encoded so.
        """
        with self.open() as stream:
            yield _encode_implicit(_read_head(stream))
            stream.seek(self.pixels_begin)
            element = stream.read(12)
            length = int.from_bytes(element[8:], "little")
            yield element[:4] + element[8:]
            yield from read_chunks(stream, length)
            try:
                with quiet_pydicom():
                    tail = read_elements(stream, is_implicit_VR=False, is_little_endian=True)
            except PYDICOM_ERRORS:
                raise UnsendableError(f"{self.name}: broken after its Pixel Data") from None
            yield _encode_implicit(tail)


class ParcelTarget(Protocol):
    """A PACS that stores instances, and can prove that it has them."""

    def store(self, derived: Dataset) -> StoredObject:
        """Send an instance, and check that it has arrived; see `ObjectTarget.store`.

        Raises:
            PacsUnavailableError: The PACS cannot be reached, no longer accepts us, has no space, or
                failed with five instances in a row.
            PacsError: The PACS refuses the instance, or does not keep it.
            CorruptImageError: The instance cannot be written.
        """
        parcel = pack(derived)
        self.send(parcel)
        return parcel.stored

    def send(self, parcel: Parcel) -> str:
        """Send an instance, and check that it has arrived; sending it again changes nothing.

        Returns:
            The proof: `COMMITMENT`, `COPY`, `LISTED` or `STATUS`.

        Raises:
            PacsUnavailableError: The PACS cannot be reached, or accepts nothing.
            UnsendableError: No PACS could store the instance.
            PacsError: The PACS refuses the instance, or does not keep it.
        """

    def find(self, stored: StoredObject) -> StoredObject | None:
        """Ask whether the PACS still has an instance; see `ObjectTarget.find`."""

    def close(self) -> None:
        """Close connections and associations."""


def pack(derived: Dataset) -> Parcel:
    """Prepare a derived instance, with File Meta Information, to be sent.

    Raises:
        CorruptImageError: It cannot be written, or no PACS could store it.
    """
    content = encode_dataset(derived)
    return _pack(content, io.BytesIO(content), len(content))


def pack_file(path: Path) -> Parcel:
    """Prepare an instance to be sent from its file; only the header is read.

    Raises:
        CorruptImageError: It is broken, or no PACS could store it.
        OSError: It cannot be read.
    """
    with path.open("rb") as stream:
        return _pack(path, stream, path.stat().st_size)


def check_copy(parcel: Parcel, copy: BinaryIO) -> None:
    """Check that a copy that a PACS returned is the instance that was sent.

    The transfer syntax and other elements may differ, since an archive may coerce them (PS3.4
    B.4.1.3); the UIDs and the pixels may not. The SOP Instance UIDs of `derive` depend on header
    and pixels: if these UIDs are the same, the rest was the same, too.

    If both are in a native transfer syntax, the pixels are compared piece by piece. Otherwise they
    are decoded as a whole.

    Raises:
        PacsError: It is another instance, or is broken.
    """
    broken = PacsError(f"{parcel.name}: the PACS returns a broken copy")
    copy.seek(0)
    try:
        with quiet_pydicom():
            head = read_elements_before_pixels(copy)
            begin = copy.tell()
            names = {each: str(head.get(each) or "") for each in NAMES}
            syntax = str(head.file_meta.TransferSyntaxUID)
    except UnsendableError:
        raise broken from None
    except PYDICOM_ERRORS:
        raise broken from None
    uids = names["SOPClassUID"], names["SOPInstanceUID"]
    if uids != (parcel.sop_class_uid, parcel.key.sop_instance_uid):
        raise PacsError(f"{parcel.name}: the PACS returns another instance")
    if syntax in NATIVE and parcel.transfer_syntax_uid in NATIVE:
        copy.seek(begin)
        with parcel.open() as sent:
            sent.seek(parcel.pixels_begin)
            try:
                own = sha256(_value(sent, parcel.transfer_syntax_uid))
                is_same = own == sha256(_value(copy, syntax))
            except CorruptImageError:
                raise broken from None
    else:
        is_same = _has_same_pixels(parcel, copy)
    if not is_same:
        raise PacsError(f"{parcel.name}: the PACS holds other pixels under this UID")


def key_of(names: Mapping[str, str]) -> InstanceKey:
    """Return the key of an instance that a PACS can store.

    Args:
        names: The values of `NAMES`.

    Raises:
        UnsendableError: One of them is not a UID.
    """
    for keyword, name in (
        ("StudyInstanceUID", "(0020,000D) Study Instance UID"),
        ("SeriesInstanceUID", "(0020,000E) Series Instance UID"),
        ("SOPInstanceUID", "(0008,0018) SOP Instance UID"),
        ("SOPClassUID", "(0008,0016) SOP Class UID"),
    ):
        if not is_uid(names[keyword]):
            raise UnsendableError(f"{name} is missing or not a UID; a PACS needs one")
    return InstanceKey(*(names[each] for each in NAMES[:3]))


def read_elements_before_pixels(stream: BinaryIO) -> Dataset:
    """Read the `NAMES` of a file, up to its Pixel Data or its end.

    Raises:
        UnsendableError: The file is broken.
    """
    return _read_head(stream, specific_tags=list(NAMES))


def _pack(content: Path | bytes, stream: BinaryIO, size: int) -> Parcel:
    head = read_elements_before_pixels(stream)
    pixels_begin = stream.tell()
    try:
        with quiet_pydicom():
            names = {each: str(head.get(each) or "") for each in NAMES}
            syntax = str(head.file_meta.TransferSyntaxUID)
            begin = META + int(head.file_meta.FileMetaInformationGroupLength)
    except PYDICOM_ERRORS as error:
        raise UnsendableError(f"cannot be sent: {type(error).__name__}") from None
    key = key_of(names)
    return Parcel(key, names["SOPClassUID"], syntax, content, size, begin, pixels_begin)


def _read_head(stream: BinaryIO, **options: object) -> Dataset:
    """Read the elements before Pixel Data; the stream then stands there."""
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
        raise UnsendableError(f"cannot be encoded again: {type(error).__name__}") from None
    return stream.getvalue()


def read_chunks(stream: BinaryIO, size: int = sys.maxsize) -> Iterator[bytes]:
    """Yield at most `size` bytes of a stream, piece by piece; by default all."""
    while size and (chunk := stream.read(min(_CHUNK, size))):
        size -= len(chunk)
        yield chunk


def sha256(pieces: Iterable[bytes]) -> str:
    """Return the SHA-256 of what comes piece by piece."""
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


def _value(stream: BinaryIO, syntax: str) -> Iterator[bytes]:
    """Yield the value of the Pixel Data at which a stream stands, piece by piece.

    Raises:
        CorruptImageError: It stands at another element, or the value ends too early.
    """
    header = stream.read(12 if syntax == ExplicitVRLittleEndian else 8)
    length = int.from_bytes(header[-4:], "little")
    if header[:4] != _PIXEL_DATA or length == _UNDEFINED:
        raise CorruptImageError("has no Pixel Data")
    for chunk in read_chunks(stream, length):
        length -= len(chunk)
        yield chunk
    if length:
        raise CorruptImageError("ends in its Pixel Data")


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
