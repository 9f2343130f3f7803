"""A pytest plugin: real and simulated archives, certificates, and instances to send to them."""

from __future__ import annotations

import io
import json
import os
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NoReturn

import pytest
from pydicom import Dataset, dcmread
from pydicom.datadict import tag_for_keyword

from monai_dental.dicom.derive import encode_dataset
from monai_dental.pacs import DicomwebAddress, DimseAddress, Patience

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
JSON = "application/dicom+json"
SHORT = Patience(attempts=4, first_pause_s=0.01, longest_pause_s=0.02)
"""As patient as the default, but for the time."""


class Orthanc:
    """A running Orthanc; https://orthanc.uclouvain.be/book/users/rest.html."""

    def __init__(self, folder: Path, program: str, **settings: Any) -> None:
        self._folder, self._program = folder, program
        with socket.socket() as http, socket.socket() as dicom:
            for each in (http, dicom):
                each.bind(("127.0.0.1", 0))
            self.http_port, self.dicom_port = (each.getsockname()[1] for each in (http, dicom))
        config = {
            "Name": "ARCHIVE", "HttpPort": self.http_port, "RemoteAccessAllowed": False,
            "DicomServerEnabled": True, "DicomAet": "ARCHIVE", "DicomPort": self.dicom_port,
            "DicomAlwaysAllowFind": True, "DicomAlwaysAllowGet": True, "DicomCheckCalledAet": True,
            "StorageDirectory": str(folder / "archive"), "IndexDirectory": str(folder / "archive"),
            "Plugins": [str(PLUGIN)], "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
            "OverwriteInstances": False, **settings,
        }  # fmt: skip
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "orthanc.json").write_text(json.dumps(config))
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def dimse(self) -> DimseAddress:
        return DimseAddress("ARCHIVE", "127.0.0.1", self.dicom_port)

    @property
    def dicomweb(self) -> DicomwebAddress:
        return DicomwebAddress(f"http://127.0.0.1:{self.http_port}/dicom-web")

    def start(self) -> None:
        with (self._folder / "log").open("wb") as log:
            command = [self._program, self._folder / "orthanc.json"]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while True:
            try:
                self.call("/system")
                return
            except urllib.error.URLError:
                text = (self._folder / "log").read_text(errors="replace")
                assert self._process.poll() is None, text
                assert time.monotonic() < deadline, text
                time.sleep(0.05)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(60)
            self._process = None

    def kill(self) -> None:
        """End it at once: an orderly stop takes seconds."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(60)

    def call(self, path: str, body: bytes | None = None, method: str | None = None) -> bytes:
        url = f"http://127.0.0.1:{self.http_port}{path}"
        request = urllib.request.Request(url, body, method=method)
        with self._opener.open(request, timeout=60) as answer:
            content: bytes = answer.read()
        return content

    def add(self, content: bytes) -> str:
        answer = json.loads(self.call("/instances", content))
        assert answer["Status"] == "Success", answer
        return str(answer["ID"])

    def files(self) -> dict[str, bytes]:
        """The file of each instance, by SOP Instance UID."""
        found = {}
        for identifier in json.loads(self.call("/instances")):
            uid = json.loads(self.call(f"/instances/{identifier}/simplified-tags"))
            found[str(uid["SOPInstanceUID"])] = self.call(f"/instances/{identifier}/file")
        return found

    def clear(self) -> None:
        for identifier in json.loads(self.call("/patients")):
            self.call(f"/patients/{identifier}", method="DELETE")


def related(*contents: bytes) -> tuple[bytes, str]:
    """A multipart/related body with these files, and its media type."""
    boundary = "0123456789abcdef"
    head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    body = b"".join(head + content + b"\r\n" for content in contents)
    media_type = f'multipart/related; type="application/dicom"; boundary={boundary}'
    return body + f"--{boundary}--\r\n".encode(), media_type


class FakeService:
    """A DICOMweb service in this process; `answers` overrides the response to a path."""

    def __init__(self) -> None:
        self.held: dict[str, bytes] = {}
        self.matches: list[Any] = []
        self.page = 1000
        self.requests: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.answers: dict[str, Callable[[Any], bool | None]] = {}
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                service.answer(self, "GET")

            def do_POST(self) -> None:
                service.answer(self, "POST")

            def reply(
                self, body: bytes = b"", media_type: str = JSON, status: int = 200,
                length: int | None = None, **headers: str,
            ) -> None:  # fmt: skip
                self.send_response(status)
                self.send_header("Content-Type", media_type)
                self.send_header("Content-Length", str(len(body) if length is None else length))
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.end_headers()
                self.wfile.write(body)
                if length is not None:
                    self.close_connection = True

            def log_message(self, *arguments: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self._thread.start()

    def add(self, dataset: Dataset) -> None:
        """Store an instance, and let searches find it."""
        keywords = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
        tags = {f"{tag_for_keyword(each):08X}": str(dataset[each].value) for each in keywords}
        self.held[str(dataset.SOPInstanceUID)] = encode_dataset(dataset)
        self.matches.append({tag: {"vr": "UI", "Value": [uid]} for tag, uid in tags.items()})

    @property
    def address(self) -> DicomwebAddress:
        return DicomwebAddress(f"http://127.0.0.1:{self.server.server_port}/dicom-web")

    def stop(self) -> None:
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()

    def answer(self, request: Any, method: str) -> None:
        path, _, query = request.path.partition("?")
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        kind = "store" if method == "POST" else "search" if query else "fetch"
        self.requests.append(kind)
        self.headers.append(dict(request.headers))
        if kind in self.answers and self.answers[kind](request) is not False:
            return
        if kind == "store":
            boundary = request.headers["Content-Type"].rpartition("boundary=")[2].encode()
            parts = body.split(b"--" + boundary)[1:-1]
            files = [part.partition(b"\r\n\r\n")[2][:-2] for part in parts]
            for file in files:
                self.held.setdefault(str(dcmread(io.BytesIO(file)).SOPInstanceUID), file)
            request.reply(b"{}")
        elif path.endswith("/dicom-web/instances"):
            asked = dict(urllib.parse.parse_qsl(query))
            begin = int(asked["offset"])
            page = self.matches[begin : begin + min(int(asked["limit"]), self.page)]
            request.reply(json.dumps(page).encode())
        elif kind == "search":
            found = [uid for uid in self.held if uid == query.partition("=")[2]]
            matches = [{"00080018": {"vr": "UI", "Value": [uid]}} for uid in found]
            request.reply(json.dumps(matches).encode())
        else:
            request.reply(*related(self.held[path.rpartition("/")[2]]))


@pytest.fixture
def service() -> Iterator[FakeService]:
    made = FakeService()
    yield made
    made.stop()


@pytest.fixture(scope="session")
def make_orthanc(
    tmp_path_factory: pytest.TempPathFactory, missing: Callable[[str], NoReturn]
) -> Iterator[Callable[..., Orthanc]]:
    """Factory of running archives, with settings of their own."""
    started: list[Orthanc] = []

    def make(**settings: Any) -> Orthanc:
        program = shutil.which("Orthanc", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if program is None or not PLUGIN.is_file():
            missing("no Orthanc with DICOMweb; apt-get install orthanc orthanc-dicomweb")
        archive = Orthanc(tmp_path_factory.mktemp("orthanc"), program, **settings)
        started.append(archive)
        archive.start()
        return archive

    try:
        yield make
    finally:
        for archive in started:
            archive.kill()


@pytest.fixture(scope="session")
def shared_orthanc(make_orthanc: Callable[..., Orthanc]) -> Orthanc:
    return make_orthanc()


@pytest.fixture
def orthanc(shared_orthanc: Orthanc) -> Orthanc:
    """An empty archive that keeps the first instance of a UID and reports success (its default)."""
    shared_orthanc.clear()
    return shared_orthanc


@pytest.fixture(scope="session")
def shared_tls_orthanc(make_orthanc: Callable[..., Orthanc], tls_settings: Any) -> Orthanc:
    return make_orthanc(**tls_settings)


@pytest.fixture
def tls_orthanc(shared_tls_orthanc: Orthanc) -> Orthanc:
    """An empty archive that accepts DIMSE only over TLS."""
    shared_tls_orthanc.clear()
    return shared_tls_orthanc


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("MONAI_DENTAL_TOKEN", "MONAI_DENTAL_OUTPUT_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def instance(dicom_dataset: Callable[..., Dataset]) -> Callable[..., Dataset]:
    """Factory of instances with UIDs and a patient of their own: instance(3)."""

    def make(number: int = 1, **options: Any) -> Dataset:
        options = {
            "SOPInstanceUID": f"1.2.3.4.{number}", "SeriesInstanceUID": f"1.2.3.5.{number}",
            "StudyInstanceUID": f"1.2.3.6.{number}", "PatientID": f"P{number}",
            "PatientName": "MARKER^Name", **options,
        }  # fmt: skip
        return dicom_dataset(**options)

    return make


@pytest.fixture
def patience() -> Patience:
    return SHORT


@pytest.fixture(scope="session")
def certificates(
    tmp_path_factory: pytest.TempPathFactory, missing: Callable[[str], NoReturn]
) -> Path:
    """A folder: ca.crt; node and sender .crt and .key signed by it; stranger's by another."""
    if shutil.which("openssl") is None:
        missing("no openssl; apt-get install openssl")
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*arguments: Any) -> None:
        subprocess.run(
            list(map(str, ("openssl", *arguments))), check=True, capture_output=True, cwd=folder
        )

    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    for authority in ("ca", "other"):
        openssl(
            "req", "-x509", *curve, "-days", 30, "-subj", f"/CN={authority}",
            "-keyout", f"{authority}.key", "-out", f"{authority}.crt",
        )  # fmt: skip
    for name, authority in (("node", "ca"), ("sender", "ca"), ("stranger", "other")):
        openssl(
            "req", *curve, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr"
        )
        openssl(
            "x509", "-req", "-in", f"{name}.csr", "-CA", f"{authority}.crt",
            "-CAkey", f"{authority}.key", "-CAcreateserial", "-days", 30, "-out", f"{name}.crt",
        )  # fmt: skip
    return folder


@pytest.fixture(scope="session")
def tls_settings(certificates: Path) -> dict[str, Any]:
    """Settings of an archive with the sender's certificate that requires one of the same CA."""
    return {
        "DicomTlsEnabled": True,
        "DicomTlsCertificate": str(certificates / "sender.crt"),
        "DicomTlsPrivateKey": str(certificates / "sender.key"),
        "DicomTlsTrustedCertificates": str(certificates / "ca.crt"),
    }
