"""The body of a STOW-RS request (PS3.18 10.5), streamed to the spool part by part."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

from pydicom.filereader import read_dataset
from pynetdicom import ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

from monai_dental.dicom.head import META, read_head
from monai_dental.dicom.identity import is_uid
from monai_dental.dicom.quiet import PYDICOM_ERRORS, quiet_pydicom
from monai_dental.errors import CorruptImageError, OutputError, unexpected
from monai_dental.node.incoming import IncomingFile
from monai_dental.node.intake import Intake
from monai_dental.pacs.dimse.streams import SpooledDataset, TooLargeError, file_head

# Failure Reason (0008,1197), PS3.18 10.5.3 and I.2.2.
PROCESSING_FAILURE, UNKNOWN_CLASS, OUT_OF_RESOURCES = 0x0110, 0x0122, 0xA700
MISMATCH, NOT_UNDERSTOOD, UNKNOWN_SYNTAX = 0xA900, 0xC000, 0xC122

_META_BEGIN = re.compile(rb".{128}DICM\x02\x00\x00\x00UL\x04\x00", re.DOTALL)
_LONGEST_META = 1 << 16
_MOST_PARTS = 10_000
_STORAGE = frozenset(str(each.abstract_syntax) for each in AllStoragePresentationContexts)


class MultipartError(Exception):
    """A body cannot be read as multipart/related; the message says why."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of one part.

    Attributes:
        sop_class_uid: Its SOP Class UID; "" if unknown.
        sop_instance_uid: Its SOP Instance UID; "" if unknown.
        failure: Failure Reason; None if it was stored.
        reason: The same in words; "" if it was stored.
        is_full: Whether it failed for lack of space.
    """

    sop_class_uid: str
    sop_instance_uid: str
    failure: int | None = None
    reason: str = ""
    is_full: bool = False


class FailedPartError(Exception):
    """A part is not stored.

    Args:
        failure: Failure Reason.
        reason: The same in words, without patient data.
        is_full: Whether it failed for lack of space.
    """

    def __init__(self, failure: int, reason: str, is_full: bool = False) -> None:
        super().__init__(reason)
        self.failure, self.is_full = failure, is_full


class Part:
    """A DICOM file that is received in pieces.

    Its File Meta Information is replaced by our own, as for an instance received by C-STORE. So
    the same instance gets the same key either way, and no other content of the File Meta
    Information is passed on.

    Args:
        intake: Stores the file.
        study: The Study Instance UID that it must have; "" for any.
        peer: IP address of the sender.
    """

    def __init__(self, intake: Intake, study: str, peer: str) -> None:
        self._intake, self._study, self._peer = intake, study, peer
        self._begun = bytearray()
        self._names = ("", "", "")
        self._dataset: SpooledDataset | None = None
        self._error: FailedPartError | None = None

    def write(self, piece: memoryview) -> None:
        """Write a piece; errors are reported later, by `finish`."""
        if self._error is not None:
            return
        try:
            if self._dataset is None:
                self._begun += piece
                self._begin()
            else:
                self._dataset.write(piece)
        except FailedPartError as error:
            self._error = error

    def finish(self) -> Outcome:
        """Store the file if possible: it is then on the disk and in the queue."""
        try:
            self._keep()
        except FailedPartError as error:
            return Outcome(*self._names[:2], error.failure, str(error), error.is_full)
        finally:
            self.discard()
        return Outcome(*self._names[:2])

    def discard(self) -> None:
        """Remove the file unless it was stored."""
        if self._dataset is not None and self._dataset.sink is not None:
            self._dataset.sink.discard()

    def _begin(self) -> None:
        """Open the sink once the File Meta Information is complete."""
        if len(self._begun) < META:
            return
        end = META + int.from_bytes(self._begun[META - 4 : META], "little")
        if not _META_BEGIN.match(self._begun) or end > _LONGEST_META:
            raise FailedPartError(NOT_UNDERSTOOD, "is not a DICOM file (PS3.10 7.1)")
        if len(self._begun) < end:
            return
        names = self._names = _read_names(bytes(self._begun[132:end]))
        for is_known, failure, what in (
            (names[0] in _STORAGE, UNKNOWN_CLASS, "SOP class"),
            (is_uid(names[1]), NOT_UNDERSTOOD, "SOP Instance UID"),
            (names[2] in ALL_TRANSFER_SYNTAXES, UNKNOWN_SYNTAX, "transfer syntax"),
        ):
            if not is_known:
                raise FailedPartError(
                    failure, f"the {what} in its file meta information is invalid"
                )
        head = file_head(*names)
        self._dataset = SpooledDataset(
            lambda: self._intake.open(head, names), self._intake.max_object
        )
        self._dataset.write(bytes(self._begun[end:]))
        self._begun.clear()

    def _keep(self) -> None:
        if self._error is not None:
            raise self._error
        if self._dataset is None:
            raise FailedPartError(NOT_UNDERSTOOD, "is not a DICOM file (PS3.10 7.1)")
        try:
            if self._dataset.error is not None:
                raise self._dataset.error
            assert isinstance(self._dataset.sink, IncomingFile)
            self._check(self._dataset.sink)
            self._intake.take(self._dataset.sink, self._names, "", self._peer)
        except FailedPartError:
            raise
        except TooLargeError:
            limit = self._intake.max_object >> 20
            raise FailedPartError(
                OUT_OF_RESOURCES, f"an object beyond max-object, {limit} MiB"
            ) from None
        except OutputError as error:  # a full spool, a full or broken disk
            raise FailedPartError(OUT_OF_RESOURCES, str(error), is_full=True) from None
        except Exception as error:  # noqa: BLE001 - its text could quote patient data
            raise FailedPartError(PROCESSING_FAILURE, unexpected(error)) from None

    def _check(self, incoming: IncomingFile) -> None:
        """Check that its dataset agrees with its File Meta Information and with the request."""
        try:
            with incoming.open() as stream:
                found = read_head(
                    stream.fileno(), "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID"
                )
        except CorruptImageError as error:
            raise FailedPartError(NOT_UNDERSTOOD, str(error)) from None
        if (found["SOPClassUID"], found["SOPInstanceUID"]) != self._names[:2]:
            raise FailedPartError(MISMATCH, "its UIDs are not those of its file meta information")
        if self._study and found["StudyInstanceUID"] != self._study:
            raise FailedPartError(MISMATCH, "belongs to another study than the request says")


class Parts:
    """The parts of a body, one after another."""

    def __init__(self, boundary: str, make: Callable[[], Part]) -> None:
        self.outcomes: list[Outcome] = []
        self._make, self._part = make, make()
        self._header, self._value = b"", b""
        self._is_dicom, self._is_whole = False, False
        self._parser = MultipartParser(
            boundary.encode("ascii"),
            {
                "on_part_begin": self._begin,
                "on_header_field": self._add_name,
                "on_header_value": self._add_value,
                "on_header_end": self._end_header,
                "on_part_data": self._write,
                "on_part_end": self._end,
                "on_end": self._finish,
            },
        )

    def write(self, content: bytes) -> None:
        """Parse a piece of the body.

        Raises:
            MultipartError: The body is broken, or has too many parts.
        """
        try:
            self._parser.write(content)
        except FormParserError as error:
            raise MultipartError(f"is not multipart/related: {type(error).__name__}") from None

    def close(self) -> None:
        """Check that the last delimiter has been received.

        Raises:
            MultipartError: It has not.
        """
        if not self._is_whole:
            raise MultipartError("ends before its last delimiter")

    def discard(self) -> None:
        """Remove an incomplete part."""
        self._part.discard()

    def _begin(self) -> None:
        if len(self.outcomes) >= _MOST_PARTS:
            raise MultipartError(f"has more than {_MOST_PARTS} parts")
        self._part = self._make()
        self._header, self._value, self._is_dicom = b"", b"", True

    def _add_name(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _add_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._header.strip().lower() == b"content-type":
            media_type = self._value.partition(b";")[0].strip().lower()
            self._is_dicom = media_type == b"application/dicom"
        self._header, self._value = b"", b""

    def _write(self, data: bytes, start: int, end: int) -> None:
        if self._is_dicom:
            self._part.write(memoryview(data)[start:end])

    def _end(self) -> None:
        if self._is_dicom:
            self.outcomes.append(self._part.finish())
        else:
            said = "a part is not application/dicom"
            self.outcomes.append(Outcome("", "", NOT_UNDERSTOOD, said))

    def _finish(self) -> None:
        self._is_whole = True


def _read_names(meta: bytes) -> tuple[str, str, str]:
    """Return SOP Class, SOP Instance and Transfer Syntax UID of File Meta Information."""
    try:
        with quiet_pydicom():
            found = read_dataset(BytesIO(meta), is_implicit_VR=False, is_little_endian=True)
            return (
                str(found.get("MediaStorageSOPClassUID") or ""),
                str(found.get("MediaStorageSOPInstanceUID") or ""),
                str(found.get("TransferSyntaxUID") or ""),
            )
    except PYDICOM_ERRORS:
        raise FailedPartError(NOT_UNDERSTOOD, "its file meta information is broken") from None
