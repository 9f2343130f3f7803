"""Real servers on loopback: MONAI Label with our app and with its own, Orthanc, and a browser."""

from __future__ import annotations

import json
import os
import queue
import re
import shutil
import subprocess
import threading
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import cv2
import nibabel
import numpy as np
import pydicom
import pytest
import torch

from monai_dental.bundle.find import find_bundle
from monai_dental.cli import main
from monai_dental.phantom import write_phantoms

ROOT = Path(__file__).parents[2]
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass
class Answer:
    """An HTTP answer."""

    status: int
    content: bytes
    kind: str
    disposition: str = ""

    @property
    def json(self) -> Any:
        return json.loads(self.content)


@dataclass
class Server:
    """A running server: its address, and what it prints."""

    url: str
    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)
    news: queue.Queue[str | None] = field(default_factory=queue.Queue)

    def get(self, path: str) -> Answer:
        return self._ask(urllib.request.Request(self.url + path))

    def post(self, path: str, body: dict[str, Any] | None = None) -> Answer:
        data = json.dumps(body or {}).encode()
        headers = {"Content-Type": "application/json"}
        return self._ask(urllib.request.Request(self.url + path, data, headers))

    def post_bytes(self, path: str, data: bytes) -> Answer:
        return self._ask(urllib.request.Request(self.url + path, data))

    def ask(
        self, method: str, path: str, headers: dict[str, str], data: bytes | None = None
    ) -> Answer:
        return self._ask(urllib.request.Request(self.url + path, data, headers, method=method))

    def infer(self, model: str, image: str, output: str = "image", **params: Any) -> Answer:
        """Send a request like 3D Slicer and OHIF, with the parameters in a field of a form."""
        mark = uuid.uuid4().hex
        form = f'--{mark}\r\nContent-Disposition: form-data; name="params"\r\n\r\n'
        form += f"{json.dumps(params)}\r\n--{mark}--\r\n"
        headers = {"Content-Type": f"multipart/form-data; boundary={mark}"}
        path = f"/infer/{model}?image={urllib.request.quote(image)}&output={output}"
        return self._ask(urllib.request.Request(self.url + path, form.encode(), headers))

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Return the match of the next line of the server's output that matches."""
        while True:
            line = self.news.get(timeout=300)
            if line is None:
                raise AssertionError("the server has ended:\n" + "".join(self.lines[-40:]))
            if found := re.search(pattern, line):
                return found

    def finish(self, path: str) -> dict[str, Any]:
        """Return the result of a background task: "/train/" or "/batch/infer"."""
        self.wait_for("Return code: ")
        while (task := self.get(path).json)["status"] == "RUNNING":
            pass  # the line comes just before the change
        return task

    @property
    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _ask(self, request: urllib.request.Request) -> Answer:
        try:
            with _OPENER.open(request, timeout=300) as reply:
                headers = reply.headers
                name = headers["Content-Disposition"] or ""
                return Answer(reply.status, reply.read(), headers["Content-Type"], name)
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.read(), error.headers["Content-Type"])


@contextmanager
def run(command: list[str], ready: str, **variables: str) -> Iterator[Server]:
    """Start a server, wait until it prints `ready`, whose group is the port, and end it later."""
    process = subprocess.Popen(
        command, env={**os.environ, "PYTHONUNBUFFERED": "1", **variables}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    server = Server("", process)

    def read() -> None:
        for line in process.stdout:
            server.lines.append(line)
            server.news.put(line)
        server.news.put(None)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        server.url = f"http://127.0.0.1:{server.wait_for(ready)[1]}"
        yield server
    finally:
        process.terminate()
        process.wait(timeout=60)
        reader.join()
        process.stdout.close()


@pytest.fixture(scope="session")
def run_server() -> Callable[..., Any]:
    """Context manager of a server; see `run`."""
    return run


@pytest.fixture(scope="session")
def label_python(missing: Callable[[str], NoReturn]) -> str:
    """The Python of the environment with MONAI Label."""
    folder = Path(os.environ.get("MONAI_DENTAL_LABEL_ENV", ROOT / ".venv-label"))
    python = folder / "bin" / "python"
    if not python.is_file():
        missing(f"no {folder}; scripts/label-env makes it")
    return str(python)


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of phantoms, one in each format; the NIfTI and DICOM ones have 12 bits."""
    folder = tmp_path_factory.mktemp("images")
    made = tmp_path_factory.mktemp("phantoms")
    for image_format in ("png", "dicom"):
        write_phantoms(made / image_format, count=4, size=(96, 80), image_format=image_format)
    pixels = [cv2.imread(str(made / "png" / "noisy" / f"{i}.png"), 0) for i in (1, 2, 3)]
    cv2.imwrite(str(folder / "png.png"), pixels[0])
    cv2.imwrite(str(folder / "jpg.jpg"), pixels[1])
    affine = [[-0.2, 0, 0, 5], [0, 0.1, 0, 7], [0, 0, 1, 0], [0, 0, 0, 1]]
    nibabel.save(
        nibabel.Nifti1Image(16 * pixels[2].T.astype(np.int16), np.array(affine)),
        folder / "nifti.nii.gz",
    )
    dataset = pydicom.dcmread(made / "dicom" / "noisy" / "4.dcm")
    dataset.PhotometricInterpretation = "MONOCHROME1"
    dataset.PresentationLUTShape = "INVERSE"
    dataset.save_as(folder / "dicom.dcm")
    return folder


@pytest.fixture(scope="session")
def small_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The U-Net bundle with untrained weights and short epochs, so that training changes much."""
    folder = tmp_path_factory.mktemp("bundle") / "small"
    copy_bundle("unet", folder)
    changes = {"images_per_epoch": 8, "patch_size": 32, "validation_size": 64}
    path = folder / "configs" / "train.json"
    config = json.loads(path.read_text())
    assert changes.keys() <= config.keys()
    path.write_text(json.dumps({**config, **changes}))
    network = torch.load(folder / "models" / "model.pt", weights_only=True)
    torch.manual_seed(0)
    torch.save(
        {k: v + 0.02 * torch.randn_like(v) for k, v in network.items()},
        folder / "models" / "model.pt",
    )
    return folder


def copy_bundle(name: str, folder: Path) -> None:
    shutil.copytree(find_bundle(name), folder, ignore=shutil.ignore_patterns("eval", "__pycache__"))


@pytest.fixture(scope="session")
def denoised(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Factory of folders with the images denoised by `monai-dental denoise`."""
    made: dict[tuple[str, ...], Path] = {}

    def denoise(*options: str) -> Path:
        if options not in made:
            made[options] = tmp_path_factory.mktemp("denoised")
            command = ["denoise", str(images), "--output", str(made[options]), *options]
            assert main(command) == 0
        return made[options]

    return denoise
