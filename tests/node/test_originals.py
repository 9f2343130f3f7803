"""Originals forwarded along with their derived instances: the same bytes, whatever happens."""

from __future__ import annotations

import json
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread, dcmwrite
from pydicom.uid import ImplicitVRLittleEndian
from pynetdicom import AE, evt
from waiting import wait_until

from monai_dental.cli import main
from monai_dental.errors import PacsError, PacsUnavailableError
from monai_dental.node.forward import Forwarder
from monai_dental.node.log import Counts
from monai_dental.node.queue import DERIVED, FAILED, FORWARDED, RECEIVED, SKIPPED
from monai_dental.node.routes import Router
from monai_dental.node.settings import NodeSettings, make_settings
from monai_dental.node.spool import Spool
from monai_dental.pacs import DimseAddress, Patience
from monai_dental.pacs.dimse.target import DimseTarget
from monai_dental.pacs.original import pack_original
from monai_dental.pacs.parcel import COPY, Parcel

A, B = "A@127.0.0.1:104", "B@127.0.0.1:104"
SHORT = Patience(attempts=3, first_pause_s=0.01, longest_pause_s=0.02)


@pytest.fixture
def make_config(tmp_path: Path) -> Callable[..., Path]:
    """Factory of files of settings: all originals go to an archive."""

    def make(forward: str, **route: Any) -> Path:
        found = {"forward": [forward], "originals": True, **route}
        items = ", ".join(f"{key} = {json.dumps(value)}" for key, value in found.items())
        path = tmp_path / "node.toml"
        path.write_text(f"routes = [{{{items}}}]\n")
        return path

    return make


def send(port: int, *paths: Path) -> None:
    """Send files with unchanged datasets."""
    target = DimseTarget(DimseAddress("DENOISE", "127.0.0.1", port), "SENDER", proof="status")
    for path in paths:
        target.send(pack_original(path))
    target.close()


def dataset_of(path: Path) -> bytes:
    return b"".join(pack_original(path).dataset())


def test_originals_arrive_as_they_came_to_the_byte(make_node, make_config, make_file, scp) -> None:
    """Ten kinds, with various transfer syntaxes and VRs, and one that cannot be derived."""
    node = make_node(scp.place, "--config", make_config(scp.place), "--proof", "status")
    node.start()
    files = [make_file(number) for number in range(10)]
    files.append(make_file(10, Modality="US"))  # skipped
    files.append(make_file(20, Rows=30))  # fails: more rows than there are pixels

    send(node.port, *files)

    node.wait_for(lambda metrics: metrics["forwarded_total"] == 22)
    metrics = node.wait_for(lambda metrics: metrics["failed_total"] == 1)
    assert metrics["skipped_total"] == 1
    came = {uid: (syntax, content) for uid, syntax, content in scp.taken}
    assert len(came) == len(scp.taken) == 22
    for number, path in zip((*range(11), 20), files, strict=True):
        syntax = str(dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID)
        assert came[f"1.2.3.4.{number}"] == (syntax, dataset_of(path))
    wait_until(lambda: len(list(node.spool.rglob("*.dcm"))) == 1)  # what failed


def test_originals_and_derived_arrive_once_through_kills(
    make_node, make_config, make_file, orthanc, capsys
) -> None:
    """The archive returns all of them; the record lists what was sent where."""
    place = f"ARCHIVE@127.0.0.1:{orthanc.dicom_port}"
    node = make_node(place, "--config", make_config(place), STUB_SECONDS="0.05")
    node.start()
    files = {f"1.2.3.4.{number}": make_file(number) for number in range(10)}
    draw = random.Random(0)
    for number, path in enumerate(files.values()):
        send(node.port, path)
        if number in (3, 8):
            time.sleep(draw.uniform(0, 0.5))
            node.signal(signal.SIGKILL)
            node.start()

    node.wait_for(lambda metrics: metrics['instances{state="forwarded"}'] == 20)
    node.wait_for(lambda metrics: metrics["spool_bytes"] == 0)

    held = set(orthanc.files())
    assert len(held) == 20
    assert held > set(files)
    assert main(["node-status", str(node.spool)]) == 0
    said = capsys.readouterr().out
    assert "forwarded 10: proven by the same pixels, returned by the archive\n" in said
    assert "forwarded 10 originals: proven by the same pixels, returned by the archive\n" in said

    # An original that comes again asks for both, and what was lost is sent again.
    for gone in (set(), {"1.2.3.4.0"}):
        for identifier in json.loads(orthanc.call("/instances")) if gone else ():
            tags = json.loads(orthanc.call(f"/instances/{identifier}/simplified-tags"))
            if tags["SOPInstanceUID"] in gone:
                orthanc.call(f"/instances/{identifier}", method="DELETE")
        send(node.port, files["1.2.3.4.0"])
        node.wait_for(lambda metrics: metrics["spool_bytes"] == 0)
        wait_until(lambda: set(orthanc.files()) == held)
    assert "instance 1.2.3.4.0: the archive lost it; sent again" in node.log


