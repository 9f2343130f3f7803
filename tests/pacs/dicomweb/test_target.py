"""STOW-RS with proof of arrival: to Orthanc, and to servers that misbehave."""

from __future__ import annotations

import json
import pickle
import shutil
import ssl
import subprocess
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from archives import related
from pydicom.uid import JPEGLSLossless

from monai_dental.dicom.derive import encode_dataset
from monai_dental.errors import AddressError, OutputError, PacsError, PacsUnavailableError
from monai_dental.pacs import DicomwebAddress
from monai_dental.pacs.dicomweb.target import DicomwebTarget
from monai_dental.pacs.parcel import STATUS, pack


def reply(request: Any, *arguments: Any, **options: Any) -> None:
    request.reply(*arguments, **options)


@pytest.fixture
def target(patience: Any) -> Iterator[Callable[..., DicomwebTarget]]:
    made: list[DicomwebTarget] = []

    def make(address: DicomwebAddress, **options: Any) -> DicomwebTarget:
        made.append(DicomwebTarget(address, patience, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_orthanc_holds_what_is_stored(orthanc, target, instance) -> None:
    to = target(orthanc.dicomweb)
    to.prepare()
    sent = [instance(1), instance(2, transfer_syntax=JPEGLSLossless), instance(3, modality="PX")]

    stored = [to.store(each) for each in sent]

    files = orthanc.files()
    for dataset, each in zip(sent, stored, strict=True):
        assert each.sop_instance_uid == str(dataset.SOPInstanceUID)
        assert dataset.PixelData in files[each.sop_instance_uid]
        assert to.find(each) == each
        assert pickle.loads(pickle.dumps(to)).find(each) == each
    assert to.store(instance(1)) == stored[0]
    orthanc.clear()
    assert to.find(stored[0]) is None


def test_copy_in_another_process_keeps_proof(target, service, instance, tmp_path) -> None:
    """`status` trusts the service's response; verifying would need the scratch folder."""
    to = target(service.address, proof=STATUS, scratch=tmp_path / "missing")

    copied = pickle.loads(pickle.dumps(to))

    assert copied.send(pack(instance())) == STATUS
    copied.close()


def test_success_is_no_proof_where_the_archive_kept_other_pixels(
    orthanc, target, instance, picture
) -> None:
    orthanc.add(encode_dataset(instance(stored=picture(12) // 2)))

    with pytest.raises(PacsError, match=r"instance 1\.2\.3\.4\.1: the PACS holds other pixels"):
        target(orthanc.dicomweb).store(instance(stored=picture(12)))


@pytest.mark.parametrize("status", [429, 500, 503])
@pytest.mark.parametrize("kind", ["store", "search", "fetch"])
def test_busy_service_is_asked_again(service, target, instance, status, kind) -> None:
    answers = iter([status, status])

    def busy(request: BaseHTTPRequestHandler) -> bool:
        code = next(answers, 0)
        if code:
            reply(request, b"MARKER", status=code, Retry_After="1000")
        return bool(code)

    service.answers[kind] = busy

    assert target(service.address).store(instance())
    assert service.requests.count(kind) == 3


def test_service_that_stays_busy_stops_the_run(service, target, instance) -> None:
    service.answers["store"] = lambda request: reply(request, b"MARKER", status=503)

    with pytest.raises(PacsUnavailableError, match="answers with HTTP status 503") as caught:
        target(service.address).store(instance())
    assert "MARKER" not in str(caught.value)
    assert len(service.requests) == 4


def test_instance_that_always_meets_a_fault_fails_alone(service, target, instance) -> None:
    service.answers["store"] = lambda request: reply(request, b"MARKER", status=500)

    with pytest.raises(PacsError, match="answers with HTTP status 500") as caught:
        target(service.address).store(instance())
    assert not isinstance(caught.value, OutputError)


def refusal(reason: int, uid: str = "1.2.3.4.1") -> bytes:
    item = {
        "00081155": {"vr": "UI", "Value": [uid]},
        "00081197": {"vr": "US", "Value": [reason]},
    }
    return json.dumps({"00081198": {"vr": "SQ", "Value": [item]}}).encode()


@pytest.mark.parametrize("status", [200, 202, 409])
def test_refused_instance_fails_alone(service, target, instance, status) -> None:
    service.answers["store"] = lambda request: reply(request, refusal(0xC123), status=status)
    to = target(service.address)

    with pytest.raises(PacsError) as caught:
        to.store(instance(1))

    assert not isinstance(caught.value, OutputError)
    assert "instance 1.2.3.4.1: the PACS refuses it: (0008,1197) Failure Reason C123" in str(
        caught.value
    )
    service.held["1.2.3.4.2"] = encode_dataset(instance(2))
    assert to.store(instance(2)).sop_instance_uid == "1.2.3.4.2"


def test_service_without_room_stops_the_run(service, target, instance) -> None:
    service.answers["store"] = lambda request: reply(request, refusal(0xA701), status=409)
    with pytest.raises(PacsUnavailableError, match="is out of resources: A701"):
        target(service.address).store(instance())

    service.answers["store"] = lambda request: reply(request, status=507)
    with pytest.raises(PacsUnavailableError, match="HTTP status 507"):
        target(service.address).store(instance())


def test_duplicate_is_no_failure_where_the_service_has_it(service, target, instance) -> None:
    service.held["1.2.3.4.1"] = encode_dataset(instance())
    service.answers["store"] = lambda request: reply(request, refusal(0x0111), status=409)

    assert target(service.address).store(instance())


def test_answer_that_tells_nothing_leaves_it_to_the_proof(service, target, instance) -> None:
    def keep(request: BaseHTTPRequestHandler, **options: Any) -> None:
        service.held["1.2.3.4.1"] = encode_dataset(instance())
        reply(request, **options)

    to = target(service.address)
    service.answers["store"] = lambda request: keep(request, status=204, media_type="text/plain")
    assert to.store(instance())
    service.answers["store"] = lambda request: keep(request, body=b"{", length=100)
    assert to.store(instance())


def test_instance_that_is_taken_but_not_kept_fails(service, target, instance) -> None:
    service.answers["store"] = lambda request: reply(request, b"{}")

    with pytest.raises(PacsError, match="accepted it, but a query does not find it"):
        target(service.address).store(instance())


def test_broken_answers_are_no_proof(service, target, instance, picture) -> None:
    to = target(service.address)
    body, media_type = related(encode_dataset(instance()))
    two, two_type = related(*[encode_dataset(instance())] * 2)
    other, other_type = related(encode_dataset(instance(2)))
    darker, darker_type = related(encode_dataset(instance(stored=picture(12) // 2)))
    huge, huge_type = related(bytes(12 << 20))
    answers: dict[str, Callable[[BaseHTTPRequestHandler], None]] = {
        "ends in the middle of an instance": lambda r: reply(r, body[:-100], media_type),
        "its answer ends too early": lambda r: reply(r, body[:-100], media_type, length=len(body)),
        "has no beginning": lambda r: reply(r, body[:10], media_type),
        "more than one instance": lambda r: reply(r, two, two_type),
        "returns another instance": lambda r: reply(r, other, other_type),
        "holds other pixels": lambda r: reply(r, darker, darker_type),
        "returns a broken copy": lambda r: reply(r, body[:-1000], "application/dicom"),
        "not multipart/related": lambda r: reply(r, b"<html>MARKER", "text/html"),
        r"is larger than \d MiB": lambda r: reply(r, huge, huge_type),
        "HTTP status 404": lambda r: reply(r, b"MARKER", status=404),
    }
    for said, answer in answers.items():
        service.answers["fetch"] = answer
        with pytest.raises(PacsError, match=said) as caught:
            to.store(instance())
        assert "MARKER" not in str(caught.value)
        assert not isinstance(caught.value, OutputError)


def test_answer_that_breaks_off_once_is_asked_for_again(service, target, instance) -> None:
    body, media_type = related(encode_dataset(instance()))
    breaks = iter([True, True])

    def truncate(request: BaseHTTPRequestHandler) -> bool:
        is_broken = next(breaks, False)
        if is_broken:
            reply(request, body[:-100], media_type, length=len(body))
        return is_broken

    service.answers["fetch"] = truncate

    assert target(service.address).store(instance())
    assert service.requests.count("fetch") == 3


@pytest.mark.parametrize("body", [b"<html>MARKER", b'{"MARKER', b"[" * 100_000])
def test_answer_that_is_no_json_is_told(service, target, instance, body) -> None:
    service.answers["search"] = lambda request: reply(request, body)

    with pytest.raises(PacsError, match="does not answer in JSON") as caught:
        target(service.address).prepare()
    assert "MARKER" not in str(caught.value)


@pytest.mark.parametrize("body", [b"[3]", b'"x"', b'{"00080018": 3}', b'[{"00080018": {}}]'])
def test_answer_in_other_json_is_no_proof(service, target, instance, body) -> None:
    service.answers["search"] = lambda request: reply(request, body)

    with pytest.raises(PacsError, match="a query does not find it"):
        target(service.address).store(instance())


def test_token_comes_from_the_environment(service, target, instance, monkeypatch, tmp_path):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("MONAI_DENTAL_TOKEN", "s3cret")
    target(service.address).store(instance())
    assert {each["Authorization"] for each in service.headers} == {"Bearer s3cret"}

    monkeypatch.setenv("MONAI_DENTAL_OUTPUT_TOKEN", "other")
    target(service.address).prepare()
    assert service.headers[-1]["Authorization"] == "Bearer other"

    for status in (401, 403):
        service.answers["search"] = lambda request, s=status: reply(request, status=s)
        with pytest.raises(
            PacsUnavailableError, match="need a valid token in MONAI_DENTAL_OUTPUT_TOKEN, or a"
        ) as caught:
            target(service.address).prepare()
        assert "other" not in str(caught.value)


def test_token_is_not_sent_in_the_clear(target, monkeypatch) -> None:
    monkeypatch.setenv("MONAI_DENTAL_TOKEN", "s3cret")

    with pytest.raises(AddressError, match="need dicomweb\\+https") as caught:
        target(DicomwebAddress("http://pacs.example/dicom-web")).prepare()
    assert "s3cret" not in str(caught.value)


@pytest.fixture
def netrc(tmp_path, monkeypatch) -> None:
    """A name and a password for any host."""
    (tmp_path / "netrc").write_text("default login somebody password s3cret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("netrc")
def test_password_is_not_sent_in_the_clear(service, target, monkeypatch) -> None:
    target(service.address).prepare()
    assert service.headers[-1]["Authorization"].startswith("Basic ")

    monkeypatch.setenv("http_proxy", service.address.url.removesuffix("/dicom-web"))
    target(DicomwebAddress("http://pacs.example/dicom-web")).prepare()

    assert service.headers[-1]["Host"] == "pacs.example"
    assert "Authorization" not in service.headers[-1]


@pytest.mark.usefixtures("netrc")
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_this_machine_is_asked_without_a_proxy(service, target, monkeypatch, host) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")

    target(DicomwebAddress(service.address.url.replace("127.0.0.1", host))).prepare()

    assert service.requests == ["search"]


def test_redirection_is_not_followed(service, target, monkeypatch) -> None:
    monkeypatch.setenv("MONAI_DENTAL_TOKEN", "s3cret")
    service.answers["search"] = lambda request: reply(
        request, status=302, Location=f"{service.address.url}/elsewhere?MARKER"
    )

    with pytest.raises(PacsUnavailableError, match="HTTP status 302, a redirection"):
        target(service.address).prepare()
    assert len(service.requests) == 1


def test_certificate_is_checked(service, target, instance, monkeypatch, tmp_path, missing) -> None:
    if shutil.which("openssl") is None:
        missing("no openssl; apt-get install openssl")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "30", "-subj", "/CN=pacs", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", "key", "-out", "certificate"],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certificate", tmp_path / "key")
    service.server.socket = context.wrap_socket(service.server.socket, server_side=True)
    address = DicomwebAddress(service.address.url.replace("http:", "https:"))

    with pytest.raises(PacsUnavailableError, match="certificate cannot be verified"):
        target(address).prepare()

    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "certificate"))
    monkeypatch.setenv("MONAI_DENTAL_TOKEN", "s3cret")
    assert target(address).store(instance())
    other = DicomwebAddress(address.url.replace("127.0.0.1", "localhost"))
    with pytest.raises(PacsUnavailableError, match="certificate cannot be verified"):
        target(other).prepare()


def test_plain_service_under_an_https_address_is_told(service, target) -> None:
    address = DicomwebAddress(service.address.url.replace("http:", "https:"))

    with pytest.raises(PacsUnavailableError, match="certificate|cannot be reached"):
        target(address).prepare()


def test_nobody_there(service, target, instance) -> None:
    address = service.address
    service.stop()
    try:
        with pytest.raises(PacsUnavailableError, match="cannot be reached: Connection refused"):
            target(address).prepare()
        with pytest.raises(PacsUnavailableError):
            target(address).store(instance())
    finally:
        service.stop = lambda: None  # type: ignore[method-assign]
