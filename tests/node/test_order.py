"""The order of a node's instances: urgent ones first, a study once it is complete."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from monai_dental.batch.target import StoredObject
from monai_dental.errors import PacsError
from monai_dental.node.queue import QUEUE, Queue
from monai_dental.node.settings import make_settings


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    made = Queue(tmp_path, is_writable=True)
    yield made
    made.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the time that the queue sees."""

    def at(seconds: float) -> None:
        monkeypatch.setattr("monai_dental.node.queue.time.time", lambda: 1e9 + seconds)

    at(0)
    return at


def derive(queue: Queue, key: str) -> None:
    queue.derive(key, "", StoredObject(f"{key}.dcm", key, "", ""))


def next_derived(queue: Queue, study_wait: float = 0.0) -> str | None:
    found = queue.next_derived(300, study_wait)
    return None if found is None else found.key


def test_instances_of_urgent_senders_are_denoised_and_forwarded_first(queue, clock) -> None:
    for number, is_urgent in enumerate((False, True, False, True)):
        clock(number)
        queue.receive(str(number), "", is_urgent=is_urgent)

    order = []
    while (found := queue.next_received(order)) is not None:
        order.append(found.key)
    for key in sorted(order):
        derive(queue, key)
    forwarded = []
    while (found := next_derived(queue)) is not None:
        forwarded.append(found)
        queue.forward(found)

    assert order == forwarded == ["1", "3", "0", "2"]


def test_study_is_forwarded_when_none_of_it_has_come_for_so_long(queue, clock) -> None:
    queue.receive("a1", "", study="1.2")
    derive(queue, "a1")
    clock(5)
    queue.receive("a2", "", study="1.2")  # a slow one, which comes and is then denoised
    queue.receive("other", "", study="1.3")
    queue.receive("none", "", study="")
    derive(queue, "none")
    assert next_derived(queue, 10) == "none"  # of no study, so for none it waits
    queue.forward("none")

    clock(14)
    derive(queue, "other")
    assert next_derived(queue, 10) is None
    clock(16)
    assert next_derived(queue, 10) == "other"
    queue.forward("other")
    clock(100)
    assert next_derived(queue, 10) is None  # a2 is not denoised yet
    assert next_derived(queue) == "a1"
    queue.finish("a2", "failed", "broken", "")
    assert next_derived(queue, 10) == "a1"
    clock(-1000)  # a clock that was set back holds nothing up
    assert next_derived(queue, 10) == "a1"


def test_queue_of_an_older_version_is_taken_over(tmp_path) -> None:
    columns = "key, state, reason, uid, recipe, output, output_uid, output_digest, output_stamp"
    connection = sqlite3.connect(tmp_path / QUEUE)
    connection.execute(
        f"CREATE TABLE instances ({columns}, attempts, due, changed, PRIMARY KEY (key))"
    )
    connection.execute(
        "INSERT INTO instances VALUES ('k', 'received', '', '1.2'" + ", ''" * 5 + ", 0, 0, 7)"
    )
    connection.execute("PRAGMA user_version = 1")
    connection.commit()
    connection.close()

    queue = Queue(tmp_path, is_writable=True)

    assert queue.next_received([]).uid == "1.2"
    queue.receive("urgent", "1.3", study="1.4", is_urgent=True)
    assert queue.next_received([]).uid == "1.3"
    assert queue.redo(None, "1.4", None) == (0, 0)
    queue.finish("urgent", "failed", "broken", "")
    assert queue.redo(None, "1.4", None) == (1, 0)
    queue.close()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"urgent": ("C",)}, "urgent: C is not in allow"),
        ({"audit": "syslog"}, "audit: need HOST:PORT"),
        ({"audit": "syslog:65536"}, "audit: need HOST:PORT"),
        ({"study_wait": -1.0}, "study-wait is -1.0; need at least 0"),
    ],
)
def test_setting_that_makes_no_sense_is_told(given, message) -> None:
    with pytest.raises(PacsError, match=message):
        make_settings({"forward": "A@h:1", "allow": ("B",), **given})
