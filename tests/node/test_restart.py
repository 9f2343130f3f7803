"""A node that ends and restarts."""

from __future__ import annotations

import signal
import socket
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread, dcmwrite
from pynetdicom import AE, build_context

from monai_dental.cli import main
from monai_dental.files.lock import hold_lock
from monai_dental.node.intake import Intake
from monai_dental.node.log import Counts
from monai_dental.node.queue import FAILED, QUEUE, SKIPPED, Queue
from monai_dental.node.receiver import Receiver
from monai_dental.node.settings import make_settings
from monai_dental.node.spool import Spool

NOWHERE = "ARCHIVE@127.0.0.1:1"


def send(port: int, path: Path) -> int | None:
    dataset = dcmread(path)
    entity = AE("SENDER")
    context = build_context(dataset.SOPClassUID, dataset.file_meta.TransferSyntaxUID)
    association = entity.associate("127.0.0.1", port, [context], "DENOISE")
    try:
        status: int | None = association.send_c_store(dataset).get("Status")
        return status
    finally:
        association.release()


def test_stop_in_mid_work_and_a_lost_queue_lose_nothing(make_node, make_orthanc, make_file) -> None:
    target = make_orthanc()
    target.stop()
    forward = f"dicomweb+http://127.0.0.1:{target.http_port}/dicom-web"
    node = make_node(forward, STUB_SECONDS="0.5")
    node.start()
    for number in range(4):
        assert send(node.port, make_file(number)) == 0x0000
    node.wait_for(lambda metrics: metrics["derived_total"] > 0)

    assert node.signal(signal.SIGTERM) == 0
    assert "INFO stopping: no more instances are taken" in node.log
    assert len(list(node.spool.rglob("*.dcm"))) >= 4
    for path in node.spool.glob(f"{QUEUE}*"):
        path.unlink()
    target.start()
    node.start()
    node.wait_for(
        lambda metrics: (
            metrics['instances{state="received"}'] == metrics['instances{state="derived"}'] == 0
        )
    )

    assert len(target.files()) == 4


def test_failed_instances_are_listed_and_done_again_when_asked_for(
    make_node, make_file, picture, capfd
) -> None:
    node = make_node(NOWHERE)
    node.start()
    assert send(node.port, make_file(0, Rows=30)) == 0x0000  # more rows than there are pixels
    assert send(node.port, make_file(10, stored=picture(8, rows=31))) == 0x0000  # kills its worker
    assert send(node.port, make_file(20)) == 0x0000
    node.wait_for(lambda metrics: metrics["failed_total"] == 2 and metrics["derived_total"] == 1)
    assert "2 instances failed; `monai-dental node-status` says why\n" in node.get("/health")
    node.signal(signal.SIGTERM)

    assert main(["node-status", str(node.spool)]) == 1
    said = capfd.readouterr().out.splitlines()
    assert said[0].startswith("failed: instance 1.2.3.4.0: (7FE0,0010) Pixel Data has 960 bytes")
    assert said[1] == (
        "failed: instance 1.2.3.4.10: crashed its worker process (signal 9), 2 times"
    )
    assert said[-1] == "0 received, 1 derived, 0 forwarded, 0 skipped, 2 failed"
    assert len(list(node.spool.rglob("*.dcm"))) == 3
    node.start("--retry-failed")
    node.wait_for(lambda metrics: metrics["failed_total"] == 2)


def test_second_node_on_a_spool_is_refused(tmp_path, capfd) -> None:
    with hold_lock(tmp_path / "node.lock"):
        options = ["--allow", "A", "--forward", NOWHERE, "--port", "0"]
        assert main(["node", "--spool", str(tmp_path), *options]) == 2

    assert "another run is writing here" in capfd.readouterr().err


