"""STOW-RS into a node (PS3.18 10.5), by dicomweb-client and by faulty clients."""

from __future__ import annotations

import re
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import pytest
import requests
from archives import related
from dicomweb_client.api import DICOMwebClient
from pydicom import Dataset, dcmread
from pydicom.uid import DeflatedExplicitVRLittleEndian
from waiting import wait_until

from monai_dental.dicom.derive import encode_dataset
from monai_dental.errors import AddressError, PacsError
from monai_dental.node.check import check_forward, check_ports
from monai_dental.node.settings import make_settings
from monai_dental.node.stow_server import TOKEN, check_token
from monai_dental.pacs.address import DicomwebAddress

NOWHERE = "ARCHIVE@127.0.0.1:1"
SECRET = "0123456789abcdef0123456789abcdef"
JSON, XML = "application/dicom+json", "application/dicom+xml"


@pytest.fixture(scope="module")
def strict(make_node: Callable[..., Any]) -> Any:
    """A running node that is sent nothing it accepts."""
    made = make_node(NOWHERE, "--stow-port", 0, **{TOKEN: SECRET})
    made.start()
    return made


@pytest.fixture
def node(make_node: Callable[..., Any]) -> Any:
    """A running node whose results go nowhere."""
    made = make_node(NOWHERE, "--stow-port", 0, "--max-object", 1, **{TOKEN: SECRET})
    made.start()
    return made


def address_of(node: Any) -> str:
    """URL of a node's STOW-RS service, without /studies."""
    said = (node.spool.parent / "out").read_text()
    found = re.search(r"STOW-RS at (https?://\S+)/studies", said)
    assert found is not None, said
    return found[1]


def bearer() -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    session.headers["Authorization"] = f"Bearer {SECRET}"
    return session


def post(
    node: Any, body: Any, media_type: str, path: str = "/studies", **headers: str
) -> requests.Response:
    with bearer() as session:
        headers = {"Content-Type": media_type, **headers}
        return session.post(address_of(node) + path, data=body, headers=headers, timeout=60)


def uids(answer: Any, tag: str) -> list[str]:
    items = answer.get(tag, {}).get("Value", [])
    return [item["00081155"]["Value"][0] for item in items]


@pytest.mark.parametrize("chunk_size", [10**6, 1000], ids=["length", "chunked"])
def test_dicomweb_client_sends_and_the_archive_gets_the_result(
    make_node, make_file, orthanc, chunk_size
) -> None:
    place = f"ARCHIVE@127.0.0.1:{orthanc.dicom_port}"
    node = make_node(place, "--stow-port", 0, **{TOKEN: SECRET})
    node.start()
    client = DICOMwebClient(address_of(node), session=bearer(), chunk_size=chunk_size)
    datasets = [dcmread(make_file(number)) for number in range(10)]

    answer = client.store_instances(datasets)

    assert [str(each.ReferencedSOPInstanceUID) for each in answer.ReferencedSOPSequence] == [
        f"1.2.3.4.{number}" for number in range(10)
    ]
    assert "FailedSOPSequence" not in answer
    node.wait_for(lambda metrics: metrics["forwarded_total"] == 10)
    node.wait_for(lambda metrics: metrics["spool_bytes"] == 0)
    assert len(orthanc.files()) == 10
    assert "MARKER" not in node.log


def test_same_instance_is_one_whichever_way_it_comes(node, make_file, dcmtk) -> None:
    path = make_file(0)
    sent = dcmtk("storescu", "-aec", "DENOISE", "127.0.0.1", node.port, path)
    assert sent.returncode == 0, sent.stderr
    node.wait_for(lambda metrics: metrics["derived_total"] == 1)

    assert post(node, *related(path.read_bytes())).status_code == 200

    metrics = node.metrics()
    assert (metrics["received_total"], metrics["known_total"]) == (1, 1)


def test_what_was_acknowledged_survives_a_kill(make_node, make_file, orthanc) -> None:
    place = f"ARCHIVE@127.0.0.1:{orthanc.dicom_port}"
    node = make_node(place, "--stow-port", 0, STUB_SECONDS="0.5", **{TOKEN: SECRET})
    node.start()
    bodies = [make_file(number).read_bytes() for number in range(5)]

    assert post(node, *related(*bodies)).status_code == 200
    node.end()
    node.start()

    node.wait_for(lambda metrics: metrics['instances{state="forwarded"}'] == 5)
    assert len(orthanc.files()) == 5