class Archive:
    """A target that accepts everything, or fails as configured."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.taken: list[tuple[str, bytes]] = []

    def send(self, parcel: Parcel) -> str:
        if self.error is not None:
            raise self.error
        self.taken.append((parcel.key.sop_instance_uid, b"".join(parcel.dataset())))
        return COPY

    def find(self, stored: Any) -> Any:
        return stored

    def close(self) -> None:
        pass


def keep(spool: Spool, content: bytes) -> str:
    """Put a file into a spool, and return its key."""
    incoming = spool.begin(b"", b"")
    incoming.write(content)
    incoming.keep()
    return incoming.key


def test_archive_that_refuses_originals_alone_holds_up_no_derived_one(
    spool, queue, make_file, forward
) -> None:
    path = make_file(0)
    key = keep(spool, path.read_bytes())
    queue.receive(key, "1.2.3.4.0", originals=(A, B))
    queue.finish(key, SKIPPED, "no", "")
    archives = {A: Archive(), B: Archive()}
    archives[A].error = PacsUnavailableError("is away")
    forwarders = forward(archives)

    wait_until(lambda: archives[B].taken and forwarders[A].failures > 2)
    assert list(spool.keys()) == [key]  # A has yet to get it
    archives[A].error = None
    wait_until(lambda: not any(spool.keys()) and queue.counts()[FORWARDED] == 2)

    assert archives[A].taken == archives[B].taken == [("1.2.3.4.0", dataset_of(path))]
    found = {each.destination: each for each in queue.instances(FORWARDED)}
    assert {(each.original, each.place) for each in found.values()} == {
        (1, "1.2.3.6.0/1.2.3.5.0/1.2.3.4.0")
    }
    assert set(found) == {A, B}
    assert queue.counts()[SKIPPED] == 1


def test_original_that_failed_stays_and_is_sent_by_node_redo(spool, queue, make_file) -> None:
    key = keep(spool, make_file(0).read_bytes())
    queue.receive(key, "1.2.3.4.0", originals=(A,))
    queue.finish(key, SKIPPED, "no", "")
    archive = Archive()
    archive.error = PacsError("no")
    forwarder = Forwarder(
        archive, 0.001, spool=spool, queue=queue, counts=Counts(), on_room=lambda: None,
        destination=A,
    )  # fmt: skip
    forwarder.start()

    wait_until(lambda: queue.counts()[FAILED] == 1)
    assert list(spool.keys()) == [key]
    archive.error = None
    assert main(["node-redo", str(spool.folder), "--instance", "1.2.3.4.0"]) == 0
    wait_until(lambda: not any(spool.keys()))
    forwarder.stop(10)

    assert [uid for uid, _ in archive.taken] == ["1.2.3.4.0"]


def test_original_whose_place_is_no_more_fails_and_goes_nowhere_else(queue) -> None:
    queue.receive("k", "1.2", originals=(A, B))

    queue.redirect((B,))

    (failed,) = queue.instances(FAILED)
    assert f"the original was to go to {A}, which is no longer in any route" in failed.reason
    assert queue.is_source_wanted("k")
    assert [each.destination for each in queue.instances(DERIVED)] == [B]
    assert [each.key for each in queue.instances(RECEIVED)] == ["k"]


def test_route_of_originals_is_that_which_fits_the_original(tmp_path, dicom_dataset) -> None:
    routes = (
        {"tags": {"Modality": ["PX"]}, "forward": [A, B, A], "originals": True},
        {"forward": [B]},
    )
    router = Router(NodeSettings(forward="F@h:1", allow=("PX1",), routes=routes))
    for modality, places in (("PX", (A, B)), ("IO", ())):
        path = tmp_path / f"{modality}.dcm"
        dcmwrite(path, dicom_dataset(Modality=modality), enforce_file_format=True)
        assert router.originals("PX1", path) == places
    assert not Router(NodeSettings(forward="F@h:1", allow=("PX1",))).has_originals


@pytest.mark.parametrize(
    ("allow", "senders", "is_circle"),
    [(("A", "IO1"), (), True), (("A", "IO1"), ("A",), True), (("A", "IO1"), ("IO1",), False)],
)
def test_archive_that_would_get_its_own_originals_is_refused(allow, senders, is_circle) -> None:
    routes = ({"senders": senders, "forward": [B, f"dimse://{A}"], "originals": True},)
    given = {"forward": A, "allow": allow, "routes": routes}
    if not is_circle:
        assert make_settings(given).routes[0].originals
        return

    with pytest.raises(PacsError, match="routes: A may send, and would get its own originals back"):
        make_settings(given)


def test_original_is_not_encoded_anew_for_an_archive(make_file) -> None:
    """Derived instances, in contrast, may be sent in Implicit VR if an archive requires it."""
    path = make_file(0)  # Explicit VR
    entity = AE("ARCHIVE")
    uid = dcmread(path, stop_before_pixels=True).SOPClassUID
    entity.add_supported_context(uid, ImplicitVRLittleEndian)
    entity.add_supported_context("1.2.840.10008.1.1")
    server = entity.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, lambda _: 0)]
    )
    address = DimseAddress("ARCHIVE", "127.0.0.1", server.server_address[1])
    target = DimseTarget(address, "SENDER", SHORT, proof="status")

    with pytest.raises(PacsError, match="does not accept .* in Explicit VR Little Endian"):
        target.send(pack_original(path))

    target.close()
    server.shutdown()
