"""A node holds no instance in memory, however large it is or inflates to."""

from __future__ import annotations

import os
import signal
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmwrite
from pydicom.uid import DeflatedExplicitVRLittleEndian
from pynetdicom import AE, build_context

from monai_dental.node.queue import QUEUE

NOWHERE = "ARCHIVE@127.0.0.1:1"
MEGABYTES = 200 if os.environ.get("MONAI_DENTAL_FULL_SIZE") else 80
MARGIN_MB = 40  # of what the process has when nothing comes


@pytest.fixture
def giant(instance: Any) -> Dataset:
    """An instance of many megabytes, which the rules do not ask for."""
    pixels = np.zeros((MEGABYTES, 1024, 1024), np.uint8)
    return instance(1, stored=pixels, frames=MEGABYTES, Modality="US", bits_stored=8)


def test_large_instances_pass_within_a_small_memory(
    make_node, make_orthanc, giant, dcmtk, tmp_path
) -> None:
    archive = make_orthanc()
    node = make_node(f"ARCHIVE@127.0.0.1:{archive.dicom_port}", "--max-object", MEGABYTES + 1)
    node.start()
    idle = node.peak_mb
    path = tmp_path / "giant.dcm"
    dcmwrite(path, giant, enforce_file_format=True)

    sent = dcmtk("storescu", "-aec", "DENOISE", "127.0.0.1", node.port, path)
    assert sent.returncode == 0, sent.stderr
    node.wait_for(lambda metrics: metrics["skipped_total"] == 1)
    assert node.peak_mb < idle + MARGIN_MB

    node.signal(signal.SIGTERM)
    for file in node.spool.glob(f"{QUEUE}*"):
        file.unlink()  # so that what lies in derived/ is forwarded
    path.rename(node.spool / "derived" / f"{giant.SOPInstanceUID}.dcm")
    node.start()
    node.wait_for(lambda metrics: metrics['instances{state="forwarded"}'] == 1)
    assert node.peak_mb < idle + MARGIN_MB
    assert list(archive.files()) == [giant.SOPInstanceUID]


def test_what_a_deflated_instance_inflates_to_counts(make_node, instance) -> None:
    """A bomb (PS3.5 A.5): some kilobytes that become 64 MB, of which 1 MiB may be taken."""
    node = make_node(NOWHERE, "--max-object", 1)
    node.start()
    idle = node.peak_mb
    bomb = instance(1, transfer_syntax=DeflatedExplicitVRLittleEndian)
    bomb.private_block(0x0009, "BOMB", create=True).add_new(0x10, "OB", bytes(64 << 20))
    good = instance(2, transfer_syntax=DeflatedExplicitVRLittleEndian)
    entity = AE("SENDER")
    context = build_context(bomb.SOPClassUID, DeflatedExplicitVRLittleEndian)
    association = entity.associate("127.0.0.1", node.port, [context], "DENOISE")

    assert association.send_c_store(bomb).Status == 0xA700
    assert association.send_c_store(good).Status == 0x0000

    association.release()
    assert "instance refused: an object beyond max-object, 1 MiB" in node.log
    assert node.metrics()["received_total"] == 1
    assert node.peak_mb < idle + MARGIN_MB
