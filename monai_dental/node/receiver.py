"""The Storage SCP of a node: stores instances in the spool (PS3.4 B), and answers C-ECHO."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from pydicom.uid import UID
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, evt
from pynetdicom.dimse_messages import N_EVENT_REPORT_RQ
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from monai_dental.dicom.identity import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from monai_dental.errors import OutputError, PacsError, unexpected
from monai_dental.node.audit import Audit
from monai_dental.node.intake import Intake
from monai_dental.node.lobby import TIMEOUT_S, Lobby
from monai_dental.node.log import say
from monai_dental.node.receiver_limits import (
    BoundedHandler,
    BoundedServer,
    peer_of,
)
from monai_dental.node.settings import NodeSettings
from monai_dental.pacs.dimse.commitment import STORAGE_COMMITMENT, Commitments
from monai_dental.pacs.dimse.streams import TooLargeError, close_connection

if TYPE_CHECKING:
    from pynetdicom.association import Association

SUCCESS = 0x0000
# PS3.7 C and PS3.4 table B.2-1.
PROCESSING_FAILURE, OUT_OF_RESOURCES = 0x0110, 0xA700
_LIMIT_EXCEEDED = (0x02, 0x03, 0x02)  # transient, by the presentation layer (PS3.8 9.3.4)
_REPORTS = 4  # further associations, for the archive's storage commitment reports
_REJECTED = 16  # further associations, which are being rejected as too many
_TIMEOUT_S = 60.0


class Receiver:
    """A Storage SCP that answers Success once an instance is on the disk and in the queue.

    Args:
        settings: AE titles, address, TLS and limits.
        intake: Stores the instances.
        commitments: Receivers of storage commitment reports, by the AE title of the archive.
        audit: Records rejected associations.
        timeout_s: How long a peer may be silent, in seconds.
    """

    def __init__(
        self,
        settings: NodeSettings,
        intake: Intake,
        *,
        commitments: Mapping[str, Commitments] | None = None,
        audit: Audit | None = None,
        timeout_s: float = _TIMEOUT_S,
    ) -> None:
        self._commitments = commitments or {}
        self._reporters = list(self._commitments)
        # Made once: it takes 0.1 s, too long for each association.
        self._storage = [
            build_context(context.abstract_syntax, ALL_TRANSFER_SYNTAXES)
            for context in AllStoragePresentationContexts
            if context.abstract_syntax is not None
        ]
        self._settings, self._intake, self._counts = settings, intake, intake.counts
        self._timeout_s, self._audit = timeout_s, audit or Audit()
        self._reporting: WeakSet[Association] = WeakSet()
        self._storing = 0
        self._is_idle = threading.Condition()
        self._is_stopping = False
        self._server: BoundedServer | None = None
        self._tls = None if settings.tls is None else settings.tls.server_context()

    @property
    def port(self) -> int:
        """The TCP port that the server listens on."""
        assert self._server is not None
        return int(self._server.server_address[1])

    @property
    def associations(self) -> int:
        """Current number of associations."""
        return 0 if self._server is None else len(self._server.active_associations)

    def start(self) -> None:
        """Start to listen.

        Raises:
            PacsError: The address or port cannot be used.
        """
        entity = AE(self._settings.ae_title)
        entity.implementation_class_uid = UID(IMPLEMENTATION_CLASS_UID)
        entity.implementation_version_name = IMPLEMENTATION_VERSION_NAME
        entity.require_called_aet = True
        entity.require_calling_aet = [*self._settings.allow, *self._reporters]
        # `_offer` enforces the limit, which does not count the archive's reports.
        entity.maximum_associations = self._settings.associations + _REPORTS + _REJECTED
        entity.maximum_pdu_size = self._settings.max_pdu
        entity.acse_timeout = TIMEOUT_S
        entity.network_timeout = self._timeout_s
        handlers: list[Any] = [
            (evt.EVT_REQUESTED, self._offer),
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_REJECTED, self._on_rejected),
            (evt.EVT_ABORTED, self._on_aborted),
        ]
        if self._commitments:
            handlers.append((evt.EVT_N_EVENT_REPORT, self._report))
            handlers.append((evt.EVT_DIMSE_RECV, self._count_reports))
        try:
            server: BoundedServer = entity.make_server(
                (self._settings.host, self._settings.port),
                contexts=[build_context(Verification)],
                evt_handlers=handlers,
                server_class=BoundedServer,  # type: ignore[assignment]
                request_handler=BoundedHandler,
            )
        except OSError as error:
            raise PacsError(
                f"{self._settings.host}:{self._settings.port}: cannot listen there: "
                f"{error.strerror or type(error).__name__}"
            ) from error
        server.open_sink = self._intake.open
        server.max_object = self._intake.max_object
        timeout_s = min(self._timeout_s, TIMEOUT_S)
        server.lobby, server.requests = Lobby(self._tls, timeout_s, self._count_rejected), {}
        server.timeout_s = self._timeout_s
        server.on_refused = self._count_rejected
        self._server = server
        threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()

    def stop(self) -> None:
        """Stop listening, let instances that are being written finish, and end all associations."""
        if self._server is None:
            return
        self._server.shutdown()
        with self._is_idle:
            self._is_stopping = True
            self._is_idle.wait_for(lambda: not self._storing, self._timeout_s)
        associations = self._server.active_associations
        for association in associations:
            association.abort(block=False)
        for association in associations:
            association.join(1.0)
            if association.is_alive():
                close_connection(association)  # it waits for the rest of a PDU

    def _offer(self, event: Any) -> None:
        """Offer storage to allowed senders, and storage commitment to the archives."""
        title = event.assoc.requestor.primitive.calling_ae_title.strip()
        if self._is_one_too_many(event.assoc, title):
            event.assoc.acse.send_reject(*_LIMIT_EXCEEDED)
            self._on_rejected(event)
            event.assoc.kill()
            return
        contexts = [build_context(Verification)]
        if title in self._settings.allow:
            contexts += self._storage
        if title in self._reporters:
            commitment = build_context(STORAGE_COMMITMENT)
            commitment.scu_role = commitment.scp_role = True  # the archive calls as SCP
            contexts.append(commitment)
        event.assoc.acceptor.supported_contexts = contexts

    def _is_one_too_many(self, association: Association, title: str) -> bool:
        """Return whether an association exceeds the limit of its kind: storage or reports."""
        assert self._server is not None
        is_report = title in self._reporters and title not in self._settings.allow
        if is_report:
            self._reporting.add(association)
        same = [
            each
            for each in self._server.active_associations
            if (each in self._reporting) == is_report
        ]
        return len(same) > (_REPORTS if is_report else self._settings.associations)

    def _count_reports(self, event: Any) -> None:
        """Limit reports to one at a time: pynetdicom starts a thread for each."""
        if isinstance(event.message, N_EVENT_REPORT_RQ):
            event.assoc.dimse.begin_report()

    def _report(self, event: Any) -> tuple[int, None]:
        title = event.assoc.requestor.primitive.calling_ae_title.strip()
        try:
            return self._commitments[title].report(event)
        finally:
            event.assoc.dimse.end_report()

    def _store(self, event: Any) -> int:
        """Answer a C-STORE request; pynetdicom's handler of EVT_C_STORE."""
        with self._is_idle:
            if self._is_stopping:
                return OUT_OF_RESOURCES
            self._storing += 1
        try:
            return self._take(event)
        except TooLargeError:
            self._refuse(event, f"an object beyond max-object, {self._settings.max_object} MiB")
            return OUT_OF_RESOURCES
        except OutputError as error:  # a full spool, a full or broken disk
            self._refuse(event, str(error))
            return OUT_OF_RESOURCES
        except Exception as error:  # noqa: BLE001 - its text could quote patient data
            self._refuse(event, unexpected(error))
            return PROCESSING_FAILURE
        finally:
            with self._is_idle:
                self._storing -= 1
                self._is_idle.notify_all()

    def _take(self, event: Any) -> int:
        dataset = event.assoc.dimse.take(event)
        if dataset.error is not None:
            raise dataset.error
        requestor = event.assoc.requestor
        names = (
            str(event.request.AffectedSOPClassUID),
            str(event.request.AffectedSOPInstanceUID),
            str(event.context.transfer_syntax),
        )
        title = requestor.primitive.calling_ae_title.strip()
        self._intake.take(dataset.sink, names, title, requestor.address)
        return SUCCESS

    def _refuse(self, event: Any, reason: str) -> None:
        self._counts.add("refused")
        say(logging.WARNING, f"{peer_of(event.assoc)}: instance refused: {reason}")

    def _count_rejected(self) -> None:
        self._counts.add("rejected")

    def _on_rejected(self, event: Any) -> None:
        self._count_rejected()
        request = event.assoc.requestor.primitive
        if request.called_ae_title.strip() != self._settings.ae_title:
            reason = f"it calls an AE title other than {self._settings.ae_title}"
        elif request.calling_ae_title.strip() not in (*self._settings.allow, *self._reporters):
            reason = "its AE title is not among those that may call (allow)"
        else:
            reason = f"{self._settings.associations} associations are already open (associations)"
        self._audit.rejected(event.assoc.requestor.address)
        say(logging.WARNING, f"{peer_of(event.assoc)}: association rejected: {reason}")

    def _on_aborted(self, event: Any) -> None:
        where = "" if event.assoc.dimse.message is None else " within an object, which is not kept"
        event.assoc.dimse.drop()
        if self._is_stopping:
            return
        self._counts.add("broken")
        say(logging.WARNING, f"{peer_of(event.assoc)}: association broke off{where}")
