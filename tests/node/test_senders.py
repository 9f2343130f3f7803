"""Any sender and data: a node accepts, refuses or survives it, with one line in the log."""

from __future__ import annotations

import contextlib
import io
import re
import signal
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread, uid
from pynetdicom import AE, build_context
from pynetdicom.association import Association
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE
from waiting import wait_until

from monai_dental.node.queue import QUEUE, Queue

NOWHERE = "ARCHIVE@127.0.0.1:1"


@pytest.fixture(scope="module")
def node(make_node: Callable[..., Any]) -> Any:
    """A running node whose archive is away."""
    made = make_node(NOWHERE, "--max-object", 1, "--associations", 20, "--longest-wait", 60)
    made.start()
    return made


@pytest.fixture
def lines(node: Any) -> Callable[[], list[str]]:
    """The node's output since the test began, without times and forwarding."""
    begun = len(node.log)

    def read() -> list[str]:
        told = [line.split(" ", 2)[2] for line in node.log[begun:].splitlines()]
        forwarding = re.compile("not forwarded yet|^ERROR forwarding fails")
        return [line for line in told if not forwarding.search(line)]

    return read


def wait_until_said(lines: Callable[[], list[str]], text: str) -> None:
    wait_until(lambda: any(text in line for line in lines()))


def associate(node: Any, path: Path, title: str = "SENDER", called: str = "DENOISE") -> Association:
    dataset = dcmread(path, stop_before_pixels=True)
    entity = AE(title)
    context = build_context(dataset.SOPClassUID, dataset.file_meta.TransferSyntaxUID)
    return entity.associate("127.0.0.1", node.port, [context], called)


def test_senders_are_served(node, make_file, dcmtk, lines) -> None:
    before = node.metrics()["received_total"]
    first, second, third = make_file(110), make_file(111), make_file(112)

    assert dcmtk("echoscu", "-aec", "DENOISE", "127.0.0.1", node.port).returncode == 0
    arguments = ("-aec", "DENOISE", "127.0.0.1", node.port)
    sent = [
        dcmtk("storescu", *arguments, first),
        dcmtk("dcmsend", *arguments, second),
    ]
    association = associate(node, third)
    status = association.send_c_store(dcmread(third))
    association.release()

    assert [each.returncode for each in sent] == [0, 0], sent
    assert status.Status == 0x0000
    assert node.metrics()["received_total"] == before + 3
    assert lines() == []


def test_same_instance_again_changes_nothing(node, make_file, dcmtk) -> None:
    path = make_file(120)
    arguments = ("-aec", "DENOISE", "127.0.0.1", node.port, path)
    assert dcmtk("storescu", *arguments).returncode == 0
    before = node.metrics()

    assert dcmtk("storescu", *arguments).returncode == 0

    after = node.metrics()
    assert after["received_total"] == before["received_total"]
    assert after["known_total"] == before["known_total"] + 1


