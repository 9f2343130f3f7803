"""A real archive takes what a batch makes, and gives it back."""

from __future__ import annotations

import io
import json
import os
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from waiting import wait_until

from monai_dental.dicom import read_dataset, to_radiograph

_DECODED = ("Explicit VR Little Endian", "JPEG-LS", "JPEG Lossless", "RLE")


class Orthanc:
    """Orthanc's REST interface; https://orthanc.uclouvain.be/book/users/rest.html."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def answers(self) -> bool:
        try:
            return bool(self.call("/system"))
        except urllib.error.URLError:
            return False

    def call(self, path: str, body: bytes | None = None) -> bytes:
        request = urllib.request.Request(self._url + path, body)
        with self._opener.open(request, timeout=60) as answer:
            content: bytes = answer.read()
        return content

    def send(self, path: Path) -> str:
        answer = json.loads(self.call("/instances", path.read_bytes()))
        assert answer["Status"] == "Success", answer
        identifier: str = answer["ID"]
        return identifier


@pytest.fixture
def orthanc(tmp_path: Path, missing: Callable[[str], NoReturn]) -> Iterator[Orthanc]:
    """Orthanc on a free loopback port; if it is missing, the test is skipped or fails."""
    program = shutil.which("Orthanc", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        missing("no Orthanc; apt-get install orthanc")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "HttpPort": port, "RemoteAccessAllowed": False, "DicomServerEnabled": False,
        "StorageDirectory": str(tmp_path / "archive"), "IndexDirectory": str(tmp_path / "archive"),
        "Plugins": [],
    }  # fmt: skip
    (tmp_path / "orthanc.json").write_text(json.dumps(settings))
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([program, tmp_path / "orthanc.json"], stdout=log, stderr=log)
    archive = Orthanc(port)
    try:
        wait_until(archive.answers, process, timeout_s=60)
        yield archive
    finally:
        process.terminate()
        process.wait(60)


def test_orthanc_takes_every_derived_object_and_gives_it_back(matrix, orthanc) -> None:
    decoded = 0
    for output in (matrix.same, matrix.changed):
        for name, path in matrix.derived(output).items():
            identifier = orthanc.send(path)

            expected = to_radiograph(read_dataset(path))
            back = read_dataset(path, orthanc.call(f"/instances/{identifier}/file"))
            assert np.array_equal(to_radiograph(back).stored, expected.stored), name
            assert back.SOPInstanceUID == expected.header.SOPInstanceUID
            syntax = back.file_meta.TransferSyntaxUID.name
            # It has no decoder of JPEG 2000 without a plugin, and none of signed bytes.
            if not syntax.startswith(_DECODED) or expected.stored.dtype == np.int8:
                continue
            frames = expected.stored.reshape(-1, *expected.stored.shape[-2:])
            for number, frame in enumerate(frames):  # as its own decoders see it
                answer = orthanc.call(f"/instances/{identifier}/frames/{number}/numpy?rescale=0")
                pixels = np.load(io.BytesIO(answer)).reshape(frame.shape)
                assert np.array_equal(pixels, frame), name
                decoded += 1
    assert decoded > 100
    statistics = json.loads(orthanc.call("/statistics"))
    assert statistics["CountInstances"] == 2 * len(matrix.sources)
