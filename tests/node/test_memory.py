"""A node holds no instance in memory, however large it is or becomes when inflated."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import requests
from pydicom import Dataset, dcmwrite
from pydicom.uid import DeflatedExplicitVRLittleEndian
from pynetdicom import AE, build_context

from monai_dental.node.queue import QUEUE
from monai_dental.pacs.dicomweb import multipart
from monai_dental.pacs.parcel import pack_file

NOWHERE = "ARCHIVE@127.0.0.1:1"
MEGABYTES = 200 if os.environ.get("MONAI_DENTAL_FULL_SIZE") else 80
MARGIN_MB = 40  # of what the process has when nothing comes


@pytest.fixture
def make_giant(instance: Any) -> Callable[[int], Dataset]:
    """Factory of instances of so many megabytes, which the rules do not select."""

    def make(megabytes: int) -> Dataset:
        pixels = np.zeros((megabytes, 1024, 1024), np.uint8)
        return instance(1, stored=pixels, frames=megabytes, Modality="US", bits_stored=8)

    return make


@pytest.fixture
def giant(make_giant: Callable[[int], Dataset]) -> Dataset:
    return make_giant(MEGABYTES)


@pytest.fixture
def make_bomb(instance: Any) -> Callable[[int], Dataset]:
    """Factory of deflated instances (PS3.5 A.5): kilobytes that inflate to so many megabytes."""

    def make(megabytes: int) -> Dataset:
        bomb = instance(2, transfer_syntax=DeflatedExplicitVRLittleEndian)
        block = bomb.private_block(0x0009, "BOMB", create=True)
        block.add_new(0x10, "OB", bytes(megabytes << 20))
        return bomb

    return make


def test_200_mb_and_a_bomb_pass_while_the_main_process_has_less_than_300(
    make_node, make_orthanc, make_giant, make_bomb, dcmtk, tmp_path
) -> None:
    """The original of the one goes on, and what is derived of the other."""
    archive = make_orthanc()
    place = f"ARCHIVE@127.0.0.1:{archive.dicom_port}"
    config = tmp_path / "node.toml"
    modality = "tags = {Modality = ['US']}"
    config.write_text(f'routes = [{{forward = ["{place}"], originals = true, {modality}}}]\n')
    node = make_node(place, "--config", config)
    node.start()
    sent = {"giant": make_giant(200), "bomb": make_bomb(300)}
    for name, dataset in sent.items():
        dcmwrite(tmp_path / name, dataset, enforce_file_format=True)
    assert (tmp_path / "bomb").stat().st_size < 1 << 20

    for name, syntax in (("giant", "-xe"), ("bomb", "-xd")):
        process = dcmtk("storescu", syntax, "-aec", "DENOISE", "127.0.0.1", node.port,
                        tmp_path / name)  # fmt: skip
        assert process.returncode == 0, process.stderr
    node.wait_for(lambda metrics: metrics['instances{state="forwarded"}'] > 0)
    metrics = node.wait_for(lambda metrics: metrics["spool_bytes"] == 0)

    print("peak of the main process:", node.peak_mb, "MiB")
    assert metrics['instances{state="forwarded"}'] == 2
    assert node.peak_mb < 300
    sizes = {uid: len(content) for uid, content in archive.files().items()}
    assert sizes.pop(sent["giant"].SOPInstanceUID) > 200 << 20
    assert [size > 300 << 20 for size in sizes.values()] == [True]


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


def test_large_instance_comes_by_stow_within_a_small_memory(make_node, giant, tmp_path) -> None:
    token = "0123456789abcdef"
    node = make_node(
        NOWHERE, "--stow-port", 0, "--max-object", MEGABYTES + 1, MONAI_DENTAL_STOW_TOKEN=token
    )
    node.start()
    idle = node.peak_mb
    path = tmp_path / "giant.dcm"
    dcmwrite(path, giant, enforce_file_format=True)
    body, media_type = multipart.encode(pack_file(path))
    url = re.search(r"STOW-RS at (\S+)", (node.spool.parent / "out").read_text())[1].strip(",")
    headers = {"Content-Type": media_type, "Authorization": f"Bearer {token}"}

    with requests.Session() as session:
        session.trust_env = False
        assert session.post(url, data=body, headers=headers, timeout=120).status_code == 200
    body.close()

    node.wait_for(lambda metrics: metrics["skipped_total"] == 1)
    assert node.peak_mb < idle + MARGIN_MB


def test_what_a_deflated_instance_inflates_to_counts(make_node, instance, make_bomb) -> None:
    """Some kilobytes that inflate to 64 MB, of which 1 MiB is allowed."""
    node = make_node(NOWHERE, "--max-object", 1)
    node.start()
    idle = node.peak_mb
    bomb = make_bomb(64)
    good = instance(1, transfer_syntax=DeflatedExplicitVRLittleEndian)
    entity = AE("SENDER")
    context = build_context(bomb.SOPClassUID, DeflatedExplicitVRLittleEndian)
    association = entity.associate("127.0.0.1", node.port, [context], "DENOISE")

    assert association.send_c_store(bomb).Status == 0xA700
    assert association.send_c_store(good).Status == 0x0000

    association.release()
    assert "instance refused: an object beyond max-object, 1 MiB" in node.log
    assert node.metrics()["received_total"] == 1
    assert node.peak_mb < idle + MARGIN_MB
