"""Idle connections, which must not lock out others."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from pynetdicom import AE
from waiting import wait_until

from monai_dental.pacs.dimse.association import VERIFICATION
from monai_dental.pacs.dimse.commitment import STORAGE_COMMITMENT

NOWHERE = "ARCHIVE@127.0.0.1:1"
BEGUN = b"\x01\x00\x00\x00\x01\x00"  # an A-ASSOCIATE-RQ that does not go on


@contextlib.contextmanager
def connections(port: int, count: int, content: bytes = b"") -> Iterator[list[socket.socket]]:
    """A number of connections, each of which sends only the given bytes."""
    with contextlib.ExitStack() as stack:
        made = []
        for _ in range(count):
            each = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
            each.sendall(content)
            made.append(each)
        yield made


@contextlib.contextmanager
def probes(port: int) -> Iterator[None]:
    """Connections that are opened and closed, one after another."""
    stopped = threading.Event()

    def probe() -> None:
        while not stopped.wait(0.1):
            socket.create_connection(("127.0.0.1", port)).close()

    thread = threading.Thread(target=probe)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def associate(port: int, title: str = "SENDER", service: str = VERIFICATION) -> Any:
    entity = AE(title)
    entity.add_requested_context(service)
    return entity.associate("127.0.0.1", port, ae_title="DENOISE")


@pytest.fixture(scope="module")
def node(make_node: Any) -> Any:
    made = make_node(NOWHERE, "--associations", 4)
    made.start()
    return made


def test_silent_and_slow_connections_and_probes_lock_nobody_out(node) -> None:
    with (
        connections(node.port, 64),
        connections(node.port, 20, BEGUN),
        probes(node.port),
    ):
        for _ in range(10):
            association = associate(node.port)
            assert association.is_established, node.log
            assert association.send_c_echo().Status == 0x0000
            association.release()


def test_connection_that_closes_is_not_spoken_of(node) -> None:
    begun = len(node.log)
    for _ in range(200):
        socket.create_connection(("127.0.0.1", node.port)).close()

    association = associate(node.port)

    assert association.is_established
    association.release()
    assert "closed" not in node.log[begun:]
    assert "rejected" not in node.log[begun:]


def test_archive_may_report_while_senders_hold_all_associations(node) -> None:
    node.wait_for(lambda metrics: metrics["associations"] == 0)
    held = [associate(node.port) for _ in range(4)]
    assert all(each.is_established for each in held)

    assert associate(node.port).is_rejected
    archive = associate(node.port, "ARCHIVE", STORAGE_COMMITMENT)

    assert archive.is_established
    for each in (*held, archive):
        each.release()


def test_silent_connections_do_not_hold_up_tls(make_node, certificates, dcmtk) -> None:
    node = make_node(
        NOWHERE, "--tls-cert", certificates / "node.crt", "--tls-key", certificates / "node.key",
        "--tls-ca", certificates / "ca.crt", "--associations", 4,
    )  # fmt: skip
    node.start()
    with connections(node.port, 48), connections(node.port, 20, b"\x16\x03\x01"):
        for _ in range(3):
            echo = dcmtk(
                "echoscu", "-aec", "DENOISE", "+tls", certificates / "sender.key",
                certificates / "sender.crt", "+cf", certificates / "ca.crt", "127.0.0.1", node.port,
            )  # fmt: skip
            assert echo.returncode == 0, (echo.stderr, node.log)
    assert node.signal(signal.SIGTERM) == 0


def test_connection_that_asks_for_nothing_is_closed_in_time(make_node) -> None:
    node = make_node(NOWHERE)
    node.start()
    with connections(node.port, 1, BEGUN) as (slow,):
        stopped = threading.Event()

        def drip() -> None:
            with contextlib.suppress(OSError):
                while not stopped.wait(0.5):
                    slow.sendall(b"\x00")

        thread = threading.Thread(target=drip)
        thread.start()
        assert slow.recv(1) == b""
        stopped.set()
        thread.join()
    wait_until(lambda: "asked for no association within 10 s; its connection is" in node.log)
