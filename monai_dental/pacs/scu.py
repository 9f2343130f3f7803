"""What we ask of one application entity: C-ECHO, C-STORE, C-FIND and C-GET (PS3.7, PS3.4 C)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pydicom import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from monai_dental.dicom.quiet import PYDICOM_ERRORS, quiet_pydicom
from monai_dental.errors import PacsError, PacsUnavailableError
from monai_dental.pacs.address import DimseAddress
from monai_dental.pacs.association import MAX_CONTEXTS, associate
from monai_dental.pacs.copies import InstanceKey, Parcel

if TYPE_CHECKING:
    from pynetdicom.association import Association

VERIFICATION = "1.2.840.10008.1.1"
STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
STUDY_ROOT_GET = "1.2.840.10008.5.1.4.1.2.2.3"
_NATIVE = (str(ExplicitVRLittleEndian), str(ImplicitVRLittleEndian))
_SUCCESS, _PENDING = 0x0000, (0xFF00, 0xFF01)
_DUPLICATE = 0x0111
_WARNINGS = (0xB000, 0xB006, 0xB007)  # coerced, elements discarded, not of its SOP class (PS3.4 B)
_OUT_OF_RESOURCES = range(0xA700, 0xA800)
_FRAGMENT_MARGIN = 1 << 20  # what a message has beside its data set: command set, PDU headers


class BrokenOffError(PacsError):
    """An association ended before the answer."""


class NoRoomError(PacsError):
    """The PACS is out of resources (status A7xx)."""


class NotOfferedError(PacsError):
    """The PACS does not offer a service to us, or not for this instance."""


class Scu:
    """Two associations with one application entity: one stores, the other one asks.

    They are opened when they are needed and used again as long as they last. For one thread.

    Args:
        address: The application entity.
        calling_ae_title: Our own AE title.
    """

    def __init__(self, address: DimseAddress, calling_ae_title: str) -> None:
        self._address, self._title = address, calling_ae_title
        self._sending: Association | None = None
        self._asking: Association | None = None
        self._sent: set[tuple[str, str]] = set()
        self._got: set[tuple[str, str]] = set()
        self._received: list[bytes] = []
        self._max_bytes = self._message_bytes = 0
        self._is_too_large = False

    def close(self) -> None:
        """Release the associations."""
        for association in (self._sending, self._asking):
            if association is not None and association.is_established:
                association.release()
        self._sending = self._asking = None

    def echo(self) -> None:
        """Ask whether it is there (C-ECHO).

        Raises:
            PacsUnavailableError: It is not.
            PacsError: It answers with a failure.
        """
        association = self._to_send([])
        status = association.send_c_echo()
        if status.get("Status") != _SUCCESS:
            raise PacsError(f"{self._address}: answers C-ECHO with {_shown(status)}")

    def store(self, parcel: Parcel) -> None:
        """Send an instance (C-STORE). Success says that it has arrived, not that it is kept.

        Raises:
            PacsUnavailableError: No association.
            BrokenOffError: The association ended in mid-instance.
            NoRoomError: The PACS is out of resources.
            PacsError: The PACS refuses the instance.
        """
        syntax = parcel.transfer_syntax_uid
        syntaxes = _NATIVE if syntax in _NATIVE else (syntax,)
        association = self._to_send([(parcel.sop_class_uid, each) for each in syntaxes])
        accepted = _accepted(association, parcel.sop_class_uid)
        if not accepted.intersection(syntaxes):
            raise PacsError(
                f"does not accept {UID(parcel.sop_class_uid).name} in {UID(syntax).name}"
            )
        try:
            with quiet_pydicom():
                status = association.send_c_store(parcel.dataset)
        except PYDICOM_ERRORS as error:
            # Broken off as it began, or the instance cannot be encoded as it was accepted.
            if not association.is_established:
                raise BrokenOffError("broke the association off") from None
            raise PacsError(f"cannot be sent: {type(error).__name__}") from None
        code = status.get("Status")
        if code is None:
            self._abandon(association)
            raise BrokenOffError("broke the association off")
        if code in _OUT_OF_RESOURCES:
            raise NoRoomError(f"{self._address}: is out of resources: {_shown(status)}")
        if code not in (_SUCCESS, _DUPLICATE, *_WARNINGS):
            raise PacsError(f"the PACS refuses it: {_shown(status)}")

    def find(
        self, identifier: Dataset, contexts: list[tuple[str, str]] | None = None
    ) -> Iterator[Dataset]:
        """Search (C-FIND, Study Root).

        Args:
            identifier: The query, with its level.
            contexts: What is fetched next, by `get`: so one association will do.

        Yields:
            The matches.

        Raises:
            PacsUnavailableError: No association.
            NotOfferedError: It does not offer C-FIND.
            BrokenOffError: The association ended before the last match.
            PacsError: It cannot search so.
        """
        association = self._to_ask(contexts or [])
        if not _accepted(association, STUDY_ROOT_FIND):
            raise NotOfferedError(f"{self._address}: does not offer C-FIND (Study Root)")
        try:
            for status, match in association.send_c_find(identifier, UID(STUDY_ROOT_FIND)):
                code = status.get("Status")
                if code in _PENDING and match is not None:
                    yield match
                elif code is None:
                    self._abandon(association)
                    raise BrokenOffError("broke the association off")
                elif code != _SUCCESS:
                    raise PacsError(f"{self._address}: answers C-FIND with {_shown(status)}")
        except (RuntimeError, ValueError):
            raise BrokenOffError("broke the association off") from None

    def check_get(self) -> None:
        """Check that it offers C-GET to us at all.

        Raises:
            PacsUnavailableError: It does not, or there is no association.
        """
        if not _accepted(self._to_ask([]), STUDY_ROOT_GET):
            raise PacsUnavailableError(
                f"{self._address}: does not offer C-GET (Study Root) to {self._title}; need it to "
                "fetch instances"
            )

    def get(self, key: InstanceKey, contexts: list[tuple[str, str]], max_bytes: int) -> bytes:
        """Fetch an instance (C-GET, Study Root).

        Args:
            key: Its names.
            contexts: SOP class and transfer syntax of each way in which it may come.
            max_bytes: How large it may be; no more than that is taken into memory.

        Returns:
            The bytes of its file, as they came.

        Raises:
            PacsUnavailableError: No association.
            NotOfferedError: It does not offer C-GET, not to us, or not for this instance.
            BrokenOffError: The association ended before the instance was there.
            PacsError: It sends something else, or too much.
        """
        association = self._to_ask(contexts)
        if not _accepted(association, STUDY_ROOT_GET):
            raise NotOfferedError(f"{self._address}: does not offer C-GET (Study Root)")
        identifier = make_identifier(key)
        self._received.clear()
        self._max_bytes, self._message_bytes, self._is_too_large = max_bytes, 0, False
        code: int | None = None
        try:
            for status, _ in association.send_c_get(identifier, UID(STUDY_ROOT_GET)):
                code = status.get("Status")
        except (RuntimeError, ValueError):
            code = None
        received, self._received = self._received, []
        if self._is_too_large:
            self._abandon(association)
            raise PacsError(f"is larger than {max_bytes / (1 << 20):.0f} MiB, the limit")
        if code is None:
            self._abandon(association)
            raise BrokenOffError("broke the association off")
        if len(received) > 1:
            raise PacsError(f"the PACS sends {len(received)} instances; need the one asked for")
        if not received:
            raise NotOfferedError(f"the PACS does not send it: status {code:04X}")
        return received[0]

    def _to_send(self, contexts: list[tuple[str, str]]) -> Association:
        from pynetdicom import build_context

        wanted = _added(self._sent, contexts, MAX_CONTEXTS - 1)
        association = self._sending
        if association is None or not association.is_established or wanted != self._sent:
            self._let_go(association)
            self._sending, self._sent = None, wanted
            proposed = [build_context(UID(uid), UID(syntax)) for uid, syntax in sorted(wanted)]
            # With this one an association comes about though no storage is accepted: the answer
            # is about the instance, not about the PACS.
            proposed.append(build_context(UID(VERIFICATION)))
            self._sending = associate(self._address, self._title, proposed)
        return self._sending  # type: ignore[return-value]

    def _to_ask(self, contexts: list[tuple[str, str]]) -> Association:
        from pynetdicom import build_context, evt

        wanted = _added(self._got, contexts, MAX_CONTEXTS - 3)
        association = self._asking
        if association is None or not association.is_established or wanted != self._got:
            self._let_go(association)
            self._asking, self._got = None, wanted
            proposed = [build_context(UID(STUDY_ROOT_FIND)), build_context(UID(STUDY_ROOT_GET))]
            proposed.append(build_context(UID(VERIFICATION)))
            proposed += [build_context(UID(uid), UID(syntax)) for uid, syntax in sorted(wanted)]
            self._asking = associate(
                self._address,
                self._title,
                proposed,
                storage_roles=sorted({uid for uid, _ in wanted}),
                handlers=[(evt.EVT_C_STORE, self._take), (evt.EVT_DATA_RECV, self._count)],
            )
        return self._asking  # type: ignore[return-value]

    def _take(self, event: Any) -> int:
        """Take an instance that comes by C-GET."""
        self._message_bytes = 0
        self._received.append(event.encoded_dataset())
        return _SUCCESS

    def _count(self, event: Any) -> None:
        """End an association that sends more than we would take, before it fills the memory."""
        self._message_bytes += len(event.data)
        if self._message_bytes > self._max_bytes + _FRAGMENT_MARGIN and not self._is_too_large:
            self._is_too_large = True
            # As if the time for it was up: who waits for the message aborts. This thread cannot.
            event.assoc.dimse.msg_queue.put((None, None))

    def _let_go(self, association: Association | None) -> None:
        if association is not None and association.is_established:
            association.release()

    def _abandon(self, association: Association) -> None:
        """Forget an association that may still be half in an exchange."""
        with contextlib.suppress(RuntimeError, OSError):
            association.abort()
        if association is self._sending:
            self._sending = None
        else:
            self._asking = None


def make_identifier(key: InstanceKey) -> Dataset:
    """The identifier of one instance, for C-FIND and C-GET.

    Args:
        key: Its names.

    Returns:
        All unique keys of the hierarchy, as PS3.4 C.4.1.2.1 wants them.
    """
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "IMAGE"
    identifier.StudyInstanceUID = key.study_instance_uid
    identifier.SeriesInstanceUID = key.series_instance_uid
    identifier.SOPInstanceUID = key.sop_instance_uid
    return identifier


def _added(
    known: set[tuple[str, str]], contexts: list[tuple[str, str]], limit: int
) -> set[tuple[str, str]]:
    """The contexts that an association needs; what was needed earlier too, where it has room."""
    union = known | set(contexts)
    return union if len(union) <= limit else set(contexts)


def _accepted(association: Association, sop_class: str) -> set[str]:
    """The transfer syntaxes that were accepted for a SOP class."""
    return {
        str(context.transfer_syntax[0])
        for context in association.accepted_contexts
        if context.abstract_syntax == sop_class
    }


def _shown(status: Dataset) -> str:
    """A status without its Error Comment, which can hold anything."""
    code = status.get("Status")
    return "no status" if code is None else f"status {code:04X}"
