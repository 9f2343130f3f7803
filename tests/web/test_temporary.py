"""The temporary folder is removed when its server ends, however it ends."""

import contextlib
import http.client
import signal
import threading
import time

import pytest

from monai_dental.web.temporary import sweep, temporary_folder


def test_folder_is_private_and_gone_at_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    with temporary_folder() as folder:
        assert folder.stat().st_mode & 0o077 == 0
        (folder / "scan.dcm").write_bytes(b"x")

    assert list(tmp_path.iterdir()) == []


def test_sweep_leaves_the_folder_of_a_server_that_lives(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    with temporary_folder() as folder:
        sweep(tmp_path)

        assert folder.is_dir()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_server_that_is_ended_leaves_nothing(start, tmp_path, how):
    served = start(tmp=tmp_path)
    served.add("a.png", b"no image")
    assert len(served.folders()) == 1
    asking = [threading.Thread(target=ask_on, args=(served,)) for _ in range(4)]
    for each in asking:
        each.start()
    time.sleep(0.2)

    served.process.send_signal(how)
    assert served.process.wait(30) == 0

    for each in asking:
        each.join()
    assert served.folders() == []


def ask_on(served):
    """Send requests until nothing answers, so that the signal arrives during a request."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        while True:
            served.ask("")


def test_next_start_removes_what_a_killed_server_left(start, tmp_path):
    killed = start(tmp=tmp_path)
    killed.add("a.png", b"no image")
    (left,) = killed.folders()
    killed.process.kill()
    killed.process.wait(30)
    assert list(left.glob("*/source.png"))

    following = start(tmp=tmp_path)

    assert left not in following.folders()
    assert len(following.folders()) == 1
