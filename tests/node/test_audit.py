"""Audit messages of a node, as a syslog server gets them."""

from __future__ import annotations

import re
import signal
import socket
from collections.abc import Iterator
from xml.etree import ElementTree

import pytest

from monai_dental.node.audit import Audit


@pytest.fixture
def syslog() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(60)
        yield server


def read(syslog: socket.socket) -> tuple[str, ElementTree.Element]:
    """The next message: its codes, and all of it."""
    text = syslog.recv(1 << 16)
    head, _, message = text.partition(b"\xef\xbb\xbf")
    assert re.fullmatch(rb"<85>1 \S+T\S+ \S+ monai-dental \d+ IHE\+RFC-3881 - ", head)
    assert b"MARKER" not in text
    found = ElementTree.fromstring(message)
    codes = [each.get("csd-code") for each in found.find("EventIdentification")]
    return " ".join(codes), found


def users(message: ElementTree.Element) -> dict[str, str]:
    """Who took part, by role."""
    return {
        each.find("RoleIDCode").get("csd-code"): each.get("UserID")
        for each in message.findall("ActiveParticipant")
        if each.find("RoleIDCode") is not None
    }


def test_node_tells_who_sent_and_got_what(make_node, make_file, dcmtk, orthanc, syslog) -> None:
    port = syslog.getsockname()[1]
    archive = f"ARCHIVE@127.0.0.1:{orthanc.dicom_port}"
    node = make_node(archive, "--audit", f"127.0.0.1:{port}", "--study-wait", 0.2)
    node.start()
    send = ("storescu", "-aec", "DENOISE", "127.0.0.1", node.port, make_file(0))
    assert dcmtk(*send).returncode == 0
    node.wait_for(lambda metrics: metrics["forwarded_total"] == 1)
    assert dcmtk("echoscu", "-aec", "OTHER", "127.0.0.1", node.port).returncode != 0
    assert node.signal(signal.SIGTERM) == 0

    assert read(syslog)[0] == "110100 110120"
    code, received = read(syslog)
    assert code == "110104"
    assert users(received) == {"110153": "STORESCU", "110152": "DENOISE"}
    study, patient = received.findall("ParticipantObjectIdentification")
    assert study.get("ParticipantObjectID") == "1.2.3.6.0"
    assert study.find("SOPClass/Instance").get("UID") == "1.2.3.4.0"
    assert patient.get("ParticipantObjectID") == "<none>"
    assert [each.tag for each in received][-3:-2] == ["AuditSourceIdentification"]
    code, forwarded = read(syslog)
    assert code == "110104"
    assert users(forwarded) == {"110153": "DENOISE", "110152": archive}
    assert forwarded.find(".//Instance").get("UID").startswith("2.25.")
    code, rejected = read(syslog)
    assert code == "110113 110126"
    assert rejected.find("EventIdentification").get("EventOutcomeIndicator") == "4"
    assert "127.0.0.1" in [each.get("UserID") for each in rejected.findall("ActiveParticipant")]
    assert read(syslog)[0] == "110100 110121"


def test_syslog_server_that_is_away_hinders_nothing() -> None:
    audit = Audit("no-such-host.invalid:514", "DENOISE")
    audit.started()
    for _ in range(10_001):  # more than wait for it
        audit.rejected("10.0.0.1")
    audit.stopped()
