"""Several archives: each gets what its routes define, regardless of the others."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmwrite
from waiting import wait_until

from monai_dental.errors import PacsError, PacsUnavailableError
from monai_dental.node.queue import DERIVED, FORWARDED, Queue
from monai_dental.node.routes import Router
from monai_dental.node.settings import NodeSettings, make_settings
from monai_dental.node.spool import DerivedFolder
from monai_dental.pacs.parcel import COPY, Parcel

A, B, C = "A@127.0.0.1:104", "B@127.0.0.1:104", "C@127.0.0.1:104"
ROUTES = (
    {"senders": ["PX1"], "tags": {"Modality": ["PX", "DX"]}, "forward": [A, B, A]},
    {"tags": {"ImageType": ["DERIVED\\PRIMARY"]}, "forward": [C]},
)


class Archive:
    """A target that accepts everything, or nothing while it is away."""

    def __init__(self, is_away: bool = False) -> None:
        self.is_away, self.taken = is_away, []

    def send(self, parcel: Parcel) -> str:
        if self.is_away:
            raise PacsUnavailableError("is away")
        self.taken.append(parcel.key.sop_instance_uid)
        return COPY

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("sender", "elements", "places"),
    [
        ("PX1", {"Modality": "PX"}, (A, B)),
        ("PX1", {"Modality": "IO"}, (C,)),
        ("IO1", {"Modality": "DX"}, (C,)),
        ("IO1", {"Modality": "DX", "ImageType": ["DERIVED", "SECONDARY"]}, ("F@h:1",)),
    ],
)
def test_first_route_that_fits_counts(dicom_dataset, tmp_path, sender, elements, places) -> None:
    settings = NodeSettings(forward="F@h:1", allow=("PX1", "IO1"), routes=ROUTES)
    path = tmp_path / "derived.dcm"
    dcmwrite(
        path, dicom_dataset(**{"ImageType": ["DERIVED", "PRIMARY"], **elements}),
        enforce_file_format=True,
    )  # fmt: skip

    assert Router(settings)(sender, path) == places
    assert settings.destinations == ("F@h:1", A, B, C)
    path.write_bytes(b"broken")
    assert Router(settings)(sender, path) == ("F@h:1",)


def test_archive_that_is_away_holds_up_no_other(spool, queue, forward, dicom_dataset) -> None:
    stored = DerivedFolder(spool.folder).store(dicom_dataset(SOPInstanceUID="1.2.3"))
    key = "0" * 64
    queue.receive(key, "1.2.3")
    queue.derive(key, "", stored, (A, B))
    archives = {A: Archive(is_away=True), B: Archive()}
    forwarders = forward(archives)

    wait_until(lambda: archives[B].taken and forwarders[A].failures > 3)
    assert queue.counts()[DERIVED] == 1
    assert spool.derived.path(stored.location).is_file()  # A has yet to get it
    archives[A].is_away = False
    wait_until(lambda: queue.counts()[FORWARDED] == 2)
    wait_until(lambda: not spool.derived.path(stored.location).exists())

    assert archives[A].taken == archives[B].taken == ["1.2.3"]


def test_what_goes_to_an_archive_that_is_no_more_goes_to_the_first(tmp_path, dicom_dataset) -> None:
    queue = Queue(tmp_path, is_writable=True)
    (tmp_path / "derived").mkdir()
    (tmp_path / ".parts").mkdir()
    queue.receive("k", "")
    queue.derive("k", "", DerivedFolder(tmp_path).store(dicom_dataset()), (A, B))

    queue.redirect((C, B))

    assert queue.next_derived(300, 0, A) is None
    assert queue.next_derived(300, 0, B).key == f"k@{B}"
    assert queue.next_derived(300, 0, C).key == "k"
    queue.close()


def test_each_archive_gets_what_its_route_says_and_again_what_it_lost(
    make_orthanc, orthanc, make_node, make_file, dcmtk, tmp_path
) -> None:
    other: Any = make_orthanc(DicomAet="OTHER")
    first, second = f"ARCHIVE@127.0.0.1:{orthanc.dicom_port}", f"OTHER@127.0.0.1:{other.dicom_port}"
    route = f'{{tags = {{Modality = ["PX"]}}, forward = {json.dumps([first, second])}}}'
    config = tmp_path / "node.toml"
    config.write_text(f"routes = [{route}]\n")
    node = make_node(first, "--config", config)
    node.start()
    files = [make_file(0), make_file(2)]  # IO, PX

    def send() -> None:
        sent = dcmtk("storescu", "-aec", "DENOISE", "127.0.0.1", node.port, *files)
        assert sent.returncode == 0, sent.stderr

    send()
    node.wait_for(lambda metrics: metrics["forwarded_total"] == 3)
    panoramic = set(other.files())
    assert len(panoramic) == 1
    assert panoramic < set(orthanc.files())
    status = json.loads(node.get("/status.json"))
    assert [each["address"] for each in status["archives"]] == [first, second]
    metrics = node.metrics()
    for archive, count in ((first, 2), (second, 1)):
        assert metrics[f'archive_forwarded_total{{archive="{archive}"}}'] == count

    other.clear()
    send()
    node.wait_for(lambda metrics: metrics["forwarded_total"] == 5)  # to both once more
    node.wait_for(lambda metrics: metrics["spool_bytes"] == 0)
    assert set(other.files()) == panoramic
    assert len(orthanc.files()) == 2
    assert not list(node.spool.rglob("*.dcm"))


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def write(routes: str) -> Path:
        path = tmp_path / "node.toml"
        path.write_text(f'forward = "A@h:1"\nallow = ["B"]\n{routes}\n')
        return path

    return write


@pytest.mark.parametrize(
    ("routes", "message"),
    [
        ("routes = [{senders = ['C'], forward = ['D@h:1']}]", "routes: C is not in allow"),
        (
            "routes = [{tags = {Modalty = ['PX']}, forward = ['D@h:1']}]",
            "'Modalty' is not the keyword",
        ),
        ("routes = [{forward = []}]", "routes.0.forward: tuple should have at least 1 item"),
        ("routes = [{forwrd = ['D@h:1']}]", "routes.0.forwrd: extra inputs are not permitted"),
        ("routes = 'D@h:1'", "need tables of senders, tags and forward"),
    ],
)
def test_route_that_makes_no_sense_is_told(write, routes, message) -> None:
    with pytest.raises(PacsError) as error:
        make_settings({}, write(routes))

    assert message in str(error.value)
