"""How a node handles an archive that refuses instances, and what it reports of that."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset
from waiting import wait_until

from monai_dental.batch.job import Recipe, Result
from monai_dental.cli import main
from monai_dental.errors import OutputError, PacsError, PacsUnavailableError
from monai_dental.node.denoise import DenoisePool
from monai_dental.node.forward import Forwarder
from monai_dental.node.health import Health
from monai_dental.node.log import Counts
from monai_dental.node.queue import FAILED, FORWARDED, Queue
from monai_dental.node.spool import DerivedFolder, Spool
from monai_dental.pacs.parcel import COPY, Parcel


class Stuck:
    """A worker that finds the disk full until that is fixed, and then skips."""

    recipe = Recipe("", "")
    is_mended = threading.Event()

    def __init__(self, *_: object) -> None:
        self.is_mended.clear()

    def describe(self) -> Recipe:
        return self.recipe

    def submit(self, *_: object) -> Future[Result]:
        future: Future[Result] = Future()
        future.set_result(Result("skipped", "no"))
        return future

    def collect(self, future: Future[Result]) -> Result:
        if not self.is_mended.is_set():
            raise OutputError("derived: cannot be written: No space left on device")
        return future.result()

    def stop(self) -> None:
        pass


def test_health_tells_why_denoising_and_forwarding_rest(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("monai_dental.node.denoise.LocalWorker", Stuck)
    spool = Spool(tmp_path / "spool", 10 << 20)
    spool.prepare()
    queue = Queue(tmp_path / "spool", is_writable=True)
    queue.receive(f"{1:064}", "")
    common = {"spool": spool, "queue": queue, "counts": Counts()}
    pool = DenoisePool(None, None, 2, **common, pause_s=0.01)
    forwarder = Forwarder(Archive(), 0.01, **common, on_room=lambda: None)

    def problems() -> list[str]:
        counts, pauses = queue.counts(), pool.pauses + forwarder.pauses
        return Health({}, counts, 0, 1, False, 0, forwarder.failures, pauses).problems

    def wait_for(problem: str | None) -> None:
        def is_so() -> bool:
            found = problems()
            return found == [] if problem is None else len(found) == 1 and problem in found[0]

        wait_until(is_so)

    pool.start()
    wait_for("denoising pauses: derived: cannot be written: No space left on device")
    Stuck.is_mended.set()
    wait_for(None)
    pool.stop()

    with monkeypatch.context() as broken:
        broken.setattr(queue, "next_derived", lambda *_: 1 / 0)
        forwarder.start()
        wait_for("forwarding pauses: unexpected ZeroDivisionError")
    wait_for(None)
    forwarder.stop(10)
    queue.close()


class Archive:
    """A target with the given responses."""

    def __init__(self, *answers: Exception | None) -> None:
        self._answers = list(answers)
        self.taken: list[str] = []
        self.forwarder: Any = None

    def send(self, parcel: Parcel) -> str:
        answer = self._answers.pop(0) if self._answers else None
        if answer is not None:
            raise answer
        self.taken.append(parcel.key.sop_instance_uid)
        return COPY

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def forward(tmp_path: Path, dicom_dataset: Callable[..., Dataset]) -> Callable[..., Any]:
    """Forward instances to an archive; the states that they end in, by UID."""

    def run(
        archive: Archive, count: int = 2, broken: int = 0
    ) -> tuple[dict[str, str], dict[str, int]]:
        spool = Spool(tmp_path / "spool", 10 << 20)
        spool.prepare()
        queue, counts = Queue(tmp_path / "spool", is_writable=True), Counts()
        for number in range(1, count + 1):
            stored = DerivedFolder(spool.folder).store(
                dicom_dataset(
                    SOPInstanceUID=f"1.2.3.{number}",
                    **({"StudyInstanceUID": "not.a.uid"} if number <= broken else {}),
                )
            )
            queue.receive(f"{number:064}", "")
            queue.derive(f"{number:064}", "", stored)
        forwarder = Forwarder(
            archive, 0.01, spool=spool, queue=queue, counts=counts, on_room=lambda: None
        )
        archive.forwarder = forwarder
        forwarder.start()
        wait_until(lambda: sum(queue.counts()[each] for each in (FORWARDED, FAILED)) == count)
        forwarder.stop(10)
        assert archive.is_closed
        states = {job.output_uid: job.state for job in queue.instances(FORWARDED, FAILED)}
        queue.close()
        return states, counts.values()

    return run


def test_archive_that_is_away_is_asked_again_and_again(forward) -> None:
    away = [PacsUnavailableError("away")] * 30
    archive = Archive(*away, ValueError("MARKER"))

    states, counts = forward(archive)

    assert states == {"1.2.3.1": "forwarded", "1.2.3.2": "forwarded"}
    assert sorted(archive.taken) == ["1.2.3.1", "1.2.3.2"]
    assert counts["retries"] == 31


def test_what_an_archive_refuses_once_after_it_was_away_does_not_fail(forward) -> None:
    away = [PacsUnavailableError("away")] * 60
    archive = Archive(*away, *[PacsError("the PACS refuses it: status 0110")] * 2)

    states, _ = forward(archive)

    assert set(states.values()) == {"forwarded"}


def test_archive_that_refuses_all_is_waited_for(forward, caplog) -> None:
    class Refusing(Archive):
        failures = 0

        def send(self, parcel: Parcel) -> str:
            self.failures = max(self.failures, self.forwarder.failures)
            return super().send(parcel)

    archive = Refusing(*[PacsError("the PACS refuses it: status 0110")] * 150)

    states, counts = forward(archive, 6)

    assert set(states.values()) == {"forwarded"}
    assert counts["retries"] == 150
    assert archive.failures > 100  # which /health tells
    assert caplog.text.count("forwarding fails: the PACS refuses it: status 0110") == 1


def test_few_instances_that_are_all_refused_come_to_an_end(forward) -> None:
    states, _ = forward(Archive(*[PacsError("the PACS refuses it: status C000")] * 100), 4)

    assert set(states.values()) == {"failed"}


def test_instance_that_no_archive_could_take_is_not_sent(forward, caplog) -> None:
    archive = Archive()

    states, counts = forward(archive, 7, broken=6)

    assert archive.taken == ["1.2.3.7"]
    assert [uid for uid, state in states.items() if state == "forwarded"] == ["1.2.3.7"]
    assert counts["failed"] == 6
    assert counts["retries"] == 0
    assert archive.forwarder.failures == 0
    said = "cannot be forwarded: (0020,000D) Study Instance UID is missing or not a UID"
    assert said in caplog.text


def test_instance_that_an_archive_refuses_fails_at_last(forward, tmp_path, caplog) -> None:
    class Refusing(Archive):
        def send(self, parcel: Parcel) -> str:
            if parcel.key.sop_instance_uid == "1.2.3.1":
                raise PacsError("the PACS refuses it: status C000")
            return super().send(parcel)

    states, counts = forward(Refusing())

    assert states == {"1.2.3.1": "failed", "1.2.3.2": "forwarded"}
    assert counts["retries"] == 19
    assert (tmp_path / "spool" / "derived" / "1.2.3.1.dcm").is_file()
    assert "1.2.3.1: failed: cannot be forwarded: the PACS refuses it" in caplog.text


def test_instance_that_ended_the_process_goes_last_and_the_second_time_fails(
    tmp_path, dicom_dataset, caplog
) -> None:
    spool = Spool(tmp_path / "spool", 10 << 20)
    spool.prepare()
    for number in (1, 2):
        stored = DerivedFolder(spool.folder).store(dicom_dataset(SOPInstanceUID=f"1.2.3.{number}"))
        queue = Queue(spool.folder, is_writable=True)
        queue.receive(f"{number:064}", "")
        queue.derive(f"{number:064}", "", stored)
        queue.close()

    def start(archive: Archive) -> tuple[Forwarder, Queue]:
        queue = Queue(spool.folder, is_writable=True)
        forwarder = Forwarder(
            archive, 0.01, spool=spool, queue=queue, counts=Counts(), on_room=lambda: None
        )
        return forwarder, queue

    queue = Queue(spool.folder, is_writable=True)
    queue.begin(f"{1:064}")  # and the process ends
    queue.close()
    archive = Archive()
    forwarder, queue = start(archive)
    forwarder.start()
    wait_until(lambda: archive.taken)
    assert archive.taken == ["1.2.3.2"]
    assert "the node's process ended while it was forwarded; it goes last now" in caplog.text
    forwarder.stop(10)
    queue.begin(f"{1:064}")
    queue.close()

    forwarder, queue = start(Archive())
    forwarder.start()
    forwarder.stop(10)

    (failed,) = queue.instances(FAILED)
    assert failed.output_uid == "1.2.3.1"
    assert failed.reason == "ended the node's process 2 times while it was forwarded"
    assert spool.derived.path(failed.output).is_file()
    queue.close()


def test_archive_that_can_only_store_fails_nothing_and_is_enough_where_that_is_said(
    make_node, make_file, scp, dcmtk, capfd
) -> None:
    node = make_node(scp.place)
    node.start()
    for path in (make_file(0), make_file(10), make_file(20, Modality="US"), make_file(30)):
        assert dcmtk("storescu", "-aec", "DENOISE", "127.0.0.1", node.port, path).returncode == 0
    metrics = node.wait_for(
        lambda metrics: metrics["derived_total"] == 3 and metrics["forward_failures"] > 3
    )
    assert node.get("/health").startswith("503 forwarding failed ")
    assert "neither storage commitment nor C-FIND; need one of them as proof" in node.log
    assert metrics['instances{state="failed"}'] == metrics['instances{state="forwarded"}'] == 0
    assert node.signal(signal.SIGTERM) == 0

    node.start("--proof", "status")

    node.wait_for(lambda metrics: metrics['instances{state="forwarded"}'] == 3)
    assert not node.get("/health").startswith("503 ")
    assert main(["node-status", str(node.spool)]) == 0
    said = capfd.readouterr().out
    assert "forwarded 3: proven by the status Success alone\n" in said
    assert "skipped 1: (0008,0060) Modality is US; the rules select " in said
