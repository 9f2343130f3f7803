"""An archive, a node, another archive: nothing is lost or duplicated, whatever happens."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import threading
import time
import urllib.error
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from waiting import wait_until

from monai_dental.dicom import read_dataset, to_radiograph

# How many instances, how many kills, and how long the archive is away, in seconds: the numbers of
# docs/node.md take some ten minutes.
INSTANCES, KILLS, PAUSE_S = (
    (500, 10, 60.0) if os.environ.get("MONAI_DENTAL_FULL_SIZE") else (20, 2, 0.0)
)


class Sender(threading.Thread):
    """An archive that sends its instances to a node one by one, each until it is accepted."""

    def __init__(self, archive: Any, identifiers: list[str]) -> None:
        super().__init__(daemon=True)
        self._archive, self._identifiers = archive, identifiers
        self.refused = 0

    def run(self) -> None:
        for identifier in self._identifiers:
            body = json.dumps({"Resources": [identifier], "Synchronous": True}).encode()
            wait_until(lambda body=body: self._is_taken(body), timeout_s=600)

    def _is_taken(self, body: bytes) -> bool:
        try:
            self._archive.call("/modalities/node/store", body)
        except urllib.error.HTTPError as error:
            error.close()
            self.refused += 1
            return False
        return True


@pytest.fixture
def make_archive(make_orthanc: Callable[..., Any], tls_settings: Any) -> Callable[..., Any]:
    """Factory of archives, with TLS or not, that know a node's port and have all permissions."""

    def make(title: str, port: int, tls: bool) -> Any:
        archive = make_orthanc(
            DicomAet=title, DicomModalitiesInDatabase=True, **(tls_settings if tls else {})
        )
        modality = {"AET": "DENOISE", "Host": "127.0.0.1", "Port": port, "UseDicomTls": tls}
        archive.call("/modalities/node", json.dumps(modality).encode(), method="PUT")
        return archive

    return make


def tls_options(certificates: Path) -> list[Any]:
    names = (("cert", "node.crt"), ("key", "node.key"), ("ca", "ca.crt"))
    return [each for name, file in names for each in (f"--tls-{name}", certificates / file)]


def check_arrived(files: dict[str, bytes], sources: dict[str, Path]) -> None:
    """Check that each source has one derived instance, with half of its intensities."""
    origins = []
    for content in files.values():
        dataset = dcmread(io.BytesIO(content), stop_before_pixels=True)
        groups = list(dataset.get("SharedFunctionalGroupsSequence") or ())
        groups += dataset.get("PerFrameFunctionalGroupsSequence") or ()
        holders = [dataset, *(g.DerivationImageSequence[0] for g in groups
                              if "DerivationImageSequence" in g)]  # fmt: skip
        origin = next(h for h in holders if "SourceImageSequence" in h).SourceImageSequence[0]
        uid = origin.ReferencedSOPInstanceUID
        origins.append(uid)
        source = to_radiograph(read_dataset(sources[uid]))
        derived = to_radiograph(read_dataset(Path("derived"), content))
        step = 2 / (2**source.encoding.bits_stored - 1)
        assert np.abs(derived.pixels - source.pixels / 2).max() <= step
    assert sorted(origins) == sorted(sources)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
def test_every_instance_arrives_once_through_kills_and_a_pause_of_the_archive(
    make_archive, make_orthanc, make_node, make_file, certificates, free_port, tls
) -> None:
    """With TLS the archive gives storage commitment; without, the node queries the instances."""
    target = make_archive("ARCHIVE", free_port, tls=True) if tls else make_orthanc()
    forward = f"{'dimse+tls://' if tls else ''}ARCHIVE@127.0.0.1:{target.dicom_port}"
    node = make_node(
        forward, *(tls_options(certificates) if tls else ()), "--spool-limit", 1,
        "--max-object", 1, port=free_port, STUB_SECONDS="0.05",
    )  # fmt: skip
    source = make_archive("SOURCE", free_port, tls)
    files = {f"1.2.3.4.{number}": make_file(number) for number in range(INSTANCES)}
    sender = Sender(source, [source.add(path.read_bytes()) for path in files.values()])
    node.start()

    sender.start()
    draw = random.Random(0)
    for number in range(KILLS):
        time.sleep(draw.uniform(0, 1))
        node.signal(signal.SIGKILL)
        if number == 0:
            target.stop()
        node.start()
        if number == 0:
            node.wait_for(lambda metrics: metrics["forward_failures"] > 0)
            assert "forwarding failed" in node.get("/health")
            if PAUSE_S:
                time.sleep(PAUSE_S)
                assert node.metrics()["refused_total"] > 0  # the spool is full
            target.start()
    sender.join(600)
    assert not sender.is_alive()
    metrics = node.wait_for(
        lambda metrics: (
            metrics['instances{state="forwarded"}'] + metrics['instances{state="failed"}']
            == INSTANCES
        )
    )

    assert metrics['instances{state="failed"}'] == 0, node.log
    node.wait_for(lambda metrics: metrics["spool_bytes"] == 0)
    check_arrived(target.files(), files)
    assert not [path for path in node.spool.rglob("*.dcm")]
    assert "MARKER" not in node.log
    assert ("the archive commits to keeping" in node.log) == tls
    assert node.signal(signal.SIGTERM) == 0


def test_full_spool_refuses_until_there_is_room(
    make_archive, make_orthanc, make_node, make_file, picture
) -> None:
    target = make_orthanc()
    target.stop()
    node = make_node(
        f"ARCHIVE@127.0.0.1:{target.dicom_port}", "--spool-limit", 1, "--max-object", 1
    )
    source = make_archive("SOURCE", node.port, tls=False)
    files = {
        f"1.2.3.4.{number}": make_file(number, stored=picture(8, rows=500, columns=500))
        for number in range(0, 80, 10)
    }
    sender = Sender(source, [source.add(path.read_bytes()) for path in files.values()])
    node.start()

    sender.start()
    node.wait_for(lambda metrics: metrics["refused_total"] > 0)
    # A result is beside its original until it is recorded.
    node.wait_for(lambda metrics: metrics["spool_bytes"] <= 1 << 20)
    assert "instance refused: " in node.log
    assert "of 1 MiB; no more instances are accepted until some are forwarded" in node.log
    target.start()
    sender.join(120)
    assert not sender.is_alive()
    assert sender.refused > 0
    node.wait_for(lambda metrics: metrics['instances{state="forwarded"}'] == len(files))

    check_arrived(target.files(), files)