def test_instance_whose_row_a_power_cut_took_is_done_again(make_node, make_file) -> None:
    """It was skipped under older settings, then received again, and only its file was saved."""
    node = make_node(NOWHERE)
    node.start()
    path = make_file(0, Modality="US")
    assert send(node.port, path) == 0x0000
    node.wait_for(lambda metrics: metrics["skipped_total"] == 1)
    assert node.signal(signal.SIGTERM) == 0
    queue = Queue(node.spool, is_writable=True)
    (skipped,) = queue.instances(SKIPPED)
    queue.finish(skipped.key, SKIPPED, skipped.reason, "older settings")
    queue.close()
    dcmwrite(node.spool / "received" / f"{skipped.key}.dcm", dcmread(path))

    node.start()

    node.wait_for(lambda metrics: metrics["skipped_total"] == 1)
    assert not list(node.spool.rglob("*.dcm"))


def test_row_that_changes_is_on_the_disk_before_success(tmp_path, monkeypatch) -> None:
    """The older row must not win over the new file, whose own row is lost."""
    statements: list[str] = []
    connect = sqlite3.connect

    def connect_traced(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(*arguments, **options)
        connection.set_trace_callback(statements.append)
        return connection

    monkeypatch.setattr("monai_dental.node.queue_file.sqlite3.connect", connect_traced)
    queue = Queue(tmp_path, is_writable=True)
    queue.receive("a" * 64, "")
    queue.finish("a" * 64, FAILED, "broken", "")

    queue.receive("a" * 64, "")

    queue.close()
    change = max(n for n, text in enumerate(statements) if text.startswith("INSERT"))
    levels = [text for text in statements[:change] if "synchronous" in text]
    assert levels[-1].endswith("FULL")


@pytest.mark.parametrize(("sender", "level"), [("", "NORMAL"), ("PX1", "FULL")])
def test_new_row_is_on_the_disk_before_success_where_only_it_tells_the_sender(
    tmp_path, sender, level
) -> None:
    queue = Queue(tmp_path, is_writable=True)
    levels: list[str] = []

    def trace(text: str) -> None:
        if "synchronous" in text or text.startswith("INSERT"):
            levels.append(text)

    queue._connection.set_trace_callback(trace)
    queue.receive("a" * 64, "", sender=sender)

    before = [text for text in levels[: [t[:6] for t in levels].index("INSERT")]]
    assert (before or ["FULL"])[-1].endswith(level)
    queue.close()


@pytest.fixture
def receiver(tmp_path: Path) -> Any:
    """Factory of receivers in this process, each with its own settings."""
    started: list[Receiver] = []
    (tmp_path / "spool").mkdir()

    def make(timeout_s: float = 60.0, **settings: Any) -> tuple[Receiver, Spool]:
        spool = Spool(tmp_path / "spool", 10 << 20)
        spool.prepare()
        receiver = Receiver(
            make_settings(
                {"forward": NOWHERE, "allow": ("SENDER",), "host": "127.0.0.1", "port": 0,
                 **settings}
            ),
            Intake(
                spool, 10 << 20, is_known=lambda key: False, on_received=lambda key, uid: None,
                counts=Counts(),
            ),
            timeout_s=timeout_s,
        )  # fmt: skip
        receiver.start()
        started.append(receiver)
        return receiver, spool

    yield make
    for each in started:
        each.stop()


def test_silent_peer_is_let_go(receiver) -> None:
    listening, _ = receiver(timeout_s=0.5)

    with socket.create_connection(("127.0.0.1", listening.port)) as connection:
        connection.sendall(b"\x01\x00\x00\x00\x01\x00")  # an A-ASSOCIATE-RQ that does not go on
        connection.settimeout(30)
        assert connection.recv(1) == b""


def test_disk_that_is_full_or_broken_is_out_of_resources(receiver, make_file, monkeypatch) -> None:
    listening, spool = receiver()

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr("monai_dental.files.atomic.os.fsync", fail)
        assert send(listening.port, make_file(0)) == 0xA700
    assert spool.used == 0
    assert not [path for path in spool.folder.rglob("*") if path.is_file()]
    assert send(listening.port, make_file(0)) == 0x0000


def test_uid_that_is_none_becomes_no_path(receiver, make_file, tmp_path) -> None:
    listening, spool = receiver()
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    path = make_file(0, SOPInstanceUID="../../MARKER")

    assert send(listening.port, path) == 0x0000

    (key,) = spool.keys()
    new = {path for path in tmp_path.rglob("*") if path.is_file()} - before - {path}
    assert new == {spool.path(key)}
