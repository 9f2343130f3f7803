"""Audit messages of a node (PS3.15 A.5) to a syslog server: who sent and received which UIDs.

Syslog messages (RFC 5424) are sent by UDP (RFC 5426): no instance waits for them, and they may be
lost. The Patient ID, which messages about instances must contain, is given as "<none>".
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from datetime import datetime, timezone
from queue import Full, Queue
from xml.etree.ElementTree import Element, SubElement, tostring

from monai_dental.node.queue_rows import Arrival
from monai_dental.pacs.parcel import Parcel

_PRIORITY = 10 * 8 + 5  # facility authpriv, severity notice (RFC 5424 6.2.1)
_MESSAGE_ID = "IHE+RFC-3881"  # from IHE ITI TF-2 3.20, also for DICOM's messages
_PATIENT = "<none>"
_MOST_WAITING = 10_000
_LAST_S = 2.0
_CODES = {
    "110100": "Application Activity",
    "110104": "DICOM Instances Transferred",
    "110113": "Security Alert",
    "110120": "Application Start",
    "110121": "Application Stop",
    "110126": "Node Authentication",
    "110150": "Application",
    "110152": "Destination Role ID",
    "110153": "Source Role ID",
    "110180": "Study Instance UID",
}
"""Codes of PS3.16 D, and their meanings."""


class Audit:
    """Messages of a node to an audit repository; safe to use from several threads.

    Args:
        server: HOST:PORT of the syslog server; None to send nothing.
        ae_title: The node's AE title.
    """

    def __init__(self, server: str | None = None, ae_title: str = "") -> None:
        self._ae_title = ae_title
        self._place: tuple[str, int] | None = None
        if server is not None:
            host, _, port = server.rpartition(":")
            self._place = host.strip("[]"), int(port)
        self._waiting: Queue[bytes | None] = Queue(_MOST_WAITING)
        self._thread = threading.Thread(target=self._send, daemon=True)

    def started(self) -> None:
        """Report that the node has started."""
        self._thread.start()
        self._tell(_activity(self._ae_title, "110120"))

    def stopped(self) -> None:
        """Report that the node stops; this is the last message."""
        self._tell(_activity(self._ae_title, "110121"))
        with contextlib.suppress(Full):
            self._waiting.put_nowait(None)
        self._thread.join(_LAST_S)

    def received(self, arrival: Arrival) -> None:
        """Report an instance that was received from a sender."""
        message = _event("C", "110104")
        _participant(
            message,
            arrival.sender or arrival.peer,
            "110153",
            is_requestor=True,
            address=arrival.peer,
        )
        _participant(message, self._ae_title, "110152")
        _add_objects(message, arrival.study, arrival.sop_class, arrival.uid)
        self._tell(message)

    def forwarded(self, archive: str, parcel: Parcel) -> None:
        """Report an instance that is proven to have arrived in an archive."""
        message = _event("R", "110104")
        _participant(message, self._ae_title, "110153", is_requestor=True)
        _participant(message, archive, "110152")
        key = parcel.key
        _add_objects(message, key.study_instance_uid, parcel.sop_class_uid, key.sop_instance_uid)
        self._tell(message)

    def rejected(self, address: str) -> None:
        """Report a peer whose association was rejected."""
        message = _event("E", "110113", "110126", outcome=4)
        _participant(message, self._ae_title, "110150")
        _participant(message, address, "", is_requestor=True, address=address)
        self._tell(message)

    def _tell(self, message: Element) -> None:
        if self._place is None:
            return
        source = SubElement(message, "AuditSourceIdentification", AuditSourceID=self._ae_title)
        objects = message.findall("ParticipantObjectIdentification")
        for each in objects:  # which come last
            message.remove(each)
            message.append(each)
        SubElement(
            source, "AuditSourceTypeCode", {"csd-code": "4"}, codeSystemName="DCM",
            originalText="Application server process tier",
        )  # fmt: skip
        head = (
            f"<{_PRIORITY}>1 {_now()} {socket.gethostname() or '-'} monai-dental {os.getpid()} "
            f"{_MESSAGE_ID} - "
        )
        text = head.encode("ascii", "replace") + b"\xef\xbb\xbf" + tostring(message)
        with contextlib.suppress(Full):
            self._waiting.put_nowait(text)

    def _send(self) -> None:
        while (text := self._waiting.get()) is not None and self._place is not None:
            # Errors, such as an unknown host or a network that is down, must not stop instances.
            with contextlib.suppress(OSError, UnicodeError):
                found = socket.getaddrinfo(*self._place, type=socket.SOCK_DGRAM)
                family, kind, protocol, _, place = found[0]
                with socket.socket(family, kind, protocol) as sender:
                    sender.sendto(text, place)


def _event(action: str, code: str, type_code: str = "", outcome: int = 0) -> Element:
    message = Element("AuditMessage")
    event = SubElement(
        message, "EventIdentification", EventActionCode=action, EventDateTime=_now(),
        EventOutcomeIndicator=str(outcome),
    )  # fmt: skip
    _add_code(event, "EventID", code)
    if type_code:
        _add_code(event, "EventTypeCode", type_code)
    return message


def _activity(ae_title: str, type_code: str) -> Element:
    message = _event("E", "110100", type_code)
    _participant(message, ae_title, "110150")
    return message


def _participant(
    message: Element, name: str, role: str, *, is_requestor: bool = False, address: str = ""
) -> None:
    said = {"UserID": name, "UserIsRequestor": str(is_requestor).lower()}
    if address:
        said |= {"NetworkAccessPointID": address, "NetworkAccessPointTypeCode": "2"}
    participant = SubElement(message, "ActiveParticipant", said)
    if role:
        _add_code(participant, "RoleIDCode", role)


def _add_objects(message: Element, study: str, sop_class: str, uid: str) -> None:
    found = SubElement(
        message, "ParticipantObjectIdentification", ParticipantObjectID=study or "<none>",
        ParticipantObjectTypeCode="2", ParticipantObjectTypeCodeRole="3",
    )  # fmt: skip
    _add_code(found, "ParticipantObjectIDTypeCode", "110180")
    instances = SubElement(found, "SOPClass", UID=sop_class, NumberOfInstances="1")
    SubElement(instances, "Instance", UID=uid)
    patient = SubElement(
        message, "ParticipantObjectIdentification", ParticipantObjectID=_PATIENT,
        ParticipantObjectTypeCode="1", ParticipantObjectTypeCodeRole="1",
    )  # fmt: skip
    SubElement(
        patient, "ParticipantObjectIDTypeCode", {"csd-code": "2"}, codeSystemName="RFC-3881",
        originalText="Patient Number",
    )  # fmt: skip


def _add_code(parent: Element, name: str, code: str) -> None:
    SubElement(
        parent, name, {"csd-code": code}, codeSystemName="DCM", originalText=_CODES[code]
    )  # fmt: skip


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")