def test_twenty_associations_at_once(node, make_file, lines) -> None:
    before = node.metrics()["received_total"]
    paths = [make_file(200 + number) for number in range(20)]
    statuses: dict[int, Any] = {}
    open_all = threading.Barrier(20)

    def send(number: int) -> None:
        association = associate(node, paths[number])
        open_all.wait(60)
        statuses[number] = association.send_c_store(dcmread(paths[number])).get("Status")
        association.release()

    threads = [threading.Thread(target=send, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)

    assert statuses == dict.fromkeys(range(20), 0x0000)
    assert node.metrics()["received_total"] == before + 20
    assert lines() == []


def test_one_association_too_many_is_rejected(node, make_file, lines) -> None:
    node.wait_for(lambda metrics: metrics["associations"] == 0)
    path = make_file(1)
    held = [associate(node, path) for _ in range(20)]

    refused = associate(node, path)

    assert all(each.is_established for each in held)
    assert refused.is_rejected
    for each in held:
        each.release()
    assert lines() == [
        "WARNING peer 127.0.0.1: association rejected: 20 associations are already open "
        "(associations)"
    ]
    node.wait_for(lambda metrics: metrics["associations"] == 0)


@pytest.mark.parametrize(
    ("title", "called", "reason"),
    [
        ("STRANGER", "DENOISE", "its AE title is not among those that may call (allow)"),
        ("SENDER", "OTHER", "it calls an AE title other than DENOISE"),
    ],
)
def test_wrong_ae_title_is_rejected(node, make_file, lines, title, called, reason) -> None:
    assert associate(node, make_file(1), title, called).is_rejected

    wait_until_said(lines, reason)
    assert lines() == [f"WARNING peer 127.0.0.1: association rejected: {reason}"]


def test_garbage_is_survived(node, lines) -> None:
    with socket.create_connection(("127.0.0.1", node.port)) as connection:
        connection.sendall(b"GET /MARKER HTTP/1.1\r\nHost: MARKER\r\n\r\n")
        connection.settimeout(30)
        assert connection.recv(1) == b""

    assert lines() == [
        "WARNING peer 127.0.0.1 sent no A-ASSOCIATE-RQ: does not speak DICOM, or speaks TLS to a "
        "port without it; "
        "its connection is closed"
    ]


def test_sender_that_breaks_off_leaves_nothing(node, make_file, lines) -> None:
    before = node.metrics()
    association = associate(node, make_file(130))
    send_begun_object(association, 1000)

    association.dul.socket.socket.shutdown(socket.SHUT_RDWR)

    wait_until_said(lines, "broke off")
    assert lines() == [
        "WARNING peer 127.0.0.1: association broke off within an object, which is not kept"
    ]
    assert node.metrics()["received_total"] == before["received_total"]
    # What a worker writes just now is there for a moment too.
    wait_until(lambda: not list((node.spool / ".parts").iterdir()))


def test_giant_object_is_refused(node, make_file, lines) -> None:
    path = make_file(140, stored=np.zeros((2000, 2000), np.uint8))
    association = associate(node, path)

    assert association.send_c_store(dcmread(path)).Status == 0xA700

    path = make_file(150)  # the association goes on
    assert association.send_c_store(dcmread(path)).Status == 0x0000
    association.release()
    assert lines() == [
        "WARNING peer 127.0.0.1: instance refused: an object beyond max-object, 1 MiB"
    ]


def test_giant_pdu_is_refused_before_it_comes(node, make_file, lines) -> None:
    association = associate(node, make_file(1))

    association.dul.socket.socket.sendall(struct.pack(">BBL", 4, 0, 0xFFFFFFFF))

    wait_until_said(lines, "PDU")
    assert lines()[0] == (
        "WARNING peer 127.0.0.1 announced a PDU of 4294967295 bytes; max-pdu is 131072; its "
        "connection is closed"
    )
    association.kill()


def test_sender_that_does_not_wait_for_answers_is_ended(node, make_file, lines) -> None:
    association = associate(node, make_file(1))
    echo = bytes.fromhex(  # C-ECHO-RQ, implicit VR little endian
        "00000000 04000000 38000000 00000200 12000000 312e322e3834302e31303030382e312e3100"
        "00000001 02000000 3000 00001001 02000000 0100 00000008 02000000 0101".replace(" ", "")
    )
    value = struct.pack(">LBB", len(echo) + 2, 1, 3) + echo
    connection = association.dul.socket.socket
    with contextlib.suppress(OSError):  # the connection ends under our hands
        for _ in range(200_000):
            connection.sendall(struct.pack(">BBL", 4, 0, len(value)) + value)

    wait_until_said(lines, "without waiting for answers")
    association.kill()


def test_not_a_radiograph_is_listed_with_its_reason(node, make_file, dcmtk) -> None:
    path = make_file(160, Modality="US")
    assert dcmtk("storescu", "-aec", "DENOISE", "127.0.0.1", node.port, path).returncode == 0

    node.wait_for(lambda metrics: metrics["skipped_total"] > 0)

    queue = Queue(node.spool)
    (job,) = queue.instances("skipped")
    queue.close()
    assert job.reason.startswith("(0008,0060) Modality is US; the rules select ")
    assert job.uid == "1.2.3.4.160"


def test_nothing_of_a_patient_is_said_or_counted(node) -> None:
    """After all that came before."""
    assert "MARKER" not in node.log
    assert "MARKER" not in node.get("/metrics") + node.get("/health")
    assert "Traceback" not in node.log
    assert b"MARKER" not in (node.spool / QUEUE).read_bytes()
    assert b"MARKER" not in (node.spool / f"{QUEUE}-wal").read_bytes()


def test_sender_without_the_right_certificate_stays_out(
    make_node, make_file, certificates, dcmtk
) -> None:
    node = make_node(
        NOWHERE, "--tls-cert", certificates / "node.crt", "--tls-key", certificates / "node.key",
        "--tls-ca", certificates / "ca.crt",
    )  # fmt: skip
    node.start()

    def send(name: str) -> int:
        key, cert = (certificates / f"{name}.{kind}" for kind in ("key", "crt"))
        return dcmtk(
            "storescu", "-aec", "DENOISE", "+tls", key, cert, "+cf", certificates / "ca.crt",
            "127.0.0.1", node.port, make_file(170),
        ).returncode  # fmt: skip

    with socket.create_connection(("127.0.0.1", node.port)):  # one that says nothing at all
        assert send("sender") == 0
        assert send("stranger") != 0
        assert dcmtk("storescu", "-aec", "DENOISE", "127.0.0.1", node.port, make_file(1)).returncode
    context = ssl.create_default_context(cafile=certificates / "ca.crt")
    context.check_hostname = False
    with (
        socket.create_connection(("127.0.0.1", node.port)) as plain,
        context.wrap_socket(plain) as bare,  # no certificate
        pytest.raises(ssl.SSLError),
    ):
        bare.recv(1)

    assert node.metrics()["received_total"] == 1
    assert node.metrics()["rejected_total"] >= 3
    warnings = [line for line in node.log.splitlines() if "no TLS" in line]
    assert len(warnings) >= 3
    assert node.signal(signal.SIGTERM) == 0


def send_begun_object(association: Association, size: int) -> None:
    """A C-STORE request, and the start of its dataset."""
    request = C_STORE()
    request.MessageID, request.Priority = 1, 2
    (context,) = association.accepted_contexts
    request.AffectedSOPClassUID = context.abstract_syntax
    request.AffectedSOPInstanceUID = uid.UID("1.2.3.4.130")
    request.DataSet = io.BytesIO(b"MARKER" * size)
    message = C_STORE_RQ()
    message.primitive_to_message(request)
    assert context.context_id is not None
    parts = list(message.encode_msg(context.context_id, 1024))
    for part in parts[:-1]:
        association.dul.send_pdu(part)
    wait_until(association.dul.to_provider_queue.empty)


def test_health_and_metrics_are_where_the_settings_say(make_node) -> None:
    node = make_node(NOWHERE, "--health-host", "127.0.0.2")
    node.start()

    assert node.get("/health") == "ok\n"
    assert "# TYPE monai_dental_node_received_total counter" in node.get("/metrics")
    assert node.get("/metrics").count("\nmonai_dental_node_instances{") == 5
