"""Forwarded instances that the archive has lost are restored."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

import pytest

from monai_dental.cli import main
from monai_dental.errors import OutputError
from monai_dental.node.queue import FAILED, QUEUE, SKIPPED, Queue


@pytest.fixture
def archive(make_orthanc: Callable[..., Any]) -> Any:
    return make_orthanc()


@pytest.fixture
def node(make_node: Callable[..., Any], archive: Any) -> Any:
    made = make_node(f"ARCHIVE@127.0.0.1:{archive.dicom_port}")
    made.start()
    return made


def test_original_that_comes_again_asks_the_archive(node, archive, make_file, dcmtk, capfd) -> None:
    path = make_file(0)

    def send() -> None:
        sent = dcmtk("storescu", "-aec", "DENOISE", "127.0.0.1", node.port, path)
        assert sent.returncode == 0, sent.stderr

    def wait_for(**counts: int) -> None:
        wanted = {f"{name}_total": count for name, count in counts.items()}
        node.wait_for(lambda metrics: all(metrics[each] == wanted[each] for each in wanted))
        node.wait_for(lambda metrics: metrics["spool_bytes"] == 0)

    send()
    wait_for(derived=1, forwarded=1)
    (uid,) = archive.files()
    send()  # the archive has it: nothing is done
    wait_for(derived=1, forwarded=1)

    archive.clear()
    send()
    wait_for(derived=2, forwarded=2)
    assert list(archive.files()) == [uid]
    assert f"instance {uid}: the archive lost it; made again" in node.log

    # Or without asking, and beside the running node.
    for option, value in (("--instance", uid), ("--study", "1.2.3.6.0"), ("--since", "2020-01-31")):
        assert main(["node-redo", str(node.spool), option, value]) == 0
        assert capfd.readouterr().out == "0 to be processed again now, 1 when they are sent again\n"
        before = node.metrics()["forwarded_total"]
        send()
        wait_for(forwarded=before + 1)
    assert main(["node-redo", str(node.spool), "--instance", "1.2.3"]) == 1
    assert main(["node-redo", str(node.spool)]) == 2
    assert "need --instance, --study or --since" in capfd.readouterr().err


def test_what_failed_is_done_again_at_once(node, make_file, dcmtk, capfd) -> None:
    path = make_file(10, Rows=30)  # more rows than there are pixels
    sent = dcmtk("storescu", "-aec", "DENOISE", "127.0.0.1", node.port, path)
    assert sent.returncode == 0, sent.stderr
    node.wait_for(lambda metrics: metrics["failed_total"] == 1)

    assert main(["node-redo", str(node.spool), "--instance", "1.2.3.4.10"]) == 0

    assert capfd.readouterr().out == "1 to be processed again now, 0 when they are sent again\n"
    node.wait_for(lambda metrics: metrics["failed_total"] == 2)


def test_redo_changes_all_of_its_instances_or_none(tmp_path) -> None:
    queue = Queue(tmp_path, is_writable=True)
    for key, state in (("a", FAILED), ("b", SKIPPED)):
        queue.receive(key, f"1.2.{key}", study="1.2")
        queue.finish(key, state, "a reason", "")
    with sqlite3.connect(tmp_path / QUEUE) as other:
        other.execute(
            "CREATE TRIGGER no BEFORE DELETE ON instances BEGIN SELECT RAISE(ABORT, 'no'); END"
        )

    with pytest.raises(OutputError):
        queue.redo(None, "1.2", None)

    states = [queue.get(key).state for key in ("a", "b")]
    queue.close()
    assert states == [FAILED, SKIPPED]
