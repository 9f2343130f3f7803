"""Queries and retrievals from an application entity: C-FIND, C-GET and C-MOVE (PS3.4 annex C)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from pydicom import Dataset
from pydicom.uid import UID

from monai_dental.errors import PacsError, PacsUnavailableError
from monai_dental.pacs.address import DimseAddress
from monai_dental.pacs.dimse.association import (
    MAX_CONTEXTS,
    VERIFICATION,
    BrokenOffError,
    Link,
    NotOfferedError,
    accepted_syntaxes,
    associate,
    format_status,
)
from monai_dental.pacs.dimse.listener import Listener, TemporaryFile
from monai_dental.pacs.parcel import InstanceKey

if TYPE_CHECKING:
    from pynetdicom.association import Association

    from monai_dental.pacs.dimse.streams import StreamingDimse

STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
STUDY_ROOT_GET = "1.2.840.10008.5.1.4.1.2.2.3"
STUDY_ROOT_MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
_SUCCESS, _PENDING = 0x0000, (0xFF00, 0xFF01)
_OUT_OF_RESOURCES = 0xA700
_DESTINATION_UNKNOWN = 0xA801  # PS3.4 table C.4-2
_FRAGMENT_MARGIN = 1 << 20  # for the command set and PDU headers of a message


class QueryScu:
    """An association for queries and retrievals; for one thread.

    Args:
        address: The application entity.
        calling_ae_title: Our own AE title.
        scratch: Folder for fetched files; None for the system's own.
    """

    def __init__(
        self, address: DimseAddress, calling_ae_title: str, scratch: Path | None = None
    ) -> None:
        self._address, self._title, self._scratch = address, calling_ae_title, scratch
        self._error: Exception | None = None
        self._dimse: StreamingDimse | None = None
        self._link = Link(self._open, MAX_CONTEXTS - 4)
        self._received: list[BinaryIO] = []
        self._max_bytes = self._message_bytes = 0
        self._is_too_large = False

    def close(self) -> None:
        """Release the association."""
        self._link.close()

    def find(
        self, identifier: Dataset, contexts: list[tuple[str, str]] | None = None
    ) -> Iterator[Dataset]:
        """Search (C-FIND, Study Root).

        Args:
            identifier: The query, with its level.
            contexts: Contexts for a following `get`, so that one association suffices.

        Yields:
            The matches.

        Raises:
            PacsUnavailableError: No association.
            NotOfferedError: It does not offer C-FIND.
            BrokenOffError: The association ended before the last match.
            PacsError: It does not support this search.
        """
        association = self._link.use(contexts or ())
        if not accepted_syntaxes(association, STUDY_ROOT_FIND):
            raise NotOfferedError(f"{self._address}: does not offer C-FIND (Study Root)")
        try:
            # pynetdicom encodes and decodes these few UIDs itself. No lock is held meanwhile, since
            # the PACS may be slow.
            for status, match in association.send_c_find(identifier, UID(STUDY_ROOT_FIND)):
                code = status.get("Status")
                if code in _PENDING and match is not None:
                    yield match
                elif code is None:
                    self._link.abandon()
                    raise BrokenOffError("broke the association off")
                elif code != _SUCCESS:
                    raise PacsError(f"{self._address}: answers C-FIND with {format_status(status)}")
        except (RuntimeError, ValueError):
            raise BrokenOffError("broke the association off") from None

    def check_fetch(self, *, is_listening: bool) -> None:
        """Check that the PACS offers us C-MOVE if listening, else C-GET, to fetch instances.

        Raises:
            PacsUnavailableError: It does not offer it, or there is no association.
        """
        service, name = STUDY_ROOT_GET, "C-GET (Study Root)"
        if is_listening:
            service, name = STUDY_ROOT_MOVE, "C-MOVE (Study Root)"
        if not accepted_syntaxes(self._link.use(), service):
            way = "" if is_listening else ", or --move-port for C-MOVE"
            raise PacsUnavailableError(
                f"{self._address}: does not offer {name} to {self._title}; need it to fetch "
                f"instances{way}"
            )

    def move(self, key: InstanceKey, listener: Listener) -> BinaryIO:
        """Have an instance sent to the listener (C-MOVE, Study Root).

        Returns:
            Its file, as received: a temporary file, which the caller closes.

        Raises:
            PacsUnavailableError: No association, or the PACS does not know us as a destination.
            NotOfferedError: It does not offer C-MOVE, or does not send the instance.
            BrokenOffError: The association ended before the instance arrived.
        """
        association = self._link.use()
        if not accepted_syntaxes(association, STUDY_ROOT_MOVE):
            raise NotOfferedError(f"{self._address}: does not offer C-MOVE (Study Root)")
        code: int | None = None
        with listener.wanting(key.sop_instance_uid) as came:
            try:
                for status, _ in association.send_c_move(
                    make_identifier(key), listener.ae_title, UID(STUDY_ROOT_MOVE)
                ):
                    code = status.get("Status")
            except (RuntimeError, ValueError):
                code = None
        if came:
            return came[0]
        if code is None:
            self._link.abandon()
            raise BrokenOffError("broke the association off")
        if code == _DESTINATION_UNKNOWN:
            raise PacsUnavailableError(
                f"{self._address}: does not know {listener.ae_title} as a destination of C-MOVE; "
                f"configure it with this machine's name and port {listener.port}"
            )
        raise NotOfferedError(f"the PACS does not send it: status {code:04X}")

    def get(self, key: InstanceKey, contexts: list[tuple[str, str]], max_bytes: int) -> BinaryIO:
        """Fetch an instance (C-GET, Study Root).

        Args:
            key: The UIDs that identify it.
            contexts: Pairs of SOP class and transfer syntax in which it may be sent.
            max_bytes: Maximum size; no more than that is received.

        Returns:
            Its file, as received: a temporary file, which the caller closes.

        Raises:
            PacsUnavailableError: No association.
            NotOfferedError: It does not offer C-GET, or not to us, or not for this instance.
            BrokenOffError: The association ended before the instance arrived.
            PacsError: It sends something else, or too much.
        """
        association = self._link.use(contexts)
        if not accepted_syntaxes(association, STUDY_ROOT_GET):
            raise NotOfferedError(f"{self._address}: does not offer C-GET (Study Root)")
        identifier = make_identifier(key)
        self._forget()
        assert self._dimse is not None
        self._dimse.max_bytes = max_bytes
        self._max_bytes, self._message_bytes, self._is_too_large = max_bytes, 0, False
        code: int | None = None
        try:
            for status, _ in association.send_c_get(identifier, UID(STUDY_ROOT_GET)):
                code = status.get("Status")
        except (RuntimeError, ValueError):
            code = None
        received = self._received
        error, count = self._error, len(received)
        if code is not None and not self._is_too_large and count == 1:
            self._received = []
        self._forget()
        if isinstance(error, OSError):
            reason = error.strerror or type(error).__name__
            raise PacsUnavailableError(f"a file from the PACS cannot be written: {reason}")
        if self._is_too_large or error is not None:
            self._link.abandon()
            raise PacsError(f"is larger than {max_bytes / (1 << 20):.0f} MiB, the limit")
        if code is None:
            self._link.abandon()
            raise BrokenOffError("broke the association off")
        if count > 1:
            raise PacsError(f"the PACS sends {count} instances; need the one asked for")
        if count == 0:
            raise NotOfferedError(f"the PACS does not send it: status {code:04X}")
        return received[0]

    def _open(self, contexts: set[tuple[str, str]]) -> Association:
        from pynetdicom import build_context, evt

        from monai_dental.pacs.dimse.streams import StreamingDimse

        services = (STUDY_ROOT_FIND, STUDY_ROOT_GET, STUDY_ROOT_MOVE, VERIFICATION)
        proposed = [build_context(UID(uid)) for uid in services]
        proposed += [build_context(UID(uid), UID(syntax)) for uid, syntax in sorted(contexts)]
        association = associate(
            self._address,
            self._title,
            proposed,
            storage_roles=sorted({uid for uid, _ in contexts}),
            handlers=[(evt.EVT_C_STORE, self._take), (evt.EVT_DATA_RECV, self._count)],
        )
        association.dimse = self._dimse = StreamingDimse(
            association, self._open_file, self._max_bytes
        )
        return association

    def _open_file(self, head: bytes, _: tuple[str, str, str]) -> TemporaryFile:
        return TemporaryFile(head, self._scratch)

    def _take(self, event: Any) -> int:
        """Receive an instance by C-GET."""
        self._message_bytes = 0
        dataset = event.assoc.dimse.take(event)
        if dataset.error is not None or not isinstance(dataset.sink, TemporaryFile):
            self._error = dataset.error
            return _OUT_OF_RESOURCES
        self._received.append(dataset.sink.stream)
        return _SUCCESS

    def _forget(self) -> None:
        """Close received files that are not needed."""
        for stream in self._received:
            stream.close()
        self._received, self._error = [], None

    def _count(self, event: Any) -> None:
        """End an association that sends more than the limit, before it fills the memory."""
        self._message_bytes += len(event.data)
        if self._message_bytes > self._max_bytes + _FRAGMENT_MARGIN and not self._is_too_large:
            self._is_too_large = True
            # Simulate a timeout: the thread that waits for the message aborts. This one cannot.
            event.assoc.dimse.msg_queue.put((None, None))


def make_identifier(key: InstanceKey) -> Dataset:
    """Make the identifier of one instance, for C-FIND, C-GET and C-MOVE.

    Returns:
        All unique keys of the hierarchy, as PS3.4 C.4.1.2.1 requires.
    """
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "IMAGE"
    identifier.StudyInstanceUID = key.study_instance_uid
    identifier.SeriesInstanceUID = key.series_instance_uid
    identifier.SOPInstanceUID = key.sop_instance_uid
    return identifier
