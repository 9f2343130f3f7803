"""Whoever leaves while the server works is no fault: the terminal shows none, others are told."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from pathlib import Path
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest
from waiting import wait_until


def large_picture() -> bytes:
    noisy = np.random.default_rng(0).integers(0, 255, (2000, 3000)).astype(np.uint8)
    return cv2.imencode(".png", noisy)[1].tobytes()


@pytest.fixture
def waited_for(start, tmp_path):
    """A server, an image that takes long, and a thread that waits for its result."""
    served = start(tmp=tmp_path)
    key = served.add("large.png", large_picture())["key"]
    answers = []

    def wait() -> None:
        answers.append(served.ask(f"api/images/{key}/after"))

    waiting = threading.Thread(target=wait)
    waiting.start()
    wait_until(lambda: served.images()[0]["state"] == "denoising")
    return served, key, waiting, answers


def test_upload_that_is_broken_off_leaves_nothing(start, tmp_path):
    served = start(tmp=tmp_path)
    address = urlsplit(served.url)
    with socket.create_connection((address.hostname, address.port)) as connection:
        connection.sendall(
            f"POST {address.path}api/images?name=a.png HTTP/1.1\r\nHost: {address.netloc}\r\n"
            "Content-Length: 100000\r\n\r\n".encode()
            + bytes(5000)
        )
        wait_until(lambda: received(served))
    wait_until(lambda: not image_folders(served), timeout_s=30)

    assert served.images() == []
    assert end(served) == ""


def test_who_waits_for_an_image_that_is_removed_is_told(waited_for):
    served, key, waiting, answers = waited_for

    assert served.ask(f"api/images/{key}", method="DELETE")[0] == 204
    waiting.join()

    status, answer, _ = answers[0]
    assert (status, json.loads(answer)) == (
        422,
        {"reason": "it was removed from the list meanwhile"},
    )
    assert end(served) == ""


def test_who_waits_for_an_image_when_the_server_ends_is_told(waited_for):
    served, _, waiting, answers = waited_for

    assert end(served) == ""
    waiting.join()

    status, answer, _ = answers[0]
    assert (status, json.loads(answer)) == (422, {"reason": "the server has stopped"})
    assert served.folders() == []


def image_folders(served) -> list[Path]:
    return [image for folder in served.folders() for image in folder.iterdir() if image.is_dir()]


def received(served) -> list[str]:
    """Files of the images; unlike `Path.glob`, bears that the server removes a folder meanwhile."""
    folders = image_folders(served)
    return [name for folder in folders for _, _, names in os.walk(folder) for name in names]


def end(served) -> str:
    """End a server as Ctrl-C does, and return what it has said of errors."""
    served.process.send_signal(signal.SIGINT)
    assert served.process.wait(60) == 0
    return served.errors()
