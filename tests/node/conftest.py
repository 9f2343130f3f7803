"""Nodes in separate processes, certificates, and dcmtk's senders."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from pydicom import Dataset, dcmwrite, uid
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, evt

from monai_dental.node.forward import Forwarder
from monai_dental.node.log import Counts
from monai_dental.node.queue import Queue
from monai_dental.node.spool import Spool

ROOT = Path(__file__).parents[2]
SENDERS = "STORESCU,DCMSEND,ECHOSCU,SENDER,SOURCE"

# modality, stored bits, photometric interpretation, signed, transfer syntax
KINDS = (
    ("IO", 8, "MONOCHROME2", False, uid.ExplicitVRLittleEndian),
    ("IO", 12, "MONOCHROME1", False, uid.JPEGLSLossless),
    ("PX", 16, "MONOCHROME1", False, uid.ImplicitVRLittleEndian),
    ("PX", 12, "MONOCHROME2", False, uid.JPEG2000Lossless),
    ("DX", 10, "MONOCHROME1", False, uid.JPEGLosslessSV1),
    ("DX", 16, "MONOCHROME2", False, uid.ExplicitVRBigEndian),
    ("CR", 10, "MONOCHROME1", False, uid.RLELossless),
    ("CR", 12, "MONOCHROME2", True, uid.ExplicitVRLittleEndian),
    ("CT", 16, "MONOCHROME2", True, uid.ImplicitVRLittleEndian),
    ("enhanced CT", 12, "MONOCHROME2", False, uid.ExplicitVRLittleEndian),
)


class NodeProcess:
    """`monai-dental node` with the stub denoiser, in a separate process."""

    def __init__(
        self, folder: Path, port: int, forward: str, *options: Any, **environment: str
    ) -> None:
        self.port = port
        self.spool = folder / "spool"
        self._folder, self._environment = folder, environment
        self._health = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._command = [
            sys.executable, Path(__file__).with_name("stub_node.py"), "node",
            "--host", "127.0.0.1", "--port", self.port, "--spool", self.spool,
            "--forward", forward, "--allow", SENDERS, "--health-port", 0, "--workers", 1,
            "--longest-wait", 0.5, *options,
        ]  # fmt: skip

    def start(self, *options: Any) -> None:
        command = list(map(str, (*self._command, *options)))
        environment = {**os.environ, **self._environment, "PYTHONPATH": str(ROOT)}
        with (self._folder / "out").open("wb") as out, (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=out, stderr=log, env=environment, start_new_session=True
            )
        deadline = time.monotonic() + 120
        while True:
            said = (self._folder / "out").read_text()
            if found := re.search(r"http://\S+(?=/health\n)", said):
                self._health = found.group()
                return
            assert self._process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.02)

    @property
    def log(self) -> str:
        return (self._folder / "log").read_text()

    @property
    def peak_mb(self) -> int:
        """The peak memory of its main process, in MiB."""
        assert self._process is not None
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) >> 10  # type: ignore[index]

    @property
    def url(self) -> str:
        """URL of its page, without a slash at the end."""
        return self._health

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def signal(self, number: int) -> int:
        """Send a signal and wait for the end; the exit status."""
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(60)

    def end(self) -> None:
        if self.is_running:
            self.signal(signal.SIGKILL)

    def get(self, path: str) -> str:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(self._health + path, timeout=30) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                return f"{error.code} {error.read().decode()}"

    def metrics(self) -> dict[str, int]:
        """All numbers, without the common prefix."""
        lines = [line for line in self.get("/metrics").splitlines() if not line.startswith("#")]
        pairs = (line.removeprefix("monai_dental_node_").rsplit(" ", 1) for line in lines)
        return {name: int(float(value)) for name, value in pairs}

    def wait_for(self, check: Callable[[dict[str, int]], bool]) -> dict[str, int]:
        """Wait until the metrics have these values."""
        deadline = time.monotonic() + 120
        while not check(found := self.metrics()):
            assert time.monotonic() < deadline, f"{found}\n{self.log}"
            time.sleep(0.05)
        return found


@pytest.fixture(scope="module")
def make_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., NodeProcess]]:
    """Factory of nodes, not started yet; none outlives the tests."""
    made: list[NodeProcess] = []

    def make(
        forward: str, *options: Any, port: int | None = None, **environment: str
    ) -> NodeProcess:
        folder = tmp_path_factory.mktemp("node")
        made.append(NodeProcess(folder, port or find_port(), forward, *options, **environment))
        return made[-1]

    try:
        yield make
    finally:
        for node in made:
            node.end()


@pytest.fixture
def free_port() -> int:
    """A port for a node, known before the node is started."""
    return find_port()


@pytest.fixture
def make_file(tmp_path: Path, instance: Callable[..., Dataset]) -> Callable[..., Path]:
    """Factory of files of instances, each of its own kind: make_file(7)."""

    def make(number: int, **options: Any) -> Path:
        modality, bits, photometric, signed, syntax = KINDS[number % len(KINDS)]
        dataset = instance(
            number, modality=modality, bits_stored=bits, photometric=photometric, signed=signed,
            transfer_syntax=syntax, frames=2 if modality == "enhanced CT" else 1, **options,
        )  # fmt: skip
        path = tmp_path / f"{number}.dcm"
        dcmwrite(path, dataset, enforce_file_format=True)
        return path

    return make


@pytest.fixture
def dcmtk(missing: Callable[[str], NoReturn]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run one of dcmtk's programs; if it is missing, the test is skipped or fails."""

    def run(name: str, *arguments: Any) -> subprocess.CompletedProcess[str]:
        program = Path("/usr/bin", name)  # pynetdicom has some of these names too
        if not program.is_file():
            missing("no dcmtk; apt-get install dcmtk")
        command = list(map(str, (program, *arguments)))
        return subprocess.run(command, capture_output=True, text=True, timeout=120)

    return run