def test_some_or_none_is_stored(node, make_file, instance) -> None:
    good = make_file(0).read_bytes()
    giant = instance(1)
    giant.private_block(0x0009, "BOMB", create=True).add_new(0x10, "OB", bytes(2 << 20))
    giant = encode_dataset(giant)
    bomb = instance(2, transfer_syntax=DeflatedExplicitVRLittleEndian)
    bomb.private_block(0x0009, "BOMB", create=True).add_new(0x10, "OB", bytes(64 << 20))
    idle = node.peak_mb

    answer = post(node, *related(good, giant, encode_dataset(bomb), b"MARKER"))

    assert answer.status_code == 202
    assert answer.headers["Content-Type"] == JSON
    told = answer.json()
    assert uids(told, "00081199") == ["1.2.3.4.0"]
    assert uids(told, "00081198") == ["1.2.3.4.1", "1.2.3.4.2"]
    reasons = [item["00081197"]["Value"] for item in told["00081198"]["Value"]]
    assert reasons == [[0xA700], [0xA700]]
    assert told["0008119A"]["Value"] == [{"00081197": {"vr": "US", "Value": [0xC000]}}]
    assert Dataset.from_json(told).ReferencedSOPSequence[0].ReferencedSOPInstanceUID == "1.2.3.4.0"
    assert "instance refused: an object beyond max-object, 1 MiB" in node.log
    assert node.peak_mb < idle + 40
    metrics = node.metrics()
    assert (metrics["received_total"], metrics["refused_total"]) == (1, 3)
    assert "MARKER" not in node.log

    xml = post(node, *related(giant), Accept=XML)
    assert (xml.status_code, xml.headers["Content-Type"]) == (409, XML)
    space = "{http://dicom.nema.org/PS3.19/models/NativeDICOM}"
    (uid,) = ElementTree.fromstring(xml.content).iterfind(
        f".//{space}DicomAttribute[@keyword='ReferencedSOPInstanceUID']/{space}Value"
    )
    assert uid.text == "1.2.3.4.1"


def test_study_of_the_path_is_that_of_the_instances(node, make_file) -> None:
    body = related(make_file(0).read_bytes())

    assert post(node, *body, path="/studies/1.2.3.6.1").status_code == 409
    assert post(node, *body, path="/studies/1.2.3.6.0").status_code == 200
    assert post(node, *body, path="/studies/..%2Fx").status_code == 400


def test_instance_that_is_not_what_it_says_is_refused(node, instance) -> None:
    dataset = instance(1)
    content = encode_dataset(dataset)

    def failure_of(name: str, other: str) -> int:
        # The first one is that of the file meta information.
        changed = content.replace(name.encode(), other.encode().ljust(len(name), b"\0"), 1)
        answer = post(node, *related(changed))
        assert answer.status_code == 409
        (items,) = (found["Value"] for found in answer.json().values() if found["vr"] == "SQ")
        return int(items[0]["00081197"]["Value"][0])

    assert failure_of("1.2.3.4.1", "1.2.3.4.2") == 0xA900
    assert failure_of("1.2.3.4.1", "x.2.3.4.2") == 0xC000
    assert failure_of(dataset.SOPClassUID, "1.2.3") == 0x0122
    assert failure_of(dataset.file_meta.TransferSyntaxUID, "1.2.3") == 0xC122


def test_full_spool_tells_to_come_again(make_node, make_file, picture) -> None:
    node = make_node(
        NOWHERE, "--stow-port", 0, "--max-object", 1, "--spool-limit", 1, **{TOKEN: SECRET}
    )
    node.start()
    bodies = [
        make_file(number, stored=picture(8, rows=700, columns=700)).read_bytes()
        for number in (0, 10, 20)
    ]

    statuses = [post(node, *related(body)).status_code for body in bodies]

    assert statuses[0] == 200
    assert 503 in statuses
    assert "of 1 MiB; no more instances are accepted until some are forwarded" in node.log
    wait_until(lambda: not list(node.spool.glob(".parts/*")))


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ({"headers": {"Authorization": "Bearer 0123456789abcdef"}}, 401),
        ({"headers": {"Authorization": ""}}, 401),
        ({"path": "/"}, 404),
        ({"path": "/studies/1.2/series"}, 404),
        ({"method": "GET"}, 405),
        ({"headers": {"Accept": "text/html"}}, 406),
        ({"headers": {"Content-Type": "application/dicom"}}, 415),
        ({"headers": {"Content-Type": 'multipart/related; type="application/dicom+json"'}}, 415),
        ({"headers": {"Content-Encoding": "gzip"}}, 415),
        ({"headers": {"Content-Type": "multipart/related"}}, 400),
        ({"body": b"no multipart"}, 400),
        ({"body": b""}, 400),
        ({"body": b"--0123456789abcdef\r\n\r\nMARKER"}, 400),
        ({"body": b"--0123456789abcdef--\r\n"}, 400),
        ({"headers": {"Transfer-Encoding": "gzip"}}, 411),
    ],
)
def test_request_that_is_none_is_told_so(strict, make_file, request_, status) -> None:
    body, media_type = related(make_file(0).read_bytes())
    headers = {"Content-Type": media_type, **request_.get("headers", {})}
    with bearer() as session:
        answer = session.request(
            request_.get("method", "POST"), address_of(strict) + request_.get("path", "/studies"),
            data=request_.get("body", body), headers=headers, timeout=30,
        )  # fmt: skip

    assert answer.status_code == status
    assert answer.text
    assert strict.metrics()["received_total"] == 0
    assert not list(strict.spool.rglob("*.part"))
    assert "MARKER" not in answer.text + strict.log


