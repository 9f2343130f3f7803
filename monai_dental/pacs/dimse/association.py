"""Associations with a PACS, and their errors (PS3.8, PS3.7 annex D)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from pydicom import Dataset
from pydicom.uid import UID

from monai_dental.dicom.identity import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from monai_dental.errors import PacsError, PacsUnavailableError
from monai_dental.pacs.address import DimseAddress
from monai_dental.pacs.extra import require

if TYPE_CHECKING:
    from pynetdicom.association import Association
    from pynetdicom.presentation import PresentationContext

_CONNECT_S, _NEGOTIATE_S = 10.0, 30.0
ANSWER_S = 120.0  # an archive may write to tape before it answers
_IDLE_S = 120.0
_TRANSIENT = 2  # the result "rejected-transient" of PS3.8 9.3.4
VERIFICATION = "1.2.840.10008.1.1"
"""C-ECHO: its context lets an association be accepted even if all others are refused. An error is
then about a service or an instance, not about the PACS."""
MAX_CONTEXTS = 128
"""How many presentation contexts fit into one association (PS3.8 9.3.2.2: odd numbers to 255)."""


class BusyError(PacsUnavailableError):
    """An association could not be opened, but another attempt may succeed."""


class BrokenOffError(PacsError):
    """An association ended before the answer."""


class NoRoomError(PacsError):
    """The PACS is out of resources (status A7xx)."""


class NotOfferedError(PacsError):
    """The PACS does not offer us a service, or not for this instance."""


class Link:
    """An association that is opened when needed, and reused as long as it lasts.

    Args:
        open_association: Opens an association with the given pairs of SOP class and transfer
            syntax.
        limit: Maximum number of pairs in one association.
    """

    def __init__(
        self, open_association: Callable[[set[tuple[str, str]]], Association], limit: int
    ) -> None:
        self._open, self._limit = open_association, limit
        self._association: Association | None = None
        self._contexts: set[tuple[str, str]] = set()

    def use(self, contexts: Sequence[tuple[str, str]] = ()) -> Association:
        """Return the association; open a new one if it has ended or lacks a pair.

        Args:
            contexts: Pairs of SOP class and transfer syntax. Pairs that were needed earlier are
                kept if there is room.

        Raises:
            PacsUnavailableError: It cannot be opened.
        """
        wanted = self._contexts.union(contexts)
        if len(wanted) > self._limit:
            wanted = set(contexts)
        association = self._association
        if association is None or not association.is_established or wanted != self._contexts:
            self.close()
            self._contexts = wanted
            association = self._association = self._open(wanted)
        return association

    def abandon(self) -> None:
        """Abort the association, even in the middle of an exchange."""
        if self._association is not None:
            with contextlib.suppress(RuntimeError, OSError):
                self._association.abort()
        self._association = None

    def close(self) -> None:
        """Release the association."""
        if self._association is not None and self._association.is_established:
            self._association.release()
        self._association = None


def associate(
    address: DimseAddress,
    calling_ae_title: str,
    contexts: Sequence[PresentationContext],
    *,
    storage_roles: Sequence[str] = (),
    handlers: Sequence[Any] = (),
) -> Association:
    """Open an association.

    Args:
        address: The application entity.
        calling_ae_title: Our own AE title.
        contexts: The presentation contexts to propose.
        storage_roles: SOP classes that the other side may send to us, for C-GET.
        handlers: pynetdicom's event handlers.

    Returns:
        The association. pynetdicom logs what it sends and receives, unless the program prevents it:
        see `monai_dental.pacs.quiet`.

    Raises:
        BusyError: There is no answer, or another attempt may succeed.
        PacsUnavailableError: It is refused for good.
        MissingPackageError: pynetdicom is not installed.
    """
    require("pynetdicom")
    from pynetdicom import AE, build_role

    entity = AE(calling_ae_title)
    entity.implementation_class_uid = UID(IMPLEMENTATION_CLASS_UID)
    entity.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    entity.connection_timeout = _CONNECT_S
    entity.acse_timeout = _NEGOTIATE_S
    entity.dimse_timeout = ANSWER_S
    entity.network_timeout = _IDLE_S
    tls = _tls_arguments(address)
    roles = [build_role(UID(each), scu_role=True, scp_role=True) for each in storage_roles]
    try:
        association = entity.associate(
            address.host,
            address.port,
            contexts=list(contexts),
            ae_title=address.called_ae_title,
            ext_neg=list(roles),
            evt_handlers=list(handlers),
            tls_args=tls,
        )
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise BusyError(f"{address}: cannot be reached: {reason}") from None
    if association.is_established:
        return association
    if association.is_rejected:
        answer = association.acceptor.primitive
        reason = getattr(answer, "reason_str", "no reason given")
        kind = BusyError if getattr(answer, "result", None) == _TRANSIENT else PacsUnavailableError
        raise kind(
            f"{address}: rejects the association of AE title {calling_ae_title}: {reason.lower()}"
        )
    if association.is_aborted and association.acceptor.primitive is not None:
        raise PacsUnavailableError(f"{address}: accepts none of the proposed contexts")
    way = " by TLS, or one side does not trust the other's certificate"
    raise BusyError(f"{address}: does not answer as a DICOM application entity{way if tls else ''}")


def _tls_arguments(address: DimseAddress) -> Any:
    """Return pynetdicom's arguments for TLS; None without TLS."""
    if not address.is_tls:
        return None
    if address.tls is None:
        raise PacsUnavailableError(f"{address}: no files for TLS are given")
    try:
        return address.tls.client_context(), None  # without a host name, which is not compared
    except PacsError as error:  # our files are at fault, not an instance
        raise PacsUnavailableError(str(error)) from error


def accepted_syntaxes(association: Association, sop_class: str) -> dict[str, int]:
    """Return the transfer syntaxes accepted for a SOP class, each with its context's ID."""
    return {
        str(context.transfer_syntax[0]): context.context_id
        for context in association.accepted_contexts
        if context.abstract_syntax == sop_class and context.context_id is not None
    }


def format_status(status: Dataset | int | None) -> str:
    """Return a status in words, without its Error Comment, which can hold anything."""
    code = status.get("Status") if isinstance(status, Dataset) else status
    return "no status" if code is None else f"status {code:04X}"