def find_port() -> int:
    """A free TCP port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture
def scp() -> Iterator[Any]:
    """An archive that can only store: what it was sent, as (SOP Instance UID, syntax, bytes)."""
    taken: list[tuple[str, str, bytes]] = []

    def take(event: Any) -> int:
        content = event.request.DataSet.getvalue()
        uid, syntax = event.request.AffectedSOPInstanceUID, event.context.transfer_syntax
        taken.append((str(uid), str(syntax), content))
        return 0

    entity = AE("ARCHIVE")
    for context in AllStoragePresentationContexts:
        entity.add_supported_context(context.abstract_syntax, ALL_TRANSFER_SYNTAXES)
    entity.add_supported_context("1.2.840.10008.1.1")
    server = entity.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, take)]
    )
    server.taken = taken
    server.place = f"ARCHIVE@127.0.0.1:{server.server_address[1]}"
    yield server
    server.shutdown()


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    made = Spool(tmp_path / "spool", 10 << 20)
    made.prepare()
    return made


@pytest.fixture
def queue(spool: Spool) -> Iterator[Queue]:
    made = Queue(spool.folder, is_writable=True)
    yield made
    made.close()


@pytest.fixture
def forward(spool: Spool, queue: Queue) -> Iterator[Callable[..., dict[str, Forwarder]]]:
    """forward(archives): starts a forwarder for each archive by its place, until the end."""
    started: list[Forwarder] = []

    def start(archives: dict[str, Any]) -> dict[str, Forwarder]:
        forwarders = {
            place: Forwarder(
                archive, 0.01, spool=spool, queue=queue, counts=Counts(), on_room=lambda: None,
                destination=place,
            )
            for place, archive in archives.items()
        }  # fmt: skip
        for each in forwarders.values():
            each.start()
            started.append(each)
        return forwarders

    yield start
    for each in started:
        each.stop(10)
