"""A node's counts of its spool match the spool's contents."""

from __future__ import annotations

import os
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from waiting import wait_until

from monai_dental.batch.job import Recipe, Result
from monai_dental.errors import OutputError
from monai_dental.node.denoise import DenoisePool
from monai_dental.node.log import Counts
from monai_dental.node.queue import DERIVED, FAILED, QUEUE, Queue
from monai_dental.node.spool import Spool

FIRST, SECOND = "first", "second"


@pytest.fixture
def denoise(spool: Spool, queue: Queue, instance: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Denoise all received instances with a worker that derives the same from each."""

    class Same:
        def __init__(self, *_: object) -> None:
            pass

        def describe(self) -> Recipe:
            return Recipe("", "")

        def submit(self, *_: object) -> Future[Result]:
            future: Future[Result] = Future()
            future.set_result(Result(DERIVED, stored=spool.derived.store(instance())))
            return future

        def collect(self, future: Future[Result]) -> Result:
            return future.result()

        def stop(self) -> None:
            pass

    monkeypatch.setattr("monai_dental.node.denoise.LocalWorker", Same)

    def run() -> None:
        pool = DenoisePool(None, None, 1, spool=spool, queue=queue, counts=Counts(), pause_s=0.01)
        pool.start()
        wait_until(lambda: not any(spool.keys()))
        pool.stop()

    return run


def write(spool: Spool, name: str) -> str:
    """Receive 1000 bytes, and return their key."""
    incoming = spool.begin(b"", name.encode())
    incoming.write(bytes(1000))
    incoming.keep()
    return incoming.key


def receive(spool: Spool, queue: Queue, name: str) -> str:
    key = write(spool, name)
    queue.receive(key, "")
    return key


def on_disk(spool: Spool) -> int:
    return sum(path.stat().st_size for path in spool.folder.rglob("*.dcm"))


def test_instance_that_is_sent_again_counts_once(spool, queue, denoise) -> None:
    for _ in range(3):  # its forwarding fails, so that its sender sends it again
        key = receive(spool, queue, FIRST)
        denoise()
        queue.finish(key, FAILED, "the PACS refuses it", "")

    assert spool.used == on_disk(spool) > 0


def test_instance_that_comes_in_two_transfer_syntaxes_counts_once(spool, queue, denoise) -> None:
    for name in (FIRST, SECOND):
        receive(spool, queue, name)
        denoise()
    (location,) = spool.derived.locations()

    spool.remove_derived(location)

    assert spool.used == on_disk(spool) == 0


def test_instance_counts_once_however_often_it_is_noted(spool, queue, denoise, monkeypatch) -> None:
    faults = iter([OutputError("queue.sqlite: database is locked")] * 3)
    derive = queue.derive

    def fail(*arguments: Any) -> None:
        if fault := next(faults, None):
            raise fault
        derive(*arguments)

    monkeypatch.setattr(queue, "derive", fail)
    receive(spool, queue, FIRST)

    denoise()

    assert next(faults, None) is None
    assert spool.used == on_disk(spool) > 0


def test_file_that_found_no_room_says_so_to_whoever_looks_into_it(tmp_path) -> None:
    spool = Spool(tmp_path / "spool", 100)
    spool.prepare()
    incoming = spool.begin(b"", b"")
    incoming.write(bytes(1000))

    for action in (incoming.open, incoming.keep):
        with pytest.raises(
            OutputError, match="no more instances are accepted until some are forwarded"
        ):
            action()
    assert spool.used == 0
    assert not list((spool.folder / ".parts").iterdir())


def test_instance_that_two_senders_bring_at_once_counts_once(spool, monkeypatch) -> None:
    both, flush = threading.Barrier(2, timeout=60), os.fsync

    def meet(descriptor: int) -> None:
        both.wait()
        flush(descriptor)

    monkeypatch.setattr("monai_dental.files.atomic.os.fsync", meet)
    senders = [threading.Thread(target=write, args=(spool, FIRST)) for _ in "ab"]
    for each in senders:
        each.start()
    for each in senders:
        each.join()

    assert spool.used == on_disk(spool) == 1000
    (key,) = spool.keys()
    spool.remove(key)
    assert spool.used == 0


def modes(folder: Path) -> dict[str, int]:
    return {
        str(path.relative_to(folder)): path.stat().st_mode & 0o777
        for path in (folder, *folder.rglob("*"))
    }


def test_spool_that_was_open_is_closed(tmp_path) -> None:
    folder = tmp_path / "spool"
    for name in ("received", "derived", ".parts"):
        (folder / name).mkdir(parents=True)
    left = folder / "received" / f"{1:064x}.dcm"
    left.write_bytes(b"MARKER")
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o777)
    before = os.umask(0)
    try:
        spool = Spool(folder, 10 << 20)
        spool.make()
        spool.prepare()
        queue = Queue(folder, is_writable=True)
        receive(spool, queue, FIRST)
        queue.close()
    finally:
        os.umask(before)

    found = modes(folder)
    assert {mode for name, mode in found.items() if name.endswith(".dcm")} == {0o600}
    assert {found[name] for name in (".", "received", "derived", ".parts")} == {0o700}


@pytest.mark.parametrize("name", [".parts", "received", "derived", "queue.sqlite"])
def test_link_in_a_spool_is_refused_and_not_followed(tmp_path, name) -> None:
    folder, target = tmp_path / "spool", tmp_path / "target"
    folder.mkdir()
    target.mkdir()
    (target / "precious").write_bytes(b"")
    (folder / name).symlink_to(target)
    spool = Spool(folder, 10 << 20)

    for action in (spool.check, spool.make, spool.prepare):
        with pytest.raises(OutputError, match=f"{name}: is a link"):
            action()
    assert (target / "precious").is_file()


def test_what_is_not_the_nodes_is_let_alone(tmp_path) -> None:
    folder = tmp_path / "spool"
    (folder / "lost+found").mkdir(parents=True)
    (folder / "lost+found").chmod(0o755)
    (folder / "link").symlink_to(tmp_path)
    spool = Spool(folder, 10 << 20)

    spool.make()
    spool.prepare()

    assert (folder / "lost+found").stat().st_mode & 0o777 == 0o755
    assert (folder / "link").is_symlink()


def test_link_among_files_is_refused(tmp_path) -> None:
    spool = Spool(tmp_path / "spool", 10 << 20)
    spool.prepare()
    precious = tmp_path / "precious"
    precious.write_bytes(b"")
    precious.chmod(0o644)
    (spool.folder / "derived" / "1.2.3.dcm").symlink_to(precious)

    with pytest.raises(OutputError, match="spool: cannot be written"):
        spool.prepare()
    assert precious.stat().st_mode & 0o777 == 0o644


def test_spool_of_another_user_is_refused(tmp_path, monkeypatch) -> None:
    (tmp_path / "spool").mkdir()
    monkeypatch.setattr("os.geteuid", lambda: os.getuid() + 1)

    for action in (Spool(tmp_path / "spool", 1).check, Spool(tmp_path / "spool", 1).make):
        with pytest.raises(OutputError, match="spool: belongs to another user; need"):
            action()


@pytest.mark.parametrize("content", [b"no database at all" * 100, None])
def test_damaged_queue_is_refused_with_the_way_out(tmp_path, content) -> None:
    path = tmp_path / QUEUE
    if content is None:  # one whose pages are damaged
        queue = Queue(tmp_path, is_writable=True)
        for number in range(200):
            queue.receive(f"{number:064x}", "1.2.3")
        queue.close()
        whole = path.read_bytes()
        content = whole[:4096] + bytes(len(whole) - 4096)
    path.write_bytes(content)

    with pytest.raises(OutputError, match=r"queue\.sqlite: is damaged: .*; stop the node and move"):
        Queue(tmp_path, is_writable=True)

    path.unlink()
    Queue(tmp_path, is_writable=True).close()
