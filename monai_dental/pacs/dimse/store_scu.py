"""Storage in an application entity: C-ECHO, C-STORE, and requests for storage commitment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from monai_dental.errors import PacsError
from monai_dental.pacs.address import DimseAddress
from monai_dental.pacs.dimse.association import (
    ANSWER_S,
    MAX_CONTEXTS,
    VERIFICATION,
    BrokenOffError,
    Link,
    NoRoomError,
    NotOfferedError,
    accepted_syntaxes,
    associate,
    format_status,
)
from monai_dental.pacs.dimse.commitment import (
    REQUEST,
    STORAGE_COMMITMENT,
    STORAGE_COMMITMENT_INSTANCE,
    Commitments,
    make_request,
)
from monai_dental.pacs.parcel import Parcel
from monai_dental.pacs.retry import FaultError

if TYPE_CHECKING:
    from pynetdicom.association import Association

_SUCCESS, _DUPLICATE = 0x0000, 0x0111
_WARNINGS = (0xB000, 0xB006, 0xB007)  # coerced, elements discarded, not of its SOP class (PS3.4 B)
_FAILURE = 0x0110  # "processing failure" (PS3.7 C.5.13): the status 500 of DIMSE
_OUT_OF_RESOURCES = range(0xA700, 0xA800)


class StoreScu:
    """Associations with an application entity that stores instances; for one thread.

    Args:
        address: The application entity.
        calling_ae_title: Our own AE title.
        commitments: Receives storage commitment reports; None to request none.
    """

    def __init__(
        self,
        address: DimseAddress,
        calling_ae_title: str,
        commitments: Commitments | None = None,
    ) -> None:
        self._address, self._title = address, calling_ae_title
        self._commitments = commitments
        self._link = Link(self._open, MAX_CONTEXTS - 1)
        # Separate: a report may arrive on it at any moment, and must not interrupt an instance.
        self._commitment_link = Link(self._open_for_commitment, 0)

    def close(self) -> None:
        """Release the associations."""
        self._link.close()
        self._commitment_link.close()

    def echo(self) -> None:
        """Check that it can be reached (C-ECHO).

        Raises:
            PacsUnavailableError: It cannot be reached.
            PacsError: It answers with a failure.
        """
        association = self._link.use()
        status = association.send_c_echo()
        if status.get("Status") != _SUCCESS:
            raise PacsError(f"{self._address}: answers C-ECHO with {format_status(status)}")

    def store(self, parcel: Parcel) -> None:
        """Send an instance (C-STORE). Success means that it has arrived, not that it is kept.

        Raises:
            PacsUnavailableError: No association.
            BrokenOffError: The association ended in the middle of the instance.
            NoRoomError: The PACS is out of resources.
            FaultError: The PACS failed.
            UnsendableError: The instance cannot be encoded in an accepted transfer syntax.
            PacsError: The PACS refuses the instance.
        """
        from monai_dental.pacs.dimse.streams import send_instance  # needs pynetdicom

        syntax = parcel.transfer_syntax_uid
        association = self._link.use([(parcel.sop_class_uid, each) for each in parcel.syntaxes])
        accepted = accepted_syntaxes(association, parcel.sop_class_uid)
        if syntax in accepted:
            used, chunks = syntax, parcel.dataset()
        elif (
            syntax == ExplicitVRLittleEndian
            and ImplicitVRLittleEndian in parcel.syntaxes
            and ImplicitVRLittleEndian in accepted
        ):
            used, chunks = str(ImplicitVRLittleEndian), parcel.implicit_dataset()
        else:
            raise PacsError(
                f"does not accept {UID(parcel.sop_class_uid).name} in {UID(syntax).name}"
            )
        names = parcel.sop_class_uid, parcel.key.sop_instance_uid
        try:
            code = send_instance(
                association, names, accepted[used], chunks=chunks, timeout_s=ANSWER_S
            )
        except BaseException:  # for example, its file cannot be read: half of it is sent
            self._link.abandon()
            raise
        if code is None:
            self._link.abandon()
            raise BrokenOffError("broke the association off")
        if code in _OUT_OF_RESOURCES:
            raise NoRoomError(f"{self._address}: is out of resources: {format_status(code)}")
        if code == _FAILURE:
            raise FaultError(f"the PACS fails to store it: {format_status(code)}")
        if code not in (_SUCCESS, _DUPLICATE, *_WARNINGS):
            raise PacsError(f"the PACS refuses it: {format_status(code)}")

    def commit(self, parcel: Parcel, transaction: str) -> None:
        """Request storage commitment of an instance (N-ACTION); the report arrives later.

        Raises:
            PacsUnavailableError: No association.
            NotOfferedError: It does not offer this, or not to us.
            BrokenOffError: The association ended before the answer.
        """
        association = self._commitment_link.use()
        if not accepted_syntaxes(association, STORAGE_COMMITMENT):
            raise NotOfferedError("the PACS does not offer it")
        try:
            status, _ = association.send_n_action(
                make_request(parcel, transaction),
                REQUEST,
                UID(STORAGE_COMMITMENT),
                UID(STORAGE_COMMITMENT_INSTANCE),
            )
        except (RuntimeError, ValueError):
            raise BrokenOffError("the PACS breaks the association off") from None
        code = status.get("Status")
        if code is None:
            self._commitment_link.abandon()
            raise BrokenOffError("the PACS breaks the association off")
        if code != _SUCCESS:
            raise NotOfferedError(f"the PACS answers the request with {format_status(status)}")

    def _open(self, contexts: set[tuple[str, str]]) -> Association:
        from pynetdicom import build_context

        proposed = [build_context(UID(uid), UID(syntax)) for uid, syntax in sorted(contexts)]
        proposed.append(build_context(UID(VERIFICATION)))
        return associate(self._address, self._title, proposed)

    def _open_for_commitment(self, _: set[tuple[str, str]]) -> Association:
        from pynetdicom import build_context, evt

        assert self._commitments is not None
        proposed = [build_context(UID(VERIFICATION)), build_context(UID(STORAGE_COMMITMENT))]
        handlers = [(evt.EVT_N_EVENT_REPORT, self._commitments.report)]
        return associate(self._address, self._title, proposed, handlers=handlers)