def test_sender_shows_a_certificate(make_node, make_file, certificates) -> None:
    names = (("cert", "node.crt"), ("key", "node.key"), ("ca", "ca.crt"))
    options = [each for name, file in names for each in (f"--tls-{name}", certificates / file)]
    node = make_node(NOWHERE, "--stow-port", 0, *options)
    node.start()
    address = address_of(node)
    assert address.startswith("https://")
    body, media_type = related(make_file(0).read_bytes())

    def send(name: str | None) -> int:
        context = ssl.create_default_context(cafile=str(certificates / "ca.crt"))
        context.check_hostname = False
        if name is not None:
            context.load_cert_chain(certificates / f"{name}.crt", certificates / f"{name}.key")
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        asked = urllib.request.Request(
            f"{address}/studies", body, {"Content-Type": media_type}, method="POST"
        )
        with opener.open(asked, timeout=30) as answer:
            return int(answer.status)

    assert send("sender") == 200
    for name in ("stranger", None):
        with pytest.raises((urllib.error.URLError, OSError)):
            send(name)
    assert node.metrics()["received_total"] == 1


def test_silent_and_slow_connections_lock_nobody_out(make_node, make_file) -> None:
    node = make_node(NOWHERE, "--stow-port", 0, **{TOKEN: SECRET})
    node.start()
    port = int(address_of(node).rpartition(":")[2])
    held = []
    for number in range(120):
        connection = socket.create_connection(("127.0.0.1", port))
        if number % 2:
            connection.sendall(b"POST /studies HTTP/1.1\r\n")
        held.append(connection)

    begun = time.monotonic()
    assert post(node, *related(make_file(0).read_bytes())).status_code == 200
    assert time.monotonic() - begun < 8

    held[-1].settimeout(30)
    assert held[-1].recv(1) == b""  # closed after some seconds
    assert time.monotonic() - begun < 25
    for each in held:
        each.close()


def test_sender_that_breaks_off_leaves_nothing(node, make_file) -> None:
    body, media_type = related(make_file(0).read_bytes())
    port = int(address_of(node).rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as connection:
        head = (
            f"POST /studies HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SECRET}\r\n"
            f"Content-Type: {media_type}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        connection.sendall(head.encode() + body[: len(body) // 2])
        wait_until(lambda: list(node.spool.glob(".parts/*")))

    node.wait_for(lambda metrics: metrics["broken_total"] == 1)
    wait_until(lambda: not list(node.spool.glob(".parts/*")))
    assert node.metrics()["received_total"] == 0


def test_stow_needs_a_token_or_certificates(monkeypatch) -> None:
    settings = make_settings({"forward": NOWHERE, "allow": ("A",), "stow_port": 8042})
    with pytest.raises(PacsError, match="stow-port: anybody could send"):
        check_token(settings)
    monkeypatch.setenv(TOKEN, "short")
    with pytest.raises(PacsError, match=f"{TOKEN}: need 16 or more"):
        check_token(settings)
    monkeypatch.setenv(TOKEN, SECRET)
    assert check_token(settings) == SECRET


def test_stow_port_is_one_of_its_own_and_no_destination(tmp_path) -> None:
    given = {"forward": NOWHERE, "allow": ("A",), "spool": tmp_path, "stow_port": 8042}
    with pytest.raises(PacsError, match="port and stow-port are both 8042"):
        check_ports(make_settings({**given, "port": 8042}))
    with pytest.raises(AddressError, match="is this node itself"):
        check_forward(DicomwebAddress("http://127.0.0.1:8042"), make_settings(given))
